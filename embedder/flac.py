"""Windows of a FLAC file, cut into frames by their own headers (RFC 9639)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

from av.packet import Packet

from embedder.framing import STREAMINFO_BYTES, FlacFacts, Mark, flac_marks, seek_points
from embedder.marks import Marks
from embedder.reading import CachedFile, View

#: What is read beside a guessed window: see `embedder.marks`. A frame is a tenth of a second.
_MARGIN: Final = 0.013

_HEADER_BYTES: Final = 4
#: What FFmpeg is shown of the audio.
_FIRST_BYTES: Final = 6 * 1024
_STREAMINFO, _SEEKTABLE, _COMMENT = 0, 3, 4


class FlacSeeker:
    """FLAC of fixed block size (every encoder's default)."""

    form = "flac"
    whole_view = False
    preroll_s = 0.0

    def __init__(
        self,
        file: CachedFile,
        streaminfo: bytes,
        comment: bytes,
        audio_start: int,
        known: Iterable[Mark],
    ) -> None:
        self._file = file
        self._comment = comment
        self._head = b"fLaC" + bytes((0x80, 0, 0, STREAMINFO_BYTES)) + streaminfo
        self._facts = FlacFacts.parse(streaminfo)
        self._start = audio_start
        self.payload_bytes = file.size_bytes - audio_start
        self._marks = Marks(
            file,
            (audio_start, file.size_bytes),
            self._facts.total,
            self._facts.rate_hz,
            lambda content, offset: flac_marks(content, offset, self._facts),
            known=known,
            margin=_MARGIN,
        )

    @classmethod
    def open(cls, file: CachedFile, start: int) -> FlacSeeker | None:
        """Walk the metadata blocks, stepping over covers."""
        at, streaminfo, table, comment, last = start + 4, b"", b"", b"", False
        while not last:
            header = file.read_at(at, _HEADER_BYTES)
            if len(header) < _HEADER_BYTES:
                return None
            last, kind = bool(header[0] & 0x80), header[0] & 0x7F
            size = int.from_bytes(header[1:], "big")
            at += _HEADER_BYTES
            if kind == _STREAMINFO:
                streaminfo = file.read_at(at, size)
            elif kind == _SEEKTABLE:
                table = file.read_at(at, size)
            elif kind == _COMMENT:
                comment = file.read_at(at, size)
            at += size
        if len(streaminfo) != STREAMINFO_BYTES or streaminfo[:2] != streaminfo[2:4]:
            return None
        facts = FlacFacts.parse(streaminfo)
        fixed = file.read_at(at, 2) == b"\xff\xf8"
        if not (fixed and facts.block_samples and facts.total and facts.rate_hz):
            return None
        return cls(file, streaminfo, comment, at, seek_points(table, at))

    def view(self) -> View:
        """As in `Seeker`."""
        # What FFmpeg wants to know is in STREAMINFO; its parser would read on for ten frames.
        return View(self._file, [self._head, (self._start, self._start + _FIRST_BYTES)])

    def duration_s(self, probes: int) -> float | None:
        """STREAMINFO tells it."""
        return None

    def tags(self) -> bytes | None:
        """Without the pictures."""
        size = len(self._comment).to_bytes(3, "big")
        head = b"fLaC" + bytes((0, 0, 0, STREAMINFO_BYTES)) + self._head[8:]
        return head + bytes((0x80 | _COMMENT,)) + size + self._comment if self._comment else None

    def packets(self, first_s: float, end_s: float) -> list[Packet[Any]] | None:
        """As in `Seeker`."""
        rate, block = self._facts.rate_hz, self._facts.block_samples
        last = min(math.ceil(end_s * rate), self._facts.total)
        marks = self._marks.locate(max(0, math.floor(first_s * rate)), last)
        if marks is None:
            return None
        packets: list[Packet[Any]] = []
        for (at, sample), (until, following) in pairwise(marks):
            # A header that is only chance makes two wrong packets of a frame.
            if following != min(sample + block, self._facts.total):
                return None
            packet: Packet[Any] = Packet(self._file.read_at(at, until - at))
            packet.time_base = Fraction(1, rate)
            packet.pts = packet.dts = sample
            packet.duration = following - sample
            packets.append(packet)
        return packets
