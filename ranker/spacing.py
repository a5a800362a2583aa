"""The order: one after the other, with artists and albums spaced and no crowd of twins.

Greedy, over the best rows. The next pick is the one with the best score less

- *repetition*: for each song of the same artist (album) among those chosen and those heard just
  before, a penalty that halves every `HALF_LIFE` positions;
- *diversity*: λ · max(0, c - (1 - λ) · s), where λ is `breadth`, c the cosine to the nearest song
  already chosen and s that to the nearest seed. At λ = 1 this is maximal marginal relevance
  (Carbonell & Goldstein 1998). At less, a tight group, where all are as near to the seed as to each
  other, loses little: otherwise a stranger would beat a twin.

Players shuffle what they get. So that no artist comes three times in a row in any order of the
answer after what was heard, an answer has at most two songs of an artist (more of a long one), one
where the last song was theirs, and none where the last two were. One thing only is worse: a kind
that is left altogether because it has one artist in a small library. Where the best of the others
has nothing in common with the seed, an artist that sounds alike may have every other song.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.snapshot import Snapshot
from catalog.tracks import Float32
from ranker.settings import RankingSettings

#: Repetition of an artist counts half after so many positions.
HALF_LIFE: Final = 5.0

#: Songs heard further back than this no longer count.
RECENT: Final = 12

#: So many songs of one artist in an answer of up to ten, and one more for each further ten.
MOST_OF_AN_ARTIST: Final = 2
_PER_SONGS: Final = 10

#: … unless the best of the others is as far from the seed as two songs drawn by chance (cosine 0,
#: for vectors are centred), and the artist's is as near as this. In 400 sessions of 40 songs among
#: 165 that never brought three in a row; at .03 it did once, at .05 twice.
UNRELATED: Final = 0.0
ALIKE: Final = 0.25

_DECAY: Final = 0.5 ** (1 / HALF_LIFE)


@dataclass(frozen=True, slots=True)
class Placed:
    """A chosen row (its place among those scored) and what was taken off for its neighbours.

    `crowded`: its artist had no room, but nobody else was left to choose.
    """

    at: int
    artist: float = 0.0
    album: float = 0.0
    diversity: float = 0.0
    crowded: bool = False


def order(
    snapshot: Snapshot,
    rows: NDArray[np.intp],
    scores: Float32,
    vectors: Float32,
    likeness: Float32,
    heard: Sequence[int],
    chosen: Sequence[int],
    settings: RankingSettings,
    spread: float,
    count: int,
) -> list[Placed]:
    """Up to `count` of `rows` (r,), by `scores` (r,) (-inf: never), one per recording.

    vectors: (r, d) of the rows. likeness: (r,) to the nearest seed. heard: rows that came before,
    latest first. chosen: rows that the answer has already, in order. spread: the deviation that the
    penalties are counted in.
    """
    near_enough = (1 - settings.breadth) * np.maximum(likeness, 0)
    artists, albums = snapshot.artist[rows], snapshot.album[rows]
    recordings = snapshot.recording[rows]
    heard = [row for row in heard[:RECENT] if 0 <= row < snapshot.n]
    recent = [*reversed(chosen), *heard][:RECENT]
    artist_weight = settings.artist_repetition * spread
    album_weight = settings.album_repetition * spread
    by_artist = _before(artists, snapshot.artist[recent])
    by_album = _before(albums, snapshot.album[recent])
    closest = np.full(len(rows), -1.0, np.float32)
    left = np.array(scores, np.float64)
    room = None
    if artist_weight:
        room = _Room(
            artists, snapshot.artist[heard].tolist(), snapshot.artist[list(chosen)].tolist(), count
        )
    placed: list[Placed] = []
    while len(rows) and len(placed) < count:
        crowd = settings.breadth * np.maximum(closest - near_enough, 0)
        artist = artist_weight * _saturated(by_artist)
        album = album_weight * _saturated(by_album)
        value = left - artist - album - crowd
        at, crowded = int(np.argmax(value)), False
        if value[at] == -np.inf:
            break
        if room is not None:
            at, crowded = room.choose(value, likeness)
        placed.append(Placed(at, float(artist[at]), float(album[at]), float(crowd[at]), crowded))
        if len(placed) == count:
            break
        left[at] = -np.inf
        if recordings[at] >= 0:
            left[recordings == recordings[at]] = -np.inf
        by_artist *= _DECAY
        by_album *= _DECAY
        if artists[at] >= 0:
            by_artist += artists == artists[at]
        if albums[at] >= 0:
            by_album += albums == albums[at]
        if settings.breadth:
            np.maximum(closest, vectors @ vectors[at], out=closest)  # (r, d) @ (d,) -> (r,)
    return placed


class _Room:
    """Which artists an answer has room for.

    Args:
        artists: (r,) codes of those to choose from; -1, nobody knows who, always has room.
        heard: codes of what came before the answer, latest first.
        chosen: codes of what the answer has already, in order.
        count: how many more are to come.
    """

    def __init__(
        self, artists: NDArray[np.int32], heard: list[int], chosen: list[int], count: int
    ) -> None:
        total = len(chosen) + count
        self._artists = artists
        self._usual = MOST_OF_AN_ARTIST + max(total - 1, 0) // _PER_SONGS
        self._most = max((total + 1) // 2, self._usual)
        self._full = np.zeros(len(artists), np.bool_)
        self._shut = np.zeros(len(artists), np.bool_)
        self._times: Counter[int] = Counter(chosen)
        self._last = [*heard[1::-1], *chosen][-2:]  # in order
        for position, artist in enumerate(heard[:1]):
            self._times[artist] += self._most if heard[position + 1 :][:1] == [artist] else 1
        for artist in list(self._times):
            self._close(artist)

    def choose(self, value: NDArray[np.float64], likeness: Float32) -> tuple[int, bool]:
        """The best place by `value` (r,) (-inf: never), and whether its artist had no room."""
        at, crowded = int(np.argmax(value)), False
        if self._full[at] or (self._artists[at] >= 0 and self._last == [self._artists[at]] * 2):
            at, crowded = self._choose_another(value, likeness)
        artist = int(self._artists[at])
        self._times[artist] += 1
        self._last = [*self._last, artist][-2:]
        self._close(artist)
        return at, crowded

    def _choose_another(self, value: NDArray[np.float64], likeness: Float32) -> tuple[int, bool]:
        again = np.zeros(len(value), np.bool_)  # whoever would come a third time in a row
        if len(self._last) == 2 and self._last[0] == self._last[1] >= 0:
            again = self._artists == self._last[0]
        at, by_many = _best(value, self._full | again), _best(value, self._shut | again)
        if at is None:
            at = next((one for one in (by_many, _best(value, again)) if one is not None), None)
            return (int(np.argmax(value)) if at is None else at), True
        if by_many is not None and likeness[at] <= UNRELATED and likeness[by_many] >= ALIKE:
            at = by_many
        return at, False

    def _close(self, artist: int) -> None:
        if artist < 0 or self._times[artist] < self._usual:
            return
        theirs = self._artists == artist
        self._full |= theirs
        if self._times[artist] >= self._most:
            self._shut |= theirs


def _best(value: NDArray[np.float64], closed: NDArray[np.bool_]) -> int | None:
    left = np.where(closed, -np.inf, value)
    at = int(np.argmax(left))
    return at if left[at] > -np.inf else None


def _saturated(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 for never, half for once, three quarters for twice, 1 for ever: a whole artist is not worse
    than music of another kind.
    """
    return np.asarray(1 - np.exp2(-times), np.float64)


def _before(codes: NDArray[np.int32], recent: NDArray[np.int32]) -> NDArray[np.float64]:
    """(r,) how often each row's code came among `recent` (latest first), decayed by position."""
    decay = np.where(recent >= 0, _DECAY ** np.arange(len(recent)), 0.0)
    found: NDArray[np.float64] = (codes[:, np.newaxis] == recent) @ decay  # (r, h) @ (h,) -> (r,)
    return found
