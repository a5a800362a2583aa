"""The orchestra: each instrument turns a frequency into one long tone, from which notes are cut."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from demo.synthesis import (
    Signal,
    band_pass,
    clock_s,
    decay,
    high_pass,
    low_pass,
    noise,
    oscillate,
    phase,
    pluck,
    pulse,
    rise_and_fall,
    samples,
    saturate,
    saw,
    sine,
    vibrato,
    wavetable,
)
from demo.theory import frequency_hz

#: frequency (Hz) -> one tone, as long as this instrument ever sounds.
Tone = Callable[[float], Signal]


class Voice:
    """An instrument with its tones kept, so that a pitch is synthesised once in a piece."""

    def __init__(self, tone: Tone, *, attack_s: float = 0.002, release_s: float = 0.08) -> None:
        self._tone = tone
        self._attack_s = attack_s
        self._release_s = release_s
        self._tones: dict[float, Signal] = {}

    def note(self, pitch: float, seconds: float) -> Signal:
        """A note of this length and its release; a tone that dies sooner ends sooner."""
        if pitch not in self._tones:
            self._tones[pitch] = self._tone(frequency_hz(pitch))
        tone = self._tones[pitch][: samples(seconds + self._release_s)]
        return tone * rise_and_fall(len(tone), self._attack_s, self._release_s)


def piano(rng: np.random.Generator, *, brightness: float = 0.5) -> Voice:
    """Struck strings: slightly sharp partials, each dying faster than the one below; felt noise."""

    def tone(hz: float) -> Signal:
        seconds = float(np.clip(4.5 * (220 / hz) ** 0.35, 1.6, 5.0))
        n = samples(seconds)
        t = clock_s(n)
        out = np.zeros(n, dtype=np.float32)
        partials = int(np.clip(5_000 / hz, 3, 12))
        for k in range(1, partials + 1):
            partial_hz = hz * k * math.sqrt(1 + 0.0004 * k * k)
            weight = math.sin(math.pi * k / 8.3) / k ** (1.7 - brightness * 0.8)
            fade = np.exp(t * (-(0.6 + 0.35 * k) * (hz / 220) ** 0.5))
            out += weight * fade * sine(partial_hz, n)
        knock = samples(0.03)
        out[:knock] += 0.25 * band_pass(noise(knock, rng), 900, 1.2) * decay(knock, 0.008)
        return out * 0.5

    return Voice(tone, release_s=0.25)


def electric_piano(*, bell: float = 0.5) -> Voice:
    """Two-operator frequency modulation: a soft tine with a bell at its start."""

    def tone(hz: float) -> Signal:
        n = samples(2.2)
        index = (1.1 * bell) * decay(n, 0.25)
        tine = (0.18 * bell) * sine(hz * 7, n) * decay(n, 0.07)
        carrier = (2 * np.pi * hz) * clock_s(n)
        body = np.sin(carrier + index * sine(hz, n))
        wobble = 1 + 0.12 * sine(5.2, n)
        return (body * decay(n, 0.9) * wobble + tine) * 0.5

    return Voice(tone, release_s=0.12)


def vibraphone() -> Voice:
    """Bars with a fourth and a tenth partial, and the turning discs' tremolo."""

    def tone(hz: float) -> Signal:
        n = samples(2.5)
        out = sine(hz, n) * decay(n, 0.9)
        out += 0.25 * sine(hz * 4, n) * decay(n, 0.25)
        out += 0.08 * sine(hz * 10, n) * decay(n, 0.05)
        out *= 0.8 + 0.2 * sine(4.6, n)
        return out * 0.5

    return Voice(tone, release_s=0.3)


def plucked(
    rng: np.random.Generator, *, brightness: float, sustain: float = 0.996, seconds: float = 2.5
) -> Voice:
    """A plucked string on a small wooden body."""

    def tone(hz: float) -> Signal:
        string = pluck(hz, seconds, rng, brightness=brightness, sustain=sustain)
        body = band_pass(string, 210, 0.5) + 0.5 * band_pass(string, 420, 0.4)
        return (string + 0.7 * body) * 0.55

    return Voice(tone, release_s=0.05)


def upright_bass(rng: np.random.Generator) -> Voice:
    """A thick, dark string that dies soon."""

    def tone(hz: float) -> Signal:
        string = pluck(hz, 1.4, rng, brightness=0.15, sustain=0.985)
        n = len(string)
        thump = sine(hz, n) * decay(n, 0.35)
        return low_pass(string, 900) * 0.6 + thump * 0.6

    return Voice(tone, release_s=0.06)


def pipe_organ(*, stops: tuple[float, ...], seconds: float = 6.0) -> Voice:
    """Ranks of pipes at 8', 4', 2 2/3', 2', 1 3/5', 1 1/3' and 1', drawn by these gains."""

    def tone(hz: float) -> Signal:
        n = samples(seconds)
        ranks = np.zeros(24)
        for harmonic, gain in zip((1, 2, 3, 4, 5, 6, 8), stops, strict=False):
            for overtone in range(1, 4):
                if harmonic * overtone <= 24 and harmonic * overtone * hz < 12_000:
                    ranks[harmonic * overtone - 1] += gain / overtone**2.2
        table = wavetable(ranks)
        out = oscillate(table, phase(hz, n)) + oscillate(table, phase(hz * 1.0013, n, 0.3))
        return out * 0.3

    return Voice(tone, attack_s=0.045, release_s=0.12)


def strings(*, cutoff_hz: float = 2_200.0, seconds: float = 6.0, attack_s: float = 0.25) -> Voice:
    """A section of bowed strings: four saws apart by a few cents, each with its own vibrato."""

    def tone(hz: float) -> Signal:
        n = samples(seconds)
        table = saw(hz, cutoff_hz, slope=1.0)
        out = np.zeros(n, dtype=np.float32)
        for i, cents in enumerate((-9, -3, 4, 8)):
            player_hz = hz * 2 ** (cents / 1200)
            sway = vibrato(player_hz, n, rate_hz=4.9 + 0.3 * i, depth=0.004, settle_s=1.0)
            out += oscillate(table, phase(sway, n, i / 4))
        return out * 0.16

    return Voice(tone, attack_s=attack_s, release_s=0.4)


def filtered_saw(
    *, bright_hz: float, dark_hz: float, fall_s: float, seconds: float = 0.6, drive: float = 0.0
) -> Voice:
    """A synthesiser's saw whose low-pass closes from bright to dark as the note goes on."""

    def tone(hz: float) -> Signal:
        n = samples(seconds)
        line = phase(hz, n)
        opened = decay(n, fall_s)
        out = oscillate(saw(hz, bright_hz, slope=1.5), line) * opened
        out += oscillate(saw(hz, dark_hz, slope=1.5), line) * (1 - opened)
        return (saturate(out, drive) if drive else out) * 0.5

    return Voice(tone, attack_s=0.003, release_s=0.03)


def reese_bass(*, cutoff_hz: float, seconds: float = 2.0) -> Voice:
    """Two detuned saws beating against each other over a sine an octave below."""

    def tone(hz: float) -> Signal:
        n = samples(seconds)
        table = saw(hz, cutoff_hz, slope=1.5)
        upper = oscillate(table, phase(hz * 1.007, n))
        lower = oscillate(table, phase(hz / 1.007, n, 0.5))
        return saturate(0.5 * (upper + lower + sine(hz / 2, n)), 1.8) * 0.6

    return Voice(tone, attack_s=0.008, release_s=0.05)


def chip_pulse(duty: float, *, fade_s: float = 0.5, singing: bool = False) -> Voice:
    """A sound chip's pulse channel: sixteen volume steps, stepped decay."""

    def tone(hz: float) -> Signal:
        n = samples(1.2)
        sway = vibrato(hz, n, rate_hz=6.0, depth=0.008 if singing else 0.0, settle_s=0.15)
        steps = np.floor(decay(n, fade_s) * 15) / 15
        return oscillate(pulse(hz, duty), phase(sway, n)) * steps * 0.4

    return Voice(tone, attack_s=0.0, release_s=0.005)


def chip_triangle() -> Voice:
    """A sound chip's triangle channel: four bits, so a staircase of sixteen levels, no volume."""

    def tone(hz: float) -> Signal:
        cycles = phase(hz, samples(1.2)) % 1.0
        stairs: Signal = np.floor((1 - np.abs(cycles * 2 - 1)) * 15.999) / 7.5 - 1
        return stairs.astype(np.float32) * 0.5

    return Voice(tone, attack_s=0.0, release_s=0.005)


def distorted_guitar(rng: np.random.Generator, *, drive: float, muted: bool = False) -> Voice:
    """A string, its fifth and its octave into a far too loud amplifier and its cabinet."""

    def tone(hz: float) -> Signal:
        seconds = 0.35 if muted else 3.0
        sustain = 0.93 if muted else 0.9985
        length = samples(seconds)
        chord = np.zeros(length, dtype=np.float32)
        for ratio, gain in ((1.0, 1.0), (1.4983, 0.8), (2.0, 0.5)):
            string = pluck(hz * ratio, seconds, rng, brightness=0.55, sustain=sustain)
            chord[: len(string)] += gain * string
        clipped = saturate(high_pass(chord, 90) * 2, drive)
        cabinet = low_pass(clipped, 3_800, order=3)
        cabinet += 0.5 * band_pass(clipped, 2_200, 0.5)
        return cabinet * 0.4

    return Voice(tone, attack_s=0.001, release_s=0.02 if muted else 0.06)


def lead_guitar(rng: np.random.Generator, *, drive: float) -> Voice:
    """A single distorted string that sings, with vibrato once the note has settled."""

    def tone(hz: float) -> Signal:
        n = samples(2.0)
        sway = vibrato(hz, n, rate_hz=5.5, depth=0.006, settle_s=0.33)
        string = oscillate(saw(hz, 5_000), phase(sway, n))
        pick = samples(0.02)
        string[:pick] += noise(pick, rng) * decay(pick, 0.005)
        return low_pass(saturate(string, drive), 4_000, order=2) * 0.4

    return Voice(tone, attack_s=0.004, release_s=0.05)


def flute(rng: np.random.Generator) -> Voice:
    """A breathy, nearly pure tone with a slow vibrato."""

    def tone(hz: float) -> Signal:
        n = samples(3.0)
        sway = vibrato(hz, n, rate_hz=4.8, depth=0.004, settle_s=0.5)
        table = wavetable(np.array([1.0, 0.22, 0.1, 0.03]))
        body = oscillate(table, phase(sway, n))
        breath = band_pass(noise(n, rng), hz * 2, 0.6) * 0.12
        return (body + breath) * 0.4

    return Voice(tone, attack_s=0.05, release_s=0.08)
