"""A window's packets by FFmpeg's own seeking, for the containers that we do not read ourselves.

Where the window's place in the file is known beforehand (an index, or plain samples), its bytes
are read in one piece before FFmpeg asks for them.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

from embedder.reading import CachedFile

if TYPE_CHECKING:
    from embedder.packets import AudioPacket

#: FFmpeg's own buffer over the cached blocks; a larger one makes it ask for more than it uses.
BUFFER_BYTES: Final = 16 * 1024

#: FFmpeg's index of what it happened to see is no index of the file.
_FEWEST_ENTRIES: Final = 50
_MOST_PREFETCHED_BYTES: Final = 16 * 2**20


class Demuxer:
    """One stream of an open container; times are in units of the stream's time base.

    `plain`: FFmpeg sees the file itself, so that samples which are not compressed lie where their
    number says.
    """

    def __init__(
        self, file: CachedFile, container: InputContainer, stream: AudioStream, *, plain: bool
    ) -> None:
        self._file = file
        self._container = container
        self._stream = stream
        self._counted = plain and stream.codec_context.name.startswith("pcm_")
        #: Where plain samples begin: byte, time, bytes a unit of time.
        self._plain: tuple[int, int, float] | None = None

    def packets(self, first: int, end: int, *, at_once: bool) -> tuple[AudioPacket, ...]:
        """Those from the last at which decoding can begin, at or before `first`, up to `end`.

        `at_once`: the window is read in one piece where its place is known.
        """
        if at_once:
            self._prefetch(first, end)
        self._container.seek(max(0, first), stream=self._stream, backward=True)
        packets: list[AudioPacket] = []
        for packet in self._container.demux(self._stream):
            pts = packet.pts
            # A packet without bytes is the end of the file.
            if packet.size == 0 or (pts is not None and pts >= end):
                break
            packets.append(packet)
        return tuple(packets)

    def last_packet_end_s(self, stated_s: float | None, origin: int) -> float:
        """When the last packet ends, in seconds after `origin`, looked for from `stated_s` on.

        MP3's seek builds the index on the way that windows need.
        """
        scale = self._stream.time_base or Fraction(1, av.time_base)
        end: int | None = None
        if stated_s is not None:
            self._container.seek(round(stated_s / scale), stream=self._stream)
        for packet in self._container.demux(self._stream):
            if packet.pts is not None:
                end = packet.pts + (packet.duration or 0)
        return 0.0 if end is None else float((end - origin) * scale)

    def _prefetch(self, first: int, end: int) -> None:
        place = self._computed(first, end) or self._indexed(first, end)
        if place is not None and 0 <= place[0] <= place[1] <= place[0] + _MOST_PREFETCHED_BYTES:
            self._file.fetch(place[0], place[1] + 2 * BUFFER_BYTES)

    def _indexed(self, first: int, end: int) -> tuple[int, int] | None:
        """Where an index says that a stretch of time lies."""
        index = self._stream.index_entries
        begins = index.search_timestamp(max(first, 0), backward=True)
        ends = index.search_timestamp(end, backward=False)
        if begins < 0 or len(index) < _FEWEST_ENTRIES:
            return None
        last = index[ends if ends >= 0 else len(index) - 1]
        return index[begins].pos, last.pos + last.size

    def _computed(self, first: int, end: int) -> tuple[int, int] | None:
        """Where a stretch of time lies if samples are not compressed: where their number says."""
        if not self._counted:
            return None
        if self._plain is None:
            packet = next(self._container.demux(self._stream))
            if not packet.size or not packet.duration or packet.pos is None or packet.pos < 0:
                return None
            self._plain = packet.pos, packet.pts or 0, packet.size / packet.duration
        at, begun, bytes_a_tick = self._plain
        low, high = (at + round((tick - begun) * bytes_a_tick) for tick in (first, end))
        return max(low, at), min(high, self._file.size_bytes)
