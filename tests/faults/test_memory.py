"""Memory in a long mixed load."""

from __future__ import annotations

import pytest

from tests.faults.conftest import SOAK_S


@pytest.mark.soak
@pytest.mark.timeout(SOAK_S + 120)
def test_memory_is_flat() -> None:
    from bench.soak import growth_per_hour, run_samples

    samples, calls = run_samples(SOAK_S)
    sizes_mb = [size_mb for _, size_mb in samples]
    print(f"{calls} calls, {sizes_mb[-1]:.1f} MB, {growth_per_hour(samples):+.2%} an hour")
    assert max(sizes_mb) <= 120
    # Of a short run no hourly rate can be told: a page more is thousands of per cent.
    late = sizes_mb[len(sizes_mb) // 2 :]
    assert max(late) - min(late) < 1 or growth_per_hour(samples) < 0.01
