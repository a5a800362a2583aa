"""A raw upstream and a raw client: what tests see are the bytes on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from proxy.application import Application, create_application
from proxy.server import serve_in_background
from proxy.settings import ProxySettings, ServerSettings
from proxy.upstream import HttpUpstream, Timeouts

FORWARDING = (
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
    b"x-real-ip",
    b"forwarded",
)


@dataclass
class Seen:
    """A request as the upstream got it, to the byte."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    raw_head: bytes

    def get(self, name: bytes) -> list[bytes]:
        return [v for n, v in self.headers if n == name]

    @property
    def own_headers(self) -> list[tuple[bytes, bytes]]:
        """Without those that the proxy adds for its client."""
        return [h for h in self.headers if h[0] not in FORWARDING]


@dataclass
class Reply:
    """An answer as a client got it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    whole: bool = True

    def get(self, name: bytes) -> list[bytes]:
        return [v for n, v in self.headers if n.lower() == name]


Handler = Callable[["Exchange"], Awaitable[None]]


@dataclass
class Exchange:
    """What a handler of the raw upstream works with."""

    seen: Seen
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def gone(self) -> None:
        """Returns when the proxy has closed the connection."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass


@dataclass
class RawUpstream:
    """Answers with what it is told; records every request."""

    handler: Handler | None = None
    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    port: int = 0
    _server: asyncio.Server | None = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while (seen := await read_request(reader)) is not None:
                self.seen.append(seen)
                if self.handler is not None:
                    await self.handler(Exchange(seen, reader, writer))
                else:
                    writer.write(self.answer)
                await writer.drain()
                if writer.is_closing():
                    break
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):  # cut off
            pass
        finally:
            self.open -= 1
            writer.close()

    async def start(self, **where: Any) -> None:
        if "path" in where:
            self._server = await asyncio.start_unix_server(self._serve, where["path"])
            return
        where = {"host": "127.0.0.1", "port": 0} | where
        self._server = await asyncio.start_server(self._serve, limit=2**20, **where)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        if hasattr(self._server, "close_clients"):  # Python 3.13
            self._server.close_clients()
        await asyncio.sleep(0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


async def read_headers(reader: asyncio.StreamReader) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head[:-4].split(b"\r\n")[1:]
    pairs = [line.partition(b":") for line in lines]
    return head, [(name, value.strip()) for name, _, value in pairs]


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readline()).partition(b";")[0], 16):
        body += await reader.readexactly(size)
        assert await reader.readline() == b"\r\n"
    while await reader.readline() != b"\r\n":
        pass
    return body


async def read_request(reader: asyncio.StreamReader) -> Seen | None:
    try:
        head, headers = await read_headers(reader)
    except asyncio.IncompleteReadError:
        return None
    method, target, _ = head.partition(b"\r\n")[0].split(b" ")
    known = {name.lower(): value for name, value in headers}
    body = b""
    if known.get(b"transfer-encoding") == b"chunked":
        body = await read_chunks(reader)
    elif b"content-length" in known:
        body = await reader.readexactly(int(known[b"content-length"]))
    return Seen(method, target, headers, body, head)


async def read_reply(reader: asyncio.StreamReader, method: bytes = b"GET") -> Reply:
    head, headers = await read_headers(reader)
    status = int(head[9:12])
    if status == 100:
        return await read_reply(reader, method)
    known = {name.lower(): value for name, value in headers}
    reply = Reply(status, headers, b"")
    if method == b"HEAD" or status in (204, 304, 101):
        return reply
    try:
        if known.get(b"transfer-encoding") == b"chunked":
            reply.body = await read_chunks(reader)
        elif b"content-length" in known:
            reply.body = await reader.readexactly(int(known[b"content-length"]))
        else:
            reply.body = await reader.read()
    except (asyncio.IncompleteReadError, ValueError, ConnectionError):
        reply.whole = False
    return reply


@dataclass
class RawClient:
    """Speaks to the proxy in bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes, method: bytes = b"GET") -> Reply:
        self.writer.write(data)
        await self.writer.drain()
        return await read_reply(self.reader, method)

    async def get(
        self,
        target: bytes = b"/",
        headers: Sequence[tuple[bytes, bytes]] = (),
        method: bytes = b"GET",
        body: bytes = b"",
        version: bytes = b"1.1",
        host: bytes = b"music.example:4040",
    ) -> Reply:
        lines = [b"%b %b HTTP/%b" % (method, target, version), b"Host: " + host]
        lines += [b"%b: %b" % header for header in headers]
        return await self.send(b"\r\n".join([*lines, b"", body]), method)

    def close(self) -> None:
        self.writer.close()


@dataclass
class Proxied:
    """A proxy in front of a raw upstream."""

    url: str
    upstream: RawUpstream
    application: Application
    clients: list[RawClient]

    @property
    def port(self) -> int:
        return int(self.url.partition("://")[2].partition("/")[0].rpartition(":")[2])

    async def client(self) -> RawClient:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
        self.clients.append(RawClient(reader, writer))
        return self.clients[-1]

    async def get(self, target: bytes = b"/", *args: Any, **more: Any) -> Reply:
        """One call on a connection of its own."""
        client = await self.client()
        try:
            return await client.get(target, *args, **more)
        finally:
            client.close()


#: See `proxied`.
KEPT = 0


async def keep_open(upstream: Any, count: int) -> None:
    """Give an upstream so many connections that it may use at once."""
    for _ in range(count):
        await upstream.open_connection()


@asynccontextmanager
async def proxied(
    upstream: RawUpstream | None = None,
    *,
    url: str = "",
    base: str = "",
    timeouts: Timeouts | None = None,
    server: ServerSettings | None = None,
    kept: int | None = None,
    **more: Any,
) -> AsyncIterator[Proxied]:
    """A proxy on a free port, in front of `upstream` (or of whatever is at `url`).

    Args:
        kept: connections to the upstream that are open from before, so that reads are relayed
            from the first one on; by default `KEPT`.
    """
    upstream = upstream or RawUpstream()
    if not url:
        await upstream.start()
        url = upstream.url + base
    server = replace(server or ServerSettings(), host="127.0.0.1", port=0, drain_s=1.0)
    settings = ProxySettings(upstream_url=url, server=server)
    application = create_application(
        settings, upstream=HttpUpstream(url, timeouts=timeouts), **more
    )
    found: list[RawClient] = []
    try:
        async with serve_in_background(application, server) as address:
            if upstream._server is not None:
                await keep_open(application.upstream, KEPT if kept is None else kept)
            try:
                yield Proxied(address, upstream, application, found)
            finally:
                for client in found:
                    client.close()
    finally:
        if upstream._server is not None:
            await upstream.stop()
