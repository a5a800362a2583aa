"""The looks that find the rows worth scoring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ranker import search
from ranker.picks import Context, Seed
from ranker.query import Query
from ranker.settings import RankingSettings
from tests.unit.ranker.library import styled

SETTINGS = RankingSettings()


def best(scores: np.ndarray, size: int, mask: np.ndarray | None) -> list[int]:
    """By sorting everything: what `search.top` must equal."""
    rows = np.arange(len(scores)) if mask is None else np.flatnonzero(mask)
    order = np.lexsort((rows, -scores[rows]))[:size]
    return sorted(rows[order].tolist())


@pytest.mark.parametrize("n", [10, 3_000, 20_000])
@pytest.mark.parametrize("levels", [1, 5, 10**6])
@pytest.mark.parametrize("share", [0.001, 0.4, None])
def test_the_best_are_the_best_and_ties_go_to_the_lower_row(
    n: int, levels: int, share: float | None
) -> None:
    chance = np.random.default_rng(n + levels)
    scores = chance.integers(0, levels, n).astype(np.float32)
    mask = None if share is None else chance.random(n) < share
    for size in (1, 7, 500, n):
        assert search.top(scores, size, mask).tolist() == best(scores, size, mask)


@pytest.mark.parametrize("kind", ["spread", "all equal", "few above"])
def test_about_as_many_pass_as_are_wanted_whatever_the_scores(kind: str) -> None:
    n, size = 50_000, 2_500
    chance = np.random.default_rng(4)
    scores = np.zeros(n, np.float32)
    if kind == "spread":
        scores = chance.normal(size=n).astype(np.float32)
    elif kind == "few above":
        scores[chance.integers(0, n, 40)] = 1
    coarse = search.Coarse(scores, 1.0, np.sort(scores[::24]))
    for mask in (None, chance.random(n) < 0.2, np.zeros(n, np.bool_)):
        allowed = n if mask is None else int(mask.sum())
        rows = search._passing(coarse, size, mask)
        assert 0.75 * min(size, allowed) <= len(rows) <= 1.5 * size
        assert mask is None or mask[rows].all()
        assert (np.diff(rows) > 0).all()
        surely = set(best(scores, size // 2, mask)) if kind == "spread" else set()
        assert surely <= set(rows.tolist())


@pytest.mark.parametrize("share", [1.0, 0.02])
def test_candidates_lie_within_the_limits_and_are_no_more_than_asked_for(
    share: float, tmp_path: Path
) -> None:
    snapshot = styled(tmp_path, [i % 16 for i in range(9_000)], profiled=True, dim=160)
    mask = np.random.default_rng(1).random(snapshot.n) < share
    for seeds in ([Seed(5)], [Seed(5), Seed(7, -1)]):
        query = Query.of(snapshot, seeds, Context(), SETTINGS)
        coarse = search.coarse_pass(snapshot, query, Context(), SETTINGS)
        rows = search.candidates(snapshot, query, [], coarse, SETTINGS, 100, mask)
        assert len(rows) == 100
        assert mask[rows].all()
        assert (np.diff(rows) > 0).all()


def test_what_is_not_linear_is_scored_over_more_rows(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, [0, 1, 2, 3])
    one, two, unwanted = (
        Query.of(snapshot, seeds, Context(), SETTINGS)
        for seeds in ([Seed(0)], [Seed(0), Seed(1)], [Seed(0), Seed(1, -1)])
    )
    n = 50_000
    assert search.full_size(n, 5, two) == search.full_size(n, 5, unwanted)
    assert search.full_size(n, 5, two) > search.full_size(n, 5, one)
    assert search.full_size(10, 5, one) == 30  # six for each song, however small the library
