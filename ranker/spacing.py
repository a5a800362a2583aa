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
where the last song was theirs, and none where the last two were; unless all others are strangers.
"""

from __future__ import annotations

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

#: … where another artist's song is worse by no more deviations than this: where a kind has one
#: artist, strangers would be worse than a third song.
GIVE_WAY: Final = 1.0

_DECAY: Final = 0.5 ** (1 / HALF_LIFE)


@dataclass(frozen=True, slots=True)
class Placed:
    """A chosen row (its place among those scored) and what was taken off for its neighbours."""

    at: int
    artist: float = 0.0
    album: float = 0.0
    diversity: float = 0.0


def order(
    snapshot: Snapshot,
    rows: NDArray[np.intp],
    scores: Float32,
    vectors: Float32,
    likeness: Float32,
    heard: Sequence[int],
    settings: RankingSettings,
    spread: float,
    count: int,
) -> list[Placed]:
    """Up to `count` of `rows` (r,), by `scores` (r,) (-inf: never), one per recording.

    vectors: (r, d) of the rows. likeness: (r,) to the nearest seed. heard: rows that came before,
    latest first. spread: the deviation that the penalties are counted in.
    """
    likeness = np.maximum(likeness, 0)
    artists, albums = snapshot.artist[rows], snapshot.album[rows]
    recordings = snapshot.recording[rows]
    recent = [row for row in heard[:RECENT] if 0 <= row < snapshot.n]
    artist_weight = settings.artist_repetition * spread
    album_weight = settings.album_repetition * spread
    by_artist = _before(artists, snapshot.artist[recent])
    by_album = _before(albums, snapshot.album[recent])
    closest = np.full(len(rows), -1.0, np.float32)
    left = np.array(scores, np.float64)
    room = _room(snapshot.artist[recent], count) if artist_weight else None
    placed: list[Placed] = []
    while len(rows) and len(placed) < count:
        crowd = settings.breadth * np.maximum(closest - (1 - settings.breadth) * likeness, 0)
        artist = artist_weight * _saturated(by_artist)
        album = album_weight * _saturated(by_album)
        value = left - artist - album - crowd
        at = int(np.argmax(value))
        if value[at] == -np.inf:
            break
        if room is not None:
            at = _with_room(value, artists, at, room, GIVE_WAY * spread)
        placed.append(Placed(at, float(artist[at]), float(album[at]), float(crowd[at])))
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
    """How many more songs of each artist an answer may have."""

    def __init__(self, usual: int, known: dict[int, int]) -> None:
        self._usual, self._known = usual, known

    def take(self, artist: int) -> bool:
        """One more of an artist, if there is room; of unknown artists there always is."""
        left = self._known.get(artist, self._usual)
        if artist >= 0 and left <= 0:
            return False
        self._known[artist] = left - 1
        return True


def _room(recent: NDArray[np.int32], count: int) -> _Room:
    usual = MOST_OF_AN_ARTIST + max(count - 1, 0) // _PER_SONGS
    last, before = (int(recent[i]) if len(recent) > i else -1 for i in (0, 1))
    return _Room(usual, {last: usual - (2 if last == before else 1)} if last >= 0 else {})


def _with_room(
    value: NDArray[np.float64],
    artists: NDArray[np.int32],
    best: int,
    room: _Room,
    most_lost: float,
) -> int:
    """The best row whose artist has room; the best of all where that would lose too much."""
    if room.take(int(artists[best])):
        return best
    for at in np.argsort(-value, kind="stable").tolist():
        if value[at] < value[best] - most_lost:
            break
        if room.take(int(artists[at])):
            return int(at)
    return best


def _saturated(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 for never, half for once, three quarters for twice, 1 for ever: a whole artist is not worse
    than music of another kind.
    """
    return np.asarray(1 - np.exp2(-times), np.float64)


def _before(codes: NDArray[np.int32], recent: NDArray[np.int32]) -> NDArray[np.float64]:
    """(r,) how often each row's code came among `recent` (latest first), decayed by position."""
    found = np.zeros(len(codes))
    for position, code in enumerate(recent.tolist()):
        if code >= 0:
            found += (codes == code) * _DECAY**position
    return found
