"""Real audio files for the tests, encoded by FFmpeg on the spot."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from catalog.tracks import Float32

#: Suffix → encoder. What FFmpeg's wheels can always write.
CODECS = {
    ".mp3": "libmp3lame",
    ".ogg": "vorbis",
    ".opus": "libopus",
    ".flac": "flac",
    ".m4a": "aac",
    ".wav": "pcm_s16le",
    ".aiff": "pcm_s16be",
    ".wv": "wavpack",
}


def rate_of(suffix: str) -> int:
    """Opus knows 48 kHz only."""
    return 48_000 if suffix == ".opus" else 44_100


def chirp(seconds: float, rate_hz: int, low_hz: float = 200.0, high_hz: float = 2000.0) -> Float32:
    """A rising tone: every place in it sounds like no other."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    phase = low_hz * t + (high_hz - low_hz) * t**2 / (2 * seconds)
    return (0.4 * np.sin(2 * np.pi * phase)).astype(np.float32)


def music(seed: int, seconds: float = 12.0, rate_hz: int = 22_050) -> Float32:
    """Chords with a beat, different for each seed, and noise so that lossy codecs work."""
    random = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    sound: NDArray[np.float64] = 0.02 * random.standard_normal(t.size)
    for hz in 110.0 * 2.0 ** (random.integers(0, 36, 4) / 12):
        sound += 0.12 * np.sin(2 * np.pi * hz * t)
    beat = 0.5 + 0.5 * (np.mod(t, random.uniform(0.3, 0.7)) < 0.1)
    return (sound * beat).astype(np.float32)


def write(
    path: Path,
    sound: Float32,
    rate_hz: int,
    *,
    codec: str = "",
    bit_rate: int | None = None,
    muxer: dict[str, str] | None = None,
    quality: int | None = None,
) -> Path:
    """Encode float32 (n,) mono or (2, n) stereo into a file of the suffix's format.

    `quality` (MP3: 0 best … 9) makes the rate variable.
    """
    channels = np.atleast_2d(sound)
    codec = codec or CODECS[path.suffix]
    if codec == "vorbis" and len(channels) == 1:
        channels = np.repeat(channels, 2, axis=0)  # FFmpeg's own encoder knows stereo only
    layout = "stereo" if len(channels) == 2 else "mono"
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout=layout)
        stream.options = {"strict": "experimental"} if codec == "vorbis" else {}
        if bit_rate:
            stream.bit_rate = bit_rate
        context = stream.codec_context
        if quality is not None:  # a variable rate
            context.flags |= 2  # AV_CODEC_FLAG_QSCALE
            context.global_quality = quality * 118  # FF_QP2LAMBDA
        frame = AudioFrame.from_ndarray(
            np.ascontiguousarray(channels), format="fltp", layout=layout
        )
        frame.sample_rate, frame.time_base, frame.pts = rate_hz, Fraction(1, rate_hz), 0
        resampler = AudioResampler(
            context.format, context.layout, rate_hz, context.frame_size or None
        )
        for part in (*resampler.resample(frame), *resampler.resample(None), None):
            container.mux(stream.encode(part))
    return path


def read_all(path: Path) -> tuple[Float32, int]:
    """The whole file decoded from its start, mono by the mean, and its rate."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
        stream = container.streams.audio[0]
        sound = np.concatenate(frames, axis=1)
        if not stream.codec_context.format.is_planar:
            sound = sound.reshape(-1, stream.codec_context.channels).T
        if sound.dtype.kind == "i":
            sound = sound / -float(np.iinfo(sound.dtype).min)
        return sound.mean(0, dtype=np.float32), stream.codec_context.sample_rate
