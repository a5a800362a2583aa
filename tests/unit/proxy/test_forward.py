"""Bytes in, bytes out: what the upstream gets and what the client gets, over real sockets."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.listener import Listener
from proxy.settings import ServerSettings
from proxy.upstream import Timeouts
from tests.unit.proxy.wire import Exchange, Proxied, RawUpstream, proxied, read_reply

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("both_ways")]

TARGETS = [
    b"/",
    b"/rest/ping.view?u=a&p=b&v=1.16.1&c=x",
    b"/a%2Fb%2f?x=%2F",
    b"/a;v=1/b;w?x=1;y=2",
    b"/a?",
    b"/a??",
    b"/a?&&",
    b"/a?x=&x=&x",
    b"/a?x=1&x=2&y&=z",
    b"/a+b?q=a+b%20c",
    b"//double//slash",
    b"/./a/../b",
    "/Sigur Rós/Ágætis byrjun?q=ü".replace(" ", "%20").encode(),
    b'/a"<>{}|\\^`[]',
    b"/%",
    b"/%zz?%",
    b"/\xff\xfe",
    b"/a?q=\xe9",
    b"/segue",
    b"/segueing/health",
]


@pytest.fixture
async def proxy() -> AsyncIterator[Proxied]:
    async with proxied() as made:
        yield made


async def test_raw_targets_arrive_as_they_were_sent(proxy: Proxied) -> None:
    for target in TARGETS:
        reply = await proxy.get(target)
        assert (target, reply.status, reply.body) == (target, 200, b"ok")
        assert proxy.upstream.seen[-1].target == target


@pytest.mark.parametrize(
    "method", [b"GET", b"DELETE", b"OPTIONS", b"PROPFIND", b"FOO", b"M-SEARCH", b"get"]
)
async def test_any_method_passes(proxy: Proxied, method: bytes) -> None:
    reply = await proxy.get(b"/x", method=method)
    assert reply.status == 200
    assert proxy.upstream.seen[0].method == method


async def test_a_request_line_in_pieces_is_read_all_the_same(proxy: Proxied) -> None:
    client = await proxy.client()
    for byte in "FOO /é?ü HTTP/1.1\r\nHost: a\r\n\r\n".encode():
        client.writer.write(bytes((byte,)))
        await asyncio.sleep(0.001)
    assert (await client.send(b"")).body == b"ok"
    assert proxy.upstream.seen[0].target == "/é?ü".encode()
    assert (await client.get("/ü".encode())).body == b"ok"
    assert (await client.get(b"/plain")).body == b"ok"
    assert [s.target for s in proxy.upstream.seen[1:]] == ["/ü".encode(), b"/plain"]


async def test_options_asterisk_and_absolute_form(proxy: Proxied) -> None:
    await proxy.get(b"*", method=b"OPTIONS")
    assert proxy.upstream.seen[0].target == b"*"
    await proxy.get(b"http://elsewhere.example/a?b")
    assert proxy.upstream.seen[1].target == b"/a?b"
    assert proxy.upstream.seen[1].get(b"host") == [b"elsewhere.example"]
    assert len(proxy.upstream.seen) == 2


async def test_request_headers_keep_order_and_duplicates(proxy: Proxied) -> None:
    sent = [
        (b"user-agent", b"Feishin"),
        (b"accept", b"a"),
        (b"x-odd", b""),
        (b"accept", b"b"),
        (b"cookie", b"nd-player-1=x; y"),
        (b"authorization", b"Basic \xff\xe9"),
        (b"if-none-match", b'W/"1"'),
        (b"range", b"bytes=0-1"),
    ]
    await proxy.get(b"/", sent)
    assert proxy.upstream.seen[0].own_headers == [(b"host", b"music.example:4040"), *sent]


async def test_hop_by_hop_headers_end_here(proxy: Proxied) -> None:
    await proxy.get(
        b"/",
        [
            (b"Connection", b"keep-alive, X-Private"),
            (b"Keep-Alive", b"timeout=5"),
            (b"X-Private", b"1"),
            (b"TE", b"trailers"),
            (b"Proxy-Authorization", b"Basic x"),
            (b"X-Public", b"1"),
        ],
    )
    assert proxy.upstream.seen[0].own_headers == [
        (b"host", b"music.example:4040"),
        (b"x-public", b"1"),
    ]


async def test_response_headers_keep_order_case_and_duplicates() -> None:
    answer = (
        b"HTTP/1.1 203 Whatever\r\nVary: Origin\r\nSet-Cookie: a=1; Path=/\r\nVary: Accept\r\n"
        b"set-cookie: b=2\r\nX-Latin: \xe9\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
        b"Date: then\r\nServer: theirs\r\nContent-Length: 2\r\n\r\nok"
    )
    async with proxied(RawUpstream(answer=answer)) as proxy:
        reply = await proxy.get()
    assert reply.status == 203
    assert reply.headers == [
        (b"Vary", b"Origin"),
        (b"Set-Cookie", b"a=1; Path=/"),
        (b"Vary", b"Accept"),
        (b"set-cookie", b"b=2"),
        (b"X-Latin", b"\xe9"),
        (b"Date", b"then"),
        (b"Server", b"theirs"),
        (b"Content-Length", b"2"),
    ]


async def test_nothing_is_added_to_an_answer_without_date_and_server(proxy: Proxied) -> None:
    assert (await proxy.get()).headers == [(b"Content-Length", b"2")]


@pytest.mark.parametrize(
    ("method", "head"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 99\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"),
    ],
)
async def test_answers_without_a_body_keep_the_connection(method: bytes, head: bytes) -> None:
    async with proxied(RawUpstream(answer=head)) as proxy:
        client = await proxy.client()
        for _ in range(3):
            reply = await asyncio.wait_for(client.get(b"/", method=method), 2)
            assert reply.status == int(head[9:12])
            assert reply.get(b"content-length") == (
                [head.partition(b"Length: ")[2].partition(b"\r")[0]] if b"Length" in head else []
            )
        assert proxy.upstream.connections == 1


async def test_interim_answers_are_skipped() -> None:
    answer = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */5\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    async with proxied(RawUpstream(answer=answer)) as proxy:
        reply = await proxy.get(b"/", [(b"Range", b"bytes=9-")])
    assert reply.status == 416
    assert reply.headers == [(b"Content-Range", b"bytes */5"), (b"Content-Length", b"0")]


async def test_a_status_nobody_knows_passes() -> None:
    async with proxied(RawUpstream(answer=b"HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n")) as p:
        assert (await p.get()).status == 799


async def test_trailers_are_dropped_both_ways() -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n"
        b"2\r\nok\r\n0\r\nX-Late: 1\r\n\r\n"
    )
    async with proxied(RawUpstream(answer=answer)) as proxy:
        client = await proxy.client()
        reply = await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: remote-user\r\n"
            b"\r\n3\r\nabc\r\n0\r\nRemote-User: admin\r\n\r\n"
        )
        assert (reply.body, reply.headers) == (b"ok", [(b"transfer-encoding", b"chunked")])
        seen = proxy.upstream.seen[0]
        assert seen.body == b"abc"
        assert seen.own_headers == [(b"host", b"a"), (b"transfer-encoding", b"chunked")]
        assert (await client.get()).body == b"ok"
        assert proxy.upstream.seen[1].get(b"remote-user") == []


async def test_bodies_pass_with_the_framing_they_came_with(proxy: Proxied) -> None:
    body = bytes(range(256)) * 10
    client = await proxy.client()
    await client.get(b"/", [(b"Content-Length", b"%d" % len(body))], b"POST", body)
    await client.get(b"/", [(b"Content-Length", b"0")], b"POST")
    await client.get(b"/", [], b"POST")
    await client.get(b"/", [(b"Transfer-Encoding", b"chunked")], b"PUT", b"5\r\nhello\r\n0\r\n\r\n")
    await client.get(b"/", [(b"Content-Length", b"2")], b"GET", b"hi")
    first, empty, none, chunked, get = proxy.upstream.seen
    assert (first.body, first.get(b"content-length")) == (body, [b"2560"])
    assert (empty.body, empty.get(b"content-length")) == (b"", [b"0"])
    assert (none.get(b"content-length"), none.get(b"transfer-encoding")) == ([], [])
    assert (chunked.body, chunked.get(b"transfer-encoding")) == (b"hello", [b"chunked"])
    assert chunked.get(b"content-length") == []
    assert (get.method, get.body) == (b"GET", b"hi")


async def test_a_slow_upload_streams() -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        got = b""
        while not got.endswith(b"0\r\n\r\n"):
            got += (piece := await reader.read(1000))
            arrived.put_nowait(piece)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with proxied(url=url) as through:
        client = await through.client()
        client.writer.write(b"POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            client.writer.write(b"4\r\nwave\r\n")
            assert await asyncio.wait_for(arrived.get(), 2) == b"4\r\nwave\r\n"
        assert (await client.send(b"0\r\n\r\n")).status == 200
    server.close()


async def test_expect_continue_is_answered(proxy: Proxied) -> None:
    client = await proxy.client()
    client.writer.write(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    )
    assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (await client.send(b"hi")).body == b"ok"
    assert proxy.upstream.seen[0].body == b"hi"


async def test_an_answer_before_the_upload_has_ended() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nlong")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with proxied(url=url) as proxy:
        client = await proxy.client()
        reply = await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n" + b"x" * 70000
        )
        assert (reply.status, reply.body) == (413, b"long")
    server.close()


async def test_server_sent_events_arrive_at_once_and_may_pause_for_ever() -> None:
    go = asyncio.Event()

    async def events(exchange: Exchange) -> None:
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        await exchange.writer.drain()
        await go.wait()
        for n in range(3):
            exchange.write(b"data: %d\n\n" % n)
            await exchange.writer.drain()
            await asyncio.sleep(0.05)
        exchange.writer.close()

    quick = Timeouts(headers_s=0.1, idle_s=0.1)
    async with proxied(RawUpstream(handler=events), timeouts=quick) as proxy:
        client = await proxy.client()
        client.writer.write(b"GET /api/events HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 2)
        assert b"text/event-stream" in head
        await asyncio.sleep(0.3)  # longer than any other answer may pause
        go.set()
        for n in range(3):
            line = b"9\r\ndata: %d\n\n\r\n" % n
            assert await asyncio.wait_for(client.reader.readexactly(len(line)), 0.5) == line


async def test_old_clients_get_no_chunks() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    async with proxied(RawUpstream(answer=answer)) as proxy:
        reply = await proxy.get(version=b"1.0")
        assert (reply.body, reply.headers) == (b"ok", [(b"connection", b"close")])


async def test_old_upstreams_end_a_body_by_closing() -> None:
    async def old(exchange: Exchange) -> None:
        exchange.write(b"HTTP/1.0 200 OK\r\nContent-Type: a\r\n\r\n" + b"x" * 300_000)
        await exchange.writer.drain()
        exchange.writer.close()

    async with proxied(RawUpstream(handler=old)) as proxy:
        client = await proxy.client()
        for _ in range(2):
            reply = await client.get()
            assert (reply.whole, reply.body) == (True, b"x" * 300_000)
        assert proxy.upstream.connections == 2


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def echo(exchange: Exchange) -> None:
        await asyncio.sleep(0.03 if exchange.seen.target == b"/0" else 0)
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + exchange.seen.target)

    async with proxied(RawUpstream(handler=echo)) as proxy:
        client = await proxy.client()
        one = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
        client.writer.write(b"".join(one % n for n in range(5)))
        for n in range(5):
            assert (await client.send(b"")).body == b"/%d" % n


async def test_who_does_not_wait_for_answers_is_not_read_ahead_of() -> None:
    """Else 90,000 calls in ten seconds were 240 MB of memory."""

    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.002)
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def waiting() -> int:
        return max(len(one.pipeline) for one in gc.get_objects() if type(one) is Listener)

    one = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
    in_a_read = 256 * 1024 // len(one)
    async with proxied(RawUpstream(handler=slow)) as proxy:
        client = await proxy.client()
        client.writer.write(one * 4 * in_a_read)
        most = 0
        for number in range(30):
            await read_reply(client.reader)
            if number % 10 == 9:
                most = max(most, waiting())
        assert 0 < most < 4096 / len(one) + 17
        client.writer.close()


async def test_calls_of_any_size_sent_without_waiting_are_answered_in_turn() -> None:
    async def echo(exchange: Exchange) -> None:
        body = exchange.seen.target + b" %d" % len(exchange.seen.body)
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    sizes = [number * 977 % 9001 for number in range(120)]
    async with proxied(RawUpstream(handler=echo)) as proxy:
        client = await proxy.client()
        calls = [
            b"POST /%d HTTP/1.1\r\nHost: a\r\nX-Long: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (number, b"x" * (size % 3000), size, b"y" * size)
            for number, size in enumerate(sizes)
        ]
        client.writer.write(b"".join(calls))
        for number, size in enumerate(sizes):
            assert (await read_reply(client.reader)).body == b"/%d %d" % (number, size)
        client.writer.close()


async def test_a_gigabyte_costs_no_memory_here() -> None:
    """A client that reads slowly stops the upstream: what is written but not read stays small."""
    written = 0

    async def flood(exchange: Exchange) -> None:
        nonlocal written
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % 2**30)
        piece = b"x" * 65536
        for _ in range(2**30 // len(piece)):
            exchange.write(piece)
            await exchange.writer.drain()
            written += len(piece)

    async with proxied(RawUpstream(handler=flood)) as proxy:
        client = await proxy.client()
        client.writer.write(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.3)
        stalled_at = written
        await asyncio.sleep(0.3)
        assert written == stalled_at  # the kernel's buffers and a piece or two of ours
        assert written < 20 * 2**20
        await client.reader.readexactly(30 * 2**20)
        assert written > 30 * 2**20
        client.close()
        for _ in range(100):
            if not proxy.upstream.open:
                break
            await asyncio.sleep(0.02)
        assert proxy.upstream.open == 0


async def test_a_client_that_goes_frees_the_upstream_at_once() -> None:
    gone = asyncio.Event()

    async def hang(exchange: Exchange) -> None:
        if exchange.seen.target == b"/begun":
            exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal")
        await exchange.gone()
        gone.set()

    async with proxied(RawUpstream(handler=hang)) as proxy:
        for target in (b"/silent", b"/begun"):
            gone.clear()
            client = await proxy.client()
            client.writer.write(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
            await asyncio.sleep(0.1)
            assert not gone.is_set()
            client.close()
            await asyncio.wait_for(gone.wait(), 1)
            assert proxy.application.upstream.connections == (0, 0)  # type: ignore[attr-defined]


async def test_a_client_that_goes_in_its_upload_frees_the_upstream() -> None:
    async with proxied(kept=0) as proxy:
        client = await proxy.client()
        client.writer.write(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 1000
        )
        await asyncio.sleep(0.1)
        assert proxy.upstream.open == 1
        client.close()
        await asyncio.sleep(0.1)
        assert proxy.upstream.open == 0
        assert proxy.upstream.seen == []  # half a body never looked like a whole one


@pytest.mark.parametrize("length", [True, False])
async def test_a_broken_answer_looks_broken(length: bool) -> None:
    head = b"Content-Length: 10" if length else b"Transfer-Encoding: chunked"

    async def half(exchange: Exchange) -> None:
        exchange.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n5\r\nhello")
        await exchange.writer.drain()
        exchange.writer.close()

    async with proxied(RawUpstream(handler=half)) as proxy:
        for version in (b"1.1", b"1.0"):
            client = await proxy.client()
            try:
                reply = await client.get(version=version)
            except ConnectionResetError:
                continue
            assert reply.status == 200
            assert not reply.whole
        assert proxy.application.metrics.upstream_errors == {"broke": 2}


async def test_websockets_pass_both_ways() -> None:
    async def socket(exchange: Exchange) -> None:
        assert exchange.seen.get(b"upgrade") == [b"websocket"]
        assert exchange.seen.get(b"connection") == [b"Upgrade"]
        exchange.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: x\r\n\r\nearly"
        )
        while data := await exchange.reader.read(65536):
            exchange.write(data.upper())
            await exchange.writer.drain()
        exchange.writer.close()

    async with proxied(RawUpstream(handler=socket)) as proxy:
        client = await proxy.client()
        client.writer.write(
            b"GET /socket HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\nsoon"
        )
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Accept: x\r\n" in head
        assert await client.reader.readexactly(9) == b"earlySOON"
        big = b"a" * 3_000_000
        client.writer.write(big)
        assert await client.reader.readexactly(len(big)) == big.upper()
        client.writer.close()
        await asyncio.sleep(0.05)
        assert proxy.upstream.open == 0


async def test_a_refused_websocket_is_an_ordinary_answer() -> None:
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
    async with proxied(RawUpstream(answer=answer)) as proxy:
        upgrade = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
        reply = await proxy.get(b"/socket", upgrade)
        assert (reply.status, reply.body) == (403, b"no")


@pytest.mark.parametrize("framing", [b"Content-Length: 3", b"Transfer-Encoding: chunked"])
async def test_a_websocket_with_a_body_is_an_ordinary_request(framing: bytes) -> None:
    """Whether the body or the socket comes first could be read in two ways."""
    async with proxied() as proxy:
        client = await proxy.client()
        body = b"abc" if b"Length" in framing else b"3\r\nabc\r\n0\r\n\r\n"
        reply = await client.send(
            b"GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\n" + framing + b"\r\n\r\n" + body
        )
        assert reply.body == b"ok"
        assert (await client.get(b"/next")).body == b"ok"
        first, second = proxy.upstream.seen
        assert (first.body, first.get(b"upgrade"), first.get(b"connection")) == (b"abc", [], [])
        assert second.target == b"/next"


async def test_a_websocket_may_say_that_it_has_no_body() -> None:
    async def socket(exchange: Exchange) -> None:
        exchange.write(b"HTTP/1.1 101 Hm\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        exchange.write(await exchange.reader.readexactly(5))

    async with proxied(RawUpstream(handler=socket)) as proxy:
        client = await proxy.client()
        client.writer.write(
            b"GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nContent-Length: 0\r\n\r\nframe"
        )
        head = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 2)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert await client.reader.readexactly(5) == b"frame"


async def test_an_upgrade_that_is_not_offered_is_ignored(proxy: Proxied) -> None:
    upgrade = [(b"Connection", b"Upgrade, HTTP2-Settings"), (b"Upgrade", b"h2c")]
    client = await proxy.client()
    reply = await client.get(
        b"/x", [*upgrade, (b"HTTP2-Settings", b"AA"), (b"Content-Length", b"3")], b"POST", b"abc"
    )
    assert reply.body == b"ok"
    seen = proxy.upstream.seen[0]
    assert (seen.target, seen.body) == (b"/x", b"abc")
    assert seen.own_headers == [(b"host", b"music.example:4040"), (b"content-length", b"3")]
    assert (await client.get()).body == b"ok"


async def test_an_upstream_that_changes_the_protocol_unasked_is_refused() -> None:
    answer = b"HTTP/1.1 101 Hm\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    async with proxied(RawUpstream(answer=answer)) as proxy:
        assert (await proxy.get()).status == 502


@pytest.mark.parametrize(
    ("base_path", "below", "asked", "got"),
    [
        ("/music", "", b"/music/rest/ping?x", b"/rest/ping?x"),
        ("/music", "/music", b"/music/rest/ping?", b"/music/rest/ping?"),
        ("", "/music", b"/rest/ping", b"/music/rest/ping"),
        ("/music", "/nd", b"/music", b"/nd/"),
        ("/music", "", b"/music?a", b"/?a"),
    ],
)
async def test_base_paths_of_both_sides(
    base_path: str, below: str, asked: bytes, got: bytes
) -> None:
    async with proxied(server=ServerSettings(base_path=base_path), base=below) as proxy:
        assert (await proxy.get(asked)).status == 200
        assert proxy.upstream.seen[0].target == got
        if base_path:
            assert (await proxy.get(b"/rest/ping")).status == 404
            assert (await proxy.get(b"/musical")).status == 404
            assert (await proxy.get(b"/music/segue/health")).status == 200


@pytest.mark.parametrize(("base_path", "below"), [("/music", ""), ("", "/nd"), ("/nd", "/nd")])
async def test_nothing_leads_out_of_a_base_path(base_path: str, below: str) -> None:
    base = base_path.encode()
    async with proxied(server=ServerSettings(base_path=base_path), base=below) as proxy:
        client = await proxy.client()
        for path in (
            b"/../admin", b"/rest/../../admin", b"/%2e%2e/admin", b"/.%2E/admin", b"/..%2fadmin",
            b"/rest%2f..%2f..%2fadmin", b"/\\..\\admin", b"/..%5cadmin", b"/..;a=b/admin", b"/..",
            b"/rest/..%00/x", b"/a#/../..",
        ):  # fmt: skip
            reply = await client.get(base + path)
            assert (reply.status, reply.body) == (400, b"Bad Request\n"), path
        assert proxy.upstream.seen == []
        for path in (b"/...", b"/a..b", b"/rest/ping?x=/../..", b"/..a/", b"/."):
            assert (await client.get(base + path)).status == 200, path


async def test_dot_segments_pass_where_there_is_nothing_to_leave(proxy: Proxied) -> None:
    for target in (b"/a/../b", b"/%2e%2e/b", b"/.."):
        await proxy.get(target)
    assert [seen.target for seen in proxy.upstream.seen] == [b"/a/../b", b"/%2e%2e/b", b"/.."]


async def test_a_unix_socket_upstream(tmp_path: Path) -> None:
    upstream = RawUpstream()
    await upstream.start(path=str(tmp_path / "up.sock"))
    url = f"http+unix://{str(tmp_path / 'up.sock').replace('/', '%2F')}/nd"
    async with proxied(upstream, url=url) as proxy:
        assert (await proxy.get(b"/a?b")).body == b"ok"
        assert upstream.seen[0].target == b"/nd/a?b"


async def test_an_ipv6_upstream() -> None:
    upstream = RawUpstream()
    try:
        await upstream.start(host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with proxied(upstream, url=f"http://[::1]:{upstream.port}") as proxy:
        assert (await proxy.get(version=b"1.0")).body == b"ok"


async def test_recorded_answers_of_navidrome_keep_their_headers(shared_traces: Path) -> None:
    records = [
        json.loads(line) for line in (shared_traces / "navidrome.jsonl").read_text().splitlines()
    ]
    hop = {"transfer-encoding", "connection"}
    upstream = RawUpstream()
    async with proxied(upstream) as proxy:
        for record in records:
            body = (record["response_body"] or "").encode()
            lines = [f"{n}: {v}" for n, v in record["response_headers"] if n != "Content-Length"]
            if not any(n == "Transfer-Encoding" for n, _ in record["response_headers"]):
                lines.append(f"Content-Length: {len(body)}")
            else:
                body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
            head = "\r\n".join([f"HTTP/1.1 {record['status']} x", *lines, "", ""]).encode()
            upstream.answer = head if record["method"] == "HEAD" else head + body
            sent = (record["request_body"] or "").encode()
            headers = [(n.encode(), v.encode()) for n, v in record["request_headers"].items()]
            if sent:
                headers.append((b"content-length", b"%d" % len(sent)))
            reply = await proxy.get(
                record["target"].encode(), headers, record["method"].encode(), sent
            )
            assert upstream.seen[-1].target == record["target"].encode()
            assert upstream.seen[-1].body == sent
            assert reply.status == record["status"]
            names = [n.decode() for n, _ in reply.headers if n.decode().lower() not in hop]
            assert names == [line.partition(":")[0] for line in lines
                             if line.partition(":")[0].lower() not in hop]  # fmt: skip
