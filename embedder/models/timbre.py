"""Timbre: how a track sounds, its harmony and its rhythm, in numbers of our own.

No weights, no torch: what is heard when nothing can be downloaded. Everything is computed from
one power spectrum a window (22.05 kHz, 2048 samples, hop 512) and summarised over all windows:

* MFCC of 40 mel bands up to 8 kHz (Davis & Mermelstein 1980), without the level;
* spectral contrast in six octaves (Jiang et al. 2002), and how flat each is;
* shape: centroid, spread, roll-off, flatness, flux (Peeters 2004);
* harmony: chroma without regard to the key (its autocorrelation around the circle of semitones,
  how peaked it is, how fast it moves);
* dynamics: the spread of the loudness;
* onsets in three registers: strength, sharpness, density;
* rhythm: the autocorrelation of the onset strength at lags of 0.15 to 2 s, and its fluctuation.

Bands end at 8 kHz because above it one hears the codec (64 kb/s MP3 is cut at 11 kHz) rather
than the music. Level is left out everywhere. Numbers are raw: publishing z-scores each over the
library, which is what makes their cosine mean something.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np

from catalog.tracks import Analysis, Float32, Model
from embedder.excerpts import Excerpts
from embedder.models.spectra import cosine_transform, power_spectrum, slaney_mel_banks

SAMPLE_RATE_HZ: Final = 22_050
N_FFT: Final = 2048
HOP_LENGTH: Final = 512
FRAMES_PER_S: Final = SAMPLE_RATE_HZ / HOP_LENGTH
N_MELS: Final = 40
N_MFCC: Final = 20
TOP_HZ: Final = 8000.0

#: Octaves for contrast, in Hz; the first reaches down to the lowest bass.
_OCTAVES_HZ: Final = (30.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
#: The registers whose onsets are told apart: bass drum, voices and chords, cymbals.
_REGISTERS_HZ: Final = (30.0, 200.0, 1600.0, 8000.0)
#: The chroma hears these pitches only: A1 to A7, where partials are told apart.
_CHROMA_HZ: Final = (55.0, 3520.0)
#: Edges of the lags, in seconds, over which the rhythm's autocorrelation is averaged.
_N_LAGS: Final = 16
_LAGS_S: Final = np.geomspace(0.15, 2.0, _N_LAGS + 1)

#: Far below any sound in a file of 16 bits, so that digital silence stays finite.
_SILENCE: Final = 1e-10


class Timbre:
    """The descriptor as a model: excerpts in, a vector out."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def analyse(self, excerpts: Excerpts) -> tuple[Analysis, ...]:
        """The raw descriptor of a track, (dim,) float32; always finite, also for silence."""
        return (Analysis(self.model, vector=describe(excerpts.at(SAMPLE_RATE_HZ))),)


def describe(windows: Float32) -> Float32:
    """Windows (n, samples) at 22.05 kHz → the descriptor (dim,) float32."""
    spectra = [power_spectrum(window, N_FFT, HOP_LENGTH) for window in windows]
    together = np.concatenate(spectra)  # (frames of all windows, bins)
    onsets = [_onset_strength(power) for power in spectra]
    parts = [
        _cepstrum(spectra),
        _contrast(together),
        _shape(together),
        _harmony(spectra),
        _dynamics(together),
        _onset_statistics(np.concatenate(onsets)),
        _rhythm(onsets),
    ]
    return np.nan_to_num(np.concatenate(parts)).astype(np.float32)


def _bins(low_hz: float, high_hz: float) -> slice:
    hz_per_bin = SAMPLE_RATE_HZ / N_FFT
    return slice(max(1, round(low_hz / hz_per_bin)), round(high_hz / hz_per_bin))


def _spread(values: Float32) -> Float32:
    """Mean and standard deviation over the frames of each column, concatenated."""
    return np.concatenate([values.mean(0), values.std(0)])


def _cepstrum(spectra: list[Float32]) -> Float32:
    """MFCC 1-19: mean, deviation, and deviation of their change from frame to frame."""
    banks = slaney_mel_banks(SAMPLE_RATE_HZ, N_FFT, N_MELS, 0.0, TOP_HZ)
    transform = cosine_transform(N_MFCC, N_MELS)[1:]
    cepstra = []
    for power in spectra:
        decibels = 10.0 * np.log10(power @ banks.T + _SILENCE)  # (f, bins) @ (bins, 40)
        cepstra.append(np.maximum(decibels, decibels.max() - 80.0) @ transform.T)
    moves = np.concatenate([np.diff(c, axis=0) for c in cepstra])
    return np.concatenate([_spread(np.concatenate(cepstra)), moves.std(0)])


def _contrast(power: Float32) -> Float32:
    """For each octave: peaks over valleys in dB, and flatness in dB; mean and deviation."""
    columns = []
    for low, high in pairwise(_OCTAVES_HZ):
        band = np.log(power[:, _bins(low, high)] + _SILENCE)
        ordered = np.sort(band, axis=1)
        few = max(1, ordered.shape[1] // 8)
        columns.append(ordered[:, -few:].mean(1) - ordered[:, :few].mean(1))
        columns.append(band.mean(1) - np.log(np.exp(band).mean(1)))
    return _spread(np.stack(columns, axis=1))


def _shape(power: Float32) -> Float32:
    """Centroid, spread, roll-off, flatness, slope to the treble and flux; mean and deviation."""
    used = _bins(30.0, TOP_HZ)
    heard = power[:, used] + _SILENCE
    pitch = np.log2(np.arange(used.start, used.stop, dtype=np.float32) / used.start)
    share = heard / heard.sum(1, keepdims=True)
    centroid = share @ pitch  # (f, bins) @ (bins,)
    width = np.sqrt(np.maximum(share @ pitch**2 - centroid**2, 0.0))
    rolled = pitch[np.argmax(np.cumsum(share, axis=1) >= 0.85, axis=1)]
    flatness = np.log(heard).mean(1) - np.log(heard.mean(1))
    flux = np.pad(np.abs(np.diff(np.sqrt(share), axis=0)).sum(1), (1, 0), mode="edge")
    return _spread(np.stack([centroid, width, rolled, flatness, flux], axis=1))


def _chroma_bins() -> tuple[slice, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    used = _bins(*_CHROMA_HZ)
    hz = np.arange(used.start, used.stop) * (SAMPLE_RATE_HZ / N_FFT)
    return used, np.round(12.0 * np.log2(hz / 440.0)).astype(np.int64) % 12


def _harmony(spectra: list[Float32]) -> Float32:
    """What the chroma tells without the key: intervals, peakedness, movement."""
    used, classes = _chroma_bins()
    fold = np.eye(12, dtype=np.float32)[classes]  # (bins, 12)
    chromas = []
    for power in spectra:
        chroma = np.sqrt(power[:, used]) @ fold + _SILENCE  # (f, bins) @ (bins, 12)
        chromas.append(chroma / chroma.sum(1, keepdims=True))
    all_frames = np.concatenate(chromas)
    profile = all_frames.mean(0)
    circle = np.fft.irfft(np.abs(np.fft.rfft(profile - profile.mean())) ** 2, 12)
    intervals = circle[1:7] / (circle[0] + 1e-12)
    entropy = -(all_frames * np.log(all_frames)).sum(1)
    moves = np.concatenate([np.abs(c[4:] - c[:-4]).sum(1) for c in chromas])
    ordered = np.sort(profile)[::-1][:6]
    statistics = [entropy.mean(), entropy.std(), moves.mean(), moves.std(),
                  -(profile * np.log(profile)).sum()]  # fmt: skip
    return np.concatenate([intervals, ordered, statistics])


def _dynamics(power: Float32) -> Float32:
    """Loudness against the track's own median, in dB: deviation, percentiles, quiet share."""
    decibels = 10.0 * np.log10(power.sum(1) + _SILENCE)
    decibels = decibels - np.median(decibels)
    steps = np.percentile(decibels, (5, 25, 75, 95))
    return np.array([decibels.std(), *steps, (decibels < -10.0).mean()])


def _onset_strength(power: Float32) -> Float32:
    """How much louder each register becomes from frame to frame, (frames - 1, 3)."""
    columns = []
    for low, high in pairwise(_REGISTERS_HZ):
        level = np.log1p(np.sqrt(power[:, _bins(low, high)]) * 10.0)
        columns.append(np.maximum(np.diff(level, axis=0), 0.0).mean(1))
    return np.stack(columns, axis=1)


def _onset_statistics(onsets: Float32) -> Float32:
    """For each register: mean, deviation, skew, and how many clear onsets a second."""
    mean, deviation = onsets.mean(0), onsets.std(0)
    skew = (((onsets - mean) / (deviation + 1e-9)) ** 3).mean(0)
    clear = onsets > mean + 1.5 * deviation
    starts = (clear[1:] & ~clear[:-1]).mean(0) * FRAMES_PER_S
    return np.concatenate([mean, deviation, skew, starts, deviation / (mean + 1e-9)])


def _rhythm(onsets: list[Float32]) -> Float32:
    """Autocorrelation of the onset strength over log-spaced lags, its peak, and its contrast."""
    longest = int(_LAGS_S[-1] * FRAMES_PER_S) + 2
    total = np.zeros((longest, 2))
    for strength in onsets:
        if len(strength) < longest:
            continue
        for i, signal in enumerate((strength.sum(1), strength[:, 0])):
            centred = signal - signal.mean()
            size = 1 << int(np.ceil(np.log2(2 * len(centred))))
            correlation = np.fft.irfft(np.abs(np.fft.rfft(centred, size)) ** 2)[:longest]
            total[:, i] += correlation / (correlation[0] + 1e-9)
    total /= max(1, len(onsets))
    edges = np.round(_LAGS_S * FRAMES_PER_S).astype(int)
    binned = np.array(
        [total[first : max(first + 1, last)].max(0) for first, last in pairwise(edges)]
    )  # (16, 2)
    ordered = np.sort(binned, axis=0)
    return np.concatenate([binned[:, 0], ordered[-3:].ravel(), binned.std(0)])
