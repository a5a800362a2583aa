from __future__ import annotations

import numpy as np
import pytest

from catalog.snapshot import TagGroup
from embedder import derivation
from embedder.derivation import centre, coarse, hubness, normal_scores, profiles, whiten


@pytest.mark.parametrize("n", [0, 1, 2, 3, 50])
def test_whitened_rows_are_finite_and_of_length_one(n: int) -> None:
    raw = np.random.default_rng(0).standard_normal((n, 16)).astype(np.float32) + 3
    rows = whiten(centre(raw))
    assert rows.shape == (n, 16)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert np.array_equal(rows, whiten(centre(raw)))


def test_two_like_tracks_do_not_become_opposites() -> None:
    one, other = whiten(centre(np.float32([[3, 4, 5], [3, 4, 5.2]])))
    assert one @ other > 0.5


def test_equal_tracks_stay_finite() -> None:
    assert np.isfinite(whiten(centre(np.ones((4, 3), np.float32)))).all()


def test_whitening_takes_from_the_wide_and_orders_by_width() -> None:
    random = np.random.default_rng(1)
    raw = (random.standard_normal((500, 4)) * [1, 10, 3, 0.1]).astype(np.float32)
    spreads = {}
    for strength in (0.0, 0.5):
        rows = whiten(centre(raw), strength)
        spread = rows.std(0)
        assert (np.diff(spread) < 0).all()
        spreads[strength] = spread[0] / spread[2]
    assert spreads[0.5] < spreads[0.0] / 2


def test_a_hub_is_near_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    rows = random.standard_normal((300, 8)).astype(np.float32)
    rows[17] = 0.02
    rows += np.float32(0.5)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    exact = hubness(rows)
    assert exact.argmax() == 17
    monkeypatch.setattr(derivation, "HUB_REFERENCES", 100)
    sampled = hubness(rows)
    assert np.corrcoef(exact, sampled)[0, 1] > 0.8
    assert hubness(rows[:1]).tolist() == [0]


def test_normal_scores_keep_order_only_and_equals_equal() -> None:
    values = np.float32([[0.001, 5], [0.002, 5], [0.9, 5], [0.9, 5]])
    scores = normal_scores(values)
    assert scores[0, 0] < scores[1, 0] < scores[2, 0] == scores[3, 0]
    np.testing.assert_allclose(scores.mean(0), 0, atol=1e-6)
    assert not scores[:, 1].any()


def test_profiles_join_groups_and_leave_the_unjudged_out() -> None:
    random = np.random.default_rng(3)
    one = random.standard_normal((40, 50)).astype(np.float16)
    other = random.standard_normal((40, 10)).astype(np.float16)
    one[5] = other[5] = 0
    rows = profiles([TagGroup((), one), TagGroup((), other)], 40)
    assert rows.shape == (40, 32)
    assert not rows[5].any()
    np.testing.assert_allclose(np.linalg.norm(np.delete(rows, 5, 0), axis=1), 1, atol=1e-5)
    assert profiles([], 3).shape == (3, 0)


def test_the_coarse_copy_is_the_first_columns() -> None:
    vectors, profile = np.eye(100, dtype=np.float32), np.eye(100, 32, dtype=np.float32)
    assert coarse(vectors, profile).shape == (100, 64)
    assert coarse(vectors[:, :10], profile[:, :0]).shape == (100, 10)
