"""The text of an ID3v2 tag without its covers: what is large in it is stepped over, not read.

Layout by id3.org's documents for v2.2, v2.3 and v2.4: a header of ten bytes, then frames, each with
a name and a size of its own.
"""

from __future__ import annotations

from typing import Final

from embedder.framing import id3v2_bytes
from embedder.reading import CachedFile

_HEADER_BYTES: Final = 10
#: A smaller tag is read as it is.
SMALL_BYTES: Final = 64 * 1024
#: Longer frames hold pictures and other programs' data.
_MOST_FRAME_BYTES: Final = 16 * 1024
_MOST_FRAMES: Final = 1000
#: Unsynchronised tags and those with an extended header are seldom: they are read whole.
_PLAIN_FLAGS: Final = 0x20


def text_frames(file: CachedFile) -> bytes | None:
    """A tag with the small frames of the one that the file begins with; None: read it whole."""
    header = file.read_at(0, _HEADER_BYTES)
    end = id3v2_bytes(header)
    version = header[3] if len(header) == _HEADER_BYTES else 0
    if end <= SMALL_BYTES or version not in {2, 3, 4} or header[5] & ~_PLAIN_FLAGS:
        return None
    head = 6 if version == 2 else 10
    at, kept = _HEADER_BYTES, b""
    for _ in range(_MOST_FRAMES):
        frame = file.read_at(at, head)
        if len(frame) < head or at + head > end or not frame[0]:
            break
        size = _frame_bytes(file, frame, version, at + head, end)
        if size is None:
            return None
        if size <= _MOST_FRAME_BYTES:
            kept += frame + file.read_at(at + head, size)
        at += head + size
    return header[:6] + _synchsafe(len(kept)) + kept


def _frame_bytes(file: CachedFile, frame: bytes, version: int, at: int, end: int) -> int | None:
    """The size of a frame's content; None where it cannot be."""
    if version == 2:
        sizes = [int.from_bytes(frame[3:6], "big")]
    else:
        sizes = [int.from_bytes(frame[4:8], "big")]
        if version == 4 and not any(byte & 0x80 for byte in frame[4:8]):
            # By the book seven bits a byte; iTunes wrote eight. What follows tells.
            seven = 0
            for byte in frame[4:8]:
                seven = seven << 7 | byte
            sizes.insert(0, seven)
    for size in sizes:
        follows = file.read_at(at + size, 4)
        if at + size == end or (at + size < end and (not any(follows) or _is_name(follows[:3]))):
            return size
    return None


def _is_name(name: bytes) -> bool:
    return all(48 <= byte <= 57 or 65 <= byte <= 90 for byte in name)


def _synchsafe(size: int) -> bytes:
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
