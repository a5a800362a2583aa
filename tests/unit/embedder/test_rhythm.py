"""Tempo against drum patterns of known tempo, played by nobody quite exactly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from catalog.tracks import Float32
from embedder.rhythm import SAMPLE_RATE_HZ, tempo

Stroke = Callable[[np.random.Generator], Float32]
Pattern = list[tuple[tuple[float, ...], Stroke]]

WINDOW_S = 10.0


def _decay(seconds: float, length: float) -> Float32:
    n = np.arange(round(length * SAMPLE_RATE_HZ))
    return np.exp(-n / (seconds * SAMPLE_RATE_HZ)).astype(np.float32)


def click(random: np.random.Generator) -> Float32:
    fall = _decay(0.006, 0.03)
    return fall * np.sin(2 * np.pi * 1000 * np.arange(fall.size) / SAMPLE_RATE_HZ)


def kick(random: np.random.Generator) -> Float32:
    fall = _decay(0.05, 0.15)
    t = np.arange(fall.size) / SAMPLE_RATE_HZ
    return fall * np.sin(2 * np.pi * (50 + 80 * np.exp(-t / 0.02)) * t)


def snare(random: np.random.Generator) -> Float32:
    fall = _decay(0.05, 0.15)
    return 0.6 * fall * random.standard_normal(fall.size, np.float32)


def hat(random: np.random.Generator) -> Float32:
    fall = _decay(0.015, 0.05)
    return 0.2 * fall * random.standard_normal(fall.size, np.float32)


EIGHTHS = tuple(i / 2 for i in range(8))
SIXTEENTHS = tuple(i / 4 for i in range(16))
#: Name → what is struck at which beats of a bar of four.
PATTERNS: dict[str, Pattern] = {
    "click": [((0, 1, 2, 3), click)],
    "rock": [((0, 2), kick), ((1, 3), snare), (EIGHTHS, hat)],
    "house": [((0, 1, 2, 3), kick), ((0.5, 1.5, 2.5, 3.5), hat), ((1, 3), snare)],
    "funk": [((0, 0.75, 2.5), kick), ((1, 3), snare), (SIXTEENTHS, hat)],
    "dembow": [((0, 2), kick), ((0.75, 1.5, 2.75, 3.5), snare), (EIGHTHS, hat)],
    "drum and bass": [((0, 2.5), kick), ((1, 3), snare), (EIGHTHS, hat)],
}


def play(pattern: Pattern, bpm: float, random: np.random.Generator) -> Float32:
    """A window out of the middle, 4 ms of human inexactness, a little noise."""
    beat_s = 60 / bpm
    begun_s = random.uniform(0, 4 * beat_s)
    sound = np.zeros(round((WINDOW_S + 1) * SAMPLE_RATE_HZ), np.float32)
    for beats, stroke in pattern:
        for bar in range(int((WINDOW_S + begun_s) / (4 * beat_s)) + 1):
            for beat in beats:
                at_s = (4 * bar + beat) * beat_s - begun_s + random.normal(0, 0.004)
                if 0 <= at_s < WINDOW_S:
                    first = int(at_s * SAMPLE_RATE_HZ)
                    struck = stroke(random)
                    sound[first : first + struck.size] += struck
    sound += 0.003 * random.standard_normal(sound.size, np.float32)
    return sound[: round(WINDOW_S * SAMPLE_RATE_HZ)]


def test_ninety_five_of_a_hundred_patterns_are_within_four_percent() -> None:
    """Octaves counted apart: twice and half the tempo are the same beat."""
    random = np.random.default_rng(0)
    true, octave, wrong = 0, 0, []
    for name, pattern in PATTERNS.items():
        for bpm in np.arange(60, 180, 8.7):
            found, _ = tempo([play(pattern, bpm, random) for _ in range(2)])
            ratio = found / bpm
            if abs(ratio - 1) < 0.04:
                true += 1
            elif min(abs(ratio / 2 - 1), abs(ratio * 2 - 1)) < 0.04:
                octave += 1
            else:
                wrong.append((name, round(float(bpm), 1), round(found, 1)))
    total = true + octave + len(wrong)
    assert (true + octave) / total >= 0.95, wrong
    assert true / total >= 0.6


def test_the_tempo_is_exact_and_sure_where_the_beat_is() -> None:
    random = np.random.default_rng(1)
    bpm, confidence = tempo([play(PATTERNS["house"], 126.0, random) for _ in range(3)])
    assert bpm == pytest.approx(126.0, rel=0.004)
    assert confidence > 0.5


def test_noise_silence_and_little_have_no_sure_tempo() -> None:
    random = np.random.default_rng(2)
    noise = [random.standard_normal(110_250, np.float32) for _ in range(6)]
    assert tempo(noise)[1] < 0.1
    bpm, confidence = tempo([np.zeros(110_250, np.float32)])
    assert np.isnan(bpm)
    assert confidence == 0.0
    assert np.isnan(tempo([play(PATTERNS["click"], 120, random)[:20_000]])[0])
    assert np.isnan(tempo([])[0])
