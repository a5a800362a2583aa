"""Finding a window's bytes in few reads, where FFmpeg's own seeking would jump 50 times.

FLAC and Ogg say in every frame or page which sample it holds. So a window's place is guessed from
the marks known so far (the seek table, what earlier windows showed, both ends), read in one piece
with a margin, and mended where the guess was off. MP3 is computed (`embedder.mpeg`).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final, Protocol

import av
from av.packet import Packet

from embedder.framing import (
    STREAMINFO_BYTES,
    FlacFacts,
    Mark,
    OggPage,
    flac_marks,
    id3v2_bytes,
    ogg_marks,
    ogg_pages,
    seek_points,
)
from embedder.id3 import text_frames
from embedder.mpeg import (
    HEADER_BYTES,
    UNITS_PER_S,
    Mp3Layout,
    find_frame,
    parse_frame,
    read_layout,
    settle_layout,
    walk_frames,
)
from embedder.reading import BLOCK_BYTES, CachedFile, View

#: Read on either side of a guessed window, as a share of the bytes to the nearest known mark:
#: by so much does music's rate vary. Less costs reads, more costs bytes.
_MARGIN: Final = 0.06
#: And of what lies between two marks (a page, a frame).
_GRAINS: Final = 0.6

#: What the rate beside a gap counts, against the mean over the gap; of so many marks.
_LOCAL: Final = 0.3
_RECENT: Final = 8
_CLOSE_BYTES: Final = 2 * 2**20

#: A window that is not found in so many reads is left to FFmpeg.
_MOST_TRIES: Final = 12

_HEAD_BYTES: Final = 8 * 1024
#: How far an Ogg file's headers, with covers in its comments, are followed.
_MOST_OGG_HEAD_BYTES: Final = 8 * 2**20
#: Where the last Ogg page is looked for: a second at 128 kb/s, then the largest page there can be.
_TAIL_BYTES: Final = 20 * 1024
_MOST_PAGE_BYTES: Final = 65_307
#: How much around a window's middle tells an MP3's rate: no more than is read anyway.
_PROBE_S: Final = 11.0
_ID3V1_BYTES: Final = 128
_APE_FOOTER_BYTES: Final = 32
_FLAC_HEADER_BYTES: Final = 4
_STREAMINFO, _SEEKTABLE, _COMMENT = 0, 3, 4


class Seeker(Protocol):
    """A container whose windows we find ourselves."""

    #: FFmpeg's name of the format.
    form: str
    #: Whether FFmpeg can seek in `view` itself.
    whole_view: bool
    #: How much earlier than a window decoding must begin.
    preroll_s: float

    def view(self) -> View:
        """The file as FFmpeg is to see it: the audio, without covers and tags around it."""
        ...

    def duration_s(self, probes: int) -> float | None:
        """The track's length where FFmpeg would have to guess it, else None.

        `probes`: from how many stretches of audio, those where as many windows lie.
        """
        ...

    def tags(self) -> bytes | None:
        """A small file of the same kind with all text tags; None: read the file itself."""
        ...

    def packets(self, first_s: float, end_s: float) -> list[Packet[Any]] | None:
        """The packets of first_s … end_s, in FFmpeg's time; None where they are not found."""
        ...


#: How files begin that are no MP3: RIFF, RF64, AIFF, Matroska, ASF, Monkey's Audio, WavPack, TTA,
#: CAF, DSF, AU, Musepack.
_OTHERS: Final = (
    b"RIFF", b"RF64", b"FORM", b"\x1aE\xdf\xa3", b"0&\xb2u", b"MAC ", b"wvPk", b"TTA1",
    b"caff", b"DSD ", b".snd", b"MPCK", b"MP+",
)  # fmt: skip


def open_seeker(file: CachedFile) -> Seeker | None:
    """The seeker for what a file holds, whatever its name says; None leaves it to FFmpeg."""
    start = 0
    while tag := id3v2_bytes(file.read_at(start, 10)):
        start += tag
    magic = file.read_at(start, 4)
    if magic == b"fLaC":
        return FlacSeeker.open(file, start)
    if magic == b"OggS":
        return OggSeeker.open(file, start)
    # Samples and pictures may hold what looks like the frames of an MP3.
    if magic.startswith(_OTHERS) or file.read_at(start + 4, 4) == b"ftyp":
        return None
    return Mp3Seeker.open(file, start)


class _Marks:
    """What is known of where samples lie between two bytes of a file."""

    def __init__(
        self,
        file: CachedFile,
        start: int,
        end: int,
        total: int,
        scan: Callable[[bytes, int], Iterable[Mark]],
        known: Iterable[Mark] = (),
        grain: int = BLOCK_BYTES,
    ) -> None:
        self._file = file
        self._start, self._end, self._total = start, end, total
        self._scan = scan
        self._marks: list[Mark] = [(start, 0)]
        #: The most bytes seen from one mark to the next.
        self._grain = grain
        self._take(known)

    def _take(self, marks: Iterable[Mark]) -> None:
        """Add marks; those that would run backwards are chance, or a chained stream."""
        merged = sorted({*self._marks, *marks})
        self._marks = merged[:1]
        for mark in merged[1:]:
            if mark[1] > self._marks[-1][1] and mark[0] < self._end:
                self._marks.append(mark)

    def _guess(self, sample: int) -> tuple[int, int]:
        """About where a sample lies, and how far off that may be, in bytes.

        Between two marks, by their mean rate and by the rates seen beside them: what was just heard
        says as much about what comes next as the mean of all that is left.
        """
        marks = self._marks
        i = bisect_right(marks, sample, key=lambda mark: mark[1])
        before = marks[i - 1]
        after = marks[i] if i < len(marks) else (self._end, max(self._total, before[1] + 1))
        span, length = after[0] - before[0], max(after[1] - before[1], 1)
        ahead = min(sample - before[1], length)
        mean, share = span / length, ahead / length
        left, right = (
            _LOCAL * rate + (1 - _LOCAL) * mean if rate else mean
            for rate in (self._rate(i - 1 - _RECENT, i - 1), self._rate(i, i + _RECENT))
        )
        inside = (1 - share) * ahead * left + share * (span - (length - ahead) * right)
        inside = min(max(inside, 0.0), span)
        off = _MARGIN * min(inside, span - inside) + self._grain * _GRAINS
        return before[0] + round(inside), round(off)

    def _rate(self, first: int, last: int) -> float:
        """Bytes a sample between two marks; 0 where they are not there, or not close together."""
        if first < 0 or last >= len(self._marks):
            return 0.0
        (at, before), (end, after) = self._marks[first], self._marks[last]
        return (end - at) / (after - before) if end - at < _CLOSE_BYTES else 0.0

    def locate(self, first: int, last: int) -> tuple[int, int, list[Mark]] | None:
        """Bytes that hold samples first … last, from mark to mark, and the marks in them."""
        low, off = self._guess(first)
        low -= off
        high = sum(self._guess(last))
        for _ in range(_MOST_TRIES):
            low, high = max(low, self._start), min(max(high, low + BLOCK_BYTES), self._end)
            self._file.fetch(low, high)
            found = sorted(self._scan(self._file.read_at(low, high - low), low))
            if low == self._start:
                found.insert(0, (self._start, 0))
            self._take(found)
            self._grain = max([self._grain, *(b[0] - a[0] for a, b in pairwise(found))])
            before = [mark for mark in found if mark[1] <= first]
            after = [mark for mark in found if mark[1] >= last]
            if before and (after or high >= self._end):
                end = after[0][0] if after else self._end
                inside = [mark for mark in found if before[-1][0] <= mark[0] < end]
                return before[-1][0], end, inside
            # A mend that misses costs one more read, which is dearer than a page.
            earlier, off = self._guess(first)
            earlier -= off + self._grain // 2
            later = sum(self._guess(last)) + self._grain // 2
            if (found and found[0][1] > last) or (not found and high >= self._end):
                high = later  # all of it lies before what was read
            if found and found[-1][1] < first:
                low = max(earlier, found[-1][0])
            elif not before:
                low = min(earlier, low - max(self._grain, BLOCK_BYTES))
            if not after:
                high = max(later, high + max(self._grain, BLOCK_BYTES))
        return None


class FlacSeeker:
    """FLAC of fixed block size (every encoder's default), cut into frames by their own headers."""

    form = "flac"
    whole_view = True
    preroll_s = 0.1

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
        self._marks = _Marks(
            file,
            audio_start,
            file.size_bytes,
            self._facts.total,
            lambda content, offset: flac_marks(content, offset, self._facts),
            known,
        )

    @classmethod
    def open(cls, file: CachedFile, start: int) -> FlacSeeker | None:
        """Walk the metadata blocks, stepping over covers."""
        at, streaminfo, table, comment, last = start + 4, b"", b"", b"", False
        while not last:
            header = file.read_at(at, _FLAC_HEADER_BYTES)
            if len(header) < _FLAC_HEADER_BYTES:
                return None
            last, kind = bool(header[0] & 0x80), header[0] & 0x7F
            size = int.from_bytes(header[1:], "big")
            at += _FLAC_HEADER_BYTES
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
        return View(self._file, [self._head, (self._start, self._file.size_bytes)])

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
        found = self._marks.locate(max(0, math.floor(first_s * rate)), last)
        if found is None:
            return None
        _, end, marks = found
        packets: list[Packet[Any]] = []
        for i, (at, sample) in enumerate(marks):
            until = marks[i + 1][0] if i + 1 < len(marks) else end
            # A header that is only chance makes two wrong packets of a frame: join them.
            if i + 1 < len(marks) and marks[i + 1][1] != sample + block:
                return None
            packet: Packet[Any] = Packet(self._file.read_at(at, until - at))
            packet.time_base = Fraction(1, rate)
            packet.pts = packet.dts = sample
            packet.duration = min(block, self._facts.total - sample)
            packets.append(packet)
        return packets


class OggSeeker:
    """Opus and Vorbis in Ogg: whole pages behind the stream's own headers, for FFmpeg to unpack."""

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
        self._marks = _Marks(
            file,
            start,
            file.size_bytes,
            last.granule or 0,
            lambda content, offset: ogg_marks(content, offset, serial),
            grain=max(page.end - page.start for page in (*self._first_pages(), last)),
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
            if size >= min(_MOST_OGG_HEAD_BYTES, file.size_bytes):
                return None
            size *= 2
        head, serial = content[: sound - start], pages[0].serial
        if head[28:36] == b"OpusHead":
            rate_hz = 48_000
        elif head[28:35] == b"\x01vorbis":
            rate_hz = int.from_bytes(head[40:44], "little")
        else:
            return None
        for tail_bytes in (_TAIL_BYTES, _MOST_PAGE_BYTES):
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
        found = self._marks.locate(first, math.ceil(end_s * self._rate_hz))
        if found is None:
            return None
        start, end, _ = found
        pages = View(self._file, [self._head, (start, end)])
        with av.open(
            pages, mode="r", format="ogg", buffer_size=end - start + len(self._head)
        ) as container:
            return [packet for packet in container.demux(audio=0) if packet.size]


class Mp3Seeker:
    """MP3, cut into frames by their headers; where they lie is computed."""

    form = "mp3"
    whole_view = True
    preroll_s = 0.5

    def __init__(self, file: CachedFile, layout: Mp3Layout, start: int) -> None:
        self._file = file
        self._layout = layout
        self._start = start

    @classmethod
    def open(cls, file: CachedFile, start: int) -> Mp3Seeker | None:
        """Read the first frame, and what lies behind the last."""
        head = file.read_at(start, _HEAD_BYTES)
        if find_frame(head) is None:
            return None
        layout = read_layout(head, start, _audio_end(file))
        return None if layout is None else cls(file, layout, start)

    def view(self) -> View:
        """As in `Seeker`."""
        return View(self._file, [(self._start, self._layout.end)])

    def duration_s(self, probes: int) -> float | None:
        """FFmpeg reads it from a header frame; without one, from stretches of the audio."""
        if self._layout.frames:
            return None
        layout = self._layout
        first = layout.first - self._start
        frames = walk_frames(self._file.read_at(self._start, first + _HEAD_BYTES)[first:])
        mean = sum(frame.size for frame in frames) / max(len(frames), 1)
        probe_bytes = round(_PROBE_S * layout.frame.rate_hz / layout.frame.samples * mean)
        stretches = []
        for i in range(probes):
            centre = layout.first + round((i + 0.5) / probes * (layout.end - layout.first))
            low = max(layout.first, centre - probe_bytes // 2)
            self._file.fetch(low, min(low + probe_bytes, layout.end))
            stretches.append(self._file.read_at(low, min(probe_bytes, layout.end - low)))
        self._layout = layout = settle_layout(layout, stretches)
        return layout.anchors[-1][1] * layout.frame.samples / layout.frame.rate_hz

    def tags(self) -> bytes | None:
        """Without the cover; with some audio, which mutagen wants to see, and a tag at the end."""
        text = text_frames(self._file)
        if text is None:
            return None
        end = self._file.size_bytes
        audio = self._file.read_at(self._start, min(_HEAD_BYTES, end - self._start))
        last = self._file.read_at(end - _ID3V1_BYTES, _ID3V1_BYTES)
        return text + audio + (last if last.startswith(b"TAG") else b"")

    def packets(self, first_s: float, end_s: float) -> list[Packet[Any]] | None:
        """As in `Seeker`."""
        layout = self._layout
        frame_s = layout.frame.samples / layout.frame.rate_hz
        number = max(0, math.floor(first_s / frame_s))
        last = math.ceil(end_s / frame_s)
        reach = math.ceil(layout.frame.mean_bytes)
        low = max(layout.first, layout.byte_of(number) - (reach // 2 if number else 0))
        high = min(layout.end, layout.byte_of(last) + reach)
        self._file.fetch(low, high)
        content = self._file.read_at(low, high - low)
        at = find_frame(content, 0, layout.frame)
        packets: list[Packet[Any]] = []
        while at is not None and number < last:
            frame = parse_frame(content, at)
            needed = HEADER_BYTES if frame is None else frame.size
            if at + needed > len(content) and high < layout.end:
                more = min(layout.end, high + (high - low) // 8 + BLOCK_BYTES)
                content += self._file.read_at(high, more - high)
                high = more
                continue
            if frame is None or not frame.like(layout.frame):  # junk between frames
                at = find_frame(content, at + 1, layout.frame)
                continue
            if layout.exact:
                number = round((low + at - layout.first) / layout.frame.mean_bytes)
            packet: Packet[Any] = Packet(content[at : at + frame.size])
            packet.time_base = Fraction(1, UNITS_PER_S)
            packet.pts = packet.dts = number * frame.units
            packet.duration = frame.units
            packets.append(packet)
            at, number = at + frame.size, number + 1
        return packets


def _audio_end(file: CachedFile) -> int:
    """Where the audio ends and tags begin: ID3v1, and APEv2 before it."""
    end = file.size_bytes
    if file.read_at(end - _ID3V1_BYTES, 3) == b"TAG":
        end -= _ID3V1_BYTES
    footer = file.read_at(end - _APE_FOOTER_BYTES, _APE_FOOTER_BYTES)
    if footer[:8] == b"APETAGEX":
        size = int.from_bytes(footer[12:16], "little")
        headed = footer[23] & 0x80
        end -= size + (_APE_FOOTER_BYTES if headed else 0)
    return max(end, 0)
