"""Requests that no client library sends, byte by byte."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest

from proxy import headers
from tests.contract.conftest import House

pytestmark = pytest.mark.anyio

PING = "/rest/ping?u=admin&p=sesame&v=1&c=x&f=json"


async def raw(house: House, data: bytes, until: bytes, timeout_s: float = 20.0) -> bytes:
    """Sends bytes, and reads until `until` came so often as it should, or the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(house.url).port)
    writer.write(data)
    answer = b""
    async with asyncio.timeout(timeout_s):
        while until not in answer and (piece := await reader.read(65536)):
            answer += piece
    writer.close()
    return answer


@pytest.mark.parametrize("target", ["/x", "/é", "example.net:443", "*"])
async def test_nobody_is_tunnelled_anywhere(house: House, target: str) -> None:
    request = f"CONNECT {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    assert (await raw(house, request, b"\r\n\r\n")).startswith(b"HTTP/1.1 405 ")
    assert house.server.calls == []


async def test_upgrades_that_are_not_offered_are_calls_however_many_come_at_once(
    house: House,
) -> None:
    one = f"GET {PING} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    last = f"GET {PING}&last=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    answer = await raw(house, one.encode() * 400 + last.encode(), b"no such bytes")
    assert answer.count(b"HTTP/1.1 200") == 401


async def test_long_hosts_are_passed_on_and_not_kept(house: House) -> None:
    headers._first_hop.cache_clear()
    for number in range(30):
        host = f"{number}." + "x" * 40_000
        request = f"GET {PING} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        assert b"200 OK" in await raw(house, request, b"no such bytes")
    assert house.server.calls[-1][2]["x-forwarded-host"] == host
    assert headers._first_hop.cache_info().currsize == 0
