"""Windows of an MP3, cut into frames by their headers; where they lie is computed or told.

Where frames cannot be computed (`Mp3Layout.exact`), a window is what lies around a byte: so many
frames before it and so many after it. The same file gives the same windows, however it is read.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Final, NamedTuple

from av.packet import Packet

from embedder.id3 import text_frames
from embedder.mpeg import (
    HEADER_BYTES,
    UNITS_PER_S,
    Frame,
    Mp3Layout,
    find_frame,
    parse_frame,
    read_layout,
    settle_layout,
    walk_frames,
)
from embedder.packets import PREROLL_S, TAIL_S
from embedder.reading import BLOCK_BYTES, CachedFile, View
from embedder.windows import WINDOW_S

_HEAD_BYTES: Final = 8 * 1024
#: Frames more than a window takes tell its rate: no more than is read anyway.
_SPARE_FRAMES: Final = 4
#: What is read more than the frames would take at the rate that is known.
_MARGIN: Final = 0.12
_MEND: Final = 0.1
#: Two middles so near each other are of one window.
_NEAR_BYTES: Final = 2048
_MOST_TRIES: Final = 6
_ID3V1_BYTES: Final = 128
_APE_FOOTER_BYTES: Final = 32
_TIME_BASE: Final = Fraction(1, UNITS_PER_S)


class _Found(NamedTuple):
    """A frame, at which byte of the file it begins, and all of it."""

    place: int
    frame: Frame
    content: bytes


class Mp3Seeker:
    """Layer III of any rate."""

    form = "mp3"
    whole_view = True
    preroll_s = PREROLL_S

    def __init__(self, file: CachedFile, layout: Mp3Layout, start: int) -> None:
        self._file = file
        self._layout = layout
        self._start = start
        self.payload_bytes = layout.end - layout.first
        #: Bytes a frame where it was last looked.
        self._mean_bytes = 0.0
        #: How often frames were missing.
        self._mends = 0
        #: What was read around which byte to tell the rate.
        self._probed: dict[int, tuple[int, int]] = {}

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
        self._mean_bytes = sum(frame.size for frame in frames) / max(len(frames), 1)
        frames_a_s = layout.frame.rate_hz / layout.frame.samples
        before, after = (
            math.ceil((WINDOW_S / 2 + around_s) * frames_a_s) + _SPARE_FRAMES
            for around_s in (self.preroll_s, TAIL_S)
        )
        stretches = []
        for i in range(probes):
            centre = layout.first + round((i + 0.5) / probes * (layout.end - layout.first))
            stretches.append([one.frame for one in self._around(centre, before, after)[0]])
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
        frame_s = self._layout.frame.samples / self._layout.frame.rate_hz
        number, last = max(0, math.floor(first_s / frame_s)), math.ceil(end_s / frame_s)
        if self._layout.exact:
            return self._computed(number, last)
        centre = round((first_s + self.preroll_s + WINDOW_S / 2) / frame_s)
        byte = self._layout.byte_of(centre)
        low, high = self._layout.byte_of(number), self._layout.byte_of(last)
        if self._layout.told:
            self._mean_bytes = (high - low) / max(last - number, 1)
        frames, middle = self._around(byte, centre - number, last - centre)
        return [self._packet(one.content, centre + i - middle) for i, one in enumerate(frames)]

    def _packet(self, content: bytes, number: int) -> Packet[Any]:
        packet: Packet[Any] = Packet(content)
        packet.time_base = _TIME_BASE
        packet.pts = packet.dts = number * self._layout.frame.units
        packet.duration = self._layout.frame.units
        return packet

    def _computed(self, number: int, last: int) -> list[Packet[Any]]:
        """Frames `number` … `last` of a constant rate."""
        layout = self._layout
        reach = math.ceil(layout.frame.mean_bytes)
        low = max(layout.first, layout.byte_of(number) - (reach // 2 if number else 0))
        high = min(layout.end, layout.byte_of(last) + reach)
        self._file.fetch(low, high)
        packets: list[Packet[Any]] = []
        for one in self._walk(low, high):
            number = round((one.place - layout.first) / layout.frame.mean_bytes)
            if number >= last:
                break
            packets.append(self._packet(one.content, number))
        return packets

    def _around(self, byte: int, before: int, after: int) -> tuple[list[_Found], int]:
        """So many frames before and from a byte on, and which is the first.

        Fewer where the audio ends.
        """
        layout = self._layout
        margin = 1 + _MARGIN * min(1 + self._mends / 2, 3)
        low = byte - math.ceil((before + 1) * self._mean_bytes * margin)
        high = byte + math.ceil((after + 1) * self._mean_bytes * margin)
        for centre, known in self._probed.items():
            if abs(centre - byte) < _NEAR_BYTES:
                low, high = known
        found: list[_Found] = []
        middle = 0
        for _ in range(_MOST_TRIES):
            low, high = max(low, layout.first), min(high, layout.end)
            self._file.fetch(low, high)
            found = self._walk(low, high)
            middle = sum(one.place < byte for one in found)
            left, right = before - middle, after - (len(found) - middle)
            if found:
                self._mean_bytes = sum(one.frame.size for one in found) / len(found)
            more = self._mean_bytes * (1 + _MEND)
            short = (left > 0 and low > layout.first, right > 0 and high < layout.end)
            if not any(short):
                break
            self._mends += 1
            if short[0]:
                low -= math.ceil((left + 1) * more) + BLOCK_BYTES
            if short[1]:
                high += math.ceil((right + 1) * more) + BLOCK_BYTES
        if not layout.told:
            self._probed[byte] = low, high
        first = max(middle - before, 0)
        return found[first : middle + after], middle - first

    def _walk(self, low: int, high: int) -> list[_Found]:
        """The whole frames between two bytes, junk between them left out."""
        layout = self._layout
        content = self._file.read_at(low, high - low)
        found: list[_Found] = []
        at = find_frame(content, 0, layout.frame)
        while at is not None and at + HEADER_BYTES <= len(content):
            frame = parse_frame(content, at)
            if frame is None or not frame.like(layout.frame):
                at = find_frame(content, at + 1, layout.frame)
                continue
            if at + frame.size > len(content) and high < layout.end:
                break
            found.append(_Found(low + at, frame, content[at : at + frame.size]))
            at += frame.size
        return found


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
