"""Spectra in plain numpy: frames, mel bands, the cosine transform."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from catalog.tracks import Float32


def power_spectrum(audio: Float32, n_fft: int, hop_length: int) -> Float32:
    """Power of Hann-windowed frames, (n_frames, n_fft // 2 + 1) float32, for audio (n,).

    Frames lie wholly inside the audio; what is shorter than one is padded with silence.
    """
    if audio.size < n_fft:
        audio = np.pad(audio, (0, n_fft - audio.size))
    frames = np.lib.stride_tricks.sliding_window_view(audio, n_fft)[::hop_length]
    spectrum = np.fft.rfft(frames * hann(n_fft), axis=1)
    power: Float32 = np.square(spectrum.real) + np.square(spectrum.imag)
    return power.astype(np.float32, copy=False)


@cache
def hann(length: int) -> Float32:
    """The periodic Hann window, (length,) float32."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)


@cache
def slaney_mel_banks(
    sample_rate_hz: int, n_fft: int, n_mels: int, low_hz: float, high_hz: float
) -> Float32:
    """Slaney's triangular mel filters of equal area, (n_mels, n_fft // 2 + 1) float32.

    The mel scale of the Auditory Toolbox: linear to 1 kHz, logarithmic above.
    """
    edges = _mel_to_hz(np.linspace(_hz_to_mel(low_hz), _hz_to_mel(high_hz), n_mels + 2))
    bins = np.arange(n_fft // 2 + 1) * (sample_rate_hz / n_fft)
    left, centre, right = (edges[i : i + n_mels, np.newaxis] for i in range(3))
    slopes = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    banks: Float32 = (np.maximum(slopes, 0.0) * (2.0 / (right - left))).astype(np.float32)
    return banks


def _hz_to_mel(hz: float) -> float:
    return hz * 0.015 if hz < 1000.0 else 15.0 + float(np.log(hz / 1000.0)) * 27.0 / np.log(6.4)


def _mel_to_hz(
    mel: NDArray[np.float64],
) -> NDArray[np.float64]:
    hz: NDArray[np.float64] = np.where(
        mel < 15.0, mel / 0.015, 1000.0 * np.exp((mel - 15.0) * np.log(6.4) / 27.0)
    )
    return hz


@cache
def cosine_transform(n_out: int, n_in: int) -> Float32:
    """The orthonormal DCT-II's first rows, (n_out, n_in) float32."""
    matrix = np.cos(np.pi / n_in * (np.arange(n_in) + 0.5) * np.arange(n_out)[:, np.newaxis])
    matrix *= np.sqrt(2.0 / n_in)
    matrix[0] /= np.sqrt(2.0)
    rows: Float32 = matrix.astype(np.float32)
    return rows
