"""Drums and cymbals, each one short signal; a kit is made once for a piece."""

from __future__ import annotations

import numpy as np

from demo.synthesis import (
    Signal,
    band_pass,
    clock_s,
    decay,
    high_pass,
    noise,
    rise_and_fall,
    samples,
    saturate,
    sine,
)


def kick(*, low_hz: float = 48.0, punch_hz: float = 180.0, length_s: float = 0.35) -> Signal:
    """A sine that falls from punch to low within some hundredths of a second."""
    n = samples(length_s)
    t = clock_s(n)
    # The integral of low + punch * exp(-t / 0.03): the phase of a falling pitch.
    cycles = low_hz * t + punch_hz * 0.03 * (1 - np.exp(-t / 0.03))
    body = np.sin((2 * np.pi) * cycles) * decay(n, length_s / 3)
    return saturate(body, 1.5)


def snare(rng: np.random.Generator, *, tone_hz: float = 190.0, ring_s: float = 0.09) -> Signal:
    """Two modes of the skin and the rattle of the wires."""
    n = samples(0.28)
    skin = sine(tone_hz, n) + 0.5 * sine(tone_hz * 1.6, n)
    wires = high_pass(noise(n, rng), 1_500) * decay(n, ring_s)
    return (skin * decay(n, 0.05) * 0.5 + wires * 1.6) * 0.6


def clap(rng: np.random.Generator) -> Signal:
    """Several hands, not quite together."""
    n = samples(0.25)
    t = clock_s(n)
    hands = np.zeros(n, dtype=np.float32)
    for at_s, fall_s in ((0.0, 0.006), (0.011, 0.006), (0.022, 0.006), (0.031, 0.07)):
        hands += np.where(t >= at_s, np.exp(-np.maximum(t - at_s, 0) / fall_s), 0)
    return band_pass(noise(n, rng), 1_500, 0.7) * hands * 2.2


def hat(rng: np.random.Generator, *, length_s: float = 0.05, colour_hz: float = 7_500.0) -> Signal:
    """A cymbal pair; long when open."""
    n = samples(length_s * 4)
    return high_pass(noise(n, rng), colour_hz) * decay(n, length_s) * 0.9


def cymbal(rng: np.random.Generator, *, length_s: float = 1.2) -> Signal:
    """A crash: noise with many inharmonic partials in it."""
    n = samples(length_s * 2)
    metal = noise(n, rng)
    for partial_hz in (3_127.0, 4_309.0, 5_471.0, 6_803.0):
        metal += 0.06 * np.sign(sine(partial_hz, n))
    return high_pass(metal, 3_500) * decay(n, length_s / 2) * 0.8


def ride(rng: np.random.Generator) -> Signal:
    """A stick on a ride cymbal: a ping over a soft wash."""
    n = samples(0.6)
    ping = sine(3_730, n) + sine(5_290, n)
    wash = high_pass(noise(n, rng), 5_000) * decay(n, 0.2) * 0.5
    return ping * decay(n, 0.06) * 0.15 + wash


def brush(rng: np.random.Generator) -> Signal:
    """A brush swept over a snare."""
    n = samples(0.2)
    return band_pass(noise(n, rng), 3_500, 0.9) * rise_and_fall(n, 0.1, 0.1) * 0.7


def shaker(rng: np.random.Generator) -> Signal:
    """Seeds in a gourd."""
    n = samples(0.07)
    return band_pass(noise(n, rng), 6_000, 0.5) * rise_and_fall(n, 0.035, 0.035) * 0.9


def rim() -> Signal:
    """A stick across the rim, as in a bossa nova's clave."""
    n = samples(0.06)
    wood = sine(1_720, n) + sine(2_450, n)
    return wood * decay(n, 0.012) * 0.5


def chip_noise(rng: np.random.Generator, *, hold: int, length_s: float) -> Signal:
    """A sound chip's noise channel: random bits, each held for some samples, stepped decay."""
    n = samples(length_s * 3)
    bits = np.sign(noise(n // hold + 1, rng)).repeat(hold)[:n]
    steps = np.floor(decay(n, length_s) * 15) / 15
    return (bits * steps * 0.4).astype(np.float32)
