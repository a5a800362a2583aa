"""From a file to a few seconds of mono sound, level-true and exact to the sample.

A file is read in three steps, so that known content is neither read nor decoded again:
`AudioFile.recognise` takes the codec packets of one window, which give the content key;
`AudioFile.fetch` those of all windows (a few MB); `Fetched.decode` turns them into samples.

Seeking lands before the target, and frames carry their time, so a window cut after `PREROLL_S` of
decoding equals the same window of a full decode. Over the 165 files of the development library
(FFmpeg 8, PyAV 18): bit for bit in FLAC, MP3 and Opus; in Vorbis and M4A too, but for 5 files whose
first block is cut (6-10 ms) and for the noise that AAC's decoder makes up (cosine > .99). Long
files are searched by `embedder.seeking`, in a dozen reads; `embedder.mpeg` says how true an MP3 is.
"""

from __future__ import annotations

import hashlib
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, Self, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from numpy.typing import NDArray

from catalog.tracks import Float32
from embedder.errors import (
    DOES_NOT_DECODE,
    EMPTY_FILE,
    NOT_AUDIO,
    TOO_SHORT,
    UNREADABLE,
    DecodingError,
)
from embedder.excerpts import Excerpts, full_scale, mix, values_of
from embedder.loudness import channel_weights, piece_powers
from embedder.reading import CachedFile, LocalSource, Source, View
from embedder.seeking import open_seeker
from embedder.windows import MOST_WINDOWS, WINDOW_S, plan_windows

#: Part of every model's version: raised whenever the same file would give other samples.
DECODING_VERSION: Final = 3

#: Decoded and thrown away before a window, until the codec has forgotten what came earlier.
PREROLL_S: Final = 0.5
#: Taken after a window, for the codecs that give their samples a packet or two late.
_TAIL_S: Final = 0.1

#: Shorter sounds say nothing about a track.
SHORTEST_S: Final = 0.5

#: Frames whose times disagree by less are still one stretch of sound.
_GAP_S: Final = 0.2

#: PyAV reads past the end of what FFmpeg allocated for frames of more planes than this (a process
#: died of a few flipped bits in an M4A, which made 54 channels of two).
_MOST_PLANES: Final = 8

#: How MP4 marks bought music and streams under a key.
_ENCRYPTED: Final = frozenset({"drms", "enca"})

#: Absurd floats (a broken float WAV) are cut here, 24 dB over full scale.
_LOUDEST: Final = 16.0

#: Formats of our seekers whose rate always varies.
_VARYING: Final = frozenset({"flac", "ogg"})

#: WAV and AIFF say in their head what they hold: FFmpeg need not look at a megabyte of it.
_PLAIN: Final = frozenset({b"RIFF", b"RF64", b"FORM"})
_LITTLE: Final = {"probesize": "32768"}

#: FFmpeg's own buffer over the cached blocks; a larger one makes it ask for more than it uses.
_BUFFER_BYTES: Final = 16 * 1024

#: Smaller files are read in one piece: fewer round trips, and no more bytes than a seek wastes.
_SMALL_BYTES: Final = 512 * 1024
#: Where windows cover more of the track than this, all of it is read in order.
_MOST_HEARD: Final = 0.7

#: FFmpeg's index of what it happened to see is no index of the file.
_FEWEST_ENTRIES: Final = 50
_MOST_PREFETCHED_BYTES: Final = 16 * 2**20

#: Containers whose stated duration is a guess from the bit rate unless a header frame tells it.
_DURATION_BY_INDEX: Final = frozenset({"mp3", "aac"})


if TYPE_CHECKING:
    _Packet = Packet[AudioStream]


@dataclass(frozen=True, slots=True)
class Recognised:
    """What tells whether a track is known, read from one of its windows.

    `content_key` covers codec, rate, channels, the track's duration in ms, how many bytes its
    compressed audio has (in long files of the containers that we read ourselves), and the payload
    of every codec packet inside one window (the middle one; of long FLAC and Ogg files the first);
    no tag, cover or name is in it, so a moved, renamed or retagged file keeps its key. A change
    elsewhere that leaves all of that alone is not seen by it (but by size and time, which make the
    job look again).
    """

    content_key: str
    duration_s: float
    _starts: tuple[float, ...]
    _sparse: bool
    _told: tuple[float, tuple[_Packet, ...]]
    _container: InputContainer


@dataclass(frozen=True, slots=True)
class Fetched:
    """The codec packets of a track's windows; `content_key` as in `Recognised`."""

    content_key: str
    duration_s: float
    rate_hz: int
    _file: AudioFile
    _windows: Iterable[tuple[float, tuple[_Packet, ...]]]

    def decode(self, *, loudness: bool = False) -> Excerpts:
        """Decode the windows; one that is broken is left out. `loudness`: with their powers.

        Raises:
            DecodingError: when none gives sound, or the file cannot be read.
        """
        wanted = round(min(WINDOW_S, self.duration_s) * self.rate_hz)
        # A truncated file's last window may be partly there: half of one is worth hearing.
        enough = max(1, min(wanted // 2, round(SHORTEST_S * self.rate_hz)))
        windows: list[Float32] = []
        powers: list[Float32] = []
        for start_s, packets in self._windows:
            with _explained():
                frames = self._frames(packets)
                sound, heard = self._window(round(start_s * self.rate_hz), wanted, frames)
                if sound.size < enough:
                    continue
                windows.append(sound)
                if loudness:
                    powers += _powers(frames, heard, self.rate_hz)
        if not windows:
            raise DecodingError(DOES_NOT_DECODE, "none of its windows gives sound")
        return Excerpts(self.rate_hz, self.duration_s, tuple(windows), tuple(powers))

    def _frames(self, packets: Sequence[_Packet]) -> list[_Run]:
        """The packets decoded, in runs of one format."""
        codec = self._file._stream.codec_context
        codec.flush_buffers()
        runs: list[_Run] = []
        for packet in (*packets, None):
            try:
                frames = codec.decode(packet)
            except av.error.FFmpegError:
                continue  # a broken packet; what follows carries its own time
            for frame in frames:
                if not _readable(frame):
                    continue
                if not (runs and runs[-1].takes(frame)):
                    runs.append(_Run(frame))
                runs[-1].add(frame)
        for run in runs:
            run.join()
        return runs

    def _window(self, start: int, wanted: int, runs: Sequence[_Run]) -> tuple[Float32, list[slice]]:
        """Samples start … start + wanted of the track, fewer where the file ends, (n,) mono.

        Also which of the runs' samples, laid end to end, they are.
        """
        if not runs:
            return np.empty(0, np.float32), []
        mono = np.concatenate([mix(run.samples, run.form) for run in runs])
        sound = np.zeros(wanted, np.float32)
        filled = 0
        heard: list[slice] = []
        for position, begun, ended in self._place([one for run in runs for one in run.claims]):
            first, last = max(position, start), min(position + ended - begun, start + wanted)
            if first < last:
                inside = slice(begun + first - position, begun + last - position)
                sound[first - start : last - start] = mono[inside]
                filled = max(filled, last - start)
                heard.append(inside)
        sound = sound[:filled]
        return _tamed(sound), heard

    def _place(self, frames: Sequence[_Claim]) -> Iterator[tuple[int, int, int]]:
        """Give samples their position in the track.

        For each whole stretch its first sample's position, and where it begins and ends among the
        frames' samples.

        Frames are laid end to end, and what most of them claim places the whole: single claims
        are off (Matroska counts in ms; Vorbis is up to a block early or late where block sizes
        change). Only a jump of `_GAP_S` and more means that sound is missing between.
        """
        ends = np.cumsum([frame.samples for frame in frames])
        scale = float(self._file._time_base * self.rate_hz)
        offsets: list[int] = []
        begun = 0
        for frame, end in zip(frames, ends.tolist(), strict=True):
            if frame.pts is None:
                continue
            offset = round((frame.pts - self._file._origin) * scale) - (end - frame.samples)
            if offsets and abs(offset - offsets[-1]) > _GAP_S * self.rate_hz:
                position = statistics.median_low(offsets) + begun
                yield position, begun, end - frame.samples
                offsets, begun = [], end - frame.samples
            offsets.append(offset)
        if offsets:
            yield statistics.median_low(offsets) + begun, begun, int(ends[-1])


def _readable(frame: AudioFrame) -> bool:
    """Whether PyAV can read a frame's samples without leaving its memory."""
    return not frame.format.is_planar or frame.layout.nb_channels <= _MOST_PLANES


class _Claim(NamedTuple):
    """When a frame claims to begin, in the stream's time base, and how many samples it has."""

    pts: int | None
    samples: int


class _Run:
    """Frames of one format; `samples` (channels, n) of all of them, once they are joined.

    Samples are copied at once: frames of 192 kHz would fill memory.
    """

    def __init__(self, first: AudioFrame) -> None:
        self.form: str = first.format.name
        self.channels = tuple(one.name for one in first.layout.channels)
        self.claims: list[_Claim] = []
        self._parts: list[NDArray[Any]] = []

    def takes(self, frame: AudioFrame) -> bool:
        """Whether a frame is of this format, which changes where a stream was joined."""
        return (frame.format.name, frame.layout.nb_channels) == (self.form, len(self.channels))

    def add(self, frame: AudioFrame) -> None:
        """Take a frame at the end."""
        self.claims.append(_Claim(frame.pts, frame.samples))
        self._parts.append(values_of(frame))

    def join(self) -> None:
        """Lay the frames' samples end to end."""
        self.samples: NDArray[Any] = np.concatenate(self._parts, axis=1)
        self._parts.clear()


def _tamed(sound: Float32) -> Float32:
    """The same samples without what a broken float WAV may hold."""
    if not np.isfinite(sound).all():
        np.nan_to_num(sound, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(sound, -_LOUDEST, _LOUDEST, out=sound)


def _powers(runs: Sequence[_Run], heard: Sequence[slice], rate_hz: int) -> Iterator[Float32]:
    """The powers of stretches of the runs' samples, laid end to end."""
    begun = 0
    for run in runs:
        ended = begun + run.samples.shape[1]
        weights = channel_weights(run.channels)
        for part in heard:
            first, last = max(part.start, begun) - begun, min(part.stop, ended) - begun
            if first < last:
                channels = run.samples[:, first:last] * np.float32(full_scale(run.form))
                yield piece_powers(_tamed(channels), rate_hz, weights)
        begun = ended


@contextmanager
def _explained(reason: str = DOES_NOT_DECODE) -> Iterator[None]:
    """Turn whatever a broken file makes FFmpeg or PyAV stumble over into a DecodingError."""
    try:
        yield
    except DecodingError:
        raise
    except av.error.FFmpegError as error:
        raise DecodingError(reason, error.strerror or str(error)) from error
    except OSError as error:
        raise DecodingError(UNREADABLE, error.strerror or str(error)) from error
    except (ValueError, ArithmeticError, LookupError, AttributeError, TypeError) as error:
        raise DecodingError(reason, f"{type(error).__name__}: {error}") from error
    except (EOFError, MemoryError) as error:  # a header that claims terabytes
        raise DecodingError(reason, type(error).__name__) from error


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
        #: Where plain samples begin: byte, time, bytes a unit of time.
        self._plain: tuple[int, int, float] | None = None
        with _explained():
            opened = LocalSource(source) if isinstance(source, Path) else source
            self.file = CachedFile(opened, on_read=on_read, clock=clock)
        try:
            with _explained(NOT_AUDIO):
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
            with _explained():
                self._stream = self._found_stream()
        except DecodingError:
            self.close()
            raise

    def _open(self) -> InputContainer:
        seeker = self._seeker
        self.file.seek(0)
        return av.open(
            self.file if seeker is None else seeker.view(),
            mode="r",
            format=None if seeker is None else seeker.form,
            buffer_size=_BUFFER_BYTES,
            metadata_errors="replace",
            container_options=_LITTLE if self.file.read_at(0, 4) in _PLAIN else {},
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
        if not stream.codec_context.sample_rate:
            raise DecodingError(DOES_NOT_DECODE, "its sample rate is unknown")
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
        codec = self._stream.codec_context
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def recognise(self, most: int = MOST_WINDOWS) -> Recognised:
        """Read one of up to `most` windows spread over the track, the one that tells it.

        Raises:
            DecodingError: when the file has no sound, or too little.
        """
        with _explained():
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
            packets = self._sought(start_s) if sparse else None
            if packets is None:
                self._leave_to_ffmpeg()
                packets = self._packets(start_s, sparse)
            told = (start_s, packets)
            key = self._content_key(duration_s, told)
        return Recognised(key, duration_s, starts, sparse, told, self._container)

    def fetch(self, most: int = MOST_WINDOWS, known: Recognised | None = None) -> Fetched:
        """Read the packets of up to `most` windows; `known` is what `recognise` gave for as many.

        Raises:
            DecodingError: as `recognise`.
        """
        known = known or self.recognise(most)
        with _explained():
            if not known._sparse:
                self.file.fetch(0, self.file.size_bytes)
            windows = self._windows(known)
        return self._fetched(known, windows)

    def listen(self, known: Recognised) -> Fetched:
        """As `fetch`, but each window is read when its turn to be decoded comes, and then let go:
        six of them at 192 kHz are 100 MB. To be decoded once."""
        with _explained():
            if not known._sparse:
                self.file.fetch(0, self.file.size_bytes)
        return self._fetched(known, self._in_turn(known))

    def _fetched(
        self, known: Recognised, windows: Iterable[tuple[float, tuple[_Packet, ...]]]
    ) -> Fetched:
        rate_hz = self._stream.codec_context.sample_rate
        return Fetched(known.content_key, known.duration_s, rate_hz, self, windows)

    @property
    def _time_base(self) -> Fraction:
        return self._stream.time_base or Fraction(1, av.time_base)

    @property
    def _origin(self) -> int:
        """When the first sample is, in units of the stream's time base."""
        return self._stream.start_time or 0

    def _stated_s(self) -> float | None:
        if self._stream.duration:
            return float(self._stream.duration * self._time_base)
        return self._container.duration / av.time_base if self._container.duration else None

    def _duration_s(self, stated: float | None, probes: int) -> float:
        """The track's length; where nothing tells it, from `probes` stretches or else the end."""
        # An MP3 whose header frame tells the encoder's delay (a start time) tells its length too.
        guessed = self._container.format.name in _DURATION_BY_INDEX and not self._stream.start_time
        if probes and self._seeker is not None:
            return self._seeker.duration_s(probes) or stated or 0.0
        return self._last_packet_end_s(stated) if stated is None or guessed else stated

    def _last_packet_end_s(self, stated: float | None) -> float:
        """Where the last packet ends. MP3's seek builds the index on the way that windows need."""
        end: int | None = None
        if stated is not None:
            self._container.seek(round(stated / self._time_base), stream=self._stream)
        for packet in self._container.demux(self._stream):
            if packet.pts is not None:
                end = packet.pts + (packet.duration or 0)
        return 0.0 if end is None else float((end - self._origin) * self._time_base)

    def _windows(self, known: Recognised) -> tuple[tuple[float, tuple[_Packet, ...]], ...]:
        """Every window with its packets, by the seeker if it finds them all, else by FFmpeg."""
        windows = dict([known._told])
        for start_s in known._starts if known._sparse else ():
            found = windows.get(start_s) or self._sought(start_s)
            if found is None:
                break
            windows[start_s] = found
        if len(windows) < len(known._starts):
            self._leave_to_ffmpeg()
            if known._container is not self._container:
                windows = {}
            for start_s in known._starts:
                if start_s not in windows:
                    windows[start_s] = self._packets(start_s, known._sparse)
        return tuple((start_s, windows[start_s]) for start_s in known._starts)

    def _in_turn(self, known: Recognised) -> Iterator[tuple[float, tuple[_Packet, ...]]]:
        """Every window with its packets, as `_windows`, but one at a time."""
        for start_s in known._starts:
            with _explained():
                if start_s == known._told[0] and known._container is self._container:
                    packets: tuple[_Packet, ...] | None = known._told[1]
                else:
                    packets = self._sought(start_s) if known._sparse else None
                if packets is None:
                    self._leave_to_ffmpeg()
                    packets = self._packets(start_s, known._sparse)
            yield start_s, packets

    def _sought(self, start_s: float) -> tuple[_Packet, ...] | None:
        """A window's packets, found by the seeker; None where it does not find them."""
        seeker = self._seeker
        if seeker is None:
            return None
        from_s = start_s + float(self._origin * self._time_base)
        found = seeker.packets(from_s - seeker.preroll_s, from_s + WINDOW_S + _TAIL_S)
        return None if found is None else tuple(found)

    def _leave_to_ffmpeg(self) -> None:
        """Let FFmpeg see all of a file of which it saw the ends only."""
        if self._seeker is not None and not self._seeker.whole_view:
            self._container.close()
            self._seeker = None
            self._container = self._open()
            self._stream = self._audio_stream()

    def _packets(self, start_s: float, sparse: bool) -> tuple[_Packet, ...]:
        """The packets from `PREROLL_S` before a window to a little after its end."""
        first = self._origin + math.floor((start_s - PREROLL_S) / self._time_base)
        end = self._origin + math.ceil((start_s + WINDOW_S + _TAIL_S) / self._time_base)
        if sparse:
            self._prefetch(first, end)
        self._container.seek(max(0, first), stream=self._stream, backward=True)
        packets: list[_Packet] = []
        for packet in self._container.demux(self._stream):
            pts = packet.pts
            # A packet without bytes is the end of the file.
            if packet.size == 0 or (pts is not None and pts >= end):
                break
            packets.append(packet)
        return tuple(packets)

    def _prefetch(self, first: int, end: int) -> None:
        """Read a window in one piece where its place is known: an index (MP4), or plain samples."""
        place = self._computed(first, end) or self._indexed(first, end)
        if place is not None and 0 <= place[0] <= place[1] <= place[0] + _MOST_PREFETCHED_BYTES:
            self.file.fetch(place[0], place[1] + 2 * _BUFFER_BYTES)

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
        if self._seeker is not None or not self._stream.codec_context.name.startswith("pcm_"):
            return None
        if self._plain is None:
            packet = next(self._container.demux(self._stream))
            if not packet.size or not packet.duration or packet.pos is None or packet.pos < 0:
                return None
            self._plain = packet.pos, packet.pts or 0, packet.size / packet.duration
        at, begun, bytes_a_tick = self._plain
        low, high = (at + round((tick - begun) * bytes_a_tick) for tick in (first, end))
        return max(low, at), min(high, self.file.size_bytes)

    def _content_key(self, duration_s: float, window: tuple[float, Sequence[_Packet]]) -> str:
        codec = self._stream.codec_context
        digest = hashlib.blake2b(digest_size=16)
        facts = (codec.name, codec.sample_rate, codec.channels, round(duration_s * 1000))
        digest.update(repr((*facts, self._payload_bytes)).encode())
        start_s, packets = window
        first = self._origin + math.ceil(start_s / self._time_base)
        end = self._origin + math.ceil((start_s + WINDOW_S) / self._time_base)
        inside = False
        for packet in packets:
            # Which packets come before a window depends on where the seek landed, which depends on
            # what lies before the audio: only those inside count.
            if packet.pts is not None:
                inside = first <= packet.pts < end
            if inside:
                digest.update(packet)
        return f"m{DECODING_VERSION}-{digest.hexdigest()}"
