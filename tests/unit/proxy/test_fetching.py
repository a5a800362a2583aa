"""Many small answers over few connections: all that come, none twice, and nothing left open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.fetching import Fetching, Read
from proxy.upstream import HttpUpstream
from tests.unit.proxy.wire import Exchange, Handler, RawUpstream

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def upstream_of(handler: Handler | None) -> AsyncIterator[tuple[RawUpstream, HttpUpstream]]:
    raw = RawUpstream(handler)
    await raw.start()
    upstream = HttpUpstream(raw.url)
    try:
        yield raw, upstream
    finally:
        await upstream.aclose()
        await raw.stop()


def reads(count: int, *, post: bool = False) -> list[Read]:
    if post:
        head = b"POST /rest/getSong HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n"
        return [Read(head, b"%03d" % number) for number in range(count)]
    return [Read(b"GET /%d HTTP/1.1\r\nhost: a\r\n\r\n" % number) for number in range(count)]


async def fetched(
    upstream: HttpUpstream, wanted: list[Read], *, timeout_s: float = 5.0, limit: int = 1000
) -> dict[int, tuple[int, bytes]]:
    found: dict[int, tuple[int, bytes]] = {}

    def take(number: int, status: int, body: bytes) -> None:
        assert number not in found
        found[number] = (status, body)

    await Fetching(upstream, wanted, take, limit=limit, at_once=4).run(timeout_s)
    return found


async def echo(exchange: Exchange) -> None:
    body = exchange.seen.body or exchange.seen.target
    exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:1])
    await asyncio.sleep(0)
    exchange.write(body[1:])


@pytest.mark.parametrize("post", [False, True])
async def test_each_request_gets_its_own_answer_over_few_connections(post: bool) -> None:
    async with upstream_of(echo) as (raw, upstream):
        for _ in range(2):
            found = await fetched(upstream, reads(30, post=post))
            bodies = [b"%03d" % n if post else b"/%d" % n for n in range(30)]
            assert [found[n] for n in range(30)] == [(200, body) for body in bodies]
        assert raw.connections == 4
        assert len(raw.seen) == 60
        assert upstream.connections == (0, 4)
    assert await fetched(upstream, []) == {}


async def test_no_more_than_so_many_at_once() -> None:
    now = most = 0

    async def slow(exchange: Exchange) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.002)
        now -= 1
        await echo(exchange)

    async with upstream_of(slow) as (_, upstream):
        assert len(await fetched(upstream, reads(20))) == 20
    assert most == 4


async def test_what_is_held_back_goes_when_that_is_said() -> None:
    async with upstream_of(echo) as (raw, upstream):
        found: list[int] = []
        fetching = Fetching(
            upstream,
            reads(20),
            lambda number, *_: found.append(number),
            limit=100,
            at_once=4,
            first=3,
        )
        running = asyncio.create_task(fetching.run(5))
        await asyncio.sleep(0.05)
        assert sorted(found) == [0, 1, 2]
        assert not running.done()
        fetching.go_on()
        await running
        assert sorted(found) == list(range(20))
        assert raw.connections == 4
        fetching.go_on()  # too late to matter
        assert len(raw.seen) == 20


async def test_there_may_be_less_than_could_go_first() -> None:
    async with upstream_of(echo) as (_, upstream):
        for count in (0, 2, 3):
            found: list[int] = []
            fetching = Fetching(
                upstream, reads(count), lambda number, *_: found.append(number),  # noqa: B023
                limit=100, at_once=4, first=3,
            )  # fmt: skip
            async with asyncio.timeout(1):
                await fetching.run(5)
            assert len(found) == count


async def test_what_is_not_wanted_any_more_is_not_asked_for() -> None:
    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.02)
        await echo(exchange)

    async with upstream_of(slow) as (raw, upstream):
        fetching = Fetching(upstream, reads(20), lambda *_: None, limit=100, at_once=3, first=3)
        running = asyncio.create_task(fetching.run(5))
        await asyncio.sleep(0.01)
        fetching.stop()
        async with asyncio.timeout(1):
            await running
        await asyncio.sleep(0.05)
        assert len(raw.seen) == 3
        assert raw.open == 0


async def test_what_is_late_is_given_up_and_what_came_is_kept() -> None:
    async def stuck(exchange: Exchange) -> None:
        if exchange.seen.target in (b"/3", b"/5"):
            await exchange.gone()
        else:
            await echo(exchange)

    async with upstream_of(stuck) as (raw, upstream):
        found = await fetched(upstream, reads(12), timeout_s=0.3)
        assert sorted(found) == [0, 1, 2, 4, 6, 7, 8, 9, 10, 11]
        await asyncio.sleep(0.05)
        assert raw.open == 2  # the others were closed, which frees the upstream


async def test_a_kept_connection_that_was_closed_costs_no_song() -> None:
    """As servers do when it was idle for long: each request is sent once more, and once only."""
    asked: list[bytes] = []

    async def once(exchange: Exchange) -> None:
        asked.append(exchange.seen.target)
        if asked.count(exchange.seen.target) == 1 and exchange.seen.target != b"/0":
            exchange.writer.transport.abort()
        else:
            await echo(exchange)

    async with upstream_of(once) as (_, upstream):
        await fetched(upstream, reads(1))
        found = await fetched(upstream, reads(6))
        assert found == {n: (200, b"/%d" % n) for n in range(6)}
        assert [asked.count(b"/%d" % n) for n in range(6)] == [2] * 6


async def test_what_is_closed_again_and_again_is_given_up() -> None:
    async def never(exchange: Exchange) -> None:
        exchange.writer.transport.abort()

    async with upstream_of(never) as (raw, upstream):
        assert await fetched(upstream, reads(3)) == {}
        assert len(raw.seen) == 6


async def test_too_long_odd_or_no_answers_are_none() -> None:
    async def odd(exchange: Exchange) -> None:
        match exchange.seen.target:
            case b"/0":
                exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000)
            case b"/1":
                exchange.write(b"no HTTP at all\r\n\r\n")
            case b"/2":
                exchange.write(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
            case b"/3":
                exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
                await exchange.writer.drain()
                exchange.writer.transport.abort()
            case _:
                await echo(exchange)

    async with upstream_of(odd) as (_, upstream):
        found = await fetched(upstream, reads(6))
        assert found == {2: (500, b""), 4: (200, b"/4"), 5: (200, b"/5")}


async def test_an_upstream_that_is_gone_is_no_wait() -> None:
    async with upstream_of(echo) as (raw, upstream):
        await fetched(upstream, reads(4))
        await raw.stop()
        await asyncio.sleep(0.01)
        async with asyncio.timeout(2):
            assert len(await fetched(upstream, reads(4))) <= 4
    async with asyncio.timeout(2):
        assert await fetched(HttpUpstream("http://127.0.0.1:1"), reads(4)) == {}


async def test_a_fault_of_ours_is_told_and_the_connections_stay_good() -> None:
    async with upstream_of(echo) as (_, upstream):

        def take(*_: object) -> None:
            raise ValueError("ours")

        with pytest.raises(ValueError, match="ours"):
            await Fetching(upstream, reads(8), take, limit=100, at_once=4).run(5)
        assert len(await fetched(upstream, reads(8))) == 8


async def test_whoever_goes_away_frees_the_upstream() -> None:
    async def stuck(exchange: Exchange) -> None:
        await exchange.gone()

    async with upstream_of(stuck) as (raw, upstream):
        task = asyncio.create_task(fetched(upstream, reads(8)))
        await asyncio.sleep(0.05)
        assert raw.open == 4
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.05)
        assert raw.open == 0
        assert upstream.connections == (0, 0)
