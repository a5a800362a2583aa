"""A TCP server between Segue and an honest one, which misbehaves as each request asks it to.

A call says in `X-Fault` what happens to it, and in `X-Fault-On` to which endpoints (so that a fault
may hit only the calls that Segue makes on its own). Connections misbehave by chance besides: they
close when idle, at once or in the very moment of the next request.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from tests.unit.proxy.wire import Seen, read_request

#: Faults that fail a call whoever makes it, and what a proxy may answer in their place.
FATAL: Final = {
    "hang": 504,
    "garbage": 502,
    "close": 502,
    "endless-head": 502,
    "half": 200,  # its head was good: the answer breaks off
}
#: Faults that only try one's patience.
HARMLESS: Final = ("", "slow-head", "slow-body", "interim", "no-length")

_ANSWERED_DIRECTLY: Final = (b"x-fault", b"x-fault-on", b"connection")


@dataclass
class Flaky:
    """The relay.

    Args:
        port: the honest server's.
        idle_faults: how often a connection that is kept alive goes away, 0 to 1.
    """

    port: int
    idle_faults: float = 0.0
    chance: random.Random = field(default_factory=lambda: random.Random(20261121))
    asked: Counter[str] = field(default_factory=Counter)
    #: Writes that reached the honest server, by the `n` they carry: none may come twice.
    writes: Counter[str] = field(default_factory=Counter)
    open: int = 0
    own_port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.own_port, limit=2**20
        )
        self.own_port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections, and break those that are open."""
        assert self._server is not None
        self._server.close()
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.own_port}"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open += 1
        with contextlib.suppress(
            ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ValueError
        ):
            await self._serve(reader, writer)
        self.open -= 1
        self._tasks.discard(task)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        doomed = False
        while (seen := await read_request(reader)) is not None:
            if doomed:  # a stale connection: gone in the moment when the request was on its way
                return
            fault = _fault(seen)
            self.asked[fault] += 1
            if not await self._answer(seen, fault, reader, writer):
                return
            await writer.drain()
            luck = self.chance.random()
            if luck < self.idle_faults / 2:
                doomed = True
            elif luck < self.idle_faults:
                await asyncio.sleep(self.chance.random() * 0.02)
                return

    async def _answer(
        self, seen: Seen, fault: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; False where the connection ends with it."""
        if fault == "hang":
            while await reader.read(65536):
                pass
            return False
        if fault == "close":
            return False
        if fault == "garbage":
            writer.write(b"\x16\x03\x01 I am no HTTP server\r\n\r\n")
            await writer.drain()
            return False
        if fault == "endless-head":
            writer.write(b"HTTP/1.1 200 OK\r\n")
            with contextlib.suppress(ConnectionError):
                for number in range(20_000):
                    writer.write(b"X-%d: %b\r\n" % (number, b"y" * 100))
                    await writer.drain()
            return False
        head, body = await self._ask(seen)
        if fault == "half":
            writer.write(head + body[: len(body) // 2])
            await writer.drain()
            return False
        if fault == "slow-head":
            for at in range(0, len(head), len(head) // 4 + 1):
                writer.write(head[at : at + len(head) // 4 + 1])
                await asyncio.sleep(0.01)
            writer.write(body)
        elif fault == "slow-body":
            writer.write(head)
            for at in range(0, len(body), len(body) // 4 + 1):
                await asyncio.sleep(0.01)
                writer.write(body[at : at + len(body) // 4 + 1])
        elif fault == "interim":
            writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + head + body)
        elif fault == "no-length":
            lines = head[:-4].split(b"\r\n")
            kept = [line for line in lines if not line.lower().startswith(b"content-length")]
            writer.write(b"\r\n".join([*kept, b"connection: close", b"", b""]) + body)
            await writer.drain()
            return False
        else:
            writer.write(head + body)
        return True

    async def _ask(self, seen: Seen) -> tuple[bytes, bytes]:
        """The honest server's answer, with its length."""
        if b"&n=" in seen.target:
            self.writes[seen.target.rpartition(b"&n=")[2].decode()] += 1
        lines = [b"%b %b HTTP/1.1" % (seen.method, seen.target)]
        lines += [b"%b: %b" % h for h in seen.headers if h[0].lower() not in _ANSWERED_DIRECTLY]
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
        try:
            writer.write(b"\r\n".join([*lines, b"connection: close", b"", b""]) + seen.body)
            answer = await reader.read()
        finally:
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        kept = [line for line in head.split(b"\r\n") if line.lower() != b"connection: close"]
        return b"\r\n".join([*kept, b"", b""]), body


def _fault(seen: Seen) -> str:
    headers = {name.lower(): value for name, value in seen.headers}
    endpoints = headers.get(b"x-fault-on", b"").split()
    endpoint = seen.target.partition(b"?")[0].rpartition(b"/")[2].removesuffix(b".view")
    if endpoints and endpoint not in endpoints:
        return ""
    return headers.get(b"x-fault", b"").decode()


@contextlib.asynccontextmanager
async def misbehaving(port: int, idle_faults: float = 0.0) -> AsyncIterator[Flaky]:
    """A relay to the server at `port`."""
    flaky = Flaky(port, idle_faults)
    await flaky.start()
    try:
        yield flaky
    finally:
        await flaky.stop()
