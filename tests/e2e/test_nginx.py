"""nginx in front of a real `segue serve` that is killed in the middle of traffic."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tests.faults.process import free_port, served
from tests.unit.nginx.front import CONFIGURATIONS, nginx_in_front, nginx_program
from tests.unit.proxy.wire import Exchange, RawUpstream, read_reply

pytestmark = pytest.mark.anyio

TRUSTED = 'trusted_proxies = ["127.0.0.1"]'
READS = ("getSong", "getSimilarSongs", "getRandomSongs.view", "star", "savePlayQueue", "ping")
WRITES = ("scrobble", "scrobble.view", "reportPlayback")


@dataclass
class Traffic:
    """What clients asked for, what they got, and what reached the server."""

    reached: Counter[str] = field(default_factory=Counter)
    through_segue: int = 0
    lost: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)
    broken_streams: int = 0
    answered: int = 0

    async def serve(self, exchange: Exchange) -> None:
        """The server behind."""
        seen = exchange.seen
        query = seen.target.partition(b"?")[2] or seen.body
        number = parse_qs(query.decode()).get("n", [""])[0]
        self.reached[number] += 1
        # Only Segue tells by `Forwarded` who called.
        self.through_segue += bool(seen.get(b"forwarded"))
        if seen.target.startswith(b"/rest/stream"):
            exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n")
            for _ in range(3):
                exchange.write(bytes(1000))
                await exchange.writer.drain()
                await asyncio.sleep(0.02)
            return
        await asyncio.sleep(random.random() * 0.01)
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def ask(self, port: int, number: int) -> None:
        """One call of a player, on a connection of its own."""
        kind = number % 4
        endpoint = (WRITES if kind == 1 else READS)[number // 4 % (3 if kind == 1 else 6)]
        path = "/rest/stream" if kind == 3 else f"/rest/{endpoint}"
        query = f"u=a&f=json&id=1&n={number}"
        if number % 8 < 4 and kind != 3:
            request = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(query)}\r\n"
            request += f"Content-Type: application/x-www-form-urlencoded\r\n\r\n{query}"
        else:
            request = f"GET {path}?{query} HTTP/1.1\r\nHost: a\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request.encode())
            reply = await asyncio.wait_for(read_reply(reader), 20)
        finally:
            writer.close()
        self.answered += 1
        reached = self.reached[str(number)]
        if kind == 1:
            assert reached <= 1, f"{path} came {reached} times"
            if reply.status == 502:
                self.unsure.append(path)  # sent to Segue as it died: only the player may repeat it
            elif reached != 1 or reply.status != 200:
                self.lost.append(f"{path}: {reply.status}, reached {reached}")
        elif reached == 0 or reply.status != 200:
            self.lost.append(f"{path}: {reply.status}, reached {reached}")
        self.broken_streams += not reply.whole


@pytest.mark.parametrize("name", CONFIGURATIONS)
async def test_kill_9_in_traffic(tmp_path: Path, name: str) -> None:
    """What was not yet answered in part reaches the server; a scrobble is never sent twice."""
    nginx_program()
    traffic = Traffic()
    upstream = RawUpstream(handler=traffic.serve)
    await upstream.start()
    port = await free_port()
    quick = {"fail_timeout=5s": "fail_timeout=1s"}
    stopped = False
    numbers = iter(range(10**9))

    async def player(front: int) -> None:
        while not stopped:
            await traffic.ask(front, next(numbers))

    async def calls(count: int) -> None:
        until = traffic.answered + count
        deadline = time.monotonic() + 20
        while traffic.answered < until and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    try:
        with nginx_in_front(tmp_path, name, port, upstream.port, **quick) as address:
            players = []
            for _ in range(2):
                async with served(
                    tmp_path, upstream.url, port=port, server=TRUSTED, log=tmp_path / "segue.log"
                ) as (process, _):
                    wanted = traffic.through_segue + 60
                    front = int(address.rpartition(":")[2])
                    players = players or [asyncio.create_task(player(front)) for _ in range(12)]
                    for _ in range(50):  # nginx finds by itself that Segue is there again
                        await calls(50)
                        await asyncio.sleep(0.1)
                        if traffic.through_segue > wanted:
                            break
                    assert traffic.through_segue > wanted
                    process.kill()
                    await calls(150)
            stopped = True
            await asyncio.gather(*players)
    finally:
        await upstream.stop()
    assert not traffic.lost, traffic.lost[:5]
    # Two kills with twelve calls under way each, a quarter of them writes.
    assert len(traffic.unsure) <= 12
    assert traffic.broken_streams <= 24
    print(f"{traffic.answered} calls, {len(traffic.unsure)} writes told as 502")


@pytest.mark.parametrize("name", CONFIGURATIONS)
async def test_a_stream_is_not_held_back(tmp_path: Path, name: str) -> None:
    """The first bytes of audio and of events arrive before the last are sent."""
    nginx_program()
    first_read = asyncio.Event()

    async def slowly(exchange: Exchange) -> None:
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        await exchange.writer.drain()
        await asyncio.wait_for(first_read.wait(), 5)
        exchange.write(b"-last")

    upstream = RawUpstream(handler=slowly)
    await upstream.start()
    try:
        async with served(tmp_path, upstream.url, server=TRUSTED) as (_, port):
            with nginx_in_front(tmp_path, name, port, upstream.port) as address:
                for target in (b"/rest/stream?id=1", b"/api/events", b"/rest/getRandomSongs"):
                    first_read.clear()
                    reader, writer = await asyncio.open_connection(
                        "127.0.0.1", int(address.rpartition(":")[2])
                    )
                    writer.write(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
                    await asyncio.wait_for(reader.readuntil(b"first"), 5)
                    first_read.set()
                    await asyncio.wait_for(reader.readuntil(b"-last"), 5)
                    writer.close()
    finally:
        await upstream.stop()
