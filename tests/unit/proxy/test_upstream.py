"""The client that forwards: pooling, retries, time-outs, and answers that are none."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.answer import Answer
from proxy.errors import BadUpstreamAnswer, UpstreamBroke, UpstreamRefused, UpstreamTimeout
from proxy.http1 import Connection
from proxy.requests import is_repeatable, request_head
from proxy.upstream import HttpUpstream, Origin, Timeouts
from tests.unit.proxy.wire import Exchange, RawUpstream

pytestmark = pytest.mark.anyio

QUICK = Timeouts(connect_s=0.5, headers_s=0.2, idle_s=0.2, keep_s=30)


@pytest.fixture
async def raw() -> AsyncIterator[RawUpstream]:
    upstream = RawUpstream()
    await upstream.start()
    yield upstream
    await upstream.stop()


async def test_connections_are_kept_and_shared(raw: RawUpstream) -> None:
    async with HttpUpstream(raw.url) as upstream:
        for _ in range(5):
            answer = await upstream.request("GET", b"/", [])
            assert await answer.read(10) == b"ok"
        assert raw.connections == 1
        answers = await asyncio.gather(*(upstream.request("GET", b"/", []) for _ in range(4)))
        assert [await answer.read(10) for answer in answers] == [b"ok"] * 4
        assert raw.connections == 4
        assert upstream.connections == (0, 4)
    assert raw.seen[0].raw_head == b"GET / HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n\r\n" % raw.port


async def test_a_kept_connection_that_closed_is_replaced_for_reads_only(raw: RawUpstream) -> None:
    async def once(exchange: Exchange) -> None:
        """Answers one request on a connection, and drops the next one unread."""
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await exchange.reader.read(1)
        exchange.writer.close()

    raw.handler = once
    async with HttpUpstream(raw.url) as upstream:
        await (await upstream.request("GET", b"/rest/ping", [])).read(10)
        await (await upstream.request("GET", b"/rest/getSong.view?id=1", [])).read(10)
        assert raw.connections == 2
        await (await upstream.request("POST", b"/rest/getSong", [], b"id=1")).read(10)
        assert raw.connections == 3
        await (await upstream.request("GET", b"/rest/scrobble?id=1", [])).read(10)
        assert raw.connections == 4  # never over a kept one: nobody could tell whether it was heard


async def test_a_connection_opened_ahead_that_closed_is_replaced_too(raw: RawUpstream) -> None:
    """Nothing went over it before, but it waited as any other."""

    async def not_the_first(exchange: Exchange) -> None:
        if raw.connections == 1:
            exchange.writer.close()
        else:
            exchange.write(raw.answer)

    raw.handler = not_the_first
    async with HttpUpstream(raw.url) as upstream:
        await upstream.open_connection()
        answer = await upstream.request("GET", b"/rest/getSong?id=1", [])
        assert await answer.read(10) == b"ok"
        assert raw.connections == 2
        assert upstream.connections == (0, 1)


async def test_connections_opened_ahead_are_bounded_and_forgotten_once_closed(
    raw: RawUpstream,
) -> None:
    async with HttpUpstream(raw.url, keep=4) as upstream:
        for _ in range(10):
            await upstream.open_connection()
        await asyncio.sleep(0.02)
        assert upstream.connections == (0, 4)
        assert raw.open == 4
        upstream._idle[1].abort()
        upstream._idle[-1].abort()
        await asyncio.sleep(0.02)
        assert upstream.connections == (0, 2)
    with pytest.raises(ValueError, match="keep must be at least 1, got 0"):
        HttpUpstream(raw.url, keep=0)


async def test_a_write_never_goes_over_a_connection_that_was_kept(raw: RawUpstream) -> None:
    async with HttpUpstream(raw.url) as upstream:
        await (await upstream.request("GET", b"/", [])).read(10)
        await (await upstream.request("GET", b"/rest/star?id=1", [])).read(10)
        assert raw.connections == 2
        await (await upstream.request("GET", b"/rest/getSong?id=1", [])).read(10)
        assert raw.connections == 2  # and afterwards it serves others


async def test_a_call_right_after_another_keeps_its_own_time_limit(
    raw: RawUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next call takes the connection before the one whose answer is whole has woken up."""

    async def once(exchange: Exchange) -> None:
        if exchange.seen.target == b"/rest/getSong?id=2":
            await exchange.gone()
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    raw.handler = once
    async with HttpUpstream(raw.url, timeouts=Timeouts(headers_s=0.2)) as upstream:
        await (await upstream.request("GET", b"/rest/getSong?id=1", [])).read(10)
        answered = Connection._end_call
        second: list[asyncio.Task[object]] = []

        def answered_and_taken(connection: Connection, answer: Answer) -> None:
            answered(connection, answer)
            if not second:
                asking = upstream.request("GET", b"/rest/getSong?id=2", [])
                second.append(asyncio.get_running_loop().create_task(asking))

        monkeypatch.setattr(Connection, "_end_call", answered_and_taken)
        await (await upstream.request("GET", b"/rest/getSong?id=1", [])).read(10)
        with pytest.raises(UpstreamTimeout):
            await asyncio.wait_for(second[0], 2)


async def test_a_call_given_up_as_its_answer_came_harms_no_other(
    raw: RawUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection may carry the next call already when the one given up notices."""
    async with HttpUpstream(raw.url) as upstream:
        answered = Connection._end_call
        made: list[asyncio.Task[Answer]] = []

        def answered_and_given_up(connection: Connection, answer: Answer) -> None:
            answered(connection, answer)
            if len(made) == 1:
                asking = upstream.request("GET", b"/rest/getSong?id=2", [])
                made.append(asyncio.get_running_loop().create_task(asking))
                asyncio.get_running_loop().call_soon(made[0].cancel)

        monkeypatch.setattr(Connection, "_end_call", answered_and_given_up)
        asking = upstream.request("GET", b"/rest/getSong?id=1", [])
        made.append(asyncio.get_running_loop().create_task(asking))
        await asyncio.wait(made)
        assert (await (await made[1]).read(10)) == b"ok"


@pytest.mark.parametrize(
    ("method", "target", "repeatable"),
    [
        (b"GET", b"/rest/getSong.view?id=1", True),
        (b"GET", b"/rest/stream?id=1", True),
        (b"HEAD", b"/rest/ping", True),
        (b"POST", b"/rest/getRandomSongs", True),
        (b"POST", b"/rest/scrobble.view", False),
        (b"GET", b"/rest/scrobble", False),
        (b"GET", b"/%72est/scrobble", False),
        (b"GET", b"/rest/createPlaylist", False),
        (b"GET", b"/rest/pingback", False),
        (b"GET", b"/api/song/1", True),
        (b"DELETE", b"/api/song/1", False),
        (b"POST", b"/auth/login", False),
    ],
)
def test_what_may_be_asked_twice(method: bytes, target: bytes, repeatable: bool) -> None:
    assert is_repeatable(method, target) is repeatable


async def test_nobody_there() -> None:
    with pytest.raises(UpstreamRefused, match=r"http://127\.0\.0\.1:1 cannot be reached"):
        await HttpUpstream("http://127.0.0.1:1").request("GET", b"/?p=secret", [])
    with pytest.raises(UpstreamRefused):
        await HttpUpstream("http://nowhere.invalid").request("GET", b"/", [])
    with pytest.raises(UpstreamRefused, match=r"/nowhere\.sock"):
        await HttpUpstream("http+unix://%2Fnowhere.sock").request("GET", b"/", [])


async def test_a_silent_upstream_times_out(raw: RawUpstream) -> None:
    async def silent(exchange: Exchange) -> None:
        await exchange.gone()

    raw.handler = silent
    async with HttpUpstream(raw.url, timeouts=QUICK) as upstream:
        with pytest.raises(UpstreamTimeout, match="too long to answer"):
            await asyncio.wait_for(upstream.request("GET", b"/", []), 2)
        await asyncio.sleep(0.02)
        assert raw.open == 0


async def test_a_body_that_stops_times_out_but_events_may_pause(raw: RawUpstream) -> None:
    async def stall(exchange: Exchange) -> None:
        kind = b"text/event-stream" if exchange.seen.target == b"/events" else b"audio/mpeg"
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n\r\nfirst" % kind)
        await exchange.writer.drain()
        await exchange.gone()

    raw.handler = stall
    async with HttpUpstream(raw.url, timeouts=QUICK) as upstream:
        answer = await upstream.request("GET", b"/song", [])
        assert await answer.chunk() == (b"first", True)
        with pytest.raises(UpstreamTimeout, match="to go on"):
            await asyncio.wait_for(answer.chunk(), 2)
        events = await upstream.request("GET", b"/events", [])
        assert await events.chunk() == (b"first", True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(events.chunk(), 0.6)
        await events.aclose()


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 000 None\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 099 None\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 3_000_000,
    ],
)
async def test_what_is_not_http_is_said_so(raw: RawUpstream, answer: bytes) -> None:
    raw.answer = answer
    async with HttpUpstream(raw.url) as upstream:
        with pytest.raises(BadUpstreamAnswer) as caught:
            await asyncio.wait_for(upstream.request("GET", b"/", []), 2)
        assert len(str(caught.value)) < 200
        assert upstream.connections == (0, 0)


async def test_junk_after_an_answer_ends_only_the_connection(raw: RawUpstream) -> None:
    raw.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n"
    async with HttpUpstream(raw.url) as upstream:
        for _ in range(2):
            assert await (await upstream.request("GET", b"/", [])).read(10) == b"ok"
        assert raw.connections == 2


async def test_a_body_for_head_does_not_become_the_next_answer(raw: RawUpstream) -> None:
    raw.answer = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    )
    async with HttpUpstream(raw.url) as upstream:
        for _ in range(3):
            answer = await upstream.request("HEAD", b"/", [])
            assert answer.header(b"content-length") == b"38"
            assert await answer.read(10) == b""
        assert raw.connections == 3


async def test_closed_before_and_in_the_middle(raw: RawUpstream) -> None:
    async def close(exchange: Exchange) -> None:
        if exchange.seen.target == b"/half":
            exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
            await exchange.writer.drain()
        exchange.writer.close()

    raw.handler = close
    async with HttpUpstream(raw.url) as upstream:
        with pytest.raises(UpstreamBroke, match="before answering"):
            await upstream.request("GET", b"/", [])
        answer = await upstream.request("GET", b"/half", [])
        assert await answer.chunk() == (b"half", True)
        with pytest.raises(UpstreamBroke, match="in the middle"):
            await answer.chunk()


async def test_an_answer_that_is_given_up_closes_its_connection(raw: RawUpstream) -> None:
    async def endless(exchange: Exchange) -> None:
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx")
        await exchange.gone()

    raw.handler = endless
    async with HttpUpstream(raw.url) as upstream:
        answer = await upstream.request("GET", b"/", [])
        await answer.aclose()
        await asyncio.sleep(0.05)
        assert (raw.open, upstream.connections) == (0, (0, 0))
        call = asyncio.create_task(upstream.request("GET", b"/", []))
        await asyncio.sleep(0.05)
        await (await call).aclose()


async def test_a_limit_on_what_is_read(raw: RawUpstream) -> None:
    raw.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world"
    async with HttpUpstream(raw.url) as upstream:
        with pytest.raises(BadUpstreamAnswer, match="longer than 10 bytes"):
            await (await upstream.request("GET", b"/", [])).read(10)


async def test_idle_connections_are_closed_after_a_while(raw: RawUpstream) -> None:
    async with HttpUpstream(raw.url, timeouts=Timeouts(keep_s=0.1)) as upstream:
        await (await upstream.request("GET", b"/", [])).read(10)
        assert upstream.connections == (0, 1)
        await asyncio.sleep(0.3)
        assert (upstream.connections, raw.open) == ((0, 0), 0)


async def test_an_https_upstream_must_prove_who_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = subprocess.run(  # noqa: ASYNC221 - before anything runs
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    assert made.returncode == 0
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    raw = RawUpstream(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 2000000)
    await raw.start(host="localhost", ssl=context)
    url = f"https://localhost:{raw.port}"
    with pytest.raises(UpstreamRefused, match="TLS failed"):
        await HttpUpstream(url).request("GET", b"/", [])
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with HttpUpstream(url) as upstream:
        for _ in range(2):
            assert len(await (await upstream.request("GET", b"/", [])).read(3000000)) == 2000000
    await raw.stop()


@pytest.mark.parametrize(
    ("url", "authority", "base"),
    [
        ("http://127.0.0.1:4533", b"127.0.0.1:4533", b""),
        ("http://music/", b"music", b""),
        ("https://music.example/nd/", b"music.example", b"/nd"),
        ("https://[::1]:8443/a", b"[::1]:8443", b"/a"),
        ("http+unix://%2Frun%2Fnd.sock/music", b"localhost", b"/music"),
    ],
)
def test_addresses(url: str, authority: bytes, base: bytes) -> None:
    origin = Origin.parse(url)
    assert (origin.authority, origin.base_path) == (authority, base)


@pytest.mark.parametrize(
    "url", ["", "music:4533", "ftp://a", "http://u:p@a", "http+unix://run%2Fx", "http://a?b"]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match=r"upstream"):
        Origin.parse(url)


@pytest.mark.parametrize(
    ("target", "header"),
    [
        (b"/a b", (b"x", b"y")),
        (b"/a\r\nx: y", (b"x", b"y")),
        (b"/a", (b"x", b"y\r\nz: 1")),
        (b"/a", (b"x\n", b"y")),
        (b"/a", (b"x", b"y\rz")),
    ],
)
def test_a_request_cannot_be_split(target: bytes, header: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="line break or blank"):
        request_head(b"GET", target, [header])
