"""What happens to music before it is heard again: rooms, speed, noise, and real codecs.

Sound is float32 (channels, n) in -1…1, at 32 kHz where nothing else is said.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray

from embedder.excerpts import downmix, full_scale, resample, samples_of
from embedder.models import efficientat

RATE_HZ: Final = efficientat.SAMPLE_RATE_HZ
#: Most seconds kept of an excerpt, from its middle.
MOST_S: Final = 60.0
#: Of a file longer than this (an audiobook, a mix) only the middle is decoded.
_LONG_S: Final = 1200.0
#: Taps of the filter that makes two channels of one: 16 ms at 32 kHz, too short for an echo.
_TAPS: Final = 512

Sound = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Codec:
    """A way of losing sound: an encoder at a rate, or (no encoder) the rate alone.

    `bit_rate` is in bits a second for one channel: a joint stereo file at twice that sounds alike.
    """

    name: str
    encoder: str
    container: str
    rate_hz: int
    bit_rate: int


#: What training damages with.
CODECS: Final = (
    Codec("mp3 48k", "libmp3lame", "mp3", 24_000, 24_000),
    Codec("mp3 56k", "libmp3lame", "mp3", 32_000, 32_000),
    Codec("mp3 64k", "libmp3lame", "mp3", 44_100, 32_000),
    Codec("mp3 80k", "libmp3lame", "mp3", 44_100, 40_000),
    Codec("mp3 96k", "libmp3lame", "mp3", 44_100, 48_000),
    Codec("mp3 128k", "libmp3lame", "mp3", 44_100, 64_000),
    Codec("opus 32k", "libopus", "ogg", 48_000, 16_000),
    Codec("opus 48k", "libopus", "ogg", 48_000, 24_000),
    Codec("opus 64k", "libopus", "ogg", 48_000, 32_000),
    Codec("aac 64k", "aac", "adts", 44_100, 32_000),
    Codec("aac 96k", "aac", "adts", 44_100, 48_000),
    Codec("22 kHz", "", "", 22_050, 0),
    Codec("16 kHz", "", "", 16_000, 0),
)
#: What validation asks to be found again: each excerpt has all of them.
PROBES: Final = tuple(
    codec for codec in CODECS if codec.name in {"mp3 64k", "mp3 128k", "opus 48k", "22 kHz"}
)


def decode(path: Path | io.BytesIO) -> tuple[Sound, int]:
    """All of a file as mono float32 (n,) in -1…1, and its sample rate in Hz."""
    frames, rate_hz = _frames(path)
    return downmix(frames), rate_hz


def decode_channels(path: Path) -> tuple[Sound, int]:
    """All of a file, float32 (2, n) in -1…1 if it is stereo, else mono (1, n); and its rate."""
    frames, rate_hz = _frames(path)
    if frames[0].layout.nb_channels != 2:
        return downmix(frames)[np.newaxis], rate_hz
    return (samples_of(frames) * full_scale(frames[0].format.name)).astype(np.float32), rate_hz


def _frames(path: Path | io.BytesIO) -> tuple[list[av.AudioFrame], int]:
    with av.open(path if isinstance(path, io.BytesIO) else str(path), "r") as container:
        rate_hz = container.streams.audio[0].codec_context.sample_rate
        length_s = (container.duration or 0) / av.time_base
        if length_s < _LONG_S:
            return list(container.decode(audio=0)), rate_hz
        container.seek(int((length_s / 2 - MOST_S) * av.time_base))
        frames, left = [], int(2 * MOST_S * rate_hz)
        for frame in container.decode(audio=0):
            frames.append(frame)
            left -= frame.samples
            if left <= 0:
                break
        return frames, rate_hz


def recode(samples: Sound, codec: Codec) -> Sound:
    """Samples (channels, n) at 32 kHz as they sound after a codec, mono (n,) at 32 kHz."""
    n = samples.shape[1]
    sound = resampled(samples, RATE_HZ, codec.rate_hz)
    if codec.encoder:
        mono, rate_hz = decode(_encode(sound, codec))
    else:
        mono, rate_hz = sound.mean(axis=0), codec.rate_hz
    back = resample(mono, rate_hz, RATE_HZ)[:n]
    return np.pad(back, (0, n - len(back)))


def resampled(sound: Sound, from_hz: int, to_hz: int) -> Sound:
    """Each channel of (channels, n) at another rate."""
    return np.stack([resample(channel, from_hz, to_hz) for channel in sound])


def widen(sound: Sound, draw: np.random.Generator) -> Sound:
    """Mono (1, n) → stereo (2, n) whose mean is the mono again, from nearly narrow to very wide.

    What a joint stereo codec loses of the middle depends on what is at the sides. They are made by
    a filter of random phase (Kendall, "The Decorrelation of Audio Signals and Its Impact on
    Spatial Imagery", Computer Music Journal 19:4, 1995), 15 dB below the middle to 6 dB above it.
    """
    n = sound.shape[1]
    phase = draw.uniform(-np.pi, np.pi, _TAPS // 2 + 1)
    taps = np.fft.irfft(np.exp(1j * phase), _TAPS)
    size = n + _TAPS
    side = np.fft.irfft(np.fft.rfft(sound[0], size) * np.fft.rfft(taps, size), size)[:n]
    side *= 10 ** (draw.uniform(-15, 6) / 20)
    pair = np.stack([sound[0] + side, sound[0] - side])
    # Nothing over full scale: encoders would clip it, each side for itself.
    return np.ascontiguousarray(pair / max(1.0, np.abs(pair).max()), np.float32)


def _encode(sound: Sound, codec: Codec) -> io.BytesIO:
    file, layout = io.BytesIO(), ("mono", "stereo")[len(sound) - 1]
    with av.open(file, "w", format=codec.container) as container:
        stream: Any = container.add_stream(codec.encoder, rate=codec.rate_hz, layout=layout)
        stream.bit_rate = codec.bit_rate * len(sound)
        if codec.encoder == "libmp3lame":
            stream.options = {"compression_level": "7"}  # quick; worse, if anything
        wanted = stream.codec_context.codec.audio_formats
        form = wanted[0].name if wanted else "fltp"
        resampler = av.AudioResampler(
            form, layout, codec.rate_hz, frame_size=stream.codec_context.frame_size or 1024
        )
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(sound), format="fltp", layout=layout
        )
        frame.sample_rate = codec.rate_hz
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    file.seek(0)
    return file


@cache
def usable(codecs: tuple[Codec, ...]) -> tuple[Codec, ...]:
    """Those whose encoder this FFmpeg has."""
    return tuple(codec for codec in codecs if _works(codec))


def _works(codec: Codec) -> bool:
    noise = np.random.default_rng(0).normal(0, 0.1, (2, RATE_HZ)).astype(np.float32)
    try:
        return len(recode(noise, codec)) == RATE_HZ
    except (av.FFmpegError, ValueError):
        return False


def damage(sound: Sound, draw: np.random.Generator) -> Sound:
    """What a spectrogram cannot imitate: other speed (±2 %), a room, noise; each for some.

    Sound is (channels, n). The length stays, so that a place in the copy is at most 2 % from the
    same place in the music.
    """
    n = sound.shape[1]
    heard: NDArray[Any] = sound
    if draw.random() < 0.4:
        rate_hz = round(RATE_HZ * draw.uniform(0.98, 1.02))
        heard = np.stack([np.resize(row, n) for row in resampled(sound, rate_hz, RATE_HZ)])
    if draw.random() < 0.3:
        time_s = np.arange(int(0.8 * RATE_HZ)) / RATE_HZ
        tail = draw.standard_normal(len(time_s)) * np.exp(-6.9 * time_s / draw.uniform(0.15, 0.8))
        tail *= draw.uniform(0.1, 0.5) / np.sqrt((tail**2).sum())
        tail[0] = 1.0
        size = n + len(tail)
        heard = np.fft.irfft(np.fft.rfft(heard, size) * np.fft.rfft(tail, size), size)[:, :n]
    if draw.random() < 0.25:
        level = np.sqrt(np.mean(heard**2)) * 10 ** (-draw.uniform(15, 45) / 20)
        heard = heard + level * draw.standard_normal(heard.shape)
    if draw.random() < 0.1:
        peak = draw.uniform(0.4, 0.9) * np.abs(heard).max()
        heard = np.clip(heard, -peak, peak)
    return np.ascontiguousarray(heard, np.float32)
