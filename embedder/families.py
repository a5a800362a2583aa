"""Version families: which tracks are one recording, told by what is written in them and heard."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from catalog.tracks import Float32, Int64, Track
from embedder.names import artist_name, simplify

#: Two files of one artist and title are one recording when they differ by no more than this.
SAME_RECORDING_S: Final = 2.0
#: Nor by more than this part: of a jingle 2 s are much, and its print tells nothing.
_SAME_PART: Final = 0.05
#: Of the files that bear one name and are equally long so many are held against the first.
_MOST_NAMESAKES: Final = 64

#: Titles that many different recordings bear.
_NO_TITLE: Final = re.compile(r"(audio ?)?(track|untitled|unknown|titel|piste|pista)?[ _-]*\d*")


@dataclass(frozen=True, slots=True)
class Identities:
    """What tells that tracks are one recording, each (n,) int64, 0 for unknown.

    `recording` stands for the MusicBrainz recording, `content` for the content key, `name` for
    artist and title. Hashes of 64 bits: in a million tracks two differ and meet once in 40 million
    libraries, and the strings themselves would not fit into memory.
    """

    recording: Int64
    content: Int64
    name: Int64


def identity(track: Track) -> tuple[int, int, int]:
    """A track's row of `Identities`."""
    artist, title = artist_name(track), simplify(track.tags.title)
    named = bool(artist) and not _NO_TITLE.fullmatch(title)
    return (
        _hash(track.tags.musicbrainz_recording_id),
        _hash(track.content_key),
        _hash(f"{artist}\0{title}" if named else ""),
    )


class Sound(Protocol):
    """What is heard of tracks; rows are numbers in their order."""

    #: Whose sound tells anything, (n,).
    told: NDArray[np.bool_]

    def alike(self) -> Iterable[tuple[int, int]]:
        """Pairs of rows that are one recording."""
        ...

    def apart(self, ones: NDArray[np.intp], others: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which pairs are plainly two, (m,), of rows that `sharing` named."""
        ...


def recording_families(tracks: Sequence[Track]) -> NDArray[np.int32]:
    """`families` of tracks that are in memory and whose sound is not known."""
    rows = np.array([identity(track) for track in tracks], np.int64).reshape(-1, 3)
    seconds = np.array([track.duration_s for track in tracks], np.float64)
    return families(Identities(*rows.T), seconds)


def sharing(identities: Identities) -> NDArray[np.intp]:
    """Rows that share a MusicBrainz recording or a name with another, ascending."""
    found = np.zeros(len(identities.name), np.bool_)
    for keys in (identities.recording, identities.name):
        _, number, count = np.unique(keys, return_inverse=True, return_counts=True)
        found |= (keys != 0) & (count[number] > 1)
    return np.flatnonzero(found)


def families(
    identities: Identities, duration_s: Float32 | NDArray[np.float64], sound: Sound | None = None
) -> NDArray[np.int32]:
    """A code for each track, equal for versions of one recording, (n,) int32.

    One recording are files of the same content and those that sound it. Then, unless their sound is
    plainly another, files of the same MusicBrainz recording, and those of the same artist and title
    that are no more than 2 s and a twentieth longer than the shortest of them.
    """
    sets = _Sets(sound, len(duration_s))
    for rows in _groups(identities.content):
        for row in rows[1:]:
            sets.join(rows[0], row)
    for one, other in sound.alike() if sound is not None else ():
        sets.join(one, other)
    endless = np.full(len(duration_s), np.inf)
    sets.join_unless_apart(list(_groups(identities.recording)), np.zeros(len(endless)), endless)
    seconds = np.asarray(duration_s, np.float64)
    most = seconds + np.minimum(SAME_RECORDING_S, _SAME_PART * seconds)
    named = [sorted(rows, key=seconds.__getitem__) for rows in _groups(identities.name)]
    sets.join_unless_apart(named, seconds, most)
    return first_codes(sets.find(row) for row in range(len(seconds)))


class _Sets:
    """Rows that are one recording; of each set one row stands for all, one that was heard."""

    def __init__(self, sound: Sound | None, n: int) -> None:
        self._sound = sound
        self._parent = list(range(n))

    def find(self, row: int) -> int:
        """The row that stands for the set of this one."""
        parent = self._parent
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def join(self, one: int, other: int) -> None:
        """These are one recording, and so is whatever was one with either."""
        first, second = self.find(one), self.find(other)
        if self._sound is not None and self._sound.told[second] and not self._sound.told[first]:
            first, second = second, first
        self._parent[second] = first

    def join_unless_apart(
        self,
        groups: Sequence[list[int]],
        length: NDArray[np.float64],
        most: NDArray[np.float64],
    ) -> None:
        """In each group, rows join the first one that `most` of allows their length, (n,) each,
        unless it sounds plainly another: then the next such one. Lengths ascend in a group.

        All groups go side by side, for pairs are compared many at once.
        """
        groups = [rows[_alone(rows, length, most) :] for rows in groups]
        while groups := [rows for rows in groups if rows]:
            asked: list[tuple[int, int]] = []
            for first, *others in groups:
                near = (row for row in others[:_MOST_NAMESAKES] if length[row] <= most[first])
                asked += [(first, row) for row in near]
            judged = [(self.find(one), self.find(other)) for one, other in asked]
            joined: set[int] = set()
            gained: Counter[int] = Counter()
            for pair, standing, apart in zip(asked, judged, self._apart(judged), strict=True):
                now = self.find(pair[0]), self.find(pair[1])
                if not (apart if now == standing else self._apart([now])[0]):
                    self.join(*pair)
                    joined.add(pair[1])
                    gained[pair[0]] += 1
            # Who is one with all that it was held against, and has more namesakes, goes on.
            left = (
                [row for row in rows[gained[rows[0]] < _MOST_NAMESAKES :] if row not in joined]
                for rows in groups
            )
            groups = [rows[_alone(rows, length, most) :] for rows in left]

    def _apart(self, pairs: Sequence[tuple[int, int]]) -> list[bool]:
        found = [False] * len(pairs)
        open_ = [i for i, (one, other) in enumerate(pairs) if one != other]
        if self._sound is not None and open_:
            rows = np.array([pairs[i] for i in open_], np.intp)
            verdicts = self._sound.apart(rows[:, 0], rows[:, 1])
            for i, verdict in zip(open_, verdicts.tolist(), strict=True):
                found[i] = verdict
        return found


def _alone(rows: Sequence[int], length: NDArray[np.float64], most: NDArray[np.float64]) -> int:
    """How many rows at the start of a group have none that they could be one with."""
    pairs = enumerate(pairwise(rows))
    return next((i for i, (one, other) in pairs if length[other] <= most[one]), len(rows))


def first_codes(keys: Iterable[Hashable]) -> NDArray[np.int32]:
    """Equal keys, equal codes, numbered as they first appear; -1 for "" and None."""
    numbers: dict[Hashable, int] = {}
    return np.fromiter(
        (-1 if key is None or key == "" else numbers.setdefault(key, len(numbers)) for key in keys),
        np.int32,
    )


def _hash(text: str) -> int:
    if not text:
        return 0
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True) or 1


def _groups(keys: Int64) -> Iterator[list[int]]:
    """Rows that share a key, where there are several; 0 is no key."""
    if not len(keys):
        return
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=keys[order][:1] - 1))
    ends = np.append(starts[1:], len(keys))
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if end - start > 1 and keys[order[start]]:
            yield order[start:end].tolist()
