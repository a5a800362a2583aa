"""What Segue knows goes wrong under load: snapshots come and go, ranking raises."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from catalog.snapshot import Snapshot
from proxy.steering import Steering
from tests.contract.conftest import write_catalog
from tests.contract.upstream import FakeServer
from tests.faults.conftest import SOAK_S, FlakyHouse
from tests.faults.load import Count, drive

pytestmark = pytest.mark.anyio


class Unranked:
    """A snapshot whose vectors cannot be read, as those of a broken disk."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    @property
    def vectors(self) -> Any:
        raise OSError(5, "Input/output error")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._snapshot, name)


def steering(house: FlakyHouse) -> Steering:
    found = house.application._steering
    assert isinstance(found, Steering)
    return found


@pytest.fixture
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.knowledge.POLL_S", 0.05)


async def drive_while(house: FlakyHouse, seconds: float, disturb: Callable[[int], None]) -> Count:
    """The load, while something happens over and over on another thread."""
    stopped = asyncio.Event()

    async def repeat() -> None:
        at = 0
        while not stopped.is_set():
            at += 1
            await asyncio.to_thread(disturb, at)
            await asyncio.sleep(0.02)

    disturbing = asyncio.create_task(repeat())
    try:
        count = await drive(house.port, seconds, clients=6)
    finally:
        stopped.set()
        await disturbing
    assert not count.ours, count.ours[:5]
    return count


def swap(house: FlakyHouse) -> Callable[[int], None]:
    def disturb(at: int) -> None:
        write_catalog(house.data, FakeServer(60 + at % 2))

    return disturb


@pytest.mark.usefixtures("quick_polls")
async def test_snapshots_are_swapped_in_mid_call(flaky_house: FlakyHouse) -> None:
    seen = set()

    def disturb(at: int) -> None:
        swap(flaky_house)(at)
        view = steering(flaky_house)._knowledge.view
        assert view is not None
        seen.add(view.snapshot.version)

    count = await drive_while(flaky_house, 2, disturb)
    assert count.steered > 5
    assert len(seen) > 1


@pytest.mark.usefixtures("quick_polls")
async def test_the_data_folder_vanishes_in_mid_call(flaky_house: FlakyHouse) -> None:
    def disturb(at: int) -> None:
        if at == 5:
            shutil.rmtree(flaky_house.data)

    count = await drive_while(flaky_house, 1.5, disturb)
    assert count.steered > 5  # what is mapped stays


async def test_the_snapshot_cannot_be_read(flaky_house: FlakyHouse) -> None:
    flaky_house.flaky.idle_faults = 0
    knowledge = steering(flaky_house)._knowledge
    view = knowledge.view
    assert view is not None
    knowledge.view = replace(view, snapshot=Unranked(view.snapshot))  # type: ignore[arg-type]
    count = await drive_while(flaky_house, 1, lambda _: None)
    assert count.steered == 0
    assert flaky_house.application.metrics.fallbacks["error"] > 5


async def test_ranking_raises(flaky_house: FlakyHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def rank(*_: object, **__: object) -> None:
        nonlocal calls
        calls += 1
        raise (MemoryError, RuntimeError, ZeroDivisionError)[calls % 3]("a fault of ours")

    monkeypatch.setattr("proxy.choosing.rank", rank)
    count = await drive_while(flaky_house, 1, lambda _: None)
    assert (count.steered, calls > 5) == (0, True)


@pytest.mark.soak
@pytest.mark.timeout(SOAK_S + 120)
@pytest.mark.usefixtures("quick_polls")
async def test_swaps_for_long(flaky_house: FlakyHouse) -> None:
    count = await drive_while(flaky_house, SOAK_S, swap(flaky_house))
    versions = await asyncio.to_thread(os.listdir, flaky_house.data / "snapshots")
    assert len(versions) < 6  # old ones are cleared away
    print(f"{count.calls} calls, {count.steered} steered, none failed by Segue")
