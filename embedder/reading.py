"""A file read in few, large pieces: every byte at most once, and as few round trips as can be.

FFmpeg and mutagen read through `CachedFile`, each in its own small steps; below it the file is
read in aligned blocks, and a whole window of audio in one piece (`fetch`). On a NAS or a blob mount
each read is a round trip, so reads are counted beside bytes.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from embedder.errors import DOES_NOT_DECODE, DecodingError

#: Measured on 4-minute files: 32 KiB reads 2-5 % of a small file more, 64 KiB 5-12 %; smaller
#: blocks save nothing, for the windows are fetched in one piece.
BLOCK_BYTES: Final = 4 * 1024

#: What is kept of a file: more than one window of any format but studio masters.
_CACHE_BYTES: Final = 16 * 2**20

#: Who reads on where the last read ended is given twice as much each time, up to this.
_FIRST_READ_BYTES: Final = 16 * 1024
_MOST_READ_AHEAD_BYTES: Final = 2**20
_LARGE_BYTES: Final = 3 * 2**20


#: No file's windows lie in more: a broken one, mostly holes, would be read for hours.
MOST_READ_BYTES: Final = 2 * 2**30


class Source(Protocol):
    """Where bytes come from. `read_at` gives fewer than asked for only at the end."""

    size_bytes: int

    def read_at(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on, in one round trip."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class LocalSource:
    """A file of this machine, or of a mount."""

    def __init__(self, path: Path) -> None:
        # Not blocking: what was a file when it was listed may be a pipe by now.
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self.size_bytes = os.fstat(self._descriptor).st_size
        if hasattr(os, "posix_fadvise"):  # the kernel's read-ahead would read what we skip
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_RANDOM)

    def read_at(self, offset: int, size: int) -> bytes:
        """As in `Source`."""
        return os.pread(self._descriptor, size, offset)

    def close(self) -> None:
        """As in `Source`."""
        os.close(self._descriptor)


class CachedFile:
    """A seekable file over blocks that are kept, the least recently used leaving first.

    `bytes_read` and `reads` count what went to the source. A file that grows while it is read
    ends where it ended when it was opened.
    """

    def __init__(
        self,
        source: Source,
        *,
        on_read: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._clock = clock
        self._on_read = on_read
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._position = 0
        # Of a large file twice as much is read at first: more is in its head.
        self._next_miss = 0 if source.size_bytes > _LARGE_BYTES else -1
        self._read_ahead = 1
        self.size_bytes = source.size_bytes
        self.bytes_read = 0
        self.reads = 0
        #: Seconds spent waiting for the source.
        self.waited_s = 0.0

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset` on, out of the cache where they are in it."""
        end = min(offset + size, self.size_bytes)
        if offset < 0 or offset >= end:
            return b""
        first, last = offset // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
        pieces: list[bytes] = []
        for number in range(first, last + 1):
            block = self._blocks.get(number)
            if block is None:
                block = self._miss(number, last)
            else:
                self._blocks.move_to_end(number)
            pieces.append(block)
            if len(block) < BLOCK_BYTES:
                break
        skipped = offset - first * BLOCK_BYTES
        return b"".join(pieces)[skipped : skipped + end - offset]

    def fetch(self, start: int, end: int) -> None:
        """Take what is missing of a range into the cache, each gap in one read."""
        start, end = max(0, start), min(end, self.size_bytes, max(0, start) + _CACHE_BYTES)
        if start >= end:
            return
        first, last = start // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
        missing: int | None = None
        for number in range(first, last + 2):
            there = number > last or number in self._blocks
            if not there and missing is None:
                missing = number
            elif there and missing is not None:
                self._load(missing, number - missing)
                missing = None

    def _miss(self, number: int, last: int) -> bytes:
        self._read_ahead = self._read_ahead * 2 if number == self._next_miss else 1
        ahead = min(_FIRST_READ_BYTES * self._read_ahead, _MOST_READ_AHEAD_BYTES) // BLOCK_BYTES
        count = max(last - number + 1, ahead)
        for known in range(number + 1, number + count):
            if known in self._blocks:
                count = known - number
                break
        self._load(number, count)
        self._next_miss = number + count
        return self._blocks.get(number, b"")

    def _load(self, first: int, count: int) -> None:
        offset = first * BLOCK_BYTES
        if self.bytes_read > MOST_READ_BYTES:
            raise DecodingError(DOES_NOT_DECODE, f"no end of it in {MOST_READ_BYTES >> 20} MiB")
        started = self._clock()
        content = self._source.read_at(offset, min(count * BLOCK_BYTES, self.size_bytes - offset))
        self.waited_s += self._clock() - started
        self.reads += 1
        self.bytes_read += len(content)
        if self._on_read is not None:
            self._on_read()
        for i in range(0, max(len(content), 1), BLOCK_BYTES):
            self._blocks[first + i // BLOCK_BYTES] = content[i : i + BLOCK_BYTES]
        kept = max(count, _CACHE_BYTES // BLOCK_BYTES)
        while len(self._blocks) > kept:
            self._blocks.popitem(last=False)

    # What FFmpeg and mutagen call

    def read(self, size: int = -1) -> bytes:
        """As a file's."""
        if size < 0:
            size = self.size_bytes - self._position
        content = self.read_at(self._position, size)
        self._position += len(content)
        return content

    def seek(self, offset: int, whence: int = 0) -> int:
        """As a file's, but that a place before the start is -1: what FFmpeg takes for an error."""
        position = offset + (0, self._position, self.size_bytes)[whence]
        if position < 0:  # a broken header sends FFmpeg there
            return -1
        self._position = position
        return position

    def tell(self) -> int:
        """As a file's."""
        return self._position

    def close(self) -> None:
        """Close the source and drop what is kept."""
        self._blocks.clear()
        self._source.close()


class View:
    """Parts of a file laid end to end, as a file: bytes that we have, and ranges of it.

    FFmpeg then sees the audio without the megabytes of tags and covers around it.
    """

    def __init__(self, file: CachedFile, parts: Sequence[bytes | tuple[int, int]]) -> None:
        self._file = file
        self._parts: list[tuple[int, bytes | tuple[int, int]]] = []
        self._position = 0
        self.size_bytes = 0
        for part in parts:
            self._parts.append((self.size_bytes, part))
            self.size_bytes += len(part) if isinstance(part, bytes) else part[1] - part[0]

    def read(self, size: int = -1) -> bytes:
        """As a file's."""
        if size < 0:
            size = self.size_bytes - self._position
        pieces: list[bytes] = []
        for begins, part in self._parts:
            inside = self._position - begins
            if isinstance(part, bytes):
                piece = part[inside : inside + size] if inside < len(part) else b""
            else:
                left = part[1] - part[0] - inside
                piece = self._file.read_at(part[0] + inside, min(size, left)) if left > 0 else b""
            pieces.append(piece)
            self._position += len(piece)
            size -= len(piece)
            if size <= 0:
                break
        return b"".join(pieces)

    def seek(self, offset: int, whence: int = 0) -> int:
        """As `CachedFile.seek`."""
        position = offset + (0, self._position, self.size_bytes)[whence]
        if position < 0:
            return -1
        self._position = position
        return position

    def tell(self) -> int:
        """As a file's."""
        return self._position
