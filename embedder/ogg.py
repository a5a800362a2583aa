"""Windows of Opus and Vorbis in Ogg (RFC 3533): whole pages behind the stream's own headers."""

from __future__ import annotations

import math
from typing import Any, Final

from av.packet import Packet

from embedder.containers import open_container
from embedder.framing import Mark, OggPage, cut_ogg_page, ogg_marks, ogg_pages
from embedder.marks import Marks
from embedder.reading import CachedFile, View

#: What is read beside a guessed window: see `embedder.marks`. A page may be a second long.
_MARGIN: Final = 0.013

_HEAD_BYTES: Final = 8 * 1024
#: How far the headers, with covers in their comments, are followed.
_MOST_HEAD_BYTES: Final = 8 * 2**20
#: Where the last page is looked for: a second or so, then the largest page there can be.
_TAIL_BYTES: Final = (10 * 1024, 64 * 1024)
_TAIL_SHARE: Final = 1 / 140
_MOST_PAGE_BYTES: Final = 65_307
#: A window whose packets were guessed wrongly so often is left to FFmpeg.
_MOST_GUESSES: Final = 4


class OggSeeker:
    """Pages found by their headers, for FFmpeg to unpack."""

    form = "ogg"
    whole_view = False
    preroll_s = 0.1

    def __init__(
        self, file: CachedFile, head: bytes, start: int, serial: int, rate_hz: int, last: OggPage
    ) -> None:
        self._file = file
        self._head = head
        self._start = start
        self._rate_hz = rate_hz
        self.payload_bytes = file.size_bytes - start
        self._marks = Marks(
            file,
            (start, file.size_bytes),
            last.granule or 0,
            rate_hz,
            lambda content, offset: ogg_marks(content, offset, serial),
            grain=max(page.end - page.start for page in (*self._first_pages(), last)),
            margin=_MARGIN,
            ragged=True,
        )
        self._last = last

    @classmethod
    def open(cls, file: CachedFile, start: int) -> OggSeeker | None:
        """Follow the header pages to the first page with sound."""
        size = _HEAD_BYTES
        while True:
            content = file.read_at(start, size)
            pages = list(ogg_pages(content, start))
            if len({page.serial for page in pages}) > 1 or not pages:
                return None
            sound = next((page.start for page in pages if (page.granule or 0) > 0), None)
            if sound is not None:
                break
            if size >= min(_MOST_HEAD_BYTES, file.size_bytes):
                return None
            size *= 2
        head, serial = content[: sound - start], pages[0].serial
        if head[28:36] == b"OpusHead":
            rate_hz = 48_000
        elif head[28:35] == b"\x01vorbis":
            rate_hz = int.from_bytes(head[40:44], "little")
        else:
            return None
        least, most = _TAIL_BYTES
        share = round(_TAIL_SHARE * file.size_bytes)
        for tail_bytes in (min(max(share, least), most), _MOST_PAGE_BYTES):
            tail = max(sound, file.size_bytes - tail_bytes)
            last = [
                page for page in ogg_pages(file.read_at(tail, tail_bytes), tail) if page.granule
            ]
            if last:
                break
        if not last or not rate_hz or last[-1].serial != serial:
            return None
        return cls(file, head, sound, serial, rate_hz, last[-1])

    def _first_pages(self) -> list[OggPage]:
        return list(ogg_pages(self._file.read_at(self._start, _HEAD_BYTES), self._start))

    def view(self) -> View:
        """As in `Seeker`."""
        # All that FFmpeg wants to know is in the first pages and the last.
        pages = self._first_pages()
        first = min(pages[0].end if pages else self._start, self._last.start)
        return View(
            self._file, [self._head, (self._start, first), (self._last.start, self._last.end)]
        )

    def duration_s(self, probes: int) -> float | None:
        """The last page tells it."""
        return None

    def tags(self) -> bytes | None:
        """The headers; mutagen wants a page of sound behind them, and reads no further."""
        pages = self._first_pages()
        if not pages:
            return None
        return self._head + self._file.read_at(self._start, pages[0].end - self._start)

    def packets(self, first_s: float, end_s: float) -> list[Packet[Any]] | None:
        """As in `Seeker`."""
        first = max(0, math.floor(first_s * self._rate_hz))
        last = math.ceil(end_s * self._rate_hz)
        # Some marks are guessed (`ogg_marks`); the packets then say whether they were right.
        early = late = 0
        for _ in range(_MOST_GUESSES):
            marks = self._marks.locate(max(0, first - early), last + late)
            if marks is None:
                return None
            packets = self._unpacked(marks[0][0], marks[-1])
            claimed = [packet for packet in packets if packet.pts is not None]
            if not claimed:
                return None
            begins, ends = claimed[0].pts or 0, (claimed[-1].pts or 0) + (claimed[-1].duration or 0)
            whole = marks[0][0] == self._start, marks[-1][0] >= self._last.end
            if (whole[0] or begins <= first) and (whole[1] or ends >= last):
                return packets
            if not whole[0] and begins > first:
                early += 2 * (begins - first) + self._rate_hz // 10
            if not whole[1] and ends < last:
                late += 2 * (last - ends) + self._rate_hz // 10
        return None

    def _unpacked(self, start: int, end: Mark) -> list[Packet[Any]]:
        """The packets from the beginning of a page to a mark, which may lie inside of a page."""
        content = self._file.read_at(start, end[0] - start)
        pages = list(ogg_pages(content, start))
        parts: list[bytes | tuple[int, int]] = [self._head, (start, end[0])]
        if pages and pages[-1].end > end[0]:
            cut = pages[-1].start
            parts[1:] = [(start, cut), cut_ogg_page(content[cut - start :], end[1])]
        pages_only = View(self._file, parts)
        size = pages_only.size_bytes
        with open_container(pages_only, form="ogg", buffer_bytes=size) as container:
            return [packet for packet in container.demux(audio=0) if packet.size]
