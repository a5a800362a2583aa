from __future__ import annotations

import numpy as np
import pytest

from demo import theory


def test_chords_are_stacked_thirds_of_the_scale() -> None:
    assert theory.chord(60, theory.MAJOR, 0) == [60, 64, 67]
    assert theory.chord(60, theory.MAJOR, 4, 4) == [67, 71, 74, 77]
    assert theory.chord(57, theory.MINOR, 0) == [57, 60, 64]
    assert theory.pitch_of(60, theory.MAJOR, -1) == 59


def test_the_nearest_chord_tone() -> None:
    assert theory.nearest(61, [60, 64, 67]) == 60
    assert theory.nearest(66, [60, 64, 67]) == 67
    assert theory.nearest(96, [60, 64, 67]) == 96


def test_a_led_chord_keeps_close() -> None:
    for degree in range(7):
        voicing = theory.lead(theory.chord(60, theory.MAJOR, degree, 4), 60)
        assert max(voicing) - min(voicing) <= 15


def test_a_tune_stays_in_reach_in_scale_and_starts_bars_on_chord_tones() -> None:
    chords = [theory.chord(60, theory.DORIAN, d) for d in (0, 3, 4, 0)]
    allowed = [theory.pitch_of(60, theory.DORIAN, d) for d in range(7)]
    rhythm = ((1.0, 1.0, 2.0), (2.0, 2.0))

    notes = theory.tune(
        np.random.default_rng(4), chords, allowed, rhythm, beats_per_chord=4, start=72
    )

    classes = {p % 12 for p in allowed}
    assert all(note.pitch % 12 in classes for note in notes)
    assert all(abs(note.pitch - 72) <= 15 for note in notes)
    for index, members in enumerate(chords):
        first = next(note for note in notes if note.beat == index * 4)
        assert first.pitch % 12 in {m % 12 for m in members}
    assert sum(note.beats for note in notes) == pytest.approx(16)
