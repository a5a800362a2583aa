"""Calls that are relayed from transport to transport, and how they meet those that are not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping
from itertools import pairwise
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.blocks import HeaderBlocks
from proxy.records import name_requests
from proxy.relay import Relay
from proxy.upstream import HttpUpstream, Timeouts
from tests.unit.proxy.wire import (
    Exchange,
    Proxied,
    RawClient,
    RawUpstream,
    proxied,
    read_reply,
)

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def relayed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The targets that were relayed."""
    targets: list[bytes] = []
    begin = HttpUpstream.begin

    def noting(self: HttpUpstream, method: str, target: bytes, tail: bytes, answer: Relay) -> bool:
        begun = begin(self, method, target, tail, answer)
        if begun:
            targets.append(target)
        return begun

    monkeypatch.setattr(HttpUpstream, "begin", noting)
    return targets


async def test_reads_are_relayed_and_nothing_else_is(relayed: list[bytes]) -> None:
    async with proxied(kept=1) as proxy:
        client = await proxy.client()
        await client.get(b"/rest/getSong?id=1")
        await client.get(b"/app/", method=b"HEAD")
        assert relayed == [b"/rest/getSong?id=1", b"/app/"]
        await client.get(b"/rest/scrobble?id=1")  # writes, on a connection of its own
        await client.get(b"/rest/getSong", [(b"Content-Length", b"4")], b"POST", b"id=1")
        await client.get(b"/x", [(b"Expect", b"100-continue")])
        await client.get(b"/x", method=b"DELETE")
        await client.get(b"/x", version=b"1.0")
        await proxy.get(b"/x", [(b"Connection", b"close")])
        assert len(relayed) == 2
        assert [seen.target for seen in proxy.upstream.seen][2:4] == [
            b"/rest/scrobble?id=1",
            b"/rest/getSong",
        ]
        counted = proxy.application.metrics.requests
        assert counted["forward", "ok", "rest"] == 2
        assert counted["forward", "ok", "reports"] == 1
        assert counted["forward", "ok", "pages"] == 5


async def test_a_read_relayed_over_a_connection_opened_ahead_is_asked_again(
    relayed: list[bytes],
) -> None:
    """The server closes it in the very moment that the read goes out."""
    async with proxied(kept=1) as proxy:

        async def not_the_first(exchange: Exchange) -> None:
            if proxy.upstream.connections == 1:
                exchange.writer.transport.abort()
            else:
                exchange.write(OK)

        proxy.upstream.handler = not_the_first
        client = await proxy.client()
        assert (await client.get(b"/rest/getSong?id=1")).body == b"ok"
        assert relayed == [b"/rest/getSong?id=1"]
        assert proxy.upstream.connections == 2


async def test_what_is_to_be_steered_is_asked_of_steering(relayed: list[bytes]) -> None:
    class Steering:
        def claims(self, scope: MutableMapping[str, Any]) -> bool:
            return bool(scope["path"] == "/rest/getSimilarSongs")

        def overhears(self, scope: object) -> None:
            return None

        async def __call__(self, scope: Any, receive: Any, send: Any, forward: Any) -> None:
            headers = [(b"content-length", b"3")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"own"})

    async with proxied(kept=1, steering=Steering()) as proxy:
        client = await proxy.client()
        for _ in range(3):
            assert (await client.get(b"/rest/getSimilarSongs?id=1")).body == b"own"
            assert (await client.get(b"/rest/getSong?id=1")).body == b"ok"
            assert (await client.get(b"/segue/health")).status == 200
        assert set(relayed) == {b"/rest/getSong?id=1"}


async def test_small_answers_need_no_task_of_their_own(relayed: list[bytes]) -> None:
    async with proxied(kept=1) as proxy:
        client = await proxy.client()
        made = 0
        loop = asyncio.get_running_loop()

        def counting(loop: asyncio.AbstractEventLoop, made_of: Any, **more: Any) -> Any:
            nonlocal made
            made += 1
            return asyncio.Task(made_of, loop=loop, **more)

        loop.set_task_factory(counting)
        try:
            for at in range(5):
                await client.get(b"/rest/getSong?id=%d" % at)
        finally:
            loop.set_task_factory(None)
        assert made == 0
        assert len(relayed) == 5


HEADERS = (
    b"Host: music.example\r\n",
    b"Host: music.example\r\nCookie: a=1\r\nAccept: */*\r\n",
    b"Host: music.example\r\nCookie: a=2\r\nAccept: */*\r\n",
    b"Host: other.example\r\nX-Forwarded-For: 1.2.3.4\r\nConnection: X-A\r\nX-A: b\r\n",
    b"Host: music.example\r\nContent-Length: 3\r\n",
    b"Host: music.example\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n",
)
requests = st.builds(
    lambda method, target, headers: (
        b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, headers)
        + (b"abc" if b"Length" in headers else b"")
    ),
    st.sampled_from([b"GET", b"GET", b"GET", b"HEAD", b"POST"]),
    st.sampled_from([b"/a", b"/b?c=d", b"/rest/ping?u=a", b"/rest/star?id=1", b"/%c3%bc", b"/?"]),
    st.sampled_from(HEADERS),
)


@given(
    st.lists(requests, min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 2000), st.booleans()), max_size=8),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_mixture_on_one_connection_arrives_as_sent(
    sent: list[bytes], cuts: list[tuple[int, bool]]
) -> None:
    """One whole request at a time, pipelined, or cut anywhere: always the same is understood."""

    async def pass_on() -> None:
        async def answer(exchange: Exchange) -> None:
            target = exchange.seen.target
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(target)
            exchange.write(head + (target if exchange.seen.method != b"HEAD" else b""))

        async with proxied(RawUpstream(handler=answer), kept=1) as proxy:
            plain = [await alone(proxy, request) for request in sent]
            alone_seen = [as_passed(seen) for seen in proxy.upstream.seen]
            proxy.upstream.seen.clear()
            client = await proxy.client()
            whole = b"".join(sent)
            edges = {0, len(whole)} | {at % len(whole) for at, _ in cuts}
            if not cuts:  # one at a time, each answered before the next
                for request, expected in zip(sent, plain, strict=True):
                    assert await ask(client, request) == expected
            else:
                ordered = sorted(edges)
                for start, end in pairwise(ordered):
                    client.writer.write(whole[start:end])
                    await asyncio.sleep(0.001)
                for request, expected in zip(sent, plain, strict=True):
                    method = request.partition(b" ")[0]
                    reply = await asyncio.wait_for(read_reply(client.reader, method), 5)
                    assert (reply.status, reply.headers, reply.body) == expected
            assert [as_passed(seen) for seen in proxy.upstream.seen] == alone_seen

    uvloop.run(pass_on())


def as_passed(seen: Any) -> tuple[object, ...]:
    return seen.method, seen.target, seen.headers, seen.body


async def alone(proxy: Proxied, request: bytes) -> tuple[object, ...]:
    client = await proxy.client()
    try:
        return await ask(client, request)
    finally:
        client.close()


async def ask(client: RawClient, request: bytes) -> tuple[object, ...]:
    reply = await asyncio.wait_for(client.send(request, request.partition(b" ")[0]), 5)
    return reply.status, reply.headers, reply.body


def test_header_blocks_are_only_known_to_the_byte() -> None:
    blocks = HeaderBlocks()
    headers = [(b"host", b"a")]
    blocks.learn(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n", headers, b"host: a\r\n\r\n")
    found = blocks.find(b"HEAD /y?z=%20 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert found == ("HEAD", b"/y?z=%20", (headers, b"host: a\r\n\r\n"))
    for other in (
        b"GET /y HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /y HTTP/1.1\r\nHost: a\r\n\r\nGET",
        b"GET /y HTTP/1.1\r\nHost: a\r\n",
        b"GET /y HTTP/1.0\r\nHost: a\r\n\r\n",
        b"GET /y  HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET y HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://b/y HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /y#z HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\xc3\xbc HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /y\nX: HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /y HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\nGET /y HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"y" * 5000),
    ):
        assert blocks.find(other) is None
    for unfit in (b"GET /x HTTP/1.1\r\nA: a\r\n\r\nmore", b"BREW /x HTTP/1.1\r\nB: a\r\n\r\n"):
        blocks.learn(unfit, headers, b"")
        assert blocks.find(unfit) is None
    for at in range(10):  # only the latest are kept
        blocks.learn(b"GET /x HTTP/1.1\r\nHost: %d\r\n\r\n" % at, headers, b"")
    assert blocks.find(b"GET /x HTTP/1.1\r\nHost: 9\r\n\r\n") is not None
    assert blocks.find(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n") is None


async def test_a_kept_connection_that_had_closed_is_no_error(relayed: list[bytes]) -> None:
    async def once(exchange: Exchange) -> None:
        """Drops what is asked first on each kept connection, unread."""
        if exchange.seen.target == b"/stale":
            stale.append(1)
            if len(stale) < 3:
                exchange.writer.close()
                return
        exchange.write(OK)

    stale: list[int] = []
    async with proxied(RawUpstream(handler=once), kept=2) as proxy:
        client = await proxy.client()
        assert (await client.get(b"/stale")).status == 200
        assert relayed == [b"/stale"]
        assert not proxy.application.metrics.upstream_errors


async def test_a_request_behind_one_that_fails_is_answered_all_the_same() -> None:
    async def answer(exchange: Exchange) -> None:
        if exchange.seen.target == b"/first":
            await asyncio.sleep(0.05)
            exchange.write(b"nonsense")
            exchange.writer.close()
        else:
            exchange.write(OK)

    async with proxied(RawUpstream(handler=answer), kept=2) as proxy:
        client = await proxy.client()
        client.writer.write(
            b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n"
            b"POST /second HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc"
        )
        assert (await read_reply(client.reader)).status == 502
        client.writer.write(b"def")
        assert (await read_reply(client.reader)).status == 200
        assert [seen.body for seen in proxy.upstream.seen] == [b"", b"abcdef"]
        assert proxy.application.metrics.upstream_errors == {"bad-answer": 1}


async def test_a_slow_client_stops_the_upstream_and_times_nobody_out(relayed: list[bytes]) -> None:
    size = 40_000_000
    given = 0

    async def flood(exchange: Exchange) -> None:
        nonlocal given
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 100_000):
            exchange.write(bytes(100_000))
            await exchange.writer.drain()
            given += 100_000

    timeouts = Timeouts(headers_s=0.3, idle_s=0.3)
    async with proxied(RawUpstream(handler=flood), kept=1, timeouts=timeouts) as proxy:
        client = await proxy.client()
        client.writer.write(b"GET /rest/stream?id=1 HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.2)
        stopped_at = given
        await asyncio.sleep(0.6)  # longer than the upstream may be silent
        assert given == stopped_at < size // 2
        assert len(await client.reader.readexactly(size)) == size
        assert relayed == [b"/rest/stream?id=1"]
        assert (await client.get()).status == 404 - 204  # the connection goes on
        assert not proxy.application.metrics.upstream_errors


async def test_silence_in_the_middle_of_an_answer_breaks_it_off() -> None:
    async def stuck(exchange: Exchange) -> None:
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await exchange.gone()

    timeouts = Timeouts(headers_s=0.2, idle_s=0.2)
    async with proxied(RawUpstream(handler=stuck), kept=1, timeouts=timeouts) as proxy:
        reply = await proxy.get(b"/rest/stream?id=1")
        assert (reply.status, reply.whole) == (200, False)
        assert proxy.application.metrics.upstream_errors == {"timeout": 1}


async def test_what_is_said_of_a_broken_answer_bears_the_calls_number(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def half(exchange: Exchange) -> None:
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await exchange.writer.drain()
        exchange.writer.close()

    monkeypatch.setattr(logging, "_logRecordFactory", logging.LogRecord)
    name_requests()
    async with proxied(RawUpstream(handler=half), kept=1) as proxy:
        assert not (await proxy.get(b"/rest/stream?p=secret")).whole
        assert not (await proxy.get(b"/rest/stream?p=secret")).whole
    first, second = caplog.records
    assert "GET /rest/stream: " in first.getMessage()
    numbers = {getattr(record, "request", "") for record in (first, second)}
    assert len(numbers - {""}) == 2
    assert "secret" not in caplog.text
