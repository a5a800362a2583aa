from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from catalog.snapshot import Snapshot
from ranker import terms
from ranker.picks import Context, Pick, Seed
from ranker.rank import rank
from ranker.settings import RankingSettings
from ranker.taste import DUE_HALF_LIFE_S, Liking, Taste, anchors, house_of, taste_of
from tests.unit.ranker.library import styled

STYLES = [0] * 20 + [1] * 20 + [2] * 20
SETTINGS = replace(RankingSettings(), chance=0)
DAY_S = 86_400.0


def rows(picks: list[Pick]) -> list[int]:
    return [pick.row for pick in picks]


def places(snapshot: Snapshot, weights: dict[int, float]) -> list[int]:
    at = np.array(sorted(weights), np.intp)
    theirs = np.array([weights[row] for row in sorted(weights)], np.float32)
    return [row for row, _ in anchors(snapshot, at, theirs)]


def test_a_taste_of_two_kinds_is_two_places_and_not_their_mean(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, STYLES, noise=0.2)
    liked = dict.fromkeys([*range(6), *range(20, 26)], 1.0)
    found = places(snapshot, liked)
    assert {STYLES[row] for row in found} == {0, 1}
    assert len(found) <= 4
    near = taste_of(snapshot, [Liking(row, 1.0) for row in liked]).near
    assert near is not None
    assert near[10:20].mean() > 0.5 > 0.1 > near[45:].mean()
    assert near[30:40].mean() > 0.5
    assert 0 <= near.min() <= near.max() <= 1 + 1e-6


def test_what_is_loved_more_counts_more(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, STYLES, noise=0.2)
    likings = [Liking(row, 9.0) for row in range(4)] + [Liking(row, 1.0) for row in range(20, 24)]
    near = taste_of(snapshot, likings).near
    assert near is not None
    assert near[10:20].mean() > 1.5 * near[30:40].mean() > 0


def test_songs_with_nothing_in_common_stand_for_themselves(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, list(range(16)), noise=0.0)
    assert 0 < len(places(snapshot, dict.fromkeys(range(16), 1.0))) <= 8


def test_nothing_known_is_no_term(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, STYLES)
    empty = taste_of(snapshot, [])
    assert empty.near is None
    with_none = rank(snapshot, [Seed(0)], Context(), SETTINGS, 20)
    assert rank(snapshot, [Seed(0)], Context(taste=empty), SETTINGS, 20) == with_none


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -1.0, 0.0])
def test_weights_and_rows_without_sense_are_left_out(weight: float, tmp_path: Path) -> None:
    snapshot = styled(tmp_path, STYLES)
    odd = taste_of(snapshot, [Liking(3, weight), Liking(-1, 1.0), Liking(999, 1.0)])
    assert not len(odd.rows)
    assert odd.near is None


def test_equal_likings_in_any_order_are_one_taste(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, STYLES, profiled=True)
    likings = [Liking(row, 1.0 + row % 3, row * DAY_S) for row in range(0, 60, 5)]
    one, other = taste_of(snapshot, likings), taste_of(snapshot, likings[::-1])
    assert np.array_equal(one.rows, other.rows)
    assert np.array_equal(one.due, other.due)
    assert one.near is not None
    assert other.near is not None
    assert np.array_equal(one.near, other.near)


def test_taste_draws_towards_what_the_listener_returns_to(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, [0] * 20 + [1] * 20 + [2] * 20, noise=1.5, tags=False)
    taste = taste_of(snapshot, [Liking(row, 1.0) for row in range(20, 40)])
    shares = []
    for weight in (0.0, 1.0, 3.0):
        picks = rows(rank(snapshot, [Seed(0), Seed(20), Seed(40)], Context(taste=taste),
                          replace(SETTINGS, taste=weight, favourite=0), 15))  # fmt: skip
        shares.append(sum(20 <= row < 40 for row in picks))
    assert shares[0] < shares[1] <= shares[2]


def test_a_favourite_comes_back_when_it_was_not_heard_for_long(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, [0] * 30, noise=0.0)
    half = DUE_HALF_LIFE_S
    taste = taste_of(
        snapshot, [Liking(5, 3.0, 6 * half), Liking(6, 3.0, half / 10), Liking(7, 0.2, 6 * half)]
    )
    assert taste.due[0] > 0.9 > taste.due[2] * 2 > taste.due[1] / 2
    first = rank(snapshot, [Seed(0)], Context(taste=taste), replace(SETTINGS, taste=0), 1)[0]
    assert first.row == 5
    assert {r.text for r in first.reasons if r.term == "favourite"} == {"a favourite, long unheard"}


def test_the_house_counts_from_three_on_and_is_in_no_reason(tmp_path: Path) -> None:
    assert house_of({1: 1, 2: 2}) is None
    found = house_of({9: 3, 4: 5, 2: 2})
    assert found is not None
    assert found[0].tolist() == [4, 9]
    assert found[1].tolist() == [0.875, 0.5]
    snapshot = styled(tmp_path, [0] * 30, noise=0.0)
    taste = replace(taste_of(snapshot, []), house=found)
    picks = rank(snapshot, [Seed(0)], Context(taste=taste), SETTINGS, 3)
    assert rows(picks)[:2] == [4, 9]
    without = {p.row: p for p in rank(snapshot, [Seed(0)], Context(), SETTINGS, 29, plain=True)}
    first = rank(snapshot, [Seed(0)], Context(taste=taste), SETTINGS, 1, plain=True)[0]
    assert (first.row, first) == (4, without[4])
    off = rank(snapshot, [Seed(0)], Context(taste=taste), replace(SETTINGS, house=0), 3)
    assert rows(off) == [1, 2, 3]


def test_what_is_never_wanted_is_gated_but_may_be_the_seed(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, STYLES)
    taste = replace(taste_of(snapshot, []), gated=frozenset(range(1, 20)))
    picks = rows(rank(snapshot, [Seed(0)], Context(taste=taste), SETTINGS, 40))
    assert set(picks) == set(range(20, 60))
    after_it = rank(snapshot, [Seed(1)], Context(taste=taste), SETTINGS, 5)
    assert len(after_it) == 5


def test_explore_also_tells_known_songs_from_unheard_ones(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, [0] * 40, noise=1.0)
    taste = taste_of(snapshot, [Liking(row, 1.0, math.inf) for row in range(1, 20)])
    shares = []
    for explore in (0.0, 0.25, 0.5, 0.75, 1.0):
        settings = replace(SETTINGS, explore=explore, familiar=2.0, taste=0, favourite=0)
        picks = rows(rank(snapshot, [Seed(0)], Context(taste=taste), settings, 10))
        shares.append(sum(row < 20 for row in picks))
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[2] > shares[4]


def test_chance_is_even_and_the_same_for_the_same_number() -> None:
    at = np.arange(10_000)
    one, same, other = (terms.by_chance(at, chance) for chance in (7, 7, 8))
    assert np.array_equal(one, same)
    assert abs(float(np.corrcoef(one, other)[0, 1])) < 0.05
    assert abs(float(one.mean())) < 0.03
    assert -1 <= one.min() < -0.99 < 0.99 < one.max() <= 1
    assert np.isfinite(terms.by_chance(at, -(2**70))).all()


def test_another_day_gives_another_order_of_near_equals(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, [0] * 40 + [1] * 40, noise=0.3)
    settings = RankingSettings()
    days = [
        rows(rank(snapshot, [Seed(0)], Context(chance=day), settings, 10)) for day in (1, 1, 2, 3)
    ]
    assert days[0] == days[1]
    assert len({tuple(day) for day in days}) == 3
    assert all(row < 40 for day in days for row in day)


def test_a_radio_of_the_day_after_is_good_and_not_the_same_list(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, [0] * 160, noise=1.0)
    days = [
        rows(rank(snapshot, [Seed(0)], Context(chance=day), RankingSettings(), 10))
        for day in range(1, 9)
    ]
    in_place = [np.equal(one, other).mean() for one, other in pairwise(days)]
    assert np.mean(in_place) < 0.35
    plain = rows(rank(snapshot, [Seed(0)], Context(), RankingSettings(), 20))
    assert all({*day} <= {*plain} for day in days)


def test_a_taste_without_anything_near_is_still_a_taste() -> None:
    empty = np.empty(0, np.float32)
    taste = Taste(None, np.empty(0, np.intp), empty, empty)
    assert terms.taste(np.arange(3), taste).tolist() == [0, 0, 0]
    assert terms.house(np.arange(3), taste).tolist() == [0, 0, 0]
