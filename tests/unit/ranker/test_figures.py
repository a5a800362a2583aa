"""What the benchmarks of the ranker count: figures that mean what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import ablation, autodj, quality
from bench.servers import all_knowing
from ranker.picks import Context
from ranker.settings import RankingSettings
from tests.unit.ranker.library import styled


@pytest.mark.parametrize("left", [12, 46, 83])
def test_by_chance_a_tenth_is_near_however_many_are_left(left: int) -> None:
    judge = np.random.default_rng(left).standard_normal((100, 8)).astype(np.float32)
    folder = np.arange(100) < left + 2
    others = list(range(2, left + 2))
    near = autodj._judged(judge, [0, 1], [0, 1], others, folder)
    assert np.mean(near) == pytest.approx(autodj.NEAREST)
    assert all(0 <= one <= 1 for one in near)
    nearest = int(np.argmax(autodj.heard_by(judge, [0, 1])[2 : left + 2]))
    assert near[nearest] == max(near) == 1


def test_a_judge_without_noise_is_right_and_one_as_right_as_asked_is_as_right(
    tmp_path: Path,
) -> None:
    snapshot = styled(tmp_path, [i % 5 for i in range(120)])
    judge = np.random.default_rng(3).standard_normal((120, 16)).astype(np.float32)
    judge /= np.linalg.norm(judge, axis=1, keepdims=True)
    for of_ears in (True, False):
        perfect = autodj.noisy(judge, 0, of_ears=of_ears)
        assert autodj.simulate(snapshot, judge, all_knowing(perfect), 5, songs=20).share > 0.99
        picker = autodj.as_right(snapshot, judge, 0.5, 20, 20, of_ears=of_ears)
        share = autodj.simulate(snapshot, judge, all_knowing(picker), 20, songs=20).share
        assert share == pytest.approx(0.5, abs=0.1)
    limited = Context(eligible=np.arange(120) < 3, excluded=frozenset([1]), heard=(1,))
    assert sorted(perfect(1, limited, 5)) == [0, 2]


def test_only_what_is_more_than_chance_is_told_of_a_term() -> None:
    random = np.random.default_rng(2)
    base = {name: random.random(50) for name in ablation.FIGURES}
    assert ablation.told(base, base) == {"is worse": "", "is better": ""}
    changed = dict(base)
    changed["near, real"] = base["near, real"] - 0.2
    changed["2 in a row, real"] = base["2 in a row, real"] - 0.2
    changed["P@5 segue-1"] = base["P@5 segue-1"] + random.normal(0, 1, 50) * 0.001
    told = ablation.told(base, changed)
    assert str(told["is worse"]).startswith("near, real ")
    assert str(told["is better"]).startswith("2 in a row, real ")


def test_explore_moves_from_what_is_known_to_other_songs(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, [0] * 60, artists=[i % 30 for i in range(60)])
    for figure in (quality.heard_artists, quality.known_songs):
        shares = [
            float(np.mean(figure(snapshot, RankingSettings(explore=at)))) for at in (0, 0.5, 1)
        ]
        assert shares[0] > shares[1] > shares[2]
