"""Requests bent at random: no crash, no hang, and nothing that the server itself would not say."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket

import pytest
import uvloop

from tests.fidelity.conftest import SOAK_SHARE
from tests.unit.proxy.wire import Exchange, RawUpstream, proxied

#: What Segue says by itself to what is no request, and the only other answer is the server's own.
OWN = {400, 405, 408, 431, 501}
SERVERS = 299

REQUESTS = (
    b"POST /rest/ping?f=json HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
    b"Connection: keep-alive\r\nExpect: 100-continue\r\n\r\nabc",
    b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n"
    b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX: y\r\n\r\n",
    b"GET /socket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"GET http://a/b?c HTTP/1.1\r\nHost: a\r\nX-Real-IP: 1.2.3.4\r\nCookie: a=b\r\n\r\n",
    b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /%ff/\xc3\xbc HTTP/1.0\r\nHost: a\r\nRange: bytes=0-\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n0\r\n\r\n",
)
JUNK = (
    b"", b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"\xff", b"0", b"-1", b"HTTP/1.1",
    b"HTTP/9.9", b"chunked", b"\r\n\r\n", b"GET / HTTP/1.1\r\n", b"x" * 300, b"%", b"\r\n folded",
    b"Content-Length: 9\r\n", b"Content-Length: 3, 3\r\n", b"Transfer-Encoding: gzip\r\n",
    b"Host: b\r\n", b"ffffffffffffffff\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01",
    b"Transfer-Encoding : chunked\r\n", b"Content-Length: +3\r\n", b"CONNECT a:1 HTTP/1.1\r\n",
)  # fmt: skip


def bent(chance: random.Random) -> bytes:
    request = bytearray(chance.choice(REQUESTS))
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(request) + 1)
        request[at : at + chance.choice((0, 0, 1, 5, 40))] = chance.choice(JUNK)
    return bytes(request)


async def send(port: int, request: bytes, chance: random.Random, *, close: bool = True) -> bytes:
    """What comes back until the end; without `close`, in the half second after the request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        cut = chance.randrange(len(request) + 1)
        with contextlib.suppress(OSError, RuntimeError):  # it may have hung up
            writer.write(request[:cut])
            await asyncio.sleep(chance.choice((0, 0, 0.002)))
            writer.write(request[cut:])
            if close:
                writer.write_eof()
        if not close:
            return await _for_a_while(reader)
        try:
            return await asyncio.wait_for(reader.read(), 5)
        except TimeoutError:
            raise
        except OSError:  # a reset
            return b""
    finally:
        writer.close()


async def _for_a_while(reader: asyncio.StreamReader) -> bytes:
    got = b""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(0.5):
            while data := await reader.read(65536):
                got += data
    return got


def statuses(answer: bytes) -> list[int]:
    """Of the answers on a connection; the server's own have a body that is empty."""
    found = []
    while answer:
        assert answer.startswith(b"HTTP/1.1 "), answer[:100]
        head, separator, answer = answer.partition(b"\r\n\r\n")
        assert separator, head
        found.append(int(head[9:12]))
        if found[-1] in OWN:
            assert b"connection: close" in head
            answer = answer.partition(b"\n")[2]
        elif found[-1] == SERVERS:
            answer = answer.removeprefix(b"0\r\n\r\n")
    return found


async def bend(seed: int, rounds: int, clients: int = 8) -> None:
    heads: list[bytes] = []

    async def answer(exchange: Exchange) -> None:
        heads.append(exchange.seen.raw_head)
        exchange.write(b"HTTP/1.1 %d Own\r\nContent-Length: 0\r\n\r\n" % SERVERS)

    async with proxied(RawUpstream(handler=answer)) as proxy:

        async def client(number: int) -> None:
            chance = random.Random(seed * 1000 + number)
            for at in range(rounds // clients):
                request = bent(chance)
                reply = await send(proxy.port, request, chance)
                for status in statuses(reply):
                    assert status in OWN | {100, SERVERS}, (status, request)
                if at % 50 == 0:
                    assert (await proxy.get()).status == SERVERS

        await asyncio.gather(*(client(number) for number in range(clients)))
        for _ in range(100):
            if proxy.application.upstream.connections[0] == 0:  # type: ignore[attr-defined]
                break
            await asyncio.sleep(0.02)
        assert proxy.application.upstream.connections[0] == 0  # type: ignore[attr-defined]
        assert not proxy.application.metrics.upstream_errors
    for head in heads:  # what went on can be read in one way only
        lines = head.lower().split(b"\r\n")
        assert b"\n" not in head.replace(b"\r\n", b"")
        assert b"\0" not in head
        assert sum(line.startswith(b"host:") for line in lines) == 1
        framed = [ln for ln in lines if ln.startswith((b"content-length:", b"transfer-encoding:"))]
        assert len(framed) <= 1
        assert not any(line.partition(b":")[0].endswith((b" ", b"\t")) for line in lines[1:])


def check(seed: int, rounds: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        uvloop.run(bend(seed, rounds))
    assert not [r for r in caplog.records if r.exc_info], caplog.text[-2000:]


def test_nonsense_never_hangs_or_harms(caplog: pytest.LogCaptureFixture) -> None:
    check(20261121, 800, caplog)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_ten_thousand_malformed_requests(caplog: pytest.LogCaptureFixture) -> None:
    check(7, int(10_000 * SOAK_SHARE), caplog)


def test_resets_at_any_byte_leave_nothing_behind() -> None:
    """A client that vanishes, with a reset, after each byte of a request."""

    async def reset() -> None:
        request = REQUESTS[1]
        async with proxied() as proxy:
            for at in range(0, len(request), 3):
                connection = socket.create_connection(("127.0.0.1", proxy.port))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                connection.sendall(request[:at])
                await asyncio.sleep(0.002)
                connection.close()
            for _ in range(100):
                if proxy.application.upstream.connections[0] == 0:  # type: ignore[attr-defined]
                    break
                await asyncio.sleep(0.02)
            assert proxy.application.upstream.connections[0] == 0  # type: ignore[attr-defined]
            assert (await proxy.get()).status == 200

    uvloop.run(reset())
