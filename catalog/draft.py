"""A snapshot in the making: built beside the published one, and put in its place at the end.

Its large arrays are written block by block, so that a library of any size can be published in
little memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from catalog.errors import SnapshotError
from catalog.layout import (
    COLUMNS,
    FOLDER,
    FORMAT,
    MANIFEST,
    OPTIONAL,
    POINTER,
    TEXT_KINDS,
    WITH_GAPS,
    SnapshotArrays,
    check_file,
    sha256,
)
from catalog.matrices import FileMatrix, Tiles, npy_header
from catalog.tracks import Model

#: What an earlier job, or this one, has not finished; and scratch files within it.
_BUILDING: Final = ".building-"


class Draft:
    """A snapshot of `tracks` tracks that is being written. Use as a context manager.

    Every file is given once; `publish` ends it. Left without that, nothing was changed.

    Raises:
        OSError: the disk is full or not writable; what was published stays published.
        ValueError: values that are no numbers, or that do not fit together.
    """

    def __init__(self, data: Path, model: Model, tracks: int) -> None:
        self._folder = data / FOLDER
        self._model = model
        self.tracks = tracks
        self._matrices: list[FileMatrix] = []
        self._texts: list[TextColumn] = []
        self._tag_groups: dict[str, list[str]] = {}
        self._folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(self._folder)
        self._building = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=self._folder))
        # mkdtemp makes it private; the proxy may run as another user.
        self._building.chmod(0o755)
        #: What the codes of "genres" stand for, in order; () where nobody knows.
        self.genre_names: Sequence[str] = ()
        self._scratch = self._building / ".scratch"
        self._scratch.mkdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()
        shutil.rmtree(self._building, ignore_errors=True)

    def _close(self) -> None:
        for matrix in self._matrices:
            matrix.close()
        for text in self._texts:
            text.close()

    def matrix(self, name: str, width: int, dtype: DTypeLike = np.float32) -> FileMatrix:
        """An array (tracks, width), to be filled by blocks of rows: "vectors", "profile", …"""
        return self._matrix(self._building / f"{name}.npy", (self.tracks, width), dtype)

    def tiles(self, name: str, width: int) -> Tiles:
        """A matrix (tracks, width) on disk that is no part of the snapshot."""
        shape = Tiles.shape(self.tracks, width)
        return Tiles(self._matrix(self._scratch / f"{name}.npy", shape, np.float32), self.tracks)

    def _matrix(
        self, path: Path, shape: tuple[int, ...], dtype: DTypeLike, *, gaps: bool = False
    ) -> FileMatrix:
        matrix = FileMatrix(path, shape, dtype, gaps=gaps)
        self._matrices.append(matrix)
        return matrix

    def column(self, name: str, values: NDArray[Any]) -> None:
        """One of `COLUMNS`, or of `OPTIONAL` with one dimension."""
        dtype = COLUMNS[name] if name in COLUMNS else OPTIONAL[name][0]
        if values.shape != (self.tracks,):
            raise ValueError(f"{name} must be ({self.tracks},), got {values.shape}")
        if name == "track_ids" and len(values) > 1 and not (np.diff(values) > 0).all():
            raise ValueError("track_ids must ascend")
        path = self._building / f"{name}.npy"
        self._matrix(path, values.shape, dtype, gaps=name in WITH_GAPS)[:] = values

    def text(self, kind: str) -> TextColumn:
        """One of `TEXT_KINDS`, to be filled row by row."""
        column = TextColumn(self._building, kind, self.tracks)
        self._texts.append(column)
        return column

    def tag_group(self, name: str, labels: Sequence[str]) -> FileMatrix:
        """Normal scores (tracks, labels) float16, to be filled by blocks of rows."""
        self._tag_groups[name] = list(labels)
        return self.matrix(f"tags-{name}", len(labels), np.float16)

    def publish(self, *, keep: int = 2) -> str:
        """Put it in force; returns its version, a digest of its content.

        A reader sees the old snapshot or the new one, whole. Equal content gives equal bytes and
        the same version. The `keep` newest snapshots stay, this one among them.
        """
        for column in self._texts:
            column.finish()
        self._close()
        shutil.rmtree(self._scratch)
        self._remove_older(keep)
        width = np.load(self._building / "vectors.npy", mmap_mode="r").shape[1]
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "model": {
                "name": self._model.name,
                "version": self._model.version,
                "dim": width,
            },
            "tracks": self.tracks,
            "tag_groups": dict(sorted(self._tag_groups.items())),
            "files": {path.name: _describe(path) for path in sorted(self._building.iterdir())},
        }
        if self.genre_names:
            manifest["genres"] = list(self.genre_names)
        text = json.dumps(manifest, indent=1, sort_keys=True)
        version = hashlib.sha256(text.encode()).hexdigest()[:16]
        _write_durably(self._building / MANIFEST, text)
        target = self._folder / version
        if _is_intact(target, text):  # published before: it only becomes current again
            os.utime(target)
        else:
            if target.exists():  # damaged: this is what mends it
                target.rename(self._folder / f"{_BUILDING}damaged-{version}")
            self._building.rename(target)
        point_to(self._folder, version)
        _remove_leftovers(self._folder)
        remove_old(self._folder, version, keep)
        return version

    def _remove_older(self, keep: int) -> None:
        """What a process that was killed in the midst of this left beyond `keep`: it may recur."""
        pointer = self._folder / POINTER
        try:
            current = pointer.read_text("ascii").strip() if pointer.is_file() else ""
        except (OSError, ValueError):
            return  # nobody can tell what is in force
        if current in {path.name for path in _whole(self._folder)}:
            remove_old(self._folder, current, keep)


class TextColumn:
    """Texts of all rows in two files: their UTF-8 end to end, and where each ends."""

    def __init__(self, folder: Path, kind: str, n: int) -> None:
        self._ends = np.zeros(n, np.int64)
        self._ends_path = folder / f"text-{kind}-ends.npy"
        self._kind = kind
        self._row = 0
        self._size = 0
        self._header = len(npy_header((0,), np.uint8))
        self._file = (folder / f"text-{kind}.npy").open("xb")
        self._file.write(bytes(self._header))

    def extend(self, texts: Iterable[str]) -> None:
        """Append the next rows."""
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        """Append the next row."""
        encoded = _encode(text)
        self._file.write(encoded)
        self._size += len(encoded)
        self._ends[self._row] = self._size
        self._row += 1

    def finish(self) -> None:
        """Write down how long it became."""
        if self._row != len(self._ends):
            raise ValueError(f"text {self._kind!r} must have {len(self._ends)} entries")
        header = npy_header((self._size,), np.uint8)
        if len(header) != self._header:  # NumPy pads it so that lengths may grow
            raise ValueError(f"text {self._kind!r} is too long")
        self._file.seek(0)
        self._file.write(header)
        self._file.flush()
        np.save(self._ends_path, self._ends, allow_pickle=False)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def write_snapshot(data: Path, arrays: SnapshotArrays, *, keep: int = 2) -> str:
    """Publish arrays that fit into memory; see `Draft`."""
    _check(arrays)
    with Draft(data, arrays.model, len(arrays.track_ids)) as draft:
        draft.matrix("vectors", arrays.vectors.shape[1])[:] = arrays.vectors
        for name in COLUMNS:
            draft.column(name, getattr(arrays, name))
        for name, (dtype, dimensions) in OPTIONAL.items():
            array = getattr(arrays, name)
            if array is None:
                continue
            if dimensions == 1:
                draft.column(name, array)
            else:
                draft.matrix(name, array.shape[1], dtype)[:] = array
        draft.genre_names = arrays.genre_names
        for name, group in arrays.tag_groups.items():
            draft.tag_group(name, group.labels)[:] = group.scores
        for kind in TEXT_KINDS:
            draft.text(kind).extend(arrays.text[kind])
        return draft.publish(keep=keep)


def point_to(folder: Path, version: str) -> None:
    """Make a snapshot of this folder the current one, in one step."""
    pointer = folder / f".{POINTER}.{os.getpid()}"
    _write_durably(pointer, version + "\n")
    _sync(folder)
    current = folder / POINTER
    if current.is_dir() and not current.is_symlink():  # somebody's mistake, which no file replaces
        current.rename(folder / f"{_BUILDING}damaged-{POINTER}-{os.getpid()}")
    pointer.replace(current)
    _sync(folder)


def remove_old(folder: Path, version: str, keep: int) -> None:
    """Leave only the `keep` newest snapshots, `version` among them."""
    others = [path for path in _whole(folder) if path.name != version]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[max(keep - 1, 0) :]:
        # Under a name that says what it is: whoever is killed in the midst leaves no half snapshot.
        gone = folder / f"{_BUILDING}gone-{path.name}"
        with contextlib.suppress(OSError):
            path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)


def _whole(folder: Path) -> list[Path]:
    """The snapshots in a folder; not what is being built, or taken down."""
    return [
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and (path / MANIFEST).exists()
    ]


def _check(arrays: SnapshotArrays) -> None:
    n = len(arrays.track_ids)
    if arrays.vectors.ndim != 2 or len(arrays.vectors) != n:
        raise ValueError(f"vectors must be ({n}, dim), got {arrays.vectors.shape}")
    for name, (_, dimensions) in OPTIONAL.items():
        array = getattr(arrays, name)
        if array is not None and (array.ndim != dimensions or len(array) != n):
            raise ValueError(f"{name} must be ({n},{' …' * (dimensions - 1)}), got {array.shape}")
    for name, group in arrays.tag_groups.items():
        if group.scores.shape != (n, len(group.labels)):
            raise ValueError(f"tag group {name!r} must be ({n}, {len(group.labels)})")
    for kind in TEXT_KINDS:
        if len(arrays.text[kind]) != n:
            raise ValueError(f"text {kind!r} must have {n} entries")


def _encode(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate from a broken tag, no escaped byte
        return text.encode("utf-8", "replace")


def _describe(path: Path) -> dict[str, Any]:
    _sync(path)
    return {"sha256": sha256(path), "bytes": path.stat().st_size}


def _is_intact(folder: Path, manifest: str) -> bool:
    """Whether this very snapshot is there, whole."""
    try:
        kept = folder / MANIFEST
        if not kept.is_file() or kept.read_text(encoding="utf-8") != manifest:
            return False
        files: Mapping[str, Any] = json.loads(manifest)["files"]
        for name, facts in files.items():
            check_file(folder / name, facts, verify=True)
    except (OSError, ValueError, SnapshotError):
        return False
    return True


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


def _remove_leftovers(folder: Path) -> None:
    """What a job that died was building. One job runs at a time, so none of it is in use.

    Going back to an older snapshot waits for no job: its pointer is left while its process lives.
    """
    for path in folder.glob(f"{_BUILDING}*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(f".{POINTER}.*"):
        if not _is_running(path.suffix[1:]):
            with contextlib.suppress(OSError):
                path.unlink()


def _is_running(number: str) -> bool:
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
