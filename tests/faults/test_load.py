"""Under load, with a server that fails in every way: nothing goes wrong that is Segue's doing."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.conftest import SOAK_S, FlakyHouse
from tests.faults.flaky import FATAL, HARMLESS
from tests.faults.load import LOGIN, Call, Count, drive, judge
from tests.unit.proxy.wire import Reply, read_reply

pytestmark = pytest.mark.anyio


async def ask(port: int, call: Call) -> Reply | None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    try:
        writer.write(call.request())
        return await asyncio.wait_for(read_reply(reader), 2)
    except (
        OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, ValueError
    ):  # fmt: skip
        return None
    finally:
        writer.close()


async def check_load(house: FlakyHouse, seconds: float) -> Count:
    count = await drive(house.port, seconds)
    assert not count.ours, count.ours[:5]
    assert set(FATAL) | set(HARMLESS) <= {*house.flaky.asked}
    # Each write that Segue took reached the server, and none twice.
    twice = [name for name, times in house.flaky.writes.items() if times > 1]
    assert not twice
    assert set(count.writes) == set(house.flaky.writes)
    for _ in range(100):  # nothing is left behind
        if house.upstream.connections[0] == 0:
            break
        await asyncio.sleep(0.02)
    assert house.upstream.connections[0] == 0
    return count


async def test_each_fault_is_what_it_is_called(flaky_house: FlakyHouse) -> None:
    """The count rests on this: what is called fatal fails without Segue too, and nothing else."""
    flaky_house.flaky.idle_faults = 0
    for fault in (*FATAL, *HARMLESS):
        call = Call(f"/rest/getSong?{LOGIN}&id=song0001", fault)
        if fault == "hang":
            continue
        reply = await ask(flaky_house.flaky.own_port, call)
        if fault == "interim":  # the raw client stops at what is no answer yet; others go on
            continue
        assert (reply is None or not reply.whole) == (fault in FATAL), fault


async def test_each_fault_alone(flaky_house: FlakyHouse) -> None:
    """A fault of Segue's own calls is never seen; one of the forwarded call is told honestly."""
    flaky_house.flaky.idle_faults = 0
    for fault, status in FATAL.items():
        reply = await ask(flaky_house.port, Call(f"/rest/getSong?{LOGIN}&id=song0001", fault))
        assert reply is not None, fault
        assert (reply.status, reply.whole) == (status, fault != "half"), fault
        similar = Call(f"/rest/getSimilarSongs?{LOGIN}&id=song0001&count=5", fault, "getSong")
        count = Count()
        await judge(similar, await ask(flaky_house.port, similar), count)
        assert not count.ours
        assert count.steered == 0
    for fault in HARMLESS:
        similar = Call(f"/rest/getSimilarSongs?{LOGIN}&id=song0001&count=5", fault)
        count = Count()
        await judge(similar, await ask(flaky_house.port, similar), count)
        assert (count.ours, count.steered) == ([], 1), fault


async def test_no_errors_of_ours_under_load(flaky_house: FlakyHouse) -> None:
    count = await check_load(flaky_house, 4)
    assert count.calls > 200
    assert count.steered > 10


async def test_a_server_that_goes_away_and_comes_back(flaky_house: FlakyHouse) -> None:
    flaky_house.flaky.idle_faults = 0
    call = Call(f"/rest/getSimilarSongs?{LOGIN}&id=song0001&count=5")
    for _ in range(3):
        await flaky_house.flaky.stop()
        answers = await asyncio.gather(*(ask(flaky_house.port, call) for _ in range(8)))
        assert {a.status for a in answers if a is not None} == {502}
        assert None not in answers
        await flaky_house.flaky.start()
        answers = await asyncio.gather(*(ask(flaky_house.port, call) for _ in range(8)))
        assert all(a is not None and a.get(b"x-segue") == [b"steered"] for a in answers)


@pytest.mark.soak
@pytest.mark.timeout(SOAK_S + 120)
async def test_soak(flaky_house: FlakyHouse) -> None:
    count = await check_load(flaky_house, SOAK_S)
    print(f"{count.calls} calls, {count.steered} steered, none failed by Segue; {count.outcomes}")
