"""MP3 without reading all of it: where a frame lies, from a constant rate or a header's index.

Frames carry no time, so the place of one far inside is only as true as what tells it:

* a constant bit rate ("Info" of LAME, or none but frames that are all alike): exact to the frame;
* a "VBRI" table: as close as its entries lie, a second or so apart, with frames evenly between;
* a "Xing" table: it has 100 entries of 1/256 of the file, so about half a second off;
* nothing: places at fractions of the bytes. The same file gives the same windows, that is all.

The header frame is described in Sevillano's "MPEG Audio Frame Header" (Xing, VBRI) and in LAME's
tag specification, revision 1.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

_KBITS_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES: Final = (44_100, 48_000, 32_000)

#: FFmpeg's unit for MP3 times: a second is this many, whatever the sample rate.
UNITS_PER_S: Final = 14_112_000

#: Frames in a row that make a beginning: two can be chance, and a cut file may end after few.
_CHAIN: Final = 3
HEADER_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame's header. `size` in bytes, header included."""

    size: int
    bits_per_s: int
    rate_hz: int
    samples: int
    mono: bool
    mpeg1: bool

    @property
    def units(self) -> int:
        """Its length in `UNITS_PER_S`."""
        return self.samples * UNITS_PER_S // self.rate_hz

    @property
    def mean_bytes(self) -> float:
        """What such frames take on average; padding makes up for the fraction."""
        return self.samples / 8 * self.bits_per_s / self.rate_hz

    def like(self, other: Frame) -> bool:
        """Whether two frames can be of one stream."""
        return (self.rate_hz, self.mpeg1) == (other.rate_hz, other.mpeg1)


def parse_frame(content: bytes, at: int) -> Frame | None:
    """The layer III header at `at`; None for anything else (free format too)."""
    return None if at < 0 else _parse(content[at : at + HEADER_BYTES])


@lru_cache(1024)  # a stream has few different headers, and thousands of frames
def _parse(header: bytes) -> Frame | None:
    if len(header) < HEADER_BYTES:
        return None
    one, two, three, four = header
    version, layer = two >> 3 & 3, two >> 1 & 3
    bits, rate = three >> 4, three >> 2 & 3
    if one != 0xFF or two < 0xE0 or version == 1 or layer != 1 or rate == 3 or bits in {0, 15}:
        return None
    mpeg1 = version == 3
    rate_hz = _RATES[rate] >> (0 if mpeg1 else 1 if version == 2 else 2)
    bits_per_s = (_KBITS_1 if mpeg1 else _KBITS_2)[bits] * 1000
    samples = 1152 if mpeg1 else 576
    size = samples // 8 * bits_per_s // rate_hz + (three >> 1 & 1)
    return Frame(size, bits_per_s, rate_hz, samples, four >> 6 == 3, mpeg1)


def find_frame(content: bytes, start: int = 0, like: Frame | None = None) -> int | None:
    """Where the first of `_CHAIN` frames in a row begins, at or after `start`; None when nowhere.

    At the end of `content` fewer will do.
    """
    at = content.find(b"\xff", start)
    while at >= 0:
        first = parse_frame(content, at)
        if first is not None and (like is None or first.like(like)):
            place, known = at, 0
            while known < _CHAIN and place < len(content):
                frame = parse_frame(content, place)
                if frame is None or not frame.like(first):
                    break
                place, known = place + frame.size, known + 1
            if known == _CHAIN or (known and place >= len(content) - HEADER_BYTES):
                return at
        at = content.find(b"\xff", at + 1)
    return None


@dataclass(frozen=True, slots=True)
class Mp3Layout:
    """Where an MP3's frames lie.

    `first` is the first frame with sound, `end` where the audio ends, both byte offsets. `anchors`
    (byte, frame number) ascend; between them frames are taken to lie evenly. `exact`: the
    rate is constant, so every frame is where it is computed to be. `told`: a table says where they
    lie. `frames` counts them, 0 when nothing tells.
    """

    frame: Frame
    first: int
    end: int
    frames: int
    anchors: tuple[tuple[int, float], ...]
    exact: bool
    told: bool = False

    def byte_of(self, frame: float) -> int:
        """About where a frame begins."""
        numbers = [number for _, number in self.anchors]
        i = min(max(bisect_right(numbers, frame), 1), len(self.anchors) - 1)
        (at, before), (end, after) = self.anchors[i - 1 : i + 1]
        return at + round((frame - before) * (end - at) / max(after - before, 1e-9))


def read_layout(head: bytes, offset: int, end: int) -> Mp3Layout | None:
    """The layout told by the start of the audio; None when this is no layer III.

    `head` lies at `offset` of the file, a few KB from the first frame on.
    """
    at = find_frame(head)
    frame = None if at is None else parse_frame(head, at)
    if at is None or frame is None:
        return None
    side = (17 if frame.mono else 32) if frame.mpeg1 else (9 if frame.mono else 17)
    name = head[at + 4 + side : at + 8 + side]
    if name in {b"Xing", b"Info"}:
        # The header frame may have a rate of its own; sound begins after it.
        sound = parse_frame(head, at + frame.size) or frame
        return _from_xing(head[at + 8 + side :], name == b"Info", frame, sound, offset + at, end)
    if head[at + 36 : at + 40] == b"VBRI":
        return _from_vbri(head[at + 40 :], frame, offset + at, end)
    return _constant(frame, offset + at, end, exact=False)


def _constant(frame: Frame, first: int, end: int, *, exact: bool) -> Mp3Layout:
    frames = max((end - first) / frame.mean_bytes, 1.0)
    return Mp3Layout(
        frame, first, end, round(frames) if exact else 0, ((first, 0.0), (end, frames)), exact
    )


def settle_layout(layout: Mp3Layout, probes: Iterable[Sequence[Frame]]) -> Mp3Layout:
    """A layout that nothing tells (`frames` 0), from the frames of stretches spread over it.

    Where all of them are alike the rate is taken to be constant, else for their mean: that of each
    stretch's rate in bytes, each stands for as many bytes as the others.
    """
    stretches = [frames for frames in probes if frames]
    if not stretches:
        return layout
    rates = {frame.bits_per_s for frames in stretches for frame in frames}
    alike = rates == {layout.frame.bits_per_s}
    means = [sum(frame.size for frame in frames) / len(frames) for frames in stretches]
    frames_a_byte = sum(1 / mean for mean in means) / len(means)
    mean = layout.frame.mean_bytes if alike else 1 / frames_a_byte
    count = max((layout.end - layout.first) / mean, 1.0)
    anchors = ((layout.first, 0.0), (layout.end, count))
    return replace(layout, frames=round(count), anchors=anchors, exact=alike)


def walk_frames(content: bytes) -> Sequence[Frame]:
    """The frames of a stretch that begins with one, whole ones only."""
    frames: list[Frame] = []
    at = 0
    while (frame := parse_frame(content, at)) is not None and at + frame.size <= len(content):
        frames.append(frame)
        at += frame.size
    return frames


def _from_xing(
    fields: bytes, constant: bool, frame: Frame, sound: Frame, at: int, end: int
) -> Mp3Layout:
    first = at + frame.size
    flags = int.from_bytes(fields[:4], "big")
    place, frames, size, table = 4, 0, end - at, b""
    if flags & 1:
        frames, place = int.from_bytes(fields[place : place + 4], "big"), place + 4
    if flags & 2:
        size, place = int.from_bytes(fields[place : place + 4], "big") or size, place + 4
    if flags & 4:
        table = fields[place : place + 100]
    if constant:
        return _constant(sound, first, min(end, at + size), exact=True)
    if not frames or len(table) < 100 or list(table) != sorted(table):
        return _constant(sound, first, min(end, at + size), exact=False)
    # The middle of the step that an entry stands for; the ends are known better.
    inner = [(at + round((table[i] + 0.5) / 256 * size), i / 100 * frames) for i in range(1, 100)]
    anchors = ((first, 0.0), *inner, (max(at + size, inner[-1][0] + 1), float(frames)))
    return Mp3Layout(sound, first, end, frames, anchors, exact=False, told=True)


def _from_vbri(fields: bytes, frame: Frame, at: int, end: int) -> Mp3Layout:
    """Version 2, delay 2, quality 2, bytes 4, frames 4, entries 2, scale 2, width 2, step 2."""
    first = at + frame.size
    frames = int.from_bytes(fields[10:14], "big")
    entries, scale, width, step = (
        int.from_bytes(fields[i : i + 2], "big") for i in (14, 16, 18, 20)
    )
    table = fields[22 : 22 + entries * width]
    if not frames or not entries or not step or len(table) < entries * width or width > 4:
        return _constant(frame, first, end, exact=False)
    anchors = [(at, 0.0)]
    for i in range(entries):
        size = int.from_bytes(table[i * width : (i + 1) * width], "big") * scale
        anchors.append((anchors[-1][0] + size, float(min((i + 1) * step, frames))))
    return Mp3Layout(frame, first, end, frames, tuple(anchors), exact=False, told=True)
