"""Arrays in `.npy` files that are written and read in blocks of rows, larger than memory.

Not mapped: writing to a mapping of a full disk kills the process, a write that fails is an error.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

#: A block of rows is at most so large, whatever their width.
_BLOCK_BYTES: Final = 8 * 2**20
_MOST_ROWS: Final = 4096


class Matrix(Protocol):
    """Rows that can be taken and set by slices: an array, or a file of one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""
        ...

    def __getitem__(self, rows: slice, /) -> Any:
        """A block of rows, as an array."""
        ...

    def __setitem__(self, rows: slice, values: Any, /) -> None:
        """Replace a block of rows."""
        ...


class FileMatrix:
    """An array (n, d) or (n,) in a file, all zeros at first; `rows[a:b]` reads and writes.

    Raises:
        OSError: the disk is full; that is known before the first row is written.
        ValueError: values that are no numbers, unless `gaps` may be in it, or a slice with steps.
    """

    def __init__(
        self, path: Path, shape: tuple[int, ...], dtype: DTypeLike, *, gaps: bool = False
    ) -> None:
        self.path = path
        self._gaps = gaps
        self.shape = shape
        self.dtype = np.dtype(dtype)
        header = npy_header(shape, self.dtype)
        self._start = len(header)
        self._row = int(np.prod(shape[1:], dtype=np.int64)) * self.dtype.itemsize
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(self._descriptor, header, 0)
            if self._row * shape[0]:
                os.posix_fallocate(self._descriptor, self._start, self._row * shape[0])
        except BaseException:
            self.close()
            raise

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        start, stop = self._range(rows)
        values = np.empty((stop - start, *self.shape[1:]), self.dtype)
        view, done = values.data.cast("B") if values.size else memoryview(b""), 0
        while done < len(view):
            count = os.preadv(
                self._descriptor, [view[done:]], self._start + start * self._row + done
            )
            if not count:
                raise OSError(f"{self.path} was cut short")
            done += count
        return values

    def __setitem__(self, rows: slice, values: NDArray[Any], /) -> None:
        start, stop = self._range(rows)
        block = np.ascontiguousarray(values, self.dtype)
        if block.shape != (stop - start, *self.shape[1:]):
            raise ValueError(f"{self.path.stem}: rows {start} to {stop} cannot be {block.shape}")
        if block.dtype.kind == "f" and not (self._gaps or np.isfinite(block).all()):
            raise ValueError(f"{self.path.stem} has values that are no numbers")
        view, done = block.data.cast("B") if block.size else memoryview(b""), 0
        while done < len(view):
            done += os.pwrite(self._descriptor, view[done:], self._start + start * self._row + done)

    def _range(self, rows: slice) -> tuple[int, int]:
        start, stop, step = rows.indices(self.shape[0])
        if step != 1:
            raise ValueError("a FileMatrix is read in rows that follow each other")
        return start, max(start, stop)

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Tiles:
    """A matrix (n, d) float32 in a file, as quick by columns as by rows.

    Rows lie together by the thousand, and among those column by column.
    """

    rows_each: Final = _MOST_ROWS

    def __init__(self, file: FileMatrix, n: int) -> None:
        self._file = file
        self._n = n
        self._width = max(file.shape[0] // max(-(-n // self.rows_each), 1), 1)

    @classmethod
    def shape(cls, n: int, width: int) -> tuple[int, int]:
        """How large the file has to be."""
        return -(-n // cls.rows_each) * width, cls.rows_each

    def parts(self) -> Iterable[slice]:
        """The rows of each tile."""
        each = self.rows_each
        return (slice(start, min(start + each, self._n)) for start in range(0, self._n, each))

    def set_rows(self, part: slice, values: NDArray[np.float32]) -> None:
        """Fill the rows of one tile, (rows, d)."""
        first = part.start // self.rows_each * self._width
        turned = np.zeros((self._width, self.rows_each), np.float32)
        turned[:, : len(values)] = values.T
        self._file[first : first + self._width] = turned

    def rows(self, part: slice) -> NDArray[np.float32]:
        """The rows of one tile, (rows, d)."""
        first = part.start // self.rows_each * self._width
        rows: NDArray[np.float32] = self._file[first : first + self._width]
        return rows[:, : part.stop - part.start].T

    def column(self, column: int) -> NDArray[np.float32]:
        """One column, (n,)."""
        places = range(column, self._file.shape[0], self._width)
        values = np.empty(len(places) * self.rows_each, np.float32)
        for tile, place in enumerate(places):
            start = tile * self.rows_each
            values[start : start + self.rows_each] = self._file[place : place + 1][0]
        return values[: self._n]

    def set_column(self, column: int, values: NDArray[np.float32]) -> None:
        """Replace one column, (n,)."""
        for part in self.parts():
            tile = np.zeros((1, self.rows_each), np.float32)
            tile[0, : part.stop - part.start] = values[part]
            place = part.start // self.rows_each * self._width + column
            self._file[place : place + 1] = tile


def npy_header(shape: tuple[int, ...], dtype: DTypeLike) -> bytes:
    """What `numpy.save` writes before an array's bytes (format 1)."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head,
        {
            "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
            "fortran_order": False,
            "shape": shape,
        },
    )
    return head.getvalue()


def blocks(n: int, width: int = 1, itemsize: int = 4) -> Iterable[slice]:
    """Slices that cover n rows, each of a few megabytes at most."""
    rows = max(1, min(_MOST_ROWS, _BLOCK_BYTES // max(width * itemsize, 1)))
    return (slice(start, min(start + rows, n)) for start in range(0, n, rows))
