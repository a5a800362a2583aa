"""What is heard of a track: mono windows, level-true, at whatever rate a model wants.

Two traps, both measured as cosines of mn04's vectors:

* `av.AudioResampler` to "mono" makes stereo 3 dB louder than the mean of its channels (.983-.996
  to the same music in mono): channels are averaged here, before any resampling.
* Resamplers differ: libswresample, mono to mono, is level-true, delay-free and clean (-99 dB error
  on a sine, from 44.1 and 22.05 kHz alike), where another's defaults gave .91 on 22 kHz files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from av.audio.frame import AudioFrame, format_dtypes
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from catalog.tracks import Float32
from embedder.windows import WINDOW_S

_INTEGER_SCALE: Final = {"u8": 2.0**-7, "s16": 2.0**-15, "s32": 2.0**-31, "s64": 2.0**-63}
_WIDE: Final = frozenset({"s32", "s64", "dbl"})


@dataclass(frozen=True, slots=True)
class Measured:
    """What `embedder.facts` measures: figures, and numbers (dim,) to know a recording again by."""

    facts: tuple[float, ...]
    fingerprint: Float32


@dataclass(frozen=True, slots=True)
class Excerpts:
    """What a model hears of a track: mono windows at the file's own rate.

    Each window is float32 (n,) in about -1…1, n = window length except for a short track's only
    window. `duration_s` is the whole track's. `powers` are the windows' K-weighted powers over all
    channels (`embedder.loudness`), which the mean of the channels no longer tells; `measured` is
    what was measured already.
    """

    rate_hz: int
    duration_s: float
    windows: tuple[Float32, ...]
    powers: tuple[Float32, ...] = ()
    measured: Measured | None = None

    def at(self, rate_hz: int, window_s: float = WINDOW_S) -> Float32:
        """The windows resampled to a model's rate, (n_windows, window_s * rate_hz) float32.

        What is shorter than a window is repeated until it fills one: a padded silence would be
        heard as part of the music.
        """
        length = round(window_s * rate_hz)
        batch = np.empty((len(self.windows), length), np.float32)
        for row, window in zip(batch, self.windows, strict=True):
            sound = resample(window, self.rate_hz, rate_hz)
            # Rounding may leave a full window one sample short; that is no reason to repeat.
            row[:] = np.resize(sound, length)
        return batch


def resample(samples: Float32, from_hz: int, to_hz: int) -> Float32:
    """Mono float32 (n,) at another rate, by libswresample; level-true, without delay."""
    if from_hz == to_hz or samples.size == 0:
        return samples
    resampler = AudioResampler(format="fltp", layout="mono", rate=to_hz)
    frame = AudioFrame.from_ndarray(
        np.ascontiguousarray(samples[np.newaxis]), format="fltp", layout="mono"
    )
    frame.sample_rate = from_hz
    parts = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([part.to_ndarray()[0] for part in parts]).astype(np.float32, copy=False)


def downmix(frames: Sequence[AudioFrame]) -> Float32:
    """Frames of one format end to end, the mean over their channels, float32 (n,) in -1…1."""
    return mix(samples_of(frames), frames[0].format.name)


def samples_of(frames: Sequence[AudioFrame]) -> NDArray[Any]:
    """Frames of one format end to end, (channels, n) as they come, but unsigned made signed."""
    return np.concatenate([values_of(frame) for frame in frames], axis=1)


def values_of(frame: AudioFrame) -> NDArray[Any]:
    """A frame's samples, (channels, n) as they come, but unsigned made signed."""
    form, count = frame.format, frame.layout.nb_channels
    samples: NDArray[Any]
    if form.is_planar:  # `to_ndarray` takes twice as long: 2,700 frames of a track's windows
        samples = np.empty((count, frame.samples), format_dtypes[form.name])
        for row, plane in zip(samples, frame.planes, strict=True):
            row[:] = np.frombuffer(memoryview(plane), samples.dtype, frame.samples)
    else:  # as (1, n * channels)
        samples = frame.to_ndarray().reshape(-1, count).T
    if form.name.removesuffix("p") == "u8":
        samples = samples.astype(np.int16) - 128
    return samples


def mix(samples: NDArray[Any], form: str) -> Float32:
    """The mean over the channels of `samples_of` frames of this format, float32 (n,) in -1…1."""
    kind = form.removesuffix("p")
    mono = samples.mean(axis=0, dtype=np.float64 if kind in _WIDE else np.float32)
    scaled: Float32 = (mono * full_scale(form)).astype(np.float32, copy=False)
    return scaled


def full_scale(form: str) -> float:
    """What makes the loudest sample of a format 1."""
    return _INTEGER_SCALE.get(form.removesuffix("p"), 1.0)
