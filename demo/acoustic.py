"""Manners for wood, strings, hammers and pipes: nocturne, folk, bossa nova, organ chorale."""

from __future__ import annotations

import numpy as np

from demo import drums, theory
from demo.instruments import (
    electric_piano,
    flute,
    piano,
    pipe_organ,
    plucked,
    upright_bass,
    vibraphone,
)
from demo.mixing import CATHEDRAL, CLOSE, HALL, PARLOUR, Mix, Room, Stereo


def nocturne(rng: np.random.Generator, tonic: int, tempo_bpm: float, seconds: float) -> Stereo:
    """Solo piano: wide broken chords in the left hand, a slow singing line in the right."""
    minor = bool(rng.random() < 0.7)
    scale = theory.MINOR if minor else theory.MAJOR
    progressions = (
        ((0, 5, 2, 6), (0, 3, 4, 0), (0, 6, 5, 4)) if minor else ((0, 5, 1, 4), (0, 2, 3, 4))
    )
    degrees = progressions[rng.integers(len(progressions))]
    figure = ((0, 2, 4, 2, 5, 4, 2, 4), (0, 2, 5, 4, 6, 5, 4, 2))[rng.integers(2)]
    beat_s = 60 / tempo_bpm
    bars = max(4, int((seconds - 3) / (4 * beat_s)))
    grand = piano(rng, brightness=float(rng.uniform(0.3, 0.6)))
    mix = Mix(bars * 4 * beat_s + 4)
    chords = [theory.chord(tonic, scale, degrees[bar % 4]) for bar in range(bars - 1)]
    chords.append(theory.chord(tonic, scale, 0))

    # The bar breathes: a little slower towards its end.
    sway = float(rng.uniform(0.01, 0.03))

    def at_s(beat: float) -> float:
        return 0.1 + beat * beat_s + sway * beat_s * float(np.sin(np.pi * (beat % 4) / 4))

    for bar, members in enumerate(chords):
        low = [theory.nearest(tonic - 20, members[:1])]
        low += [theory.nearest(low[0] + step, members) for step in (7, 12, 16, 19, 24, 28)]
        steps = (0, 2, 3, 4) if bar == bars - 1 else figure
        for position, step in enumerate(steps):
            soft = 0.5 if position == 0 else float(rng.uniform(0.28, 0.36))
            pitch = low[min(step, len(low) - 1)]
            tone = grand.note(pitch, beat_s * (2.0 if position == 0 else 1.0))
            mix.add(tone, at_s(bar * 4 + position / 2), soft, pan=-0.25, wet=0.45)
    rhythm = ((1.5, 0.5, 2.0), (1.0, 1.0, 1.5, 0.5), (3.0, 1.0))
    allowed = [theory.pitch_of(tonic, scale, d) for d in range(7)]
    line = theory.tune(rng, chords, allowed, rhythm, beats_per_chord=4, start=tonic + 14, rest=0.1)
    for note in line:
        tone = grand.note(note.pitch, note.beats * beat_s * 1.2)
        mix.add(tone, at_s(note.beat), float(rng.uniform(0.6, 0.8)), pan=0.15, wet=0.5)
        if note.beats >= 2 and rng.random() < 0.3:
            echo = grand.note(note.pitch + 12, 0.5)
            mix.add(echo, at_s(note.beat + note.beats / 2), 0.25, pan=0.3, wet=0.6)
    return mix.finish(HALL, rms=0.1, fade_out_s=2.5)


def folk(rng: np.random.Generator, tonic: int, tempo_bpm: float, seconds: float) -> Stereo:
    """Two plucked instruments: a guitar with alternating thumb, a tune on brighter strings."""
    scale = (theory.MAJOR, theory.MIXOLYDIAN, theory.DORIAN)[rng.integers(3)]
    degrees = ((0, 3, 0, 4), (0, 4, 5, 3), (0, 6, 3, 0))[rng.integers(3)]
    beat_s = 60 / tempo_bpm
    bars = max(6, int((seconds - 2) / (4 * beat_s)))
    guitar = plucked(rng, brightness=float(rng.uniform(0.4, 0.55)), sustain=0.995)
    treble = plucked(rng, brightness=float(rng.uniform(0.7, 0.9)), sustain=0.994, seconds=1.8)
    mix = Mix(bars * 4 * beat_s + 2.5)
    chords = [theory.chord(tonic, scale, degrees[bar % 4]) for bar in range(bars - 1)]
    chords.append(theory.chord(tonic, scale, 0))
    for bar, members in enumerate(chords):
        root = theory.nearest(tonic - 17, members[:1])
        fifth = theory.nearest(root + 7, members)
        fingers = [theory.nearest(tonic + offset, members) for offset in (-3, 1, 5)]
        for eighth in range(8):
            at = (bar * 4 + eighth / 2) * beat_s + float(rng.normal(0, 0.004)) + 0.05
            if eighth % 2 == 0:
                thumb = root if eighth % 4 == 0 else fifth
                mix.add(guitar.note(thumb, beat_s * 1.1), at, 0.55, pan=-0.3, wet=0.15)
            if bar == bars - 1 and eighth:
                continue
            if eighth % 2 == 1 or eighth == 0:
                finger = fingers[(eighth // 2 + bar) % 3]
                mix.add(guitar.note(finger, beat_s * 0.9), at, 0.4, pan=-0.2, wet=0.2)
    rhythm = ((0.5, 0.5, 1.0, 0.5, 0.5, 1.0), (1.0, 0.5, 0.5, 1.0, 1.0), (1.5, 0.5, 2.0))
    allowed = [theory.pitch_of(tonic, scale, d) for d in (0, 1, 2, 4, 5)]
    line = theory.tune(
        rng, chords[2:], allowed, rhythm, beats_per_chord=4, start=tonic + 12, rest=0.12
    )
    for note in line:
        at = (8 + note.beat) * beat_s + float(rng.normal(0, 0.005)) + 0.05
        mix.add(treble.note(note.pitch, note.beats * beat_s), at, 0.6, pan=0.3, wet=0.25)
    return mix.finish(PARLOUR, rms=0.11)


def bossa(rng: np.random.Generator, tonic: int, tempo_bpm: float, seconds: float) -> Stereo:
    """String bass, chords off the beat, brushes and a rim's clave, a soft lead."""
    beat_s = 60 / tempo_bpm
    bars = max(8, int((seconds - 2) / (4 * beat_s)))
    degrees = ((1, 4, 0, 5), (0, 5, 1, 4), (0, 3, 1, 4))[rng.integers(3)]
    keys = electric_piano(bell=float(rng.uniform(0.35, 0.6)))
    lead = vibraphone() if rng.random() < 0.5 else flute(rng)
    bass = upright_bass(rng)
    stick, brush, shake, cup = drums.rim(), drums.brush(rng), drums.shaker(rng), drums.ride(rng)
    mix = Mix(bars * 4 * beat_s + 2.5)
    chords = [theory.chord(tonic, theory.MAJOR, degrees[bar % 4], 5) for bar in range(bars - 1)]
    chords.append(theory.chord(tonic, theory.MAJOR, 0, 5))
    comping = ((0.0, 1.5, 2.5), (0.5, 1.5, 3.0), (0.0, 1.5, 3.5))[rng.integers(3)]
    # Three strokes and two: the clave runs over two bars.
    clave = ((0.0, 1.5, 3.0), (1.0, 2.5))
    for bar, members in enumerate(chords):
        start = bar * 4
        root = theory.nearest(tonic - 26, members[:1])
        fifth = theory.nearest(root + 6, [members[2]])
        for beat, pitch in ((0.0, root), (1.5, fifth), (2.0, fifth), (3.5, root)):
            mix.add(bass.note(pitch, beat_s * 1.2), (start + beat) * beat_s, 0.75, wet=0.1)
        voicing = theory.lead(members[1:], tonic - 3)
        for beat in comping:
            for pitch in voicing:
                tone = keys.note(pitch, beat_s * 0.8)
                mix.add(tone, (start + beat) * beat_s, 0.2, pan=-0.35, wet=0.3)
        if bar == bars - 1:
            break
        for eighth in range(8):
            at = (start + eighth / 2) * beat_s
            mix.add(shake, at, 0.35 if eighth % 2 else 0.22, pan=0.4, wet=0.1)
            if eighth % 2 == 0:
                mix.add(cup, at, 0.22, pan=0.25, wet=0.2)
        for beat in (1, 3):
            mix.add(brush, (start + beat) * beat_s, 0.3, pan=0.1, wet=0.2)
        for beat in clave[bar % 2]:
            mix.add(stick, (start + beat) * beat_s, 0.3, pan=-0.15, wet=0.25)
    rhythm = ((1.5, 1.0, 1.5), (0.5, 1.0, 1.0, 1.5), (2.5, 1.5))
    allowed = [theory.pitch_of(tonic, theory.MAJOR, d) for d in range(7)]
    line = theory.tune(
        rng,
        [members[1:] for members in chords[2:-1]],
        allowed,
        rhythm,
        beats_per_chord=4,
        start=tonic + 12,
        rest=0.15,
    )
    for note in line:
        at = (8 + note.beat) * beat_s + 0.01
        mix.add(lead.note(note.pitch, note.beats * beat_s * 0.9), at, 0.42, pan=0.2, wet=0.4)
    return mix.finish(PARLOUR if rng.random() < 0.5 else CLOSE, rms=0.12)


def chorale(rng: np.random.Generator, tonic: int, tempo_bpm: float, seconds: float) -> Stereo:
    """A church organ: a hymn in four parts over the pedal, in a very large room."""
    minor = bool(rng.random() < 0.5)
    scale = theory.HARMONIC_MINOR if minor else theory.MAJOR
    phrases = ((0, 3, 4, 0), (0, 4, 5, 3), (3, 0, 4, 0), (5, 1, 4, 0), (0, 5, 3, 4))
    beat_s = 60 / tempo_bpm
    # Phrases of four chords; the nearest whole number of them.
    count = 4 * max(3, round((seconds - 4) / (8 * beat_s)))
    order = rng.integers(len(phrases), size=count // 4)
    degrees = [degree for index in order for degree in phrases[index]]
    degrees[0] = degrees[-1] = 0
    registration = (
        (1.0, 0.8, 0.3, 0.5, 0.0, 0.2, 0.25),
        (1.0, 0.6, 0.0, 0.6, 0.15, 0.0, 0.3),
        (0.9, 0.9, 0.5, 0.4, 0.2, 0.3, 0.2),
    )[rng.integers(3)]
    manual, pedal = pipe_organ(stops=registration), pipe_organ(stops=(1.0, 0.7, 0.1, 0.2))
    mix = Mix(count * 2 * beat_s + 5)
    soprano = tonic + 12
    for index, degree in enumerate(degrees):
        members = theory.chord(tonic, scale, degree)
        at = index * 2 * beat_s
        last = index == len(degrees) - 1
        length = 2 * beat_s * (1.6 if last else 1.0 if index % 4 != 3 else 0.9)
        soprano = theory.nearest(soprano + int(rng.choice([-2, 2, 3, -3])), members)
        soprano += 12 * (soprano < tonic + 7) - 12 * (soprano > tonic + 19)
        below = [theory.nearest(soprano - step, members) for step in (5, 9)]
        for pitch, pan in zip((soprano, *below), (0.1, 0.2, -0.2), strict=True):
            mix.add(manual.note(pitch, length), at, 0.45, pan=pan, wet=0.6)
        if not last and rng.random() < 0.5:
            passing = theory.nearest(
                soprano + int(rng.choice([-2, 2])),
                [theory.pitch_of(tonic, scale, d) for d in range(7)],
            )
            mix.add(manual.note(passing, beat_s), at + beat_s, 0.35, pan=0.1, wet=0.6)
        foot = theory.nearest(tonic - 22, members[:1])
        mix.add(pedal.note(foot, length), at, 0.6, wet=0.5)
    room = Room(CATHEDRAL.decay_s * float(rng.uniform(0.85, 1.1)), 3_000, 0.9, 0.03)
    return mix.finish(room, rms=0.12, fade_out_s=3.0)
