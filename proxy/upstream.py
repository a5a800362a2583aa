"""The server behind Segue: the seam that the rest of the proxy calls, and its real implementation.

docs/adr/0002-forwarding-client.md tells why this is not one of the well-known clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self
from urllib.parse import unquote, urlsplit

from proxy.answer import Answer
from proxy.errors import UpstreamBroke, UpstreamRefused, UpstreamTimeout
from proxy.http1 import READ_SIZE_BYTES, Connection
from proxy.requests import is_repeatable, may_repeat, request_head

UpstreamResponse = Answer

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Upstream(Protocol):
    """Whatever answers HTTP calls for the proxy."""

    async def request(
        self,
        method: bytes | str,
        target: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes | AsyncIterator[bytes] | None = None,
        *,
        upgrade: bool = False,
    ) -> UpstreamResponse:
        """Send a request; see `HttpUpstream.request`."""
        ...

    async def aclose(self) -> None:
        """Close what is open."""
        ...


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How patient we are, in seconds. Generous: a slow answer is still the upstream's answer."""

    connect_s: float = 5.0
    headers_s: float = 300.0
    idle_s: float = 300.0
    #: An unused connection is closed after this, before the usual servers do.
    keep_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the upstream is."""

    scheme: str
    host: str
    port: int
    socket_path: str
    base_path: bytes

    @classmethod
    def parse(cls, url: str) -> Origin:
        """Read `http(s)://host[:port][/base]` or `http+unix://%2Fpath%2Fto.sock[/base]`.

        Raises:
            ValueError: anything else; the message says what is wrong.
        """
        parts = urlsplit(url)
        base_path = parts.path.rstrip("/").encode("utf-8")
        if parts.scheme == "http+unix":
            socket_path = unquote(parts.netloc)
            if not socket_path.startswith("/"):
                raise ValueError(
                    "the upstream's socket must be an absolute path with its slashes as %2F, "
                    f"such as http+unix://%2Frun%2Fnavidrome.sock, got {url!r}"
                )
            return cls("http", "localhost", 0, socket_path, base_path)
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise ValueError(f"the upstream must look like http://host:port, got {url!r}")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("the upstream's address takes no login, query or fragment")
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
        return cls(parts.scheme, parts.hostname, port, "", base_path)

    @property
    def authority(self) -> bytes:
        """What `Host` says when nobody else said it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.socket_path or self.port == _DEFAULT_PORTS[self.scheme]:
            return host.encode("idna" if not host.isascii() else "ascii")
        return b"%b:%d" % (host.encode("idna" if not host.isascii() else "ascii"), self.port)

    def __str__(self) -> str:
        if self.socket_path:
            return f"the upstream at {self.socket_path}"
        return f"the upstream at {self.scheme}://{self.authority.decode('ascii')}"


class HttpUpstream:
    """A pool of kept-alive HTTP/1.1 connections to one server; made inside the running loop.

    Only this address is ever dialled: a target is sent there, whatever it says.

    Args:
        keep: idle connections kept at most, one at least.

    Raises:
        ValueError: `url` is not an address, or `keep` is less than 1.
    """

    def __init__(self, url: str, *, timeouts: Timeouts | None = None, keep: int = 64) -> None:
        if keep < 1:  # whoever opens one ahead would never find it
            raise ValueError(f"keep must be at least 1, got {keep}")
        self.origin = Origin.parse(url)
        self.timeouts = timeouts or Timeouts()
        self._address = str(self.origin)
        self._keep = keep
        self._idle: deque[Connection] = deque()
        self._busy: set[Connection] = set()
        self._buffer = bytearray(READ_SIZE_BYTES)
        self._tls: ssl.SSLContext | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def request(
        self,
        method: bytes | str,
        target: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes | AsyncIterator[bytes] | None = None,
        *,
        upgrade: bool = False,
    ) -> UpstreamResponse:
        """Send a request and return its answer as soon as the headers are there.

        Args:
            method: as on the wire.
            target: raw path and query below the upstream's base path, or `*`.
            headers: sent in this order as they are. `Host` is added where it is missing. With a
                body, `Content-Length` tells its length; without one it is sent in chunks.
            body: the whole body, an iterator over it, or None for no body.
            upgrade: ask for a WebSocket; the answer's `detach` is possible after a 101.

        Raises:
            UpstreamError: there is no answer. It was tried a second time only if the first try
                went over a kept-alive connection that closed without a byte, and the call
                only reads.
            ValueError: the target or a header would not be one on the wire.
        """
        name = method.encode("ascii") if isinstance(method, str) else method
        has_host = has_length = False
        for header, _ in headers:
            lower = header.lower()
            if lower == b"host":
                has_host = True
            elif lower == b"content-length":
                has_length = True
        chunked = body is not None and not has_length
        more = b"" if has_host else b"host: %b\r\n" % self.origin.authority
        if chunked:
            more += b"transfer-encoding: chunked\r\n"
        if upgrade:
            more += b"connection: Upgrade\r\nupgrade: websocket\r\n"
        path = target if target == b"*" else self.origin.base_path + target
        head = request_head(name, path, headers, more)
        # A write that must not happen twice gets a connection of its own: a server may close a kept
        # one in the very moment that the write is on its way, and nobody could tell what it took.
        kept = self._take() if may_repeat(name, target, body) else None
        connection = kept or await self._connect()
        try:
            return await self._call(connection, head, body, chunked, name == b"HEAD", upgrade)
        except UpstreamBroke as error:
            if not (error.untouched and may_repeat(name, target, body)):
                raise
        connection = await self._connect()
        return await self._call(connection, head, body, chunked, name == b"HEAD", upgrade)

    def begin(self, method: str, target: bytes, tail: bytes, answer: Answer) -> bool:
        """Send a request without a body at once, if that is possible; `answer` hears the rest.

        Args:
            method: GET or HEAD.
            tail: what `tail_of` made of the request's headers.

        Returns:
            False where it is no read, or where no connection is kept: then nothing was sent.
        """
        name = method.encode("ascii")
        if not is_repeatable(name, target):
            return False
        connection = self._take()
        if connection is None:
            return False
        head = b"%b %b%b HTTP/1.1\r\n%b" % (name, self.origin.base_path, target, tail)
        connection.begin(answer, head, is_head=method == "HEAD")
        self._watch(connection)
        return True

    def begin_read(self, head: bytes, body: bytes | None, answer: Answer) -> bool:
        """Send a request that only reads, whole as it is; False where no connection is kept.

        Raises:
            UpstreamBroke: the connection has just been closed.
        """
        connection = self._take()
        if connection is None:
            return False
        connection.begin(answer, head, body)
        self._watch(connection)
        return True

    async def open_connection(self) -> None:
        """One more connection for `begin` and `begin_read` to take. Raises: UpstreamError."""
        connection = await self._connect()
        connection.idle_since = asyncio.get_running_loop().time()
        self._keep_idle(connection)
        if self._sweeper is None:
            self._schedule_sweep()

    def tail_of(self, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        """All of a request's head but its first line, for `begin`.

        Raises:
            ValueError: a header would not be one on the wire.
        """
        has_host = any(name.lower() == b"host" for name, _ in headers)
        more = b"" if has_host else b"host: %b\r\n" % self.origin.authority
        return request_head(b"GET", b"/", headers, more).partition(b"\r\n")[2]

    async def aclose(self) -> None:
        """Close every connection, busy or not."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in [*self._idle, *self._busy]:
            connection.abort()
        self._idle.clear()
        self._busy.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    @property
    def connections(self) -> tuple[int, int]:
        """(busy, idle) connections now."""
        return len(self._busy), len(self._idle)

    async def _call(
        self,
        connection: Connection,
        head: bytes,
        body: bytes | AsyncIterator[bytes] | None,
        chunked: bool,
        is_head: bool,
        upgrade: bool,
    ) -> Answer:
        self._watch(connection)
        return await connection.call(head, body, chunked=chunked, is_head=is_head, upgrade=upgrade)

    def _take(self) -> Connection | None:
        """An idle connection, the one used last."""
        while self._idle:
            connection = self._idle.pop()
            transport = connection.transport
            if transport is not None and not transport.is_closing():
                return connection
        return None

    async def _connect(self) -> Connection:
        origin = self.origin
        if self._closed:
            raise UpstreamRefused(f"{self._address} is not called any more: Segue is stopping")
        loop = asyncio.get_running_loop()

        def make() -> Connection:
            return Connection(
                loop,
                self._buffer,
                self._address,
                self.timeouts.headers_s,
                self.timeouts.idle_s,
                self._released,
            )

        try:
            async with asyncio.timeout(self.timeouts.connect_s):
                if origin.socket_path:
                    _, connection = await loop.create_unix_connection(make, origin.socket_path)
                else:
                    _, connection = await loop.create_connection(
                        make, origin.host, origin.port, ssl=self._tls_context()
                    )
        except TimeoutError:
            raise UpstreamTimeout(f"{self._address} did not accept a connection in time") from None
        except ssl.SSLError as error:
            raise UpstreamRefused(f"{self._address}: TLS failed ({error.reason})") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise UpstreamRefused(f"{self._address} cannot be reached ({reason})") from error
        return connection

    def _tls_context(self) -> ssl.SSLContext | None:
        if self.origin.scheme == "https" and self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    def _released(self, connection: Connection) -> None:
        self._busy.discard(connection)
        if not connection.usable:
            with contextlib.suppress(ValueError):
                self._idle.remove(connection)
        else:
            self._keep_idle(connection)

    def _keep_idle(self, connection: Connection) -> None:
        if self._closed or len(self._idle) >= self._keep:
            connection.close()
        else:
            connection.was_idle = True
            self._idle.append(connection)

    def _watch(self, connection: Connection) -> None:
        """A call begins on a connection, which the sweeper gives up when its time is over."""
        self._busy.add(connection)
        if self._sweeper is None:
            self._schedule_sweep()

    def _schedule_sweep(self) -> None:
        timeouts = self.timeouts
        every_s = min(1.0, timeouts.headers_s / 4, timeouts.idle_s / 4, timeouts.keep_s / 4)
        self._sweeper = asyncio.get_running_loop().call_later(every_s, self._sweep)

    def _sweep(self) -> None:
        """One look at all deadlines now and then, instead of a timer for every call."""
        now = asyncio.get_running_loop().time()
        for connection in [c for c in self._busy if c.deadline < now]:
            connection.expire()
        while self._idle and now - self._idle[0].idle_since > self.timeouts.keep_s:
            self._idle.popleft().close()
        self._sweeper = None
        if self._busy or self._idle:
            self._schedule_sweep()
