"""From a file to a few seconds of mono sound, level-true and exact to the sample.

A file is read in three steps, so that known content is neither read nor decoded again:
`AudioFile.recognise` takes the codec packets of one window, which give the content key;
`AudioFile.fetch` those of all windows (a few MB); `Fetched.decode` turns them into samples.

Seeking lands before the target; `embedder.packets` says how exact windows are, `embedder.mpeg` how
true an MP3 is. Long files are searched by `embedder.seeking`, in a dozen reads.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self, cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

from embedder.containers import open_container, without_padding
from embedder.demuxing import BUFFER_BYTES, Demuxer
from embedder.errors import (
    DOES_NOT_DECODE,
    EMPTY_FILE,
    NOT_AUDIO,
    TOO_SHORT,
    DecodingError,
)
from embedder.packets import PREROLL_S, SHORTEST_S, TAIL_S, Fetched, explained
from embedder.reading import CachedFile, LocalSource, Source, View
from embedder.seeking import open_seeker
from embedder.windows import MOST_WINDOWS, WINDOW_S, plan_windows

#: Part of every model's version: raised whenever the same file would give other samples.
DECODING_VERSION: Final = 3

#: How MP4 marks bought music and streams under a key.
_ENCRYPTED: Final = frozenset({"drms", "enca"})

#: No sound was ever sold at less than 4 kHz; what claims it has a broken head.
_LEAST_RATE_HZ: Final = 1000

#: Formats of our seekers whose rate always varies.
_VARYING: Final = frozenset({"flac", "ogg"})

#: WAV and AIFF say in their head what they hold: FFmpeg need not look at a megabyte of it.
_PLAIN: Final = frozenset({b"RIFF", b"RF64", b"FORM"})
_LITTLE: Final = {"probesize": "32768"}

#: Smaller files are read in one piece: fewer round trips, and no more bytes than a seek wastes.
_SMALL_BYTES: Final = 512 * 1024
#: Where windows cover more of the track than this, all of it is read in order.
_MOST_HEARD: Final = 0.7

#: Ten seconds of digital silence are fewer bytes (FLAC and WavPack number their packets: 1.5 KB;
#: speech by AMR has 6), or few packets, so many times each (PCM 108 of one kind, MP3 383 of three).
_SILENT_BYTES: Final = 2000
_SILENT_REPEATS: Final = 8
#: Of tracks up to this length that are read in order anyway all may be looked at.
_MOST_SEARCHED_S: Final = 120.0

#: Containers whose stated duration is a guess from the bit rate unless a header frame tells it.
_DURATION_BY_INDEX: Final = frozenset({"mp3", "aac"})


if TYPE_CHECKING:
    from embedder.packets import AudioPacket


@dataclass(frozen=True, slots=True)
class Recognised:
    """What tells whether a track is known, read from one of its windows.

    `content_key` covers codec, rate, channels, the track's duration in ms, how many bytes its
    compressed audio has (in long files of the containers that we read ourselves), and the payload
    of every codec packet inside one window (the middle one; of long FLAC and Ogg files the first),
    and where that one is digital silence of all windows, and of all of a short track;
    no tag, cover or name is in it, so a moved, renamed or retagged file keeps its key. A change
    elsewhere that leaves all of that alone is not seen by it (but by size and time, which make the
    job look again).
    """

    content_key: str
    duration_s: float
    _starts: tuple[float, ...]
    _sparse: bool
    _told: tuple[float, tuple[AudioPacket, ...]]
    _container: InputContainer


class AudioFile:
    """An audio file open for reading; use as a context manager.

    Raises:
        DecodingError: from opening, when the file is empty, unreadable or no audio.
    """

    def __init__(
        self,
        source: Path | Source,
        *,
        whole: bool = False,
        on_read: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        with explained():
            opened = LocalSource(source) if isinstance(source, Path) else source
            self.file = CachedFile(opened, on_read=on_read, clock=clock)
        try:
            with explained(NOT_AUDIO):
                if self.file.size_bytes == 0:
                    raise DecodingError(EMPTY_FILE)
                small = self.file.size_bytes <= _SMALL_BYTES
                if whole or small:
                    self.file.fetch(0, self.file.size_bytes)
                self._seeker = None if small else open_seeker(self.file)
                self._container = self._open()
            # Of small files it is not known, and tags alone must not make a file a large one.
            payload_bytes = 0 if self._seeker is None else self._seeker.payload_bytes
            self._payload_bytes = payload_bytes if payload_bytes > _SMALL_BYTES else 0
            # Where the rate varies, a length to the byte tells recordings apart, and the first
            # window is found in fewer reads; else the middle is where versions differ.
            self._telling = self._payload_bytes > 0 and self._varies()
        except DecodingError:
            self.file.close()
            raise
        try:
            with explained():
                self.stream = self._found_stream()
                self._demuxer = self._demuxed_by_ffmpeg()
        except DecodingError:
            self.close()
            raise

    def _open(self) -> InputContainer:
        seeker = self._seeker
        self.file.seek(0)
        plain = self.file.read_at(0, 4) in _PLAIN
        return open_container(
            without_padding(self.file) if seeker is None else seeker.view(),
            form=None if seeker is None else seeker.form,
            buffer_bytes=BUFFER_BYTES,
            options=_LITTLE if plain else {},
        )

    def _varies(self) -> bool:
        return self._seeker is not None and self._seeker.form in _VARYING

    def _found_stream(self) -> AudioStream:
        """The audio; a seeker that was wrong about the file is given up for FFmpeg's own guess."""
        try:
            return self._audio_stream()
        except DecodingError:
            if self._seeker is None:
                raise
            self._container.close()
            self._seeker = None
            self._payload_bytes = 0
            self._telling = False
            self._container = self._open()
            return self._audio_stream()

    def _audio_stream(self) -> AudioStream:
        if not self._container.streams.audio:
            raise DecodingError(NOT_AUDIO, "it has no audio stream")
        stream = self._container.streams.audio[0]
        # PyAV gives no codec context where FFmpeg knows no decoder.
        if getattr(stream, "codec_context", None) is None:
            raise DecodingError(DOES_NOT_DECODE, "its codec is unknown")
        # FFmpeg would decode noise.
        if stream.codec_context.codec_tag in _ENCRYPTED:
            raise DecodingError(DOES_NOT_DECODE, "it is encrypted")
        rate_hz = stream.codec_context.sample_rate
        if not rate_hz:
            raise DecodingError(DOES_NOT_DECODE, "its sample rate is unknown")
        if rate_hz < _LEAST_RATE_HZ:
            raise DecodingError(DOES_NOT_DECODE, f"a sample rate of {rate_hz} Hz holds no music")
        return stream

    @property
    def bytes_read(self) -> int:
        """What was read from the file so far, in bytes."""
        return self.file.bytes_read

    @property
    def reads(self) -> int:
        """In how many pieces, each of which is a round trip on a network mount."""
        return self.file.reads

    @property
    def values_per_s(self) -> int:
        """Samples of all channels together: what decoding takes memory for."""
        codec = self.stream.codec_context
        return int(codec.sample_rate * codec.channels)

    def tag_file(self) -> IO[bytes]:
        """The same blocks for reading tags, from their start."""
        if self._seeker is not None and (tags := self._seeker.tags()) is not None:
            return BytesIO(tags)
        # A position of its own: FFmpeg goes on where it was.
        return cast("IO[bytes]", View(self.file, [(0, self.file.size_bytes)]))

    def close(self) -> None:
        """Close the file."""
        self._container.close()
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def recognise(self, most: int = MOST_WINDOWS) -> Recognised:
        """Read one of up to `most` windows spread over the track, the one that tells it.

        Raises:
            DecodingError: when the file has no sound, or too little.
        """
        with explained():
            stated = self._stated_s()
            sparse = (
                self.file.size_bytes > _SMALL_BYTES
                and stated is not None
                and most * WINDOW_S < _MOST_HEARD * stated
            )
            if not sparse:
                self._leave_to_ffmpeg()
            duration_s = self._duration_s(stated, most if sparse else 0)
            if duration_s < SHORTEST_S:
                raise DecodingError(TOO_SHORT, f"{duration_s:.2f} s of sound")
            starts = plan_windows(duration_s, most=most)
            start_s = starts[0 if self._telling else len(starts) // 2]
            told, container = (start_s, self._packets(start_s, sparse)), self._container
            key = self._content_key(duration_s, starts, sparse, told)
        return Recognised(key, duration_s, starts, sparse, told, container)

    def fetch(self, most: int = MOST_WINDOWS, known: Recognised | None = None) -> Fetched:
        """Read the packets of up to `most` windows; `known` is what `recognise` gave for as many.

        Raises:
            DecodingError: as `recognise`.
        """
        known = known or self.recognise(most)
        return self._fetched(known, tuple(self._in_turn(known)))

    def listen(self, known: Recognised) -> Fetched:
        """As `fetch`, but each window is read when its turn to be decoded comes, and then let go:
        six of them at 192 kHz are 100 MB. To be decoded once."""
        return self._fetched(known, self._in_turn(known))

    def _fetched(
        self, known: Recognised, windows: Iterable[tuple[float, tuple[AudioPacket, ...]]]
    ) -> Fetched:
        rate_hz = self.stream.codec_context.sample_rate
        return Fetched(known.content_key, known.duration_s, rate_hz, self, windows)

    @property
    def time_base(self) -> Fraction:
        return self.stream.time_base or Fraction(1, av.time_base)

    @property
    def origin(self) -> int:
        """When the first sample is, in units of the stream's time base."""
        return self.stream.start_time or 0

    def _stated_s(self) -> float | None:
        if self.stream.duration:
            return float(self.stream.duration * self.time_base)
        return self._container.duration / av.time_base if self._container.duration else None

    def _duration_s(self, stated: float | None, probes: int) -> float:
        """The track's length; where nothing tells it, from `probes` stretches or else the end."""
        # An MP3 whose header frame tells the encoder's delay (a start time) tells its length too.
        guessed = self._container.format.name in _DURATION_BY_INDEX and not self.stream.start_time
        if probes and self._seeker is not None:
            return self._seeker.duration_s(probes) or stated or 0.0
        if stated is None or guessed:
            return self._demuxer.last_packet_end_s(stated, self.origin)
        return stated

    def _in_turn(self, known: Recognised) -> Iterator[tuple[float, tuple[AudioPacket, ...]]]:
        """Every window with its packets, one at a time: by the seeker as long as it finds them."""
        if not known._sparse:
            with explained():
                self.file.fetch(0, self.file.size_bytes)
        for start_s in known._starts:
            with explained():
                if start_s == known._told[0] and known._container is self._container:
                    packets = known._told[1]
                else:
                    packets = self._packets(start_s, known._sparse)
            yield start_s, packets

    def _packets(self, start_s: float, sparse: bool) -> tuple[AudioPacket, ...]:
        """A window's packets: by the seeker, or by FFmpeg where that does not find them."""
        found = self._sought(start_s) if sparse else None
        if found is None:
            self._leave_to_ffmpeg()
            found = self._demuxed(start_s, sparse)
        return found

    def _sought(self, start_s: float) -> tuple[AudioPacket, ...] | None:
        """A window's packets, found by the seeker; None where it does not find them."""
        seeker = self._seeker
        if seeker is None:
            return None
        from_s = start_s + float(self.origin * self.time_base)
        found = seeker.packets(from_s - seeker.preroll_s, from_s + WINDOW_S + TAIL_S)
        return None if found is None else tuple(found)

    def _leave_to_ffmpeg(self) -> None:
        """Let FFmpeg see all of a file of which it saw the ends only."""
        if self._seeker is not None and not self._seeker.whole_view:
            self._container.close()
            self._seeker = None
            self._container = self._open()
            self.stream = self._audio_stream()
            self._demuxer = self._demuxed_by_ffmpeg()

    def _demuxed_by_ffmpeg(self) -> Demuxer:
        return Demuxer(self.file, self._container, self.stream, plain=self._seeker is None)

    def _demuxed(self, start_s: float, sparse: bool) -> tuple[AudioPacket, ...]:
        """The packets from `PREROLL_S` before a window to a little after its end, by FFmpeg."""
        first = self.origin + math.floor((start_s - PREROLL_S) / self.time_base)
        end = self.origin + math.ceil((start_s + WINDOW_S + TAIL_S) / self.time_base)
        return self._demuxer.packets(first, end, at_once=sparse)

    def _content_key(
        self,
        duration_s: float,
        starts: Sequence[float],
        sparse: bool,
        window: tuple[float, Sequence[AudioPacket]],
    ) -> str:
        codec = self.stream.codec_context
        digest = hashlib.blake2b(digest_size=16)
        facts = (codec.name, codec.sample_rate, codec.channels, round(duration_s * 1000))
        digest.update(repr((*facts, self._payload_bytes)).encode())
        packets = self._inside(*window)
        for packet in packets:
            digest.update(packet)
        if not self._telling and duration_s > WINDOW_S and _silent(packets):
            # As in any other recording: what else is heard of this one has to tell.
            if not sparse:
                self.file.fetch(0, self.file.size_bytes)
                if duration_s <= _MOST_SEARCHED_S:
                    starts = [
                        start_s * WINDOW_S for start_s in range(int(duration_s / WINDOW_S) + 1)
                    ]
            for start_s in starts:
                for packet in self._inside(start_s, self._packets(start_s, sparse)):
                    digest.update(packet)
        return f"m{DECODING_VERSION}-{digest.hexdigest()}"

    def _inside(self, start_s: float, packets: Sequence[AudioPacket]) -> list[AudioPacket]:
        """Those of a window's packets that begin in it.

        Which come before it depends on where the seek landed, which depends on what lies before the
        audio: they do not count.
        """
        first = self.origin + math.ceil(start_s / self.time_base)
        end = self.origin + math.ceil((start_s + WINDOW_S) / self.time_base)
        found: list[AudioPacket] = []
        inside = False
        for packet in packets:
            if packet.pts is not None:
                inside = first <= packet.pts < end
            if inside:
                found.append(packet)
        return found


def _silent(packets: Sequence[AudioPacket]) -> bool:
    """Whether a window's packets are those of digital silence, or of one tone: nearly nothing, or
    the same again and again."""
    if sum(packet.size for packet in packets) < _SILENT_BYTES:
        return True
    kinds: set[bytes] = set()
    for packet in packets:
        kinds.add(bytes(packet))
        if len(kinds) * _SILENT_REPEATS > len(packets):
            return False
    return True
