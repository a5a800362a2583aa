"""Key against cadences in all 24 keys, in three sounds, out of tune."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from catalog.tracks import Float32
from embedder.tonality import SAMPLE_RATE_HZ, UNKNOWN, key, key_name, spectra

#: Semitones above the tonic.
MAJOR = {"I": (0, 4, 7), "IV": (5, 9, 12), "V": (7, 11, 14), "vi": (9, 12, 16), "ii": (2, 5, 9)}
MINOR = {"I": (0, 3, 7), "IV": (5, 8, 12), "V": (7, 11, 14), "vi": (8, 12, 15), "ii": (2, 5, 8)}
#: Strengths of the partials.
SOUNDS = {
    "flute": (1.0,),
    "piano": (1.0, 0.5, 0.33, 0.25, 0.2, 0.1),
    "strings": tuple(1 / n for n in range(1, 16)),
}


@cache
def note(semitones: float, sound: str) -> Float32:
    """One second; 60 is the middle C at 440 Hz for an A."""
    t = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    hertz = 440 * 2 ** ((semitones - 69) / 12)
    partials = [
        strength * np.sin(2 * np.pi * hertz * number * t)
        for number, strength in enumerate(SOUNDS[sound], start=1)
        if hertz * number < 5000
    ]
    return (np.sum(partials, axis=0) * np.exp(-0.7 * t)).astype(np.float32)


def cadence(tonic: int, minor: bool, sound: str, chords: tuple[str, ...]) -> Float32:
    tuning = 0.3 * np.sin(tonic)
    bars = []
    for chord in chords:
        degrees = (MINOR if minor else MAJOR)[chord]
        voices = [60 + tonic + degree for degree in degrees] + [36 + (tonic + degrees[0]) % 12]
        bars.append(np.sum([note(voice + tuning, sound) for voice in voices], axis=0))
    return np.concatenate([*bars, *bars])


def test_cadences_in_all_keys() -> None:
    right = total = 0
    for sound in SOUNDS:
        for chords in (("I", "IV", "V", "I"), ("I", "vi", "ii", "V"), ("ii", "V", "I", "I")):
            for tonic in range(12):
                for minor in (False, True):
                    found, _ = key([spectra(cadence(tonic, minor, sound, chords))])
                    right += found == tonic + 12 * minor
                    total += 1
    assert total == 216
    assert right / total >= 0.9


def test_a_plain_cadence_is_sure_and_noise_is_not() -> None:
    found, confidence = key([spectra(cadence(3, True, "piano", ("I", "IV", "V", "I")))])
    assert key_name(found) == "Eb minor"
    assert confidence > 0.5
    noise = np.random.default_rng(0).standard_normal(110_250, np.float32)
    assert key([spectra(noise)])[1] < 0.1


@pytest.mark.parametrize(
    "windows", [[], [np.zeros(110_250, np.float32)], [np.ones(99, np.float32)]]
)
def test_silence_has_no_key(windows: list[Float32]) -> None:
    assert key([spectra(window) for window in windows]) == (UNKNOWN, 0.0)
    assert key_name(UNKNOWN) == ""
