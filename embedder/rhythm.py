"""Tempo from a few windows: the beat that explains the onsets' autocorrelation.

Onsets are the rises of a compressed spectrum in bands (Böck & Widmer 2013, without vibrato
suppression); a tempo's score is the mean autocorrelation at one, two, three and four of its beats,
weighted by how likely people are to tap it (a bell over octaves around 120 a minute, Ellis 2007).
The octave is a matter of taste; the beat itself is found to a fraction of a percent from the
longest multiple that the windows hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.tracks import Float32

SAMPLE_RATE_HZ: Final = 11_025
_N_FFT: Final = 256
_HOP: Final = 128
_FRAMES_PER_S: Final = SAMPLE_RATE_HZ / _HOP
_N_BANDS: Final = 24
_LOWEST_HZ, _HIGHEST_HZ = 40.0, 5000.0

SLOWEST_BPM: Final = 45.0
FASTEST_BPM: Final = 220.0
_STEPS_PER_OCTAVE: Final = 100
_LIKELIEST_BPM: Final = 120.0
_TASTE_OCTAVES: Final = 0.9
_MULTIPLES: Final = 4
#: Windows shorter than this hold too few beats.
SHORTEST_S: Final = 4.0
#: Below this share of the autocorrelation's power there is no beat.
_LEAST: Final = 0.02


def tempo(windows: Sequence[Float32]) -> tuple[float, float]:
    """Beats a minute and how sure that is in 0…1, of windows at 11.025 kHz; (NaN, 0) if none."""
    long = [window for window in windows if len(window) >= SHORTEST_S * SAMPLE_RATE_HZ]
    heard = (_autocorrelation(onsets(window)) for window in long)
    found = [one for one in heard if one is not None]
    if not found:
        return float("nan"), 0.0
    size = min(len(one) for one in found)
    mean = np.mean([one[:size] for one in found], axis=0)
    bpm = SLOWEST_BPM * 2 ** (
        np.arange(round(np.log2(FASTEST_BPM / SLOWEST_BPM) * _STEPS_PER_OCTAVE) + 1)
        / _STEPS_PER_OCTAVE
    )
    lags = 60.0 / bpm * _FRAMES_PER_S
    combed = np.mean([_at(mean, lags * k) for k in range(1, _MULTIPLES + 1)], axis=0)
    taste = np.exp(-0.5 * np.square(np.log2(bpm / _LIKELIEST_BPM) / _TASTE_OCTAVES))
    best = int(np.argmax(np.maximum(combed, 0.0) * taste))
    confidence = float(np.clip(combed[best], 0.0, 1.0))
    if confidence < _LEAST:
        return float("nan"), 0.0
    return 60.0 * _FRAMES_PER_S / _refine(mean, float(lags[best])), confidence


def onsets(window: Float32) -> Float32:
    """How much begins in each frame, (n_frames,) float32, without its slow part."""
    frames = np.lib.stride_tricks.sliding_window_view(window, _N_FFT)[::_HOP]
    spectra = np.fft.rfft(frames * _hann(), axis=1)
    power = np.square(spectra.real) + np.square(spectra.imag)
    bands = power @ _bands()  # (f, bins) @ (bins, b) -> (f, b)
    level = np.log1p(bands * (1e3 / max(float(bands.max()), 1e-9)))
    # Two frames apart: an attack takes longer than one.
    rise = np.maximum(level[2:] - level[:-2], 0.0).sum(1)
    size = round(0.5 * _FRAMES_PER_S) | 1
    padded = np.pad(rise, size // 2, mode="edge")
    slow = np.convolve(padded, np.full(size, 1.0 / size), mode="valid")
    return np.asarray(np.maximum(rise - slow, 0.0), np.float32)


def _autocorrelation(strength: Float32) -> Float32 | None:
    """Of the onsets, 1 at lag 0, each lag by how many pairs it has; None where nothing begins."""
    centred = strength - strength.mean()
    energy = float(centred @ centred)
    if energy < 1e-6:
        return None
    n = len(centred)
    spectrum = np.fft.rfft(centred, 2 * n)
    raw = np.fft.irfft(np.square(spectrum.real) + np.square(spectrum.imag))[: n // 2 + 1]
    return np.asarray(raw / energy * n / (n - np.arange(n // 2 + 1)), np.float32)


def _at(correlation: Float32, lags: NDArray[np.float64]) -> Float32:
    """The greatest value near fractional lags; 0 beyond the last."""
    low = np.floor(lags).astype(np.intp)
    inside = low + 1 < len(correlation)
    low = np.where(inside, low, 0)
    share = lags - low
    values = (1 - share) * correlation[low] + share * correlation[
        np.minimum(low + 1, len(correlation) - 1)
    ]
    return np.asarray(np.where(inside, values, 0.0), np.float32)


def _refine(correlation: Float32, lag: float) -> float:
    """The lag from ever longer multiples, each found near where the last one says."""
    for multiple in (1, 2, 4, 8):
        centre = round(lag * multiple)
        reach = max(1, round(0.03 * centre)) if multiple == 1 else 2
        low, high = max(centre - reach, 1), min(centre + reach, len(correlation) - 2)
        if low > high:
            break
        peak = low + int(np.argmax(correlation[low : high + 1]))
        before, at, after = (float(correlation[peak + i]) for i in (-1, 0, 1))
        if at < max(before, after) or at <= 0:  # a slope, no peak: no better than what we have
            continue
        bend = before - 2 * at + after
        lag = (peak + (0.5 * (before - after) / bend if bend else 0.0)) / multiple
    return lag


@cache
def _hann() -> Float32:
    return np.hanning(_N_FFT + 1)[:-1].astype(np.float32)


@cache
def _bands() -> Float32:
    """Which bins belong to which band, of equal width in octaves, (bins, bands) float32."""
    edges = np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, _N_BANDS + 1)
    bins = np.arange(_N_FFT // 2 + 1) * SAMPLE_RATE_HZ / _N_FFT
    inside = (bins[:, np.newaxis] >= edges[:-1]) & (bins[:, np.newaxis] < edges[1:])
    return inside[:, inside.any(0)].astype(np.float32)
