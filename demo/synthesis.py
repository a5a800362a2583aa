"""Sound from numbers: oscillators, envelopes, filters, plucked strings, distortion.

A signal is a float32 array of shape (n,) at SAMPLE_RATE_HZ, nominally within -1..1. There is no
state: the same arguments (and the same generator state) give the same samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

#: float32, shape (n,)
Signal = NDArray[np.floating]

SAMPLE_RATE_HZ = 44_100
NYQUIST_HZ = SAMPLE_RATE_HZ / 2
#: Points of one cycle; a power of two so that the phase wraps with a mask.
TABLE_SIZE = 2048


def samples(seconds: float) -> int:
    """How many samples last `seconds`."""
    return max(1, round(seconds * SAMPLE_RATE_HZ))


def clock_s(n: int) -> Signal:
    """The time of each of n samples, from 0."""
    return np.arange(n, dtype=np.float32) / SAMPLE_RATE_HZ


# Oscillators


def wavetable(
    amplitudes: NDArray[np.floating], phases: NDArray[np.floating] | None = None
) -> Signal:
    """One cycle with the given harmonics (amplitudes[0] is the fundamental), peak 1.

    Returns (TABLE_SIZE + 1,): the first point is repeated at the end for interpolation.
    """
    spectrum: NDArray[np.complex128] = np.zeros(TABLE_SIZE // 2 + 1, dtype=np.complex128)
    kept = amplitudes[: TABLE_SIZE // 2 - 1]
    spectrum[1 : len(kept) + 1] = -1j * kept
    cycle = np.fft.irfft(spectrum)
    cycle /= np.abs(cycle).max() + 1e-12
    return np.append(cycle, cycle[0]).astype(np.float32)


def harmonics(frequency_hz: float, cutoff_hz: float, *, slope: float = 2.0) -> NDArray[np.floating]:
    """Low-pass gains of the harmonics of a note: 1 well below the cutoff, then falling by `slope`.

    Harmonics above 16 kHz are left out, so that no oscillator aliases.
    """
    count = max(1, int(min(16_000.0, NYQUIST_HZ * 0.9) / frequency_hz))
    numbers = np.arange(1, min(count, TABLE_SIZE // 2 - 1) + 1)
    gains: NDArray[np.floating] = 1.0 / (
        1.0 + (numbers * frequency_hz / cutoff_hz) ** (2.0 * slope)
    )
    return gains


def saw(frequency_hz: float, cutoff_hz: float = 8_000.0, *, slope: float = 2.0) -> Signal:
    """The table of a low-passed sawtooth for a note at this frequency."""
    gains = harmonics(frequency_hz, cutoff_hz, slope=slope)
    return wavetable(gains / np.arange(1, len(gains) + 1))


def pulse(frequency_hz: float, duty: float, cutoff_hz: float = 14_000.0) -> Signal:
    """The table of a pulse wave; duty 0.5 is a square, 0.125 is thin and nasal."""
    gains = harmonics(frequency_hz, cutoff_hz)
    numbers = np.arange(1, len(gains) + 1)
    return wavetable(gains * np.sin(np.pi * numbers * duty) / numbers)


def phase(frequency_hz: float | Signal, n: int, start: float = 0.0) -> NDArray[np.floating]:
    """The phase of n samples in cycles, for a steady pitch or one frequency a sample."""
    if isinstance(frequency_hz, float | int):
        return start + np.arange(n) * (frequency_hz / SAMPLE_RATE_HZ)
    return start + np.cumsum(frequency_hz, dtype=np.float64) / SAMPLE_RATE_HZ


def oscillate(table: Signal, cycles: NDArray[np.floating]) -> Signal:
    """Reads a table at the given phases, interpolating."""
    position = cycles * TABLE_SIZE
    index = position.astype(np.int64)
    fraction = (position - index).astype(np.float32)
    index &= TABLE_SIZE - 1
    left = table[index]
    right = table[index + 1]
    right -= left
    right *= fraction
    right += left
    return right


def noise(n: int, rng: np.random.Generator) -> Signal:
    """White noise, standard deviation 1/3."""
    return rng.standard_normal(n, dtype=np.float32) / 3.0


def sine(frequency_hz: float, n: int) -> Signal:
    """A sine of n samples from phase 0."""
    wave: Signal = np.sin(2 * np.pi * frequency_hz * clock_s(n))
    return wave


def vibrato(
    frequency_hz: float, n: int, *, rate_hz: float, depth: float, settle_s: float
) -> Signal:
    """A pitch (Hz a sample) that begins steady and sways by `depth` of itself after settle_s."""
    grown: Signal = np.minimum(clock_s(n) / settle_s, 1)
    return frequency_hz * (1 + depth * grown * sine(rate_hz, n))


# Envelopes


def decay(n: int, time_s: float) -> Signal:
    """From 1 down by a factor of e every `time_s`."""
    curve: Signal = np.exp(clock_s(n) * (-1.0 / time_s))
    return curve


def rise_and_fall(n: int, attack_s: float, release_s: float) -> Signal:
    """1 with a raised-cosine ramp at both ends; shorter ramps where n is too short for both."""
    envelope = np.ones(n, dtype=np.float32)
    attack, release = min(samples(attack_s), n // 2), min(samples(release_s), n // 2)
    if attack:
        envelope[:attack] = 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, attack, endpoint=False))
    if release:
        envelope[n - release :] *= 0.5 + 0.5 * np.cos(np.linspace(0, np.pi, release))
    return envelope


# Filters


def fast_length(n: int) -> int:
    """The next length of the form 2^a, 3·2^a or 5·2^a: a transform of it is quick."""
    return min(m << max(0, -(-n // m) - 1).bit_length() for m in (1, 3, 5))


def shape(signal: Signal, gain_at: Callable[[NDArray[np.float32]], NDArray[np.floating]]) -> Signal:
    """Filters a whole signal by its spectrum (zero phase). gain_at: Hz -> gain, both (bins,)."""
    size = fast_length(len(signal) + 2048)
    frequencies_hz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ).astype(np.float32)
    spectrum = np.fft.rfft(signal, size)
    spectrum *= gain_at(frequencies_hz).astype(np.float32)
    return np.fft.irfft(spectrum, size)[: len(signal)].astype(np.float32)


def low_pass(signal: Signal, cutoff_hz: float, order: int = 2) -> Signal:
    """Butterworth-shaped: -3 dB at the cutoff."""
    return shape(signal, lambda f: 1 / np.sqrt(1 + (f / cutoff_hz) ** (2 * order)))


def high_pass(signal: Signal, cutoff_hz: float, order: int = 2) -> Signal:
    """Butterworth-shaped: -3 dB at the cutoff."""
    return shape(signal, lambda f: 1 / np.sqrt(1 + (cutoff_hz / np.maximum(f, 1)) ** (2 * order)))


def band_pass(signal: Signal, centre_hz: float, octaves: float) -> Signal:
    """A bell on the logarithmic frequency axis, `octaves` wide at one standard deviation."""
    return shape(
        signal,
        lambda f: np.exp(-0.5 * (np.log2(np.maximum(f, 1) / centre_hz) / octaves) ** 2),
    )


def saturate(signal: Signal, drive: float) -> Signal:
    """Soft clipping; full scale stays full scale."""
    rounded: Signal = np.tanh(signal * drive) / math.tanh(drive)
    return rounded


# Strings


def pluck(
    frequency_hz: float,
    seconds: float,
    rng: np.random.Generator,
    *,
    brightness: float = 0.5,
    sustain: float = 0.996,
) -> Signal:
    """A plucked string, after Karplus and Strong.

    "Digital Synthesis of Plucked-String and Drum Timbres", Computer Music Journal 7(2), 1983: a
    burst of noise runs round a delay line one period long and loses its high frequencies at each
    turn. brightness 0..1: the colour of the burst and how slowly the highs go. sustain below 1:
    what is left of the lows after each turn. The whole-sample delay is tuned by resampling.
    """
    period = max(2, round(SAMPLE_RATE_HZ / frequency_hz))
    burst = noise(period, rng)
    # The closer to the bridge, the brighter: a comb and a smoothing of the burst.
    burst -= np.roll(burst, max(1, round(period * 0.18)))
    for _ in range(round(6 * (1 - brightness))):
        burst = 0.5 * (burst + np.roll(burst, 1))
    burst -= burst.mean()
    burst /= np.abs(burst).max() + 1e-9
    blend = 0.5 * (1 - 0.6 * brightness)
    turns = samples(seconds) // period + 2
    line = np.empty((turns, period), dtype=np.float32)
    turn = burst
    for i in range(turns):
        line[i] = turn
        # Averaging with both neighbours keeps the period whole, so that only the loss remains.
        around = np.concatenate((turn[-1:], turn, turn[:1]))
        turn = sustain * ((1 - blend) * turn + 0.5 * blend * (around[:-2] + around[2:]))
    flat = line.reshape(-1)
    n = min(samples(seconds), int((len(flat) - 2) / (period * frequency_hz / SAMPLE_RATE_HZ)))
    position = np.arange(n) * (period * frequency_hz / SAMPLE_RATE_HZ)
    index = position.astype(np.int64)
    fraction = (position - index).astype(np.float32)
    return flat[index] * (1 - fraction) + flat[index + 1] * fraction
