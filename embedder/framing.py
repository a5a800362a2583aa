"""Marks in compressed audio: which byte is which sample, read from the frames' own headers.

Pure functions over bytes: FLAC frames (RFC 9639, section 9.1) carry the number of their first
sample, Ogg pages (RFC 3533, section 6) that of their last.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

#: A byte offset and the first sample whose sound lies at or after it.
Mark = tuple[int, int]


def _crc8_table() -> tuple[int, ...]:
    """Of the polynomial x⁸ + x² + x + 1."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value << 1 ^ (0x107 if value & 0x80 else 0)
        table.append(value)
    return tuple(table)


_CRC8: Final = _crc8_table()

STREAMINFO_BYTES: Final = 34
_LONGEST_FLAC_HEADER: Final = 16
_SEEKPOINT: Final = struct.Struct(">QQH")
_NO_SEEKPOINT: Final = 2**64 - 1

_OGG_HEADER: Final = struct.Struct("<4sBBqIIIB")
_NO_GRANULE: Final = -1
_CONTINUED: Final = 1
_LAST: Final = 4
#: Each byte with its bits the other way round.
_MIRRORED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_FULL_SEGMENT: Final = 255


@dataclass(frozen=True, slots=True)
class FlacFacts:
    """What STREAMINFO says: sizes in samples, `total` 0 when it is not known."""

    block_samples: int
    rate_hz: int
    total: int

    @classmethod
    def parse(cls, streaminfo: bytes) -> FlacFacts:
        """From the 34 bytes of the block."""
        packed = int.from_bytes(streaminfo[10:18], "big")
        return cls(int.from_bytes(streaminfo[2:4], "big"), packed >> 44, packed & ((1 << 36) - 1))


def id3v2_bytes(head: bytes) -> int:
    """The length of the ID3v2 tag that `head` (10 bytes or more) begins with, 0 when none."""
    if len(head) < 10 or head[:3] != b"ID3" or any(byte & 0x80 for byte in head[6:10]):
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte
    return 10 + size + (10 if head[5] & 0x10 else 0)


def seek_points(table: bytes, audio_start: int) -> list[Mark]:
    """The marks of a FLAC file's SEEKTABLE."""
    usable = table[: len(table) // _SEEKPOINT.size * _SEEKPOINT.size]
    return [
        (audio_start + offset, sample)
        for sample, offset, _ in _SEEKPOINT.iter_unpack(usable)
        if sample != _NO_SEEKPOINT
    ]


def flac_marks(content: bytes, offset: int, facts: FlacFacts) -> list[Mark]:
    """The frames that begin in `content`, which lies at `offset` of the file.

    What only looks like a header (one in some 30 MB does, checksum and all) has no frame beside it
    with the number before or after its own, and is left out.
    """
    found: list[Mark] = []
    at = content.find(b"\xff\xf8")
    while 0 <= at < len(content) - _LONGEST_FLAC_HEADER:
        sample = _flac_sample(content, at, facts)
        if sample is not None and sample < facts.total:
            found.append((offset + at, sample))
        at = content.find(b"\xff\xf8", at + 1)
    return [
        mark
        for i, mark in enumerate(found)
        if any(
            abs(mark[1] - near[1]) == facts.block_samples
            for near in (*found[max(0, i - 2) : i], *found[i + 1 : i + 3])
        )
    ]


def _flac_sample(content: bytes, at: int, facts: FlacFacts) -> int | None:
    """The first sample of the fixed-size frame whose header is at `at`; None when it is none."""
    sizes, reserved = content[at + 2], content[at + 3]
    if sizes >> 4 == 0 or sizes & 0x0F == 0x0F or reserved & 1 or reserved >> 4 > 10:
        return None
    first = content[at + 4]
    extra = 0
    if first & 0x80:
        while first & (0x40 >> extra):
            extra += 1
        if not 1 <= extra <= 6:
            return None
    number = first & (0x7F if extra == 0 else 0x3F >> extra)
    for byte in content[at + 5 : at + 5 + extra]:
        if byte & 0xC0 != 0x80:
            return None
        number = number << 6 | byte & 0x3F
    end = (
        at
        + 5
        + extra
        + {6: 1, 7: 2}.get(sizes >> 4, 0)
        + {12: 1, 13: 2, 14: 2}.get(sizes & 0x0F, 0)
    )
    crc = 0
    for byte in content[at:end]:
        crc = _CRC8[crc ^ byte]
    if end >= len(content) or crc != content[end]:
        return None
    return number * facts.block_samples


@dataclass(frozen=True, slots=True)
class OggPage:
    """Where a page begins and ends; `granule` None when no packet ends on it.

    `ends` are where its packets end, in bytes of the file; the first may have `begun` on the page
    before.
    """

    start: int
    end: int
    granule: int | None
    serial: int
    ends: tuple[int, ...]
    begun: bool

    @property
    def packets(self) -> int:
        """How many begin and end on it."""
        return max(len(self.ends) - self.begun, 0)


def ogg_pages(content: bytes, offset: int) -> Iterator[OggPage]:
    """The pages whose headers lie whole in `content`, which lies at `offset` of the file."""
    at = content.find(b"OggS")
    while at >= 0 and at + _OGG_HEADER.size <= len(content):
        _, version, flags, granule, serial, _, _, segments = _OGG_HEADER.unpack_from(content, at)
        table = content[at + _OGG_HEADER.size : at + _OGG_HEADER.size + segments]
        if version or len(table) < segments:
            at = content.find(b"OggS", at + 4)
            continue
        end = at + _OGG_HEADER.size + segments + sum(table)
        # Four letters can occur in audio: a page is followed by another, or by what we lack.
        if end + 4 <= len(content) and content[end : end + 4] != b"OggS":
            at = content.find(b"OggS", at + 4)
            continue
        known = None if granule == _NO_GRANULE else granule
        place = offset + at + _OGG_HEADER.size + segments
        ends: list[int] = []
        for size in table:
            place += size
            if size < _FULL_SEGMENT:
                ends.append(place)
        yield OggPage(
            offset + at, offset + end, known, serial, tuple(ends), bool(flags & _CONTINUED)
        )
        at = content.find(b"OggS", end)


def ogg_marks(content: bytes, offset: int, serial: int) -> Iterator[Mark]:
    """Marks between the pages of one stream: after a page comes what is later than its granule.

    Where the first page begins, and where the packets of one that is cut off end, is told by the
    number of packets, taken to be as long as those beside them: exact where all are (Opus, as good
    as always), about so elsewhere (Vorbis).
    """
    before: OggPage | None = None
    for number, page in enumerate(
        one
        for one in ogg_pages(content, offset)
        if one.serial == serial and one.granule is not None
    ):
        assert page.granule is not None
        if before is not None and before.granule is not None and page.ends:
            packet = (page.granule - before.granule) / len(page.ends)
            begins = before.granule - math.ceil(before.packets * packet)
            if number == 1 and 0 < begins < before.granule:
                yield before.start, begins
            if page.end > offset + len(content):
                for i, end in enumerate(page.ends[:-1], start=1):
                    if end <= offset + len(content):
                        yield end, before.granule + math.floor(i * packet)
        if page.end <= offset + len(content):
            yield page.end, page.granule
        before = page


def cut_ogg_page(content: bytes, granule: int) -> bytes:
    """The packets that lie whole in the beginning of a page, as a page of its own that ends there.

    `granule` is that of the last of them.
    """
    segments = content[_OGG_HEADER.size - 1]
    table = content[_OGG_HEADER.size : _OGG_HEADER.size + segments]
    place = head = _OGG_HEADER.size + segments
    kept, end = 0, head
    for i, size in enumerate(table):
        place += size
        if place > len(content):
            break
        if size < _FULL_SEGMENT:
            kept, end = i + 1, place
    return ogg_page(content[: _OGG_HEADER.size], granule, table[:kept], content[head:end])


def ogg_page(header: bytes, granule: int, table: bytes, payload: bytes) -> bytes:
    """A page like the one with this header (27 bytes), but for its time and what it holds."""
    magic, version, flags, _, serial, number, _, _ = _OGG_HEADER.unpack(header)
    fields = (magic, version, flags & ~_LAST, granule, serial, number)
    page = _OGG_HEADER.pack(*fields, 0, len(table)) + table + payload
    # CRC-32 with its bits the other way round than zlib's, from 0 and not inverted.
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    checksum = int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRRORED), "big")
    return _OGG_HEADER.pack(*fields, checksum, len(table)) + page[_OGG_HEADER.size :]
