"""The job, merging, publishing and going back, killed at random points: nothing is ever lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.killing import KINDS, disturb
from tests.fidelity.conftest import SOAK_SHARE

#: Trials in every `make test`, where a kind is not tested with the job already; and in the soak.
FEW = {"merge": 3, "publish": 3, "rollback": 5}
MANY = {"embed": 150, "mount": 60, "merge": 300, "publish": 300, "rollback": 300}


@pytest.mark.parametrize("kind", FEW)
def test_killed_a_few_times(kind: str, tmp_path: Path) -> None:
    told = disturb(kind, FEW[kind], 0, tmp_path)
    assert told["lost"] == 0
    assert told["hits"] > 0


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_killed_hundreds_of_times(kind: str, tmp_path: Path) -> None:
    trials = round(MANY[kind] * SOAK_SHARE)
    told = disturb(kind, trials, 1, tmp_path)
    assert told["lost"] == 0
    assert told["hits"] > trials / 3
