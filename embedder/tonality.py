"""Key from a few windows: the scale that the pitches fit best.

Spectral peaks are folded to twelve pitch classes after the tuning was found (Gómez 2006), and
their profile is correlated with how much each degree is heard in major and minor keys (Albrecht &
Shanahan 2013, counted in 982 pieces). Keys are numbered 0-11 for C-B major, 12-23 for C-B minor.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np

from catalog.tracks import Float32

SAMPLE_RATE_HZ: Final = 11_025
_N_FFT: Final = 4096
_HOP: Final = 2048
N_BINS: Final = _N_FFT // 2 + 1
FRAMES_PER_S: Final = SAMPLE_RATE_HZ / _HOP
HZ_PER_BIN: Final = SAMPLE_RATE_HZ / _N_FFT
#: Where notes are: below, semitones are closer than bins; above, there are partials only.
_LOWEST_HZ, _HIGHEST_HZ = 80.0, 1800.0
_A4_HZ: Final = 440.0
#: Peaks more than 50 dB below a frame's loudest are noise.
_LEAST: Final = 1e-5
_KEYS: Final = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_MAJOR: Final = (0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081)
_MINOR: Final = (0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052)

N_KEYS: Final = 24
UNKNOWN: Final = -1


def key_name(key: int) -> str:
    """ "Eb minor" for 15, "" for unknown."""
    if not 0 <= key < N_KEYS:
        return ""
    return f"{_KEYS[key % 12]} {'minor' if key >= 12 else 'major'}"


def spectra(window: Float32) -> Float32:
    """Power spectra (n_frames, N_BINS) float32 of a window at 11.025 kHz."""
    if len(window) < _N_FFT:
        return np.zeros((0, N_BINS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(window, _N_FFT)[::_HOP]
    found = np.fft.rfft(frames * _hann(), axis=1)
    return np.square(found.real) + np.square(found.imag)


def key(windows: Sequence[Float32]) -> tuple[int, float]:
    """The key and how sure that is in 0…1, of windows' `spectra`; (-1, 0) where unknown.

    The confidence is how much better the key fits than the next best, times how well it fits.
    """
    peaks = [_peaks(window) for window in windows if len(window)]
    pitches = np.concatenate([np.zeros(0), *(pitch for pitch, _ in peaks)])
    weights = np.concatenate([np.zeros(0), *(weight for _, weight in peaks)])
    if pitches.size == 0 or weights.sum() <= 0.0:
        return UNKNOWN, 0.0
    # A whole recording may be a quarter tone off: the mean angle of what is left of semitones.
    off = np.angle((weights * np.exp(2j * np.pi * pitches)).sum()) / (2 * np.pi)
    tuned = pitches - off
    nearest = np.rint(tuned)
    near = np.maximum(1.0 - 2.0 * np.abs(tuned - nearest), 0.0)
    chroma = np.bincount(nearest.astype(np.intp) % 12, weights * near, 12).astype(np.float32)
    fits = _fits(chroma)
    best = int(np.argmax(fits))
    second = float(np.partition(fits, -2)[-2])
    top = float(fits[best])
    if top <= 0.0:
        return UNKNOWN, 0.0
    return best, float(np.clip(top * min(1.0, (top - second) / 0.25), 0.0, 1.0))


def _peaks(power: Float32) -> tuple[Float32, Float32]:
    """Pitches in semitones above a C, fractional, and their weights, of all frames' peaks."""
    low, high = round(_LOWEST_HZ / HZ_PER_BIN), round(_HIGHEST_HZ / HZ_PER_BIN)
    power = power[:, low - 1 : high + 2]
    loudest = power.max(axis=1, keepdims=True)
    inner = power[:, 1:-1]
    rows, columns = np.nonzero(
        (inner > power[:, :-2]) & (inner >= power[:, 2:]) & (inner > _LEAST * loudest + 1e-9)
    )
    # Log power is nearly a parabola around the peak of a Hann window's main lobe.
    before, at, after = (np.log(power[rows, columns + i] + 1e-12) for i in (0, 1, 2))
    bend = before - 2 * at + after
    shift = np.divide(0.5 * (before - after), bend, out=np.zeros_like(bend), where=bend < 0)
    hertz = (low + columns + np.clip(shift, -0.5, 0.5)) * HZ_PER_BIN
    pitches = 69.0 + 12.0 * np.log2(hertz / _A4_HZ)
    # The fourth root of power: a loud bass must not drown what is played over it.
    weights = np.power(power[rows, columns + 1] / loudest[rows, 0], 0.25)
    return pitches.astype(np.float32), weights.astype(np.float32)


def _fits(chroma: Float32) -> Float32:
    """The correlation with each of 24 keys, (24,) in -1…1."""
    centred = chroma - chroma.mean()
    length = float(np.linalg.norm(centred))
    if length < 1e-9:
        return np.zeros(N_KEYS, np.float32)
    return np.asarray(_profiles() @ (centred / length), np.float32)  # (24, 12) @ (12,)


@cache
def _profiles() -> Float32:
    rows = []
    for profile in (_MAJOR, _MINOR):
        centred = np.array(profile) - np.mean(profile)
        centred = centred / np.linalg.norm(centred)
        rows += [np.roll(centred, tonic) for tonic in range(12)]
    return np.array(rows, np.float32)


@cache
def _hann() -> Float32:
    return np.hanning(_N_FFT + 1)[:-1].astype(np.float32)
