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
where the last song was theirs, and none where the last two were: unless nobody else is left.
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

#: Of the songs chosen another artist's goes before a second one by the same, unless its score is
#: lower by more than so many songs' repetition. Where the first song is always taken, of 165, the
#: same artist came twice in a row 13.6 % of the time without, 9.6 % at 1 and 4.8 % at 2, the
#: cosine from song to song being .383, .384 and .367.
TURN_COST: Final = 2.0

_DECAY: Final = 0.5 ** (1 / HALF_LIFE)
_DECAYS: Final = _DECAY ** np.arange(RECENT)


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
    breadth = np.float32(settings.breadth)
    near_enough = breadth * (1 - breadth) * np.maximum(likeness, 0)
    names = np.stack([snapshot.artist.take(rows), snapshot.album.take(rows)])  # (2, r)
    artists, known = names[0], names >= 0
    recordings = snapshot.recording.take(rows)
    heard = [row for row in heard[:RECENT] if 0 <= row < snapshot.n]
    recent = [*reversed(chosen), *heard][:RECENT]
    weights = np.array([settings.artist_repetition, settings.album_repetition]) * spread
    # How often the artist, and the album, of each row came lately, times -1.
    came = -_before(names, np.stack([snapshot.artist[recent], snapshot.album[recent]]))  # (2, r)
    ordered = np.sort(recordings)
    twins = bool(((ordered[1:] == ordered[:-1]) & (ordered[1:] >= 0)).any())
    # Saturation is 1 - 2 ** -times: what is the same for all rows is taken off once.
    left = np.array(scores, np.float64) - weights.sum()
    room = None
    if weights[0]:
        room = _Room(
            artists, snapshot.artist[heard].tolist(), snapshot.artist[list(chosen)].tolist(), count
        )
    placed: list[Placed] = []
    # This loop is most of what a long answer costs: it works in place, and looks at each row once.
    fresh, value = np.empty_like(came), np.empty_like(left)
    crowd = np.zeros(len(rows), np.float32)
    while len(rows) and len(placed) < count:
        np.exp2(came, out=fresh)
        np.dot(weights, fresh, out=value)  # (2,) @ (2, r) -> (r,)
        value += left
        value -= crowd
        at, crowded = int(value.argmax()), False
        if value[at] == -np.inf:
            break
        if room is not None:
            at, crowded = room.choose(at, value)
        artist, album = (weights * (1 - fresh[:, at])).tolist()
        placed.append(Placed(at, artist, album, float(crowd[at]), crowded))
        if len(placed) == count:
            break
        left[at] = -np.inf
        if twins and recordings[at] >= 0:
            left[recordings == recordings[at]] = -np.inf
        came *= _DECAY
        same = names == names[:, at : at + 1]
        same &= known
        came -= same
        if breadth:
            crowding = vectors @ (breadth * vectors[at])  # (r, d) @ (d,) -> (r,)
            crowding -= near_enough
            np.maximum(crowd, crowding, out=crowd)
    before = snapshot.artist[recent[:1]].tolist()
    most = TURN_COST * float(weights[0])
    return _alternated(placed, artists, scores, before[0] if before else -1, most)


def _alternated(
    placed: list[Placed], artists: NDArray[np.int32], scores: Float32, before: int, most: float
) -> list[Placed]:
    """The same songs, where another artist's comes first if it costs no more than `most` of score.

    Some players take the first song of an answer. before: who comes before the answer, -1 unknown.
    """
    left, ordered = placed.copy(), list[Placed]()
    while left:
        first = left[0]
        if before >= 0 and artists[first.at] == before:
            least = scores[first.at] - most
            others = (one for one in left if artists[one.at] != before and scores[one.at] >= least)
            first = next(others, first)
        left.remove(first)
        ordered.append(first)
        before = int(artists[first.at])
    return ordered


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
        self._artists = artists
        self._most = MOST_OF_AN_ARTIST + max(len(chosen) + count - 1, 0) // _PER_SONGS
        self._full = np.zeros(len(artists), np.bool_)
        self._times: Counter[int] = Counter(chosen)
        self._last = [*heard[1::-1], *chosen][-2:]  # in order
        if heard:
            self._times[heard[0]] += self._most if heard[0] in heard[1:2] else 1
        for artist in list(self._times):
            self._close(artist)

    def choose(self, best: int, value: NDArray[np.float64]) -> tuple[int, bool]:
        """The best place with room, and whether its artist had none after all.

        value: (r,) of each place (-inf: never), `best` the one of the highest.
        """
        at, crowded = best, False
        if self._full[at] or (self._artists[at] >= 0 and self._last == [self._artists[at]] * 2):
            at, crowded = self._choose_another(best, value)
        artist = int(self._artists[at])
        self._times[artist] += 1
        self._last = [*self._last, artist][-2:]
        self._close(artist)
        return at, crowded

    def _choose_another(self, best: int, value: NDArray[np.float64]) -> tuple[int, bool]:
        again = np.zeros(len(value), np.bool_)  # whoever would come a third time in a row
        if len(self._last) == 2 and self._last[0] == self._last[1] >= 0:
            again = self._artists == self._last[0]
        at = _best(value, self._full | again)
        if at is not None:
            return at, False
        other = _best(value, again)
        return (best if other is None else other), True

    def _close(self, artist: int) -> None:
        if artist >= 0 and self._times[artist] >= self._most:
            self._full |= self._artists == artist


def _best(value: NDArray[np.float64], closed: NDArray[np.bool_]) -> int | None:
    left = np.where(closed, -np.inf, value)
    at = int(left.argmax())
    return at if left[at] > -np.inf else None


def _before(codes: NDArray[np.int32], recent: NDArray[np.int32]) -> NDArray[np.float64]:
    """(k, r) how often each row's codes came among `recent` (k, h), latest first, decayed."""
    decay = np.where(recent >= 0, _DECAYS[: recent.shape[1]], 0.0)[..., np.newaxis]
    same = codes[..., np.newaxis] == recent[:, np.newaxis]
    found: NDArray[np.float64] = (same @ decay)[..., 0]  # (k, r, h) @ (k, h, 1) -> (k, r, 1)
    return found
