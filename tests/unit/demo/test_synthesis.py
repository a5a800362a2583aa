from __future__ import annotations

import numpy as np
import pytest

from demo import drums, synthesis
from demo.synthesis import SAMPLE_RATE_HZ, Signal
from demo.theory import frequency_hz


def loudest_hz(signal: Signal) -> float:
    spectrum = np.abs(np.fft.rfft(signal * np.hanning(len(signal)), 1 << 18))
    return float(np.argmax(spectrum)) * SAMPLE_RATE_HZ / (1 << 18)


@pytest.mark.parametrize("pitch", [33, 45, 57, 69, 81])
def test_a_plucked_string_is_in_tune(pitch: int) -> None:
    hz = frequency_hz(pitch)
    string = synthesis.pluck(hz, 1.0, np.random.default_rng(1), brightness=0.1)

    overtone = max(1, round(loudest_hz(string) / hz))
    cents = 1200 * np.log2(loudest_hz(string) / overtone / hz)
    assert abs(cents) < 8


def test_a_plucked_string_dies_away_highs_first() -> None:
    string = synthesis.pluck(220.0, 2.0, np.random.default_rng(1), brightness=0.6)
    early, late = string[:8192], string[-8192:]

    def high_share(part: Signal) -> float:
        power = np.abs(np.fft.rfft(part)) ** 2
        return float(power[len(power) // 8 :].sum() / power.sum())

    assert np.abs(late).max() < np.abs(early).max()
    assert high_share(late) < high_share(early)


@pytest.mark.parametrize("hz", [55.0, 440.0, 3_000.0])
def test_a_saw_has_its_pitch_and_does_not_alias(hz: float) -> None:
    wave = synthesis.oscillate(synthesis.saw(hz), synthesis.phase(hz, SAMPLE_RATE_HZ))

    assert loudest_hz(wave) == pytest.approx(hz, rel=0.005)
    power = np.abs(np.fft.rfft(wave)) ** 2
    between = np.ones(len(power), dtype=bool)
    for k in range(int(22_050 / hz) + 1):
        between[max(0, round(k * hz) - 3) : round(k * hz) + 4] = False
    assert power[between].sum() / power.sum() < 1e-3


def test_filters_keep_their_side_of_the_cutoff() -> None:
    low, high = synthesis.sine(200.0, 20_000), synthesis.sine(8_000.0, 20_000)

    assert np.std(synthesis.low_pass(low + high, 1_500.0)) == pytest.approx(np.std(low), rel=0.05)
    assert np.std(synthesis.high_pass(low + high, 1_500.0)) == pytest.approx(np.std(high), rel=0.05)


def test_fast_lengths_are_long_enough_and_few() -> None:
    for n in (1, 7, 1000, 123_457):
        size = synthesis.fast_length(n)
        assert n <= size < 2 * n + 1
        while size % 2 == 0:
            size //= 2
        assert size in (1, 3, 5)


def test_every_drum_is_finite_starts_at_once_and_dies() -> None:
    rng = np.random.default_rng(3)
    kit = {
        "kick": drums.kick(),
        "snare": drums.snare(rng),
        "clap": drums.clap(rng),
        "hat": drums.hat(rng),
        "cymbal": drums.cymbal(rng),
        "ride": drums.ride(rng),
        "rim": drums.rim(),
        "noise": drums.chip_noise(rng, hold=3, length_s=0.05),
    }
    for name, hit in kit.items():
        assert np.isfinite(hit).all(), name
        quarter = len(hit) // 4
        assert np.std(hit[:quarter]) > 4 * np.std(hit[-quarter:]), name
