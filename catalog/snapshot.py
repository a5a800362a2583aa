"""The snapshot: one immutable directory of memory-mapped arrays, published by an atomic swap.

Layout below `<data>/snapshots/` (the format is described in docs/snapshot.md)::

    current                 the name of the directory that counts, replaced with os.replace
    <version>/manifest.json format, model, counts, and the sha256 and size of every file
    <version>/vectors.npy   (n, dim) float32, centred, rows L2-normalised
    <version>/*.npy         per-track columns in the same row order, some of them optional
    <version>/tags-<group>.npy  (n, n_labels) float16 z-scores
    <version>/text-<kind>.npy, text-<kind>-ends.npy   UTF-8 text, concatenated, and where each ends
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
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
}
#: `coarse` has at most so many columns of the vectors, then at most so many of the profile.
COARSE_COLUMNS: Final = (48, 16)
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
    flags of `catalog.kinds`, `genres` (n, g) int32 codes of what the files say, -1 for none.
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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A published snapshot, memory-mapped read-only. Fields as in `SnapshotArrays`."""

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
    kind: NDArray[np.uint8] | None = None
    genres: NDArray[np.int32] | None = None

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


def write_snapshot(data: Path, arrays: SnapshotArrays, *, keep: int = 2) -> str:
    """Publish a snapshot; returns its version, a digest of its content.

    A reader sees the old one or the new one, whole. Equal input gives equal bytes, and the
    same version. The `keep` newest directories stay (readers may still be mapping the last).

    Raises:
        ValueError: arrays whose shapes do not fit together, or with values that are no numbers.
        OSError: the disk is full or not writable; what was published stays published.
    """
    _check(arrays)
    folder = data / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=folder))
    try:
        building.chmod(0o755)  # mkdtemp makes it private; the proxy may run as another user
        files = {}
        for name, array in _files(arrays):
            np.save(building / name, array, allow_pickle=False)
            files[name] = _describe(building / name)
        manifest = {
            "format": FORMAT,
            "model": {
                "name": arrays.model.name,
                "version": arrays.model.version,
                "dim": int(arrays.vectors.shape[1]),
            },
            "tracks": len(arrays.track_ids),
            "tag_groups": {name: list(g.labels) for name, g in sorted(arrays.tag_groups.items())},
            "files": files,
        }
        text = json.dumps(manifest, indent=1, sort_keys=True)
        version = hashlib.sha256(text.encode()).hexdigest()[:16]
        _write_durably(building / MANIFEST, text)
        target = folder / version
        if _is_intact(target, text):  # published before: it only becomes current again
            shutil.rmtree(building)
            os.utime(target)
        else:
            if target.exists():  # damaged: this is what mends it
                target.rename(folder / f".building-damaged-{version}")
            building.rename(target)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    _point_to(folder, version)
    _remove_leftovers(folder)
    _remove_old(folder, version, keep)
    return version


def current_version(data: Path) -> str | None:
    """The name of the published snapshot, or None. One small read: cheap enough to poll."""
    try:
        return (data / FOLDER / POINTER).read_text(encoding="ascii").strip() or None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SnapshotError(f"cannot read {data / FOLDER / POINTER}: {error}") from error


def open_snapshot(data: Path, *, verify: bool = False) -> Snapshot | None:
    """Map the published snapshot; None where nothing was published yet.

    File sizes are always checked against the manifest, the contents with `verify` (reads all).

    Raises:
        SnapshotError: damaged, incomplete, or of a format this Segue does not know.
    """
    version = current_version(data)
    if version is None:
        return None
    folder = data / FOLDER / version
    again = "run `segue embed` to publish a new one"
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] > FORMAT:
            raise SnapshotError(
                f"the snapshot {folder} has format {manifest['format']}, this Segue knows up to"
                f" {FORMAT}: update Segue"
            )
        for name, facts in manifest["files"].items():
            _check_file(folder / name, facts, verify)
        return _map(folder, version, manifest)
    except SnapshotError:
        raise
    except FileNotFoundError as error:
        raise SnapshotError(
            f"the snapshot {folder} lacks {Path(error.filename).name}: {again}"
        ) from error
    except Exception as error:  # NumPy alone raises a dozen kinds over a damaged header
        raise SnapshotError(f"the snapshot {folder} is damaged ({error}): {again}") from error


def _map(folder: Path, version: str, manifest: Mapping[str, Any]) -> Snapshot:
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
    return Snapshot(
        version=version,
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


def _files(arrays: SnapshotArrays) -> Iterator[tuple[str, NDArray[Any]]]:
    yield "vectors.npy", np.ascontiguousarray(arrays.vectors, np.float32)
    for name, dtype in COLUMNS.items():
        yield f"{name}.npy", np.ascontiguousarray(getattr(arrays, name), dtype)
    for name, (dtype, _) in OPTIONAL.items():
        if getattr(arrays, name) is not None:
            yield f"{name}.npy", np.ascontiguousarray(getattr(arrays, name), dtype)
    for name, group in sorted(arrays.tag_groups.items()):
        yield f"tags-{name}.npy", np.ascontiguousarray(group.scores, np.float16)
    for kind in TEXT_KINDS:
        encoded = [_encode(text) for text in arrays.text[kind]]
        yield f"text-{kind}.npy", np.frombuffer(b"".join(encoded), np.uint8)
        yield f"text-{kind}-ends.npy", np.cumsum([len(e) for e in encoded], dtype=np.int64)


def _encode(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate from a broken tag, no escaped byte
        return text.encode("utf-8", "replace")


def _check(arrays: SnapshotArrays) -> None:
    n = len(arrays.track_ids)
    if arrays.vectors.ndim != 2 or len(arrays.vectors) != n:
        raise ValueError(f"vectors must be ({n}, dim), got {arrays.vectors.shape}")
    for name in COLUMNS:
        if getattr(arrays, name).shape != (n,):
            raise ValueError(f"{name} must be ({n},), got {getattr(arrays, name).shape}")
    for name, (_, dimensions) in OPTIONAL.items():
        array = getattr(arrays, name)
        if array is None:
            continue
        if array.ndim != dimensions or len(array) != n:
            raise ValueError(f"{name} must be ({n},{' …' * (dimensions - 1)}), got {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} has values that are no numbers")
    for kind in TEXT_KINDS:
        if len(arrays.text[kind]) != n:
            raise ValueError(f"text {kind!r} must have {n} entries")
    for name, group in arrays.tag_groups.items():
        if group.scores.shape != (n, len(group.labels)):
            raise ValueError(f"tag group {name!r} must be ({n}, {len(group.labels)})")
        if not np.isfinite(group.scores).all():
            raise ValueError(f"tag group {name!r} has values that are no numbers")
    if not np.isfinite(arrays.vectors).all():
        raise ValueError("vectors have values that are no numbers")
    if n > 1 and not (np.diff(arrays.track_ids) > 0).all():
        raise ValueError("track_ids must ascend")


def _describe(path: Path) -> dict[str, Any]:
    _sync(path)
    return {"sha256": _sha256(path), "bytes": path.stat().st_size}


def _is_intact(folder: Path, manifest: str) -> bool:
    """Whether this very snapshot is there, whole."""
    try:
        if (folder / MANIFEST).read_text(encoding="utf-8") != manifest:
            return False
        for name, facts in json.loads(manifest)["files"].items():
            _check_file(folder / name, facts, verify=True)
    except (OSError, ValueError, SnapshotError):
        return False
    return True


def _check_file(path: Path, facts: Mapping[str, Any], verify: bool) -> None:
    again = "run `segue embed` to publish a new one"
    size = path.stat().st_size
    if size != facts["bytes"]:
        raise SnapshotError(
            f"the snapshot file {path} is {size} bytes instead of {facts['bytes']}: {again}"
        )
    if verify and _sha256(path) != facts["sha256"]:
        raise SnapshotError(f"the snapshot file {path} does not have its sha256: {again}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _point_to(folder: Path, version: str) -> None:
    pointer = folder / f".{POINTER}.{os.getpid()}"
    _write_durably(pointer, version + "\n")
    _sync(folder)
    pointer.replace(folder / POINTER)
    _sync(folder)


def _remove_leftovers(folder: Path) -> None:
    """What a job that died was building. One job runs at a time, so none of it is in use."""
    for path in folder.glob(".building-*"):
        shutil.rmtree(path, ignore_errors=True)


def _remove_old(folder: Path, version: str, keep: int) -> None:
    others = [p for p in folder.iterdir() if (p / MANIFEST).exists() and p.name != version]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[max(keep - 1, 0) :]:
        shutil.rmtree(path, ignore_errors=True)
