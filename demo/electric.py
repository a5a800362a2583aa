"""Manners for circuits and amplifiers: techno, drum and bass, chiptune, ambient, metal."""

from __future__ import annotations

import numpy as np

from demo import drums, theory
from demo.instruments import (
    chip_pulse,
    chip_triangle,
    distorted_guitar,
    filtered_saw,
    lead_guitar,
    reese_bass,
    strings,
)
from demo.mixing import CATHEDRAL, CLOSE, HALL, Mix, Stereo
from demo.synthesis import (
    Signal,
    band_pass,
    clock_s,
    noise,
    oscillate,
    phase,
    rise_and_fall,
    samples,
    saw,
    sine,
)


def _pump(n: int, beat_s: float, depth: float) -> Signal:
    """A gain that drops on every beat and comes back: side-chain compression by the kick."""
    within = np.mod(clock_s(n), beat_s) / beat_s
    return (1 - depth * np.exp(-within * 5)).astype(np.float32)


def techno(rng: np.random.Generator, tonic: int, tempo_bpm: float, seconds: float) -> Stereo:
    """Four on the floor, an acid line whose filter opens piece-long, stabs, hats off the beat."""
    beat_s = 60 / tempo_bpm
    sixteenth_s = beat_s / 4
    bars = max(10, int(seconds / (4 * beat_s)))
    scale = (theory.MINOR, theory.PHRYGIAN)[rng.integers(2)]
    colour = float(rng.uniform(0.8, 1.3))
    acid = [
        filtered_saw(bright_hz=colour * bright, dark_hz=220, fall_s=0.07, seconds=0.4, drive=2.5)
        for bright in (600, 1_100, 2_000, 3_200)
    ]
    stab = filtered_saw(bright_hz=2_600 * colour, dark_hz=300, fall_s=0.09, seconds=0.5)
    boom = drums.kick(low_hz=46 + float(rng.uniform(0, 6)), punch_hz=220)
    closed, opened = drums.hat(rng, length_s=0.025), drums.hat(rng, length_s=0.11)
    hands = drums.clap(rng)
    degrees = rng.choice([0, 0, 0, 7, 2, 1, 4, -1], size=16)
    sounding = rng.random(16) < 0.75
    sounding[0] = True
    stabs = sorted(rng.choice([3, 6, 10, 11, 14], size=2, replace=False))
    members = theory.chord(tonic + 12, scale, 0, 4)
    mix = Mix(bars * 4 * beat_s + 1.0)
    for bar in range(bars):
        heat = min(3, 4 * bar // bars)
        for step in range(16):
            at = (bar * 16 + step) * sixteenth_s
            if sounding[step]:
                pitch = theory.pitch_of(tonic - 12, scale, int(degrees[step]))
                mix.add(acid[heat].note(pitch, sixteenth_s * 0.9), at, 0.5, wet=0.12)
            if bar >= 2 and step in stabs:
                for pitch in members:
                    mix.add(stab.note(pitch, 0.2), at, 0.16, pan=0.4, wet=0.5)
                    mix.add(stab.note(pitch, 0.15), at + 3 * sixteenth_s, 0.07, pan=-0.5, wet=0.6)
    mix.duck(_pump(samples(bars * 4 * beat_s + 1.0), beat_s, 0.7))
    for bar in range(bars):
        fill = bar % 4 == 3
        for step in range(16):
            at = (bar * 16 + step) * sixteenth_s
            if step % 4 == 0 and not (fill and step == 12):
                mix.add(boom, at, 1.0, wet=0.03)
            if bar >= 1:
                mix.add(closed, at, 0.16 if step % 2 else 0.24, pan=0.2, wet=0.05)
                if step % 4 == 2:
                    mix.add(opened, at, 0.32, pan=-0.1, wet=0.1)
            if bar >= 2 and step in (4, 12):
                mix.add(hands, at, 0.4, wet=0.25)
    return mix.finish(CLOSE, rms=0.17, fade_out_s=0.8)


def drum_and_bass(rng: np.random.Generator, tonic: int, tempo_bpm: float, seconds: float) -> Stereo:
    """A broken beat at double speed over a slow, growling bass and string pads."""
    beat_s = 60 / tempo_bpm
    step_s = beat_s / 4
    bars = max(14, int(seconds / (4 * beat_s)))
    scale = (theory.MINOR, theory.DORIAN)[rng.integers(2)]
    degrees = ((0, 5, 3, 4), (0, 0, 5, 6), (0, 2, 5, 4))[rng.integers(3)]
    growl = reese_bass(cutoff_hz=float(rng.uniform(500, 900)))
    pad = strings(cutoff_hz=3_500, seconds=3.2, attack_s=0.15)
    boom = drums.kick(low_hz=55, punch_hz=260, length_s=0.22)
    crack = drums.snare(rng, tone_hz=float(rng.uniform(200, 240)), ring_s=0.1)
    tick, wash = drums.hat(rng, length_s=0.02, colour_hz=6_500), drums.ride(rng)
    kicks = ((0, 10), (0, 10, 13), (0, 6, 10))[rng.integers(3)]
    ghosts = [step for step in (7, 9, 14, 15) if rng.random() < 0.6]
    rhythm = ((0, 6), (8, 3), (11, 5)) if rng.random() < 0.5 else ((0, 3), (3, 7), (12, 4))
    mix = Mix(bars * 4 * beat_s + 1.5)
    for bar in range(bars):
        degree = degrees[(bar // 2) % 4]
        start = bar * 16
        full = bar >= 2
        if bar % 2 == 0:
            for pitch in theory.lead(theory.chord(tonic, scale, degree, 4), tonic + 3):
                mix.add(pad.note(pitch, 8 * beat_s), start * step_s, 0.22, pan=0.2, wet=0.5)
        if full:
            root = theory.nearest(tonic - 22, [theory.pitch_of(tonic, scale, degree)])
            for step, length in rhythm:
                tone = growl.note(root + (12 if step == 12 else 0), length * step_s * 0.9)
                mix.add(tone, (start + step) * step_s, 0.55, wet=0.05)
        for step in range(16):
            at = (start + step) * step_s
            if step in kicks:
                mix.add(boom, at, 0.9, wet=0.03)
            if step in (4, 12):
                mix.add(crack, at, 0.85, wet=0.15)
            elif step in ghosts and full:
                mix.add(crack, at, 0.2, pan=0.1, wet=0.1)
            if step % 2 == 0 or rng.random() < 0.3:
                mix.add(tick, at, 0.3 if step % 4 == 2 else 0.2, pan=0.25, wet=0.05)
            if full and step % 4 == 0:
                mix.add(wash, at, 0.18, pan=-0.3, wet=0.15)
    return mix.finish(CLOSE, rms=0.17, fade_out_s=1.0)


def chiptune(rng: np.random.Generator, tonic: int, tempo_bpm: float, seconds: float) -> Stereo:
    """Two pulse channels, a triangle and noise: a hurried tune over broken chords, no room."""
    beat_s = 60 / tempo_bpm
    bars = max(8, int(seconds / (4 * beat_s)))
    minor = bool(rng.random() < 0.5)
    scale = theory.MINOR if minor else theory.MAJOR
    degrees = ((0, 5, 2, 6) if minor else (0, 4, 5, 3), (0, 3, 4, 4))[rng.integers(2)]
    lead = chip_pulse(float(rng.choice([0.25, 0.5])), fade_s=0.6, singing=True)
    broken = chip_pulse(0.125, fade_s=0.3)
    bass = chip_triangle()
    snare = drums.chip_noise(rng, hold=3, length_s=0.05)
    tick = drums.chip_noise(rng, hold=1, length_s=0.015)
    boom = drums.chip_noise(rng, hold=40, length_s=0.04)
    mix = Mix(bars * 4 * beat_s + 0.6)
    chords = [theory.chord(tonic, scale, degrees[bar % 4]) for bar in range(bars - 1)]
    chords.append(theory.chord(tonic, scale, 0))
    # Three or four notes of a chord in turn, so quickly that they blur: one channel plays harmony.
    ripple = int(rng.choice([6, 8]))
    for bar, members in enumerate(chords):
        start = bar * 4
        root = theory.nearest(tonic - 16, members[:1])
        for eighth in range(8):
            at = (start + eighth / 2) * beat_s
            pitch = root + (12 if eighth % 2 else 0)
            mix.add(bass.note(pitch, beat_s * 0.4), at, 0.5, wet=0)
            mix.add(tick, at, 0.25, pan=0.1, wet=0)
            if eighth in (0, 5):
                mix.add(boom, at, 0.6, wet=0)
            if eighth in (2, 6):
                mix.add(snare, at, 0.5, wet=0)
        for i in range(4 * ripple):
            pitch = theory.nearest(tonic + 12, members[:1]) + (members[i % 3] - members[0])
            tone = broken.note(pitch, beat_s / ripple)
            mix.add(tone, (start + i / ripple) * beat_s, 0.22, pan=-0.4, wet=0)
    rhythm = (
        (0.5, 0.5, 0.5, 0.5, 1.0, 0.5, 0.5),
        (0.75, 0.75, 0.5, 1.0, 1.0),
        (0.25, 0.25, 0.5, 1.0, 0.5, 0.5, 1.0),
    )
    allowed = [theory.pitch_of(tonic, scale, d) for d in range(7)]
    line = theory.tune(
        rng, chords, allowed, rhythm, beats_per_chord=4, start=tonic + 24, reach=11, rest=0.08
    )
    for note in line:
        tone = lead.note(note.pitch, note.beats * beat_s * 0.9)
        mix.add(tone, note.beat * beat_s, 0.5, pan=0.25, wet=0)
    return mix.finish(None, rms=0.14, fade_out_s=0.4)


def ambient(rng: np.random.Generator, tonic: int, tempo_bpm: float, seconds: float) -> Stereo:
    """A drone that never stops, slow chords fading into each other, wind, a far bell or two."""
    scale = (theory.LYDIAN, theory.DORIAN, theory.MAJOR)[rng.integers(3)]
    slot_s = 60 / tempo_bpm * 8
    count = max(3, int(seconds / slot_s))
    total_s = count * slot_s + slot_s * 0.6
    mix = Mix(total_s)
    cutoff_hz = float(rng.uniform(500, 1_000))
    n = samples(slot_s * 1.9)
    swell = rise_and_fall(n, slot_s * 0.9, slot_s * 0.9)
    for index in range(count):
        degree = int(rng.choice([0, 1, 3, 4, 5])) if index else 0
        members = theory.chord(tonic, scale, degree, 5)[int(rng.integers(2)) :]
        for voice, pitch in enumerate(members):
            hz = theory.frequency_hz(theory.nearest(tonic + 4 * voice - 8, [pitch]))
            table = saw(hz, cutoff_hz, slope=1.2)
            for cents, pan in ((-6, -0.7), (5, 0.7)):
                line = phase(hz * 2 ** (cents / 1200), n, float(rng.random()))
                mix.add(oscillate(table, line) * swell, index * slot_s, 0.13, pan=pan, wet=0.6)
    whole = samples(total_s)
    drone_hz = theory.frequency_hz(tonic - 24)
    table = saw(drone_hz, 260, slope=1.5)
    sway = 0.8 + 0.2 * sine(0.11, whole)
    mix.add(oscillate(table, phase(drone_hz, whole)) * sway, 0, 0.35, wet=0.2)
    gust = band_pass(noise(whole, rng), float(rng.uniform(500, 1_200)), 0.5)
    tide = 0.5 + 0.5 * sine(1 / slot_s, whole)
    mix.add(gust * tide, 0, 0.22, pan=0.2, wet=0.4)
    bell_n = samples(3.0)
    for _ in range(int(rng.integers(2, 5))):
        hz = theory.frequency_hz(theory.pitch_of(tonic + 24, scale, int(rng.integers(0, 5))))
        ring = sine(hz, bell_n) * rise_and_fall(bell_n, 0.2, 2.6)
        at = float(rng.uniform(2, total_s - 5))
        mix.add(ring, at, 0.05, pan=float(rng.uniform(-0.6, 0.6)), wet=0.9)
    return mix.finish(CATHEDRAL, rms=0.1, fade_in_s=2.0, fade_out_s=4.0)


def metal(rng: np.random.Generator, tonic: int, tempo_bpm: float, seconds: float) -> Stereo:
    """Two distorted guitars hard left and right on a palm-muted riff, double kick, a sung lead."""
    beat_s = 60 / tempo_bpm
    step_s = beat_s / 4
    bars = max(10, int((seconds - 1) / (4 * beat_s)))
    scale = (theory.PHRYGIAN, theory.MINOR, theory.HARMONIC_MINOR)[rng.integers(3)]
    drive = float(rng.uniform(6, 10))
    sides = [
        (distorted_guitar(rng, drive=drive, muted=True), distorted_guitar(rng, drive=drive), pan)
        for pan in (-0.85, 0.85)
    ]
    solo = lead_guitar(rng, drive=4.0)
    grow = reese_bass(cutoff_hz=700)
    boom = drums.kick(low_hz=60, punch_hz=320, length_s=0.18)
    crack, crash = drums.snare(rng, tone_hz=175, ring_s=0.12), drums.cymbal(rng)
    cup = drums.hat(rng, length_s=0.06, colour_hz=5_500)
    low = tonic - 24
    mutes = (
        (0, 2, 3, 4, 6, 7, 8, 10, 11),
        (0, 1, 2, 4, 6, 7, 8, 9, 10),
        (0, 2, 4, 5, 6, 8, 10, 11),
    )[rng.integers(3)]
    accents = [(12, int(rng.choice([1, 5, 3]))), (14, int(rng.choice([2, 6, 4])))]
    mix = Mix(bars * 4 * beat_s + 2.0)
    for bar in range(bars):
        start = bar * 16
        open_chords = bar % 4 == 3
        for muted, ringing, pan in sides:
            late = float(rng.uniform(0, 0.008))
            if open_chords:
                for step, degree in ((0, 0), (6, 1), (8, accents[1][1] - 1), (12, 0)):
                    pitch = theory.pitch_of(low, scale, degree)
                    tone = ringing.note(pitch, (6 if step in (0, 8) else 4) * step_s)
                    mix.add(tone, (start + step) * step_s + late, 0.6, pan=pan, wet=0.08)
                continue
            for step in mutes:
                tone = muted.note(low, step_s * 0.9)
                mix.add(tone, (start + step) * step_s + late, 0.75, pan=pan, wet=0.03)
            for step, degree in accents:
                tone = ringing.note(theory.pitch_of(low, scale, degree), 2 * step_s * 0.9)
                mix.add(tone, (start + step) * step_s + late, 0.55, pan=pan, wet=0.08)
        for beat in range(4):
            root = theory.pitch_of(low, scale, 0)
            mix.add(grow.note(root, beat_s * 0.9), (start + 4 * beat) * step_s, 0.3, wet=0)
        for step in range(16):
            at = (start + step) * step_s
            if step in (4, 12):
                mix.add(crack, at, 0.9, wet=0.15)
            if (step in mutes and step % 2 == 0) or open_chords:
                mix.add(boom, at, 0.55 if open_chords else 0.75, wet=0.02)
            if step % 4 == 0:
                mix.add(cup, at, 0.3, pan=0.4, wet=0.05)
        if bar % 4 == 0:
            mix.add(crash, start * step_s, 0.4, pan=-0.4, wet=0.1)
    sung = range(4, bars - 1)
    chords = [theory.chord(tonic, scale, 0 if bar % 4 != 3 else 1) for bar in sung]
    rhythm = ((1.0, 0.5, 0.5, 2.0), (0.5, 0.5, 0.5, 0.5, 2.0), (1.5, 0.5, 2.0))
    allowed = [theory.pitch_of(tonic, scale, d) for d in range(7)]
    line = theory.tune(rng, chords, allowed, rhythm, beats_per_chord=4, start=tonic + 7, rest=0.1)
    for note in line:
        at = (16 + note.beat) * beat_s
        mix.add(solo.note(note.pitch, note.beats * beat_s * 0.95), at, 0.32, pan=0.1, wet=0.3)
    ending = bars * 4 * beat_s
    for _, ringing, pan in sides:
        mix.add(ringing.note(low, 2.5), ending, 0.6, pan=pan, wet=0.1)
    mix.add(crash, ending, 0.45, wet=0.1)
    return mix.finish(HALL if rng.random() < 0.3 else CLOSE, rms=0.18, fade_out_s=1.5)
