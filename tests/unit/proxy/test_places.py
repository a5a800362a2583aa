"""Redirects and cookies where the base paths of both sides differ."""

from __future__ import annotations

import pytest

from proxy.places import relocate
from proxy.settings import ServerSettings
from tests.unit.proxy.wire import RawUpstream, proxied


@pytest.mark.parametrize(
    ("inner", "outer", "name", "value", "expected"),
    [
        (b"", b"/music", b"Location", b"/app/?x=/y#z", b"/music/app/?x=/y#z"),
        (b"/nd", b"", b"Location", b"/nd/app/", b"/app/"),
        (b"/nd", b"", b"Location", b"/nd", b"/"),
        (b"/nd", b"/music", b"location", b"/nd?a", b"/music?a"),
        (b"/nd", b"/music", b"Location", b"/ndx/app", b"/ndx/app"),
        (b"", b"/music", b"Location", b"//other/app", b"//other/app"),
        (b"", b"/music", b"Location", b"app/", b"app/"),
        (b"", b"/music", b"Location", b"http://me.example/app", b"http://me.example/music/app"),
        (b"", b"/music", b"Location", b"https://ME.example/a", b"https://ME.example/music/a"),
        (b"", b"/music", b"Location", b"https://other.example/a", b"https://other.example/a"),
        (b"", b"/music", b"Location", b"mailto://me.example/a", b"mailto://me.example/a"),
        (b"/nd", b"", b"Set-Cookie", b"a=/nd; Path=/nd; HttpOnly", b"a=/nd; Path=/; HttpOnly"),
        (b"/nd", b"/m", b"set-cookie", b"a=1; path=/nd/x;Secure", b"a=1; path=/m/x;Secure"),
        (b"", b"/music", b"Set-Cookie", b"a=1; Path=/", b"a=1; Path=/music/"),
        (b"/nd", b"", b"Set-Cookie", b"a=1; Path=/", b"a=1; Path=/"),
        (b"/nd", b"", b"X-Path", b"/nd/a", b"/nd/a"),
    ],
)
def test_base_paths(inner: bytes, outer: bytes, name: bytes, value: bytes, expected: bytes) -> None:
    assert relocate([(name, value)], inner, outer, b"me.example") == [(name, expected)]


@pytest.mark.anyio
async def test_over_the_wire() -> None:
    answer = (
        b"HTTP/1.1 302 Found\r\nLocation: /nd/app/\r\nSet-Cookie: a=1; Path=/nd\r\n"
        b"Set-Cookie: b=2\r\nContent-Length: 0\r\n\r\n"
    )
    server = ServerSettings(base_path="/music")
    async with proxied(RawUpstream(answer=answer), base="/nd", server=server) as proxy:
        reply = await proxy.get(b"/music/")
        assert reply.get(b"location") == [b"/music/app/"]
        assert reply.get(b"set-cookie") == [b"a=1; Path=/music", b"b=2"]
        assert proxy.upstream.seen[0].target == b"/nd/"
    async with proxied(RawUpstream(answer=answer), base="/nd") as proxy:
        assert (await proxy.get(b"/")).get(b"location") == [b"/app/"]
    same = ServerSettings(base_path="/nd")
    async with proxied(RawUpstream(answer=answer), base="/nd", server=same) as proxy:
        assert (await proxy.get(b"/nd/")).get(b"location") == [b"/nd/app/"]
