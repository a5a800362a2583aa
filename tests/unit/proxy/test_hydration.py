"""Calls made as the asking user: one by one and many at once, the same goes over the wire."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import parse_qs

import pytest

from proxy.hydration import Asker
from proxy.shelves import SeenSong
from proxy.upstream import HttpUpstream
from subsonic.envelope import Format
from subsonic.parameters import Parameters
from tests.unit.proxy.wire import Exchange, RawUpstream

pytestmark = pytest.mark.anyio

LOGIN = Parameters([("u", "bob"), ("t", "0a1b"), ("s", "x y&z"), ("v", "1.16.1"), ("c", "Feishin")])
SENT = [(b"user-agent", b"Feishin/1"), (b"if-none-match", b"x"), (b"range", b"bytes=0-"),
        (b"content-length", b"77"), (b"cookie", b"nd-player-1=a")]  # fmt: skip


async def show(exchange: Exchange) -> None:
    """Answers with whatever song is asked for."""
    seen = exchange.seen
    asked = parse_qs((seen.body or seen.target.partition(b"?")[2]).decode())
    song = {"id": asked["id"][0], "title": "T"}
    body = json.dumps({"subsonic-response": {"status": "ok", "song": song}}).encode()
    exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


@pytest.mark.parametrize("by_form", [True, False])
@pytest.mark.parametrize("song_id", ["4Fa", "a/b c+%&=?#;ü", "50%d"])
async def test_one_song_and_many_are_asked_for_alike(by_form: bool, song_id: str) -> None:
    raw = RawUpstream(show)
    await raw.start()
    async with HttpUpstream(raw.url + "/a%20b") as upstream:
        asker = Asker(upstream, LOGIN, SENT, Format.JSON, by_form=by_form)
        await asker.song(song_id)
        [found] = await asker.songs([song_id], asyncio.get_running_loop().time() + 5)
        assert isinstance(found, SeenSong)
    await raw.stop()
    one, other = raw.seen
    assert (one.method, one.target, one.body) == (other.method, other.target, other.body)
    assert sorted(one.headers) == sorted(other.headers)
    assert one.method == (b"POST" if by_form else b"GET")
    assert one.target.startswith(b"/a%20b/rest/getSong.view")
    assert (b"0a1b" in one.target) is not by_form
    assert (b"0a1b" in one.body) is by_form
    assert not {b"range", b"if-none-match"} & {name for name, _ in one.headers}
    assert one.get(b"cookie") == [b"nd-player-1=a"]
    assert one.get(b"content-length") == ([b"%d" % len(one.body)] if by_form else [])
