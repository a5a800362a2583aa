"""Real audio files for the tests, encoded by FFmpeg on the spot."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.packet import Packet
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


def noisy_music(seconds: float, rate_hz: int) -> Float32:
    """Swelling noise behind a chirp: every place is known, and codecs have something to do."""
    random = np.random.default_rng(0)
    size = round(seconds * rate_hz)
    swell = 0.1 + 0.08 * np.sin(2 * np.pi * np.arange(size) / rate_hz / 31)
    noise = swell * random.standard_normal(size, np.float32)
    return (chirp(seconds, rate_hz) + noise).astype(np.float32).clip(-1, 1)


class Recordings:
    """Files that several tests read, each encoded once. Who changes one takes a `copy`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[tuple[object, ...], Path] = {}

    def get(
        self,
        sound: Callable[[float, int], Float32],
        seconds: float,
        suffix: str,
        rate_hz: int | None = None,
        **options: Any,
    ) -> Path:
        """A file of `sound(seconds, rate)`, written with `options`."""
        key = (sound.__name__, seconds, suffix, rate_hz, repr(sorted(options.items())))
        if key not in self._known:
            rate = rate_hz or rate_of(suffix)
            path = self._folder / f"{len(self._known)}" / f"sound{suffix}"
            path.parent.mkdir()
            self._known[key] = write(path, sound(seconds, rate), rate, **options)
        return self._known[key]

    def copy(self, path: Path, folder: Path) -> Path:
        """One of the files, to be changed."""
        return Path(shutil.copy(path, folder))


def write(
    path: Path,
    sound: Float32,
    rate_hz: int,
    *,
    codec: str = "",
    bit_rate: int | None = None,
    muxer: dict[str, str] | None = None,
    quality: int | None = None,
    times: int = 1,
) -> Path:
    """Encode float32 (n,) mono or (2, n) stereo into a file of the suffix's format.

    `quality` (MP3: 0 best … 9) makes the rate variable. The packets are written `times` over, one
    pass behind the other: a long file for the encoding of a short one.
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
        packets = [
            packet
            for part in (*resampler.resample(frame), *resampler.resample(None), None)
            for packet in stream.encode(part)
        ]
        for number in range(1, times):
            # Of all passes but the last the final packet is left out: it may be a short one.
            container.mux([_later(packet, packets, number - 1) for packet in packets[:-1]])
        container.mux(packets if times == 1 else [_later(p, packets, times - 1) for p in packets])
    return path


def _later(packet: Packet, packets: list[Packet], passes: int) -> Packet:
    """A copy of a packet, so many lengths of `packets` later."""
    again = Packet(bytes(packet))
    again.stream, again.time_base, again.duration = (
        packet.stream,
        packet.time_base,
        packet.duration,
    )
    again.pts = again.dts = packet.pts + passes * (packets[-1].pts - packets[0].pts)
    return again


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
