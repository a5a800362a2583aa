from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest

from catalog.snapshot import Snapshot
from ranker import motion


@dataclass
class Measured:
    """The columns that the module reads, and no others."""

    tempo_bpm: Any = None
    tempo_confidence: Any = None
    key: Any = None
    key_confidence: Any = None
    loudness_lufs: Any = None


def measured(**columns: list[float]) -> Snapshot:
    arrays = {name: np.array(values, np.float32) for name, values in columns.items()}
    return cast("Snapshot", Measured(**arrays))


ROWS = np.arange(5)


def test_half_and_double_tempo_are_no_jump() -> None:
    found = motion.tempo(measured(tempo_bpm=[120, 60, 240, 120 * 2**0.5, 0]), ROWS, 0)
    assert found is not None
    assert found == pytest.approx([0, 0, 0, 1, 0], abs=1e-5)


def test_a_tempo_counts_as_far_as_it_is_sure() -> None:
    snapshot = measured(tempo_bpm=[120, 170, 170, 170, 170], tempo_confidence=[1, 1, 0.5, 0, -3])
    found = motion.tempo(snapshot, ROWS, 0)
    assert found is not None
    assert found[1] == pytest.approx(2 * found[2])
    assert found[3:].tolist() == [0, 0]


def test_keys_are_apart_by_fifths_and_relatives_are_one() -> None:
    # C major; its relative A minor; G; F sharp; unknown
    found = motion.key(measured(key=[0, 21, 7, 6, -1]), ROWS, 0)
    assert found is not None
    assert found == pytest.approx([0, 0, 1 / 6, 1, 0])


def test_a_step_in_loudness_is_counted_up_to_twelve() -> None:
    found = motion.loudness(measured(loudness_lufs=[-14, -14, -20, -40, float("nan")]), ROWS, 0)
    assert found is not None
    assert found == pytest.approx([0, 0, 0.5, 1, 0])


@pytest.mark.parametrize("jump", [motion.tempo, motion.key, motion.loudness])
def test_what_is_not_known_is_no_term(jump: Any) -> None:
    assert jump(measured(), ROWS, 0) is None
    unknown = measured(tempo_bpm=[0] * 5, key=[-1] * 5, loudness_lufs=[float("nan")] * 5)
    assert jump(unknown, ROWS, 0) is None
