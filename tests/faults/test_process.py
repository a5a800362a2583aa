"""`segue serve` as a process: a full disk, and a stop in the middle of streams."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import sqlite3
from pathlib import Path

import pytest

from catalog.history import Event, History
from proxy.linking import link_server
from subsonic.client import Client
from subsonic.settings import UpstreamSettings
from tests.contract.conftest import serving, write_catalog
from tests.contract.upstream import FakeServer
from tests.faults.load import LOGIN, Call
from tests.faults.process import served
from tests.unit.proxy.wire import Exchange, RawUpstream, Reply, read_reply

pytestmark = pytest.mark.anyio

SIMILAR = Call(f"/rest/getSimilarSongs?{LOGIN}&id=song0001&count=5")


async def ask(port: int, call: Call) -> Reply:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(call.request())
        return await asyncio.wait_for(read_reply(reader), 5)
    finally:
        writer.close()


async def test_a_full_disk_harms_no_call(tmp_path: Path) -> None:
    server = FakeServer()
    data = tmp_path / "data"
    data.mkdir()
    write_catalog(data, server)
    async with serving(server) as upstream_url:
        async with Client(UpstreamSettings(upstream_url, "admin", "sesame")) as client:
            await link_server(client, data)
        async with served(tmp_path, upstream_url, full_disk=True) as (process, port):
            for number in range(20):
                song = f"song{number:04d}"
                for call in (
                    Call(f"/rest/scrobble?{LOGIN}&id={song}&submission=false"),
                    Call(f"/rest/scrobble?{LOGIN}&id={song}&submission=true"),
                    SIMILAR,
                    Call(f"/rest/getRandomSongs?{LOGIN}&size=3"),
                ):
                    reply = await ask(port, call)
                    assert (reply.status, b'"ok"' in reply.body) == (200, True)
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.wait(), 5)
            assert process.returncode == 0


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux")
async def test_a_disk_that_fills_up_and_is_cleared_again(tmp_path: Path) -> None:
    """The history cannot be written for a while: nobody notices, and then it goes on."""
    server = FakeServer()
    data = tmp_path / "data"
    data.mkdir()
    write_catalog(data, server)
    with History.open(data) as history:  # as an earlier run left it
        history.append([Event(1.0, "admin", "c", "", "", "starts", "song0000")])

    def scrobble(song: str, last: bool) -> Call:
        return Call(f"/rest/scrobble?{LOGIN}&id={song}&submission={str(last).lower()}")

    async def play(port: int, song: str) -> None:
        for call in (scrobble(song, False), SIMILAR, scrobble(song, True)):
            reply = await ask(port, call)
            assert (reply.status, b'"ok"' in reply.body) == (200, True)

    async with serving(server) as upstream_url:
        async with Client(UpstreamSettings(upstream_url, "admin", "sesame")) as client:
            await link_server(client, data)
        async with served(tmp_path, upstream_url) as (process, port):
            _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, hard))
            await play(port, "song0010")
            assert process.stderr is not None
            told = b""
            while b"is not kept" not in told:
                told = await asyncio.wait_for(process.stderr.readline(), 10)
            await play(port, "song0011")
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
            await play(port, "song0012")
            process.send_signal(signal.SIGTERM)  # what waits is written at the end
            assert await asyncio.wait_for(process.wait(), 5) == 0
    with History.open(data) as history:
        kept = {event.song_id for event in history.since(0.0)}
        assert {"song0000", "song0012"} <= kept
        assert "song0010" not in kept
    with contextlib.closing(sqlite3.connect(data / "history.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_a_stop_lets_streams_end(tmp_path: Path) -> None:
    """Streams and slow answers under way are served whole; nobody new is let in."""
    events = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        if exchange.seen.target == b"/api/events":
            exchange.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
            await exchange.gone()
            events.set()
            return
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n")
        for _ in range(20):
            exchange.write(bytes(10_000))
            await exchange.writer.drain()
            await asyncio.sleep(0.05)

    upstream = RawUpstream(handler=answer)
    await upstream.start()
    try:
        async with served(tmp_path, upstream.url, drain_s=5) as (process, port):
            targets = ["/rest/stream?id=1"] * 8 + ["/api/events"]
            asked = [asyncio.create_task(ask(port, Call(target))) for target in targets]
            while len(upstream.seen) < len(targets):  # noqa: ASYNC110 - it has no event for it
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(events.wait(), 1)  # a stream without an end is not waited for
            with pytest.raises(OSError, match="Connect call failed"):
                await asyncio.open_connection("127.0.0.1", port)
            streams = await asyncio.gather(*asked[:8])
            assert all(s.whole and len(s.body) == 200_000 for s in streams)
            assert await asyncio.wait_for(process.wait(), 5) == 0
            asked[8].cancel()
            await asyncio.gather(asked[8], return_exceptions=True)
    finally:
        await upstream.stop()


async def test_a_stop_does_not_wait_for_ever(tmp_path: Path) -> None:
    async def endless(exchange: Exchange) -> None:
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
        await exchange.gone()

    upstream = RawUpstream(handler=endless)
    await upstream.start()
    try:
        async with served(tmp_path, upstream.url, drain_s=1) as (process, port):
            asked = asyncio.create_task(ask(port, Call("/rest/stream?id=1")))
            while not upstream.seen:  # noqa: ASYNC110 - it has no event for it
                await asyncio.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 4) == 0
            assert not (await asked).whole
    finally:
        await upstream.stop()
