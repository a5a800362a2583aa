"""Listening, limits, malformed requests and stopping."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from proxy.application import create_application
from proxy.errors import ServeError
from proxy.server import serve, serve_in_background
from proxy.settings import ProxySettings, ServerSettings
from tests.unit.proxy.wire import Exchange, RawUpstream, keep_open, proxied, read_reply

pytestmark = pytest.mark.anyio


def test_a_port_in_use_is_said_plainly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServeError, match=f"port {port} of 127.0.0.1 is in use"):
            serve(create_application(ProxySettings()), ServerSettings(host="127.0.0.1", port=port))


def test_a_host_that_is_not_ours() -> None:
    for host in ("192.0.2.1", "no.such.host.invalid"):
        with pytest.raises(ServeError, match=r"192\.0\.2\.1|no address of this machine"):
            serve(create_application(ProxySettings()), ServerSettings(host=host, port=0))


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "segue.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))  # as after kill -9
    upstream = RawUpstream()
    await upstream.start()
    settings = ServerSettings(uds=str(path), trusted_proxies=("unix",), drain_s=1)
    application = create_application(ProxySettings(upstream_url=upstream.url, server=settings))
    async with serve_in_background(application, settings) as url:
        assert url == f"http+unix://{str(path).replace('/', '%2F')}"
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"GET /a HTTP/1.1\r\nHost: a\r\nRemote-User: bob\r\n\r\n")
        assert (await read_reply(reader)).body == b"ok"
        assert upstream.seen[0].get(b"remote-user") == [b"bob"]
        writer.close()
        with pytest.raises(ServeError, match="in use"):
            async with serve_in_background(application, settings):
                pass
    assert not path.exists()
    await upstream.stop()


@pytest.mark.parametrize(("host", "asked"), [("::1", "::1"), ("::", "127.0.0.1"), ("::", "::1")])
async def test_ipv6_alone_and_with_ipv4(host: str, asked: str) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    upstream = RawUpstream()
    await upstream.start()
    settings = ServerSettings(host=host, port=0, drain_s=1)
    application = create_application(ProxySettings(upstream_url=upstream.url, server=settings))
    async with serve_in_background(application, settings) as url:
        assert url.startswith(f"http://[{host}]:")
        reader, writer = await asyncio.open_connection(asked, int(url.rpartition(":")[2]))
        writer.write(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await read_reply(reader)).body == b"ok"
        writer.close()
        # IPv4 on a socket for both is told as IPv4: Navidrome limits logins by it.
        assert upstream.seen[0].get(b"x-real-ip") == [asked.encode()]
    await upstream.stop()


def test_wrong_socket_paths(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for uds, says in (
        (tmp_path / "file", "not a socket"),
        (tmp_path / "no" / "x", "does not exist"),
    ):
        with pytest.raises(ServeError, match=says):
            serve(create_application(ProxySettings()), ServerSettings(uds=str(uds)))
    assert (tmp_path / "file").read_text() == "mine"


MALFORMED = {
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "both lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, other order": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
    b"Content-Length: 2\r\n\r\nab",
    "signed length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na",
    "unknown coding": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "folded": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: a\n\n",
    "one bare line feed": b"GET / HTTP/1.1\r\nHost: a\nRemote-User: x\r\n\r\n",
    "blank before the colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "control character": b"GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
    "null in target": b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "blank in target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "relative target": b"GET rest/ping HTTP/1.1\r\nHost: a\r\n\r\n",
    "login in target": b"GET http://u@h/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "other scheme": b"GET ftp://h/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/0.9": b"GET http://a/\r\n\r\n",
    "HTTP/2, said plainly": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "a host that is none": b"GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n",
    "a path as host": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n",
    "odd method, bare line feed": b"FOO / HTTP/1.1\nHost: a\n\n",
    "odd method, no version": b"FOO /\r\nHost: a\r\n\r\n",
    "odd target twice": "GET /é HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n".encode(),
    "bad chunk": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
}


async def test_malformed_requests_reach_no_upstream() -> None:
    async with proxied() as proxy:
        for name, request in MALFORMED.items():
            client = await proxy.client()
            reply = await asyncio.wait_for(client.send(request), 2)
            assert (name, reply.status) == (name, 400)
            assert await client.reader.read() == b""
        assert proxy.upstream.seen == []
        assert (await proxy.get()).status == 200


async def test_connect_is_not_offered() -> None:
    async with proxied() as proxy:
        client = await proxy.client()
        reply = await client.send(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n")
        assert reply.status == 405
        assert proxy.upstream.seen == []


@pytest.mark.parametrize(
    "coding",
    [
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
    ],
)
async def test_a_coding_that_would_be_lost_is_refused(coding: bytes) -> None:
    async with proxied() as proxy:
        client = await proxy.client()
        reply = await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\n" + coding + b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        )
        assert (reply.status, reply.body) == (501, b"Not Implemented\n")
        assert await client.reader.read() == b""
        assert proxy.upstream.seen == []


async def test_a_body_is_never_read_as_a_request() -> None:
    """Raw request lines are only looked for where a request begins, not in what a body holds."""
    async with proxied() as proxy:
        client = await proxy.client()
        smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\nX: 12345\r\n\r\n"
        client.writer.write(
            b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
        )
        await asyncio.sleep(0.05)
        client.writer.write(smuggled + "FOO /é HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert (await asyncio.wait_for(read_reply(client.reader), 2)).body == b"ok"
        assert await asyncio.wait_for(client.reader.read(), 2) == b""
        assert [(s.target, s.body) for s in proxy.upstream.seen] == [(b"/a", smuggled)]


async def test_a_bad_request_behind_a_good_one_does_not_take_its_answer() -> None:
    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.1)
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with proxied(RawUpstream(handler=slow)) as proxy:
        client = await proxy.client()
        reply = await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/9\r\n\r\n")
        assert (reply.status, reply.body) == (200, b"ok")
        assert await client.reader.read() == b""


async def test_headers_have_a_limit() -> None:
    async with proxied() as proxy:
        fits = await proxy.get(b"/", [(b"x", b"x" * 60_000)])
        assert fits.status == 200
        for headers in ([(b"x", b"x" * 70_000)], [(b"x-%d" % n, b"x" * 50) for n in range(2000)]):
            client = await proxy.client()
            reply = await client.get(b"/", headers)
            assert reply.status == 431
        assert (await proxy.get(b"/" + b"x" * 70_000)).status == 431
        assert len(proxy.upstream.seen) == 1


@pytest.mark.parametrize(
    "flood",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX: ",
        b"GET /",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;x=",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
    ],
)
async def test_a_flood_without_end_is_cut(flood: bytes) -> None:
    async with proxied() as proxy:
        client = await proxy.client()
        client.writer.write(flood)
        try:
            for _ in range(100):
                client.writer.write(b"x" * 10_000)
                await client.writer.drain()
                await asyncio.sleep(0.001)
        except ConnectionError:
            return
        raise AssertionError("a megabyte of header was taken")


async def test_half_a_head_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.patience.HEAD_S", 0.2)
    async with proxied() as proxy:
        half = await proxy.client()
        assert (await asyncio.wait_for(half.send(b"GET / HTTP/1.1\r\nHos"), 2)).status == 408
        mute = await proxy.client()
        assert await asyncio.wait_for(mute.reader.read(), 2) == b""
        kept = await proxy.client()
        assert (await kept.get()).status == 200
        refused = asyncio.create_task(read_reply(kept.reader))
        for byte in b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: " + b"a" * 100:
            if refused.done():
                break
            kept.writer.write(bytes((byte,)))
            await asyncio.sleep(0.02)
        assert (await refused).status == 408


@pytest.mark.parametrize("kept", [0, 1])
async def test_who_has_closed_one_half_is_answered(kept: int) -> None:
    """As the server behind answers it: one call or several, with a body or none."""

    async def answer(exchange: Exchange) -> None:
        await asyncio.sleep(0.05)
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % 2**20)
        exchange.write(exchange.seen.target[-1:] * 2**20)

    get = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"
    post = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nform"
    calls = {b"a": get % b"a", b"p": post, b"abp": get % b"a" + get % b"b" + post}
    async with proxied(RawUpstream(handler=answer), kept=kept) as proxy:
        for answered, sent in calls.items():
            client = await proxy.client()
            client.writer.write(sent)
            client.writer.write_eof()
            async with asyncio.timeout(10):
                for target in answered:
                    reply = await read_reply(client.reader)
                    assert (reply.status, reply.body) == (200, bytes((target,)) * 2**20)
                assert await client.reader.read() == b""
        async with asyncio.timeout(5):  # who asks for half a call gets what came before it
            client = await proxy.client()
            client.writer.write(calls[b"a"] + post[:-1])
            client.writer.write_eof()
            assert (await read_reply(client.reader)).whole
            assert await client.reader.read() == b""


@pytest.mark.parametrize("kept", [0, 1])
async def test_a_slow_download_is_not_cut_for_who_has_closed_one_half(
    kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it had begun before; and who has gone frees the upstream as soon as more is sent."""
    monkeypatch.setattr("proxy.patience.STILL_THERE_S", 10)
    monkeypatch.setattr("proxy.patience.HALF_CLOSED_S", 0.1)
    gone = asyncio.Event()

    async def trickle(exchange: Exchange) -> None:
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        for _ in range(9):
            if exchange.reader.at_eof():
                gone.set()
                return
            exchange.write(b"x")
            await asyncio.sleep(0.04)

    get = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
    async with proxied(RawUpstream(handler=trickle), kept=kept) as proxy, asyncio.timeout(10):
        client = await proxy.client()
        client.writer.write(get)
        await client.reader.readuntil(b"\r\n\r\nx")
        client.writer.write_eof()
        assert await client.reader.read() == b"x" * 8
        assert not gone.is_set()
        client = await proxy.client()
        client.writer.write(get)
        await client.reader.readuntil(b"\r\n\r\nx")
        client.close()
        await gone.wait()


async def test_who_has_gone_at_once_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.patience.HALF_CLOSED_S", 0.2)
    gone = asyncio.Queue[bytes]()

    async def hang(exchange: Exchange) -> None:
        if exchange.seen.target == b"/events":
            exchange.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        await exchange.gone()
        gone.put_nowait(exchange.seen.target)

    async with proxied(RawUpstream(handler=hang)) as proxy:
        targets = {b"/silent", b"/events"}
        for target in targets:
            client = await proxy.client()
            client.writer.write(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
            client.close()
        async with asyncio.timeout(5):
            assert {await gone.get(), await gone.get()} == targets


async def test_a_body_does_not_trickle_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.patience.BODY_S", 0.2)
    async with proxied() as proxy:
        client = await proxy.client()
        client.writer.write(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n")
        started_s = time.monotonic()
        for _ in range(4):
            client.writer.write(b"x")
            await asyncio.sleep(0.03)
        assert (await read_reply(client.reader)).status == 408
        assert time.monotonic() - started_s < 1
        assert await client.reader.read() == b""
        client = await proxy.client()  # a slow one that goes on is let go on
        client.writer.write(b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n")
        for _ in range(9):
            client.writer.write(bytes(1000))
            await asyncio.sleep(0.05)
        assert (await read_reply(client.reader)).status == 200
        await asyncio.sleep(0.3)
        assert (await client.get()).status == 200  # nor is the next request in a hurry


async def test_an_upload_that_was_answered_is_not_read_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("proxy.patience.BODY_S", 0.2)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with proxied(url=f"http://127.0.0.1:{port}") as proxy:
            for stalls in (True, False):
                client = await proxy.client()
                client.writer.write(
                    b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 90000000\r\n\r\nabc"
                )
                assert (await read_reply(client.reader)).status == 413
                with contextlib.suppress(ConnectionError):
                    for _ in range(100):
                        if not (stalls or client.writer.is_closing()):
                            client.writer.write(bytes(1000))
                        await asyncio.sleep(0.01)
                    assert await asyncio.wait_for(client.reader.read(), 1) == b""


async def test_an_upload_that_the_upstream_does_not_take_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("proxy.patience.BODY_S", 0.1)
    size = 30_000_000

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.5)
        await reader.readexactly(size)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with proxied(url=f"http://127.0.0.1:{port}") as proxy:
            client = await proxy.client()
            client.writer.write(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
            client.writer.write(bytes(size))
            assert (await read_reply(client.reader)).status == 200


@pytest.mark.parametrize("kept", [0, 2])  # asked, or relayed
async def test_a_stop_lets_answers_end_and_event_streams_go(kept: int) -> None:
    ended = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        if exchange.seen.target == b"/events":
            exchange.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
            await exchange.gone()
            ended.set()
            return
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await asyncio.sleep(0.3)
        exchange.write(b"world")

    upstream = RawUpstream(handler=answer)
    await upstream.start()
    settings = ServerSettings(host="127.0.0.1", port=0, drain_s=5)
    application = create_application(ProxySettings(upstream_url=upstream.url, server=settings))
    async with serve_in_background(application, settings) as url:
        await keep_open(application.upstream, kept)
        port = int(url.rpartition(":")[2])
        song, song_writer = await asyncio.open_connection("127.0.0.1", port)
        _, events_writer = await asyncio.open_connection("127.0.0.1", port)
        song_writer.write(b"GET /song HTTP/1.1\r\nHost: a\r\n\r\n")
        events_writer.write(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        await asyncio.sleep(0.1)
        reading = asyncio.create_task(read_reply(song))
    assert (await reading).body == b"helloworld"
    assert ended.is_set()
    song_writer.close()
    events_writer.close()
    await upstream.stop()


SERVE = """
from proxy.application import create_application
from proxy.server import serve
from proxy.settings import ProxySettings, ServerSettings
import sys
import time
server = ServerSettings(host="127.0.0.1", port=int(sys.argv[1]), drain_s=1)
serve(create_application(ProxySettings(server=server)), server)
heavy = {"torch", "av", "mutagen", "httpx2", "embedder"} & sys.modules.keys()
print("ended", sorted(heavy))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_end_it_cleanly(number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVE, str(port), stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONWARNINGS": "error"},
    )  # fmt: skip
    for _ in range(200):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            # It listens before it takes signals: only what it answers shows that it is up.
            writer.write(b"GET /segue/none HTTP/1.1\r\nHost: a\r\n\r\n")
            await read_reply(reader)
            writer.close()
            break
    process.send_signal(number)
    out, err = await asyncio.wait_for(process.communicate(), 10)
    if number == signal.SIGTERM:
        assert (process.returncode, out) == (0, b"ended []\n"), err
        assert err == b""
    else:
        assert process.returncode != 0
        assert b"KeyboardInterrupt" in err
