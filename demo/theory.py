"""Scales, chords and tunes: what the composer knows about notes. Pitches are MIDI note numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Scale = tuple[int, ...]

MAJOR: Scale = (0, 2, 4, 5, 7, 9, 11)
MINOR: Scale = (0, 2, 3, 5, 7, 8, 10)
HARMONIC_MINOR: Scale = (0, 2, 3, 5, 7, 8, 11)
DORIAN: Scale = (0, 2, 3, 5, 7, 9, 10)
MIXOLYDIAN: Scale = (0, 2, 4, 5, 7, 9, 10)
PHRYGIAN: Scale = (0, 1, 3, 5, 7, 8, 10)
LYDIAN: Scale = (0, 2, 4, 6, 7, 9, 11)
PENTATONIC: Scale = (0, 2, 4, 7, 9)


@dataclass(frozen=True, slots=True)
class Note:
    """One note of a tune: when it starts and how long it lasts (beats), and its pitch (MIDI)."""

    beat: float
    beats: float
    pitch: int


def frequency_hz(pitch: float) -> float:
    """Equal temperament, A4 (69) at 440 Hz."""
    return float(440.0 * 2.0 ** ((pitch - 69.0) / 12.0))


def pitch_of(tonic: int, scale: Scale, degree: int) -> int:
    """The pitch of a scale degree (0 is the tonic; negative degrees lie below it)."""
    octave, step = divmod(degree, len(scale))
    return tonic + 12 * octave + scale[step]


def chord(tonic: int, scale: Scale, degree: int, size: int = 3) -> list[int]:
    """Thirds stacked on a degree: size 3 is a triad, 4 a seventh, 5 a ninth."""
    return [pitch_of(tonic, scale, degree + 2 * i) for i in range(size)]


def nearest(pitch: int, members: Sequence[int]) -> int:
    """The pitch closest to `pitch` that belongs to the chord in some octave; of two, the lower."""
    classes = {member % 12 for member in members}
    return min(
        (p for p in range(pitch - 6, pitch + 7) if p % 12 in classes),
        key=lambda p: (abs(p - pitch), p),
    )


def lead(members: Sequence[int], centre: int) -> list[int]:
    """The chord in close position around `centre`: successive chords move by small steps."""
    return sorted(nearest(centre + offset, [member]) for offset, member in enumerate(members))


def tune(
    rng: np.random.Generator,
    chords: Sequence[Sequence[int]],
    scale_pitches: Sequence[int],
    rhythm: Sequence[Sequence[float]],
    *,
    beats_per_chord: float,
    start: int,
    reach: int = 9,
    rest: float = 0.0,
) -> list[Note]:
    """A singable line over the chords: small steps within the scale, chord tones on strong beats.

    rhythm: patterns of note lengths in beats, each filling one chord; the first serves two chords
    of three, so that the line has a motif. scale_pitches: every pitch class allowed. start: where
    the line begins; it stays within `reach` semitones of it. rest: share of notes left out.
    """
    notes: list[Note] = []
    pitch = start
    steps = np.array([-2, -1, -1, 0, 1, 1, 2, 3, -3])
    for index, members in enumerate(chords):
        pattern = rhythm[0] if index % 3 != 2 else rhythm[index % len(rhythm)]
        beat = index * beats_per_chord
        for position, beats in enumerate(pattern):
            wanted = pitch + int(rng.choice(steps)) * 2
            if abs(wanted - start) > reach:
                wanted = start + int(np.sign(wanted - start)) * (reach // 2)
            pitch = nearest(wanted, members if position == 0 else scale_pitches)
            if position == 0 or rng.random() >= rest:
                notes.append(Note(beat, beats, pitch))
            beat += beats
    return notes
