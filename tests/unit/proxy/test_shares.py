"""Songs asked for at a time: a share for each user, and turns where all places are taken."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter

import pytest

from proxy.fetching import Fetching, Read
from proxy.shares import Shares
from proxy.upstream import HttpUpstream
from tests.unit.proxy.test_fetching import echo, upstream_of
from tests.unit.proxy.wire import Exchange

pytestmark = pytest.mark.anyio


def reads(user: str, count: int) -> list[Read]:
    line = "GET /{}/{} HTTP/1.1\r\nhost: a\r\n\r\n"
    return [Read(line.format(user, number).encode()) for number in range(count)]


async def test_all_calls_of_a_user_together_have_one_share() -> None:
    shares = Shares(4, 10)
    now: Counter[str] = Counter()
    most: Counter[str] = Counter()
    ends: list[str] = []

    async def slow(exchange: Exchange) -> None:
        user = exchange.seen.target.decode().split("/")[1]
        now[user] += 1
        most[user] = max(most[user], now[user])
        await asyncio.sleep(0.005)
        now[user] -= 1
        await echo(exchange)

    async with upstream_of(slow) as (_, upstream):

        async def call(user: str, count: int) -> int:
            found: list[int] = []
            share = shares.of(user)
            fetching = Fetching(
                upstream, reads(user, count), lambda number, *_: found.append(number),
                limit=100, at_once=4, share=share,
            )  # fmt: skip
            await fetching.run(20)
            ends.append(user)
            return len(found)

        greedy = [asyncio.create_task(call("eve", 50)) for _ in range(6)]
        await asyncio.sleep(0.02)
        assert await call("ann", 20) == 20
        assert ends == ["ann"]
        assert await asyncio.gather(*greedy) == [50] * 6
    assert most == {"eve": 4, "ann": 4}
    assert shares.free == 10
    gc.collect()
    assert not len(shares._shares)


async def test_whoever_is_given_up_leaves_its_places() -> None:
    shares = Shares(2, 3)

    async def hang(exchange: Exchange) -> None:
        await exchange.gone()

    def nobody(*_: object) -> None:
        raise AssertionError

    async with upstream_of(hang) as (_, upstream):
        calls = [
            Fetching(upstream, reads(u, 5), nobody, limit=9, at_once=2, share=shares.of(u)).run(0.1)
            for u in "aab"
        ]
        async with asyncio.timeout(5):
            await asyncio.gather(*calls)
        assert shares.free == 3
    async with upstream_of(None) as (raw, upstream):
        await raw.stop()  # nobody listens
        share = shares.of("a")
        async with asyncio.timeout(5):
            await Fetching(upstream, reads("a", 5), nobody, limit=9, at_once=2, share=share).run(5)
        assert shares.free == 3


async def test_where_nobody_listens_few_connections_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A place that is given back wakes who waits for it; both trying for ever were a storm."""
    shares, tried = Shares(4), 0
    opening = HttpUpstream.open_connection

    async def counted(upstream: HttpUpstream) -> None:
        nonlocal tried
        tried += 1
        await opening(upstream)

    monkeypatch.setattr(HttpUpstream, "open_connection", counted)
    async with upstream_of(None) as (raw, upstream):
        await raw.stop()
        calls = [
            Fetching(
                upstream, reads("a", 50), lambda *_: None, limit=9, at_once=4, share=shares.of("a")
            ).run(60)
            for _ in range(8)
        ]
        async with asyncio.timeout(5):
            await asyncio.gather(*calls)
    assert tried <= 8 * 4
    assert shares.free == 16


def test_users_come_in_turn_where_all_places_are_taken() -> None:
    shares = Shares(4, 4)
    eve, ann, bob = (shares.of(user) for user in ("eve", "ann", "bob"))
    turns: list[str] = []

    def wanting(name: str, left: int) -> None:
        share = {"eve": eve, "ann": ann, "bob": bob}[name]

        def wake() -> None:
            nonlocal left
            if left and share.take():
                left -= 1
                turns.append(name)
            if left:
                share.wait(wake)

        share.wait(wake)

    assert [eve.take() for _ in range(5)] == [True] * 4 + [False]
    for name in ("eve", "eve", "ann", "bob"):
        wanting(name, 3)
    assert not ann.take()
    holder = [eve, eve, eve, eve]
    for _ in range(9):
        holder.pop(0).give_back()
        holder.append({"eve": eve, "ann": ann, "bob": bob}[turns[-1]])
    assert Counter(turns[:9]) == {"eve": 3, "ann": 3, "bob": 3}
    assert turns[:3] == ["eve", "ann", "bob"]


def test_who_has_nothing_to_ask_any_more_does_not_keep_others_waiting() -> None:
    shares = Shares(1)
    share = shares.of("ann")
    woken: list[str] = []
    assert share.take()
    share.wait(lambda: woken.append("done"))
    share.wait(gone := lambda: woken.append("gone"))
    share.wait(lambda: woken.append("next"))
    share.leave(gone)
    share.leave(gone)
    share.give_back()
    assert woken == ["done", "next"]
