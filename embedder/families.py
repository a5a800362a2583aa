"""Version families: which tracks are one recording, told by what is written in them."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.tracks import Float32, Int64, Track
from embedder.names import artist_name, simplify

#: Two files of one artist and title are one recording when they differ by no more than this.
SAME_RECORDING_S: Final = 2.0

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


def recording_families(tracks: Sequence[Track]) -> NDArray[np.int32]:
    """`families` of tracks that are in memory."""
    rows = np.array([identity(track) for track in tracks], np.int64).reshape(-1, 3)
    seconds = np.array([track.duration_s for track in tracks], np.float64)
    return families(Identities(*rows.T), seconds)


def families(
    identities: Identities,
    duration_s: Float32 | NDArray[np.float64],
    alike: Iterable[tuple[int, int]] = (),
) -> NDArray[np.int32]:
    """A code for each track, equal for versions of one recording, (n,) int32.

    One recording are files of the same MusicBrainz recording, of the same content, those that
    sound it (pairs of rows, `embedder.versions`), or of the same artist and title whose durations
    differ by at most 2 s.
    """
    parent = np.arange(len(duration_s))

    def find(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = int(parent[row])
        return row

    def join(one: int, other: int) -> None:
        low, high = sorted((find(one), find(other)))
        parent[high] = low

    for keys in (identities.recording, identities.content):
        for rows in _groups(keys):
            for row in rows[1:]:
                join(rows[0], row)
    for one, other in alike:
        join(one, other)
    for rows in _groups(identities.name):
        by_duration = sorted(rows, key=lambda row: float(duration_s[row]))
        for shorter, longer in pairwise(by_duration):
            if duration_s[longer] - duration_s[shorter] <= SAME_RECORDING_S:
                join(shorter, longer)
    return first_codes(find(row) for row in range(len(parent)))


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
