import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedder.windows import plan_windows


@given(st.floats(0, 50_000), st.integers(1, 8))
def test_windows_ascend_never_overlap_and_stay_inside(duration_s: float, most: int) -> None:
    starts = plan_windows(duration_s, most=most)
    assert 1 <= len(starts) <= most
    assert starts[0] >= 0
    assert all(later - earlier >= 10 - 1e-6 for earlier, later in zip(starts, starts[1:]))  # noqa: B905, RUF007
    if duration_s >= 10:
        assert starts[-1] + 10 <= duration_s + 1e-6
        assert len(starts) == min(most, int(duration_s / 10))


def test_four_minutes_give_six_windows_in_the_middle_of_their_parts() -> None:
    assert plan_windows(240) == (15, 55, 95, 135, 175, 215)


@pytest.mark.parametrize("duration_s", [0, 0.4, 5, 9.99])
def test_a_short_track_has_one_window_from_its_start(duration_s: float) -> None:
    assert plan_windows(duration_s) == (0.0,)


@pytest.mark.parametrize("duration_s", [-1.0, math.inf, math.nan])
def test_impossible_durations_are_refused(duration_s: float) -> None:
    with pytest.raises(ValueError, match="duration_s"):
        plan_windows(duration_s)
