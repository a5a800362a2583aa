"""What a snapshot is made of: its files, their types, and what is handed over to be published."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catalog.errors import SnapshotError
from catalog.tracks import Float32, Int64, Model

FORMAT: Final = 1
FOLDER: Final = "snapshots"
POINTER: Final = "current"
MANIFEST: Final = "manifest.json"

#: The per-track columns with the type that each is kept in.
COLUMNS: Final[Mapping[str, type[np.generic]]] = {
    "track_ids": np.int64,
    "artist": np.int32,
    "album": np.int32,
    "recording": np.int32,
    "duration_s": np.float32,
    "year": np.int16,
}
#: What older snapshots lack: its type and how many dimensions it has. The ranker does without.
OPTIONAL: Final[Mapping[str, tuple[type[np.generic], int]]] = {
    "hub": (np.float32, 1),
    "profile": (np.float32, 2),
    "coarse": (np.float32, 2),
    "kind": (np.uint8, 1),
    "genres": (np.int32, 2),
    "loudness_lufs": (np.float32, 1),
    "loudness_range_lu": (np.float32, 1),
    "tempo_bpm": (np.float32, 1),
    "tempo_confidence": (np.float32, 1),
    "key": (np.int8, 1),
    "key_confidence": (np.float32, 1),
}
#: Where NaN is allowed: it stands for what is unknown of a track.
WITH_GAPS: Final = frozenset({"loudness_lufs", "loudness_range_lu", "tempo_bpm"})
#: `coarse` has at most so many columns of the vectors, then at most so many of the profile. (Of the
#: 50 best of 100,000 the best 5,000 by it hold .996; with 48 and 16, as before 2026-11-21, .992.)
COARSE_COLUMNS: Final = (60, 4)
TEXT_KINDS: Final = ("path", "title", "artist", "album")


@dataclass(frozen=True, slots=True)
class TagGroup:
    """Scores of one family of tags: `scores` (n, n_labels) float16, normal over the library."""

    labels: tuple[str, ...]
    scores: NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class SnapshotArrays:
    """What is to be published; all arrays share one row order.

    `vectors` (n, dim) float32, centred, rows of length 1 (or 0 where nothing is known).
    `artist`, `album`, `recording` (n,) int32: equal code, same thing; -1 unknown. `recording`
    is the version family. `year` 0 is unknown. `text` has the keys of `TEXT_KINDS`.

    Optional: `hub` (n,) nearness to the nearest others, `profile` (n, p) unit rows of what the
    tags say, `coarse` (n, c <= 64) the first columns of vectors and profile, `kind` (n,) uint8
    flags of `catalog.kinds`, `genres` (n, g) int32 codes of what the files say, -1 for none,
    and `genre_names` what they stand for.
    Measured, (n,) each: `loudness_lufs` (EBU R 128), `loudness_range_lu`, `tempo_bpm`, NaN where
    unknown; `key` int8, 0-11 for C-B major and 12-23 for C-B minor, -1 unknown; `tempo_confidence`
    and `key_confidence` in 0…1.
    """

    model: Model
    vectors: Float32
    track_ids: Int64
    artist: NDArray[np.int32]
    album: NDArray[np.int32]
    recording: NDArray[np.int32]
    duration_s: Float32
    year: NDArray[np.int16]
    text: Mapping[str, Sequence[str]]
    tag_groups: Mapping[str, TagGroup] = field(default_factory=dict)
    hub: Float32 | None = None
    profile: Float32 | None = None
    coarse: Float32 | None = None
    kind: NDArray[np.uint8] | None = None
    genres: NDArray[np.int32] | None = None
    genre_names: Sequence[str] = ()
    loudness_lufs: Float32 | None = None
    loudness_range_lu: Float32 | None = None
    tempo_bpm: Float32 | None = None
    tempo_confidence: Float32 | None = None
    key: NDArray[np.int8] | None = None
    key_confidence: Float32 | None = None


def check_file(path: Path, facts: Mapping[str, Any], verify: bool) -> None:
    """Compare a file with what its manifest says: the size, and with `verify` the sha256.

    Raises:
        SnapshotError: they differ.
        OSError: it is not there, or cannot be read.
    """
    again = "run `segue embed` to publish a new one"
    size = path.stat().st_size
    if size != facts["bytes"]:
        raise SnapshotError(
            f"the snapshot file {path} is {size} bytes instead of {facts['bytes']}: {again}"
        )
    if verify and sha256(path) != facts["sha256"]:
        raise SnapshotError(f"the snapshot file {path} does not have its sha256: {again}")


def sha256(path: Path) -> str:
    """A file's digest, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
