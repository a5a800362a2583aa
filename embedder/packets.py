"""The codec packets of a track's windows, and what they sound like: mono, exact to the sample.

Frames carry their time, so a window cut after `PREROLL_S` of decoding equals the same window of a
full decode. Over the 165 files of the development library (FFmpeg 8, PyAV 18): bit for bit in FLAC,
MP3 and Opus; in Vorbis and M4A too, but for 5 files whose first block is cut (6-10 ms) and for the
noise that AAC's decoder makes up (cosine > .99).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet
from numpy.typing import NDArray

from catalog.tracks import Float32
from embedder.errors import DOES_NOT_DECODE, UNREADABLE, DecodingError
from embedder.excerpts import Excerpts, full_scale, mix, values_of
from embedder.loudness import channel_weights, piece_powers
from embedder.windows import WINDOW_S

#: Decoded and thrown away before a window, until the codec has forgotten what came earlier.
PREROLL_S: Final = 0.5

#: Taken after a window, for the codecs that give their samples a packet or two late.
TAIL_S: Final = 0.1

#: Shorter sounds say nothing about a track.
SHORTEST_S: Final = 0.5

#: Frames whose times disagree by less are still one stretch of sound.
_GAP_S: Final = 0.2

#: PyAV reads past the end of what FFmpeg allocated for frames of more planes than this (a process
#: died of a few flipped bits in an M4A, which made 54 channels of two).
_MOST_PLANES: Final = 8

#: Absurd floats (a broken float WAV) are cut here, 24 dB over full scale.
_LOUDEST: Final = 16.0

#: A window in which more than this share of the samples is absurd, or no number, is broken: what
#: is made of them would be silence or noise that nobody recorded.
_MOST_ABSURD: Final = 0.5


if TYPE_CHECKING:
    from embedder.decoding import AudioFile

    AudioPacket = Packet[AudioStream]


@dataclass(frozen=True, slots=True)
class Fetched:
    """The codec packets of a track's windows; `content_key` as in `Recognised`."""

    content_key: str
    duration_s: float
    rate_hz: int
    _file: AudioFile
    _windows: Iterable[tuple[float, tuple[AudioPacket, ...]]]

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
        absurd = False
        for start_s, packets in self._windows:
            with explained():
                frames = self._frames(packets)
                sound, heard = self._window(round(start_s * self.rate_hz), wanted, frames)
                if sound.size < enough:
                    continue
                tamed = _tamed(sound)
                if tamed is not sound and _is_absurd(sound):
                    absurd = True
                    continue
                windows.append(tamed)
                if loudness:
                    powers += _powers(frames, heard, self.rate_hz)
        if absurd and not windows:
            what = f"most of its samples are no numbers, or beyond {_LOUDEST:g} times full scale"
            raise DecodingError(DOES_NOT_DECODE, what)
        if not windows:
            raise DecodingError(DOES_NOT_DECODE, "none of its windows gives sound")
        return Excerpts(self.rate_hz, self.duration_s, tuple(windows), tuple(powers))

    def _frames(self, packets: Sequence[AudioPacket]) -> list[_Run]:
        """The packets decoded, in runs of one format."""
        codec = self._file.stream.codec_context
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
        return sound[:filled], heard

    def _place(self, frames: Sequence[_Claim]) -> Iterator[tuple[int, int, int]]:
        """Give samples their position in the track.

        For each whole stretch its first sample's position, and where it begins and ends among the
        frames' samples.

        Frames are laid end to end, and what most of them claim places the whole: single claims
        are off (Matroska counts in ms; Vorbis is up to a block early or late where block sizes
        change). Only a jump of `_GAP_S` and more means that sound is missing between.
        """
        ends = np.cumsum([frame.samples for frame in frames])
        scale = float(self._file.time_base * self.rate_hz)
        offsets: list[int] = []
        begun = 0
        for frame, end in zip(frames, ends.tolist(), strict=True):
            if frame.pts is None:
                continue
            offset = round((frame.pts - self._file.origin) * scale) - (end - frame.samples)
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


def _is_absurd(sound: Float32) -> bool:
    """Whether too few of a window's samples are sound for the others to be made good."""
    return 1.0 - float(np.mean(np.abs(sound) <= _LOUDEST)) > _MOST_ABSURD


def _tamed(sound: Float32) -> Float32:
    """The same samples without what a broken float WAV may hold; itself, where there is none."""
    # A comparison with NaN is false, and the extremes of what holds one are NaN.
    if sound.size == 0 or (sound.min() >= -_LOUDEST and sound.max() <= _LOUDEST):
        return sound
    sound = np.nan_to_num(sound, nan=0.0, posinf=0.0, neginf=0.0)
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
                channels = run.samples[:, first:last]
                if channels.dtype != np.float32:
                    channels = channels * np.float32(full_scale(run.form))
                yield piece_powers(_tamed(channels), rate_hz, weights)
        begun = ended


@contextmanager
def explained(reason: str = DOES_NOT_DECODE) -> Iterator[None]:
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
