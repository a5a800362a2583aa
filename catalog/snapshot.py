"""The snapshot: one immutable directory of memory-mapped arrays, published by an atomic swap.

Layout below `<data>/snapshots/` (the format is described in docs/snapshot.md)::

    current                 the name of the directory that counts, replaced with os.replace
    <version>/manifest.json format, model, counts, and the sha256 and size of every file
    <version>/vectors.npy   (n, dim) float32, centred, rows L2-normalised
    <version>/*.npy         per-track columns in the same row order, some of them optional
    <version>/tags-<group>.npy  (n, n_labels) float16 normal scores of the ranks
    <version>/text-<kind>.npy, text-<kind>-ends.npy   UTF-8 text, concatenated, and where each ends
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catalog.draft import write_snapshot
from catalog.errors import SnapshotError, advice
from catalog.layout import (
    COARSE_COLUMNS,
    COLUMNS,
    FOLDER,
    FORMAT,
    MANIFEST,
    OPTIONAL,
    POINTER,
    TEXT_KINDS,
    SnapshotArrays,
    TagGroup,
    check_file,
)
from catalog.tracks import Float32, Int64, Model

__all__ = [
    "COARSE_COLUMNS",
    "FOLDER",
    "MANIFEST",
    "POINTER",
    "Snapshot",
    "SnapshotArrays",
    "TagGroup",
    "current_version",
    "open_snapshot",
    "write_snapshot",
]

#: Names and lists of labels; what is longer was never written by Segue.
MOST_MANIFEST_BYTES: Final = 64 * 2**20
_MOST_NAME_BYTES: Final = 1024
_NAME: Final = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
#: From this size on NumPy asks for huge pages.
_HUGE_BYTES: Final = 4 * 2**20
#: How many tracks have a genre is estimated from about so many.
_GENRE_SAMPLE: Final = 2048
#: Of what is wrong so many characters are told.
_MOST_TOLD: Final = 200


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A published snapshot, memory-mapped read-only. Fields as in `SnapshotArrays`.

    `coarse_of_vectors` columns of `coarse` are of the vectors, the others of the profile.
    `genre_shares`: for codes of `genres`, the part of the tracks that name it, 0…1, from a sample.
    """

    version: str
    model: Model
    vectors: Float32
    track_ids: Int64
    artist: NDArray[np.int32]
    album: NDArray[np.int32]
    recording: NDArray[np.int32]
    duration_s: Float32
    year: NDArray[np.int16]
    tag_groups: Mapping[str, TagGroup]
    texts: Mapping[str, tuple[NDArray[np.uint8], Int64]]
    hub: Float32 | None = None
    profile: Float32 | None = None
    coarse: Float32 | None = None
    coarse_of_vectors: int = 0
    kind: NDArray[np.uint8] | None = None
    genres: NDArray[np.int32] | None = None
    genre_names: tuple[str, ...] = ()
    genre_shares: Mapping[int, float] = field(default_factory=dict)
    loudness_lufs: Float32 | None = None
    loudness_range_lu: Float32 | None = None
    tempo_bpm: Float32 | None = None
    tempo_confidence: Float32 | None = None
    key: NDArray[np.int8] | None = None
    key_confidence: Float32 | None = None

    @property
    def n(self) -> int:
        """How many tracks it holds."""
        return len(self.track_ids)

    def text(self, kind: str, row: int) -> str:
        """The "path", "title", "artist" or "album" of a row."""
        data, ends = self.texts[kind]
        start = int(ends[row - 1]) if row else 0
        # Python's own decoder, with its escape for bytes that are no UTF-8 (file names).
        return bytes(data[start : int(ends[row])]).decode("utf-8", "surrogateescape")

    def row_of(self, track_id: int) -> int | None:
        """The row of a track, or None. `track_ids` ascend."""
        row = int(np.searchsorted(self.track_ids, track_id))
        return row if row < self.n and int(self.track_ids[row]) == track_id else None


def current_version(data: Path) -> str | None:
    """The name of the published snapshot, or None. One small read: cheap enough to poll.

    Raises:
        SnapshotError: what says it is no file, or does not hold a plain name.
    """
    pointer = data / FOLDER / POINTER
    again = "run `segue embed` to publish a new one"
    try:
        content = read_plain(pointer, _MOST_NAME_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SnapshotError(
            f"cannot read {pointer} ({error.strerror or error}): {advice(error, again)}"
        ) from error
    if not content.strip():
        return None
    # Never a path: what is served must be what was published here.
    name = _NAME.fullmatch(content.strip())
    if name is None:
        raise SnapshotError(f"{pointer} does not name a snapshot ({content[:40]!r}): {again}")
    return name[0].decode("ascii")


def read_plain(path: Path, most_bytes: int) -> bytes:
    """A file's content, without waiting for what is no file.

    Raises:
        OSError: it cannot be read, is a pipe, a folder or a device, or longer than `most_bytes`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:  # noqa: PTH123
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no file")
        if status.st_size > most_bytes:
            raise OSError(errno.EFBIG, f"it is {status.st_size} bytes long")
        return file.read(most_bytes)


def open_snapshot(data: Path, *, verify: bool = False, resident: bool = False) -> Snapshot | None:
    """Map the published snapshot; None where nothing was published yet.

    File sizes are always checked against the manifest, the contents with `verify` (reads all).
    With `resident`, for who ranks again and again, a large `coarse` is read into memory of the
    process's own: a file is mapped in pages of 4 KiB, and reading it through takes a third longer.

    Raises:
        SnapshotError: damaged, incomplete, or of a format this Segue does not know.
    """
    version = current_version(data)
    if version is None:
        return None
    folder = data / FOLDER / version
    again = "run `segue embed` to publish a new one"
    try:
        manifest = json.loads(read_plain(folder / MANIFEST, MOST_MANIFEST_BYTES))
        if manifest["format"] > FORMAT:
            raise SnapshotError(
                f"the snapshot {folder} has format {manifest['format']!s:.20}, this Segue knows up"
                f" to {FORMAT}: update Segue"
            )
        for name, facts in manifest["files"].items():
            if Path(name).name != name:
                raise ValueError(f"its manifest lists {name[:_MOST_TOLD]!r}")
            check_file(folder / name, facts, verify)
        return _map(folder, version, manifest, resident)
    except SnapshotError:
        raise
    except FileNotFoundError as error:
        raise SnapshotError(
            f"the snapshot {folder} lacks {Path(error.filename).name}: {again}"
        ) from error
    except PermissionError as error:
        raise SnapshotError(
            f"cannot read {error.filename} ({error.strerror}): {advice(error, again)}"
        ) from error
    except Exception as error:  # NumPy alone raises a dozen kinds over a damaged header
        what = str(error)[:_MOST_TOLD] or type(error).__name__
        raise SnapshotError(f"the snapshot {folder} is damaged ({what}): {again}") from error


def _map(folder: Path, version: str, manifest: Mapping[str, Any], resident: bool) -> Snapshot:
    def load(name: str) -> Any:
        if f"{name}.npy" not in manifest["files"]:
            raise ValueError(f"its manifest does not list {name}.npy")
        array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        if len(array) == 0:  # an empty file cannot be mapped by every system
            return np.array(array)
        # A plain view of the map: `np.memmap` itself costs microseconds at each slice of it.
        return np.asarray(array)

    columns = {name: load(name) for name in COLUMNS}
    optional = {name: load(name) for name in OPTIONAL if f"{name}.npy" in manifest["files"]}
    vectors = load("vectors")
    n = manifest["tracks"]
    if (
        vectors.shape != (n, manifest["model"]["dim"])
        or any(column.shape != (n,) for column in columns.values())
        or any(len(array) != n or array.ndim != OPTIONAL[o][1] for o, array in optional.items())
    ):
        raise ValueError("its arrays are not of one length")
    coarse = optional.get("coarse")
    if resident and coarse is not None and coarse.nbytes >= _HUGE_BYTES:
        coarse = optional["coarse"] = np.array(coarse)
    return Snapshot(
        coarse_of_vectors=0 if coarse is None else _of_vectors(coarse, vectors),
        version=version,
        genre_names=tuple(manifest.get("genres", ())),
        genre_shares=_shares(optional.get("genres")),
        model=Model(**manifest["model"]),
        vectors=vectors,
        tag_groups={
            name: TagGroup(tuple(labels), load(f"tags-{name}"))
            for name, labels in manifest["tag_groups"].items()
        },
        texts={kind: (load(f"text-{kind}"), load(f"text-{kind}-ends")) for kind in TEXT_KINDS},
        **columns,
        **optional,
    )


def _shares(genres: NDArray[np.int32] | None) -> dict[int, float]:
    """How many of the tracks name each genre, estimated from an even sample of them."""
    if genres is None or not genres.size:
        return {}
    sample = genres[:: max(len(genres) // _GENRE_SAMPLE, 1)]
    # A track names a genre once: counting all places counts the tracks.
    codes, times = np.unique(sample, return_counts=True)
    shares = (times / len(sample)).tolist()
    return {code: share for code, share in zip(codes.tolist(), shares, strict=True) if code >= 0}


def _of_vectors(coarse: Float32, vectors: Float32) -> int:
    """How many leading columns of the coarse copy are columns of the vectors."""
    # Told by the numbers, because how many there are has changed; a few rows may be all 0.
    width = min(coarse.shape[1], vectors.shape[1])
    equal = (coarse[:64, :width] == vectors[:64, :width]).all(0)
    return int(np.logical_and.accumulate(equal).sum())
