"""Bytes in, bytes out: what the upstream gets and what the client gets, over real sockets."""

from __future__ import annotations

import pytest

from tests.unit.proxy.wire import proxied

pytestmark = pytest.mark.anyio

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
]


@pytest.mark.parametrize("target", TARGETS)
async def test_the_raw_target_arrives_as_it_was_sent(target: bytes) -> None:
    async with proxied() as proxy:
        reply = await proxy.get(target)
        assert (reply.status, reply.body) == (200, b"ok")
        assert proxy.upstream.seen[0].target == target
