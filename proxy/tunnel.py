"""Bytes both ways between a client and the upstream, once both have agreed on a WebSocket."""

from __future__ import annotations

import asyncio
from typing import Any, Final

#: What a client may send before the upstream has agreed.
_MAX_EARLY_BYTES: Final = 64 * 1024


class _End(asyncio.Protocol):
    """One end: what it reads is written to the other transport, at the pace of that one."""

    def __init__(self, tunnel: Tunnel, own: asyncio.Transport, other: asyncio.Transport) -> None:
        self._tunnel = tunnel
        self._own = own
        self._other = other

    def data_received(self, data: bytes) -> None:
        if not self._other.is_closing():
            self._other.write(data)

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self._tunnel.close()

    def pause_writing(self) -> None:
        if not self._other.is_closing():
            self._other.pause_reading()

    def resume_writing(self) -> None:
        if not self._other.is_closing():
            self._other.resume_reading()


class Tunnel:
    """A tunnel that begins at the client's transport; closing either end closes both."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client
        self._upstream: asyncio.Transport | None = None
        self._early = b""
        self._connections: set[Any] = set()

    def hold(self, data: bytes) -> None:
        """Keep what the client sends before the tunnel is open."""
        self._early += data
        if len(self._early) > _MAX_EARLY_BYTES:
            self._client.abort()

    def open(self, upstream: tuple[asyncio.Transport, bytes], connections: set[Any]) -> None:
        """Join the ends.

        Args:
            upstream: its transport, not reading, and what it has already sent.
            connections: the server's, which it shuts down when it stops.
        """
        transport, early = upstream
        self._upstream = transport
        self._connections = connections
        connections.add(self)
        self._client.set_protocol(_End(self, self._client, transport))
        transport.set_protocol(_End(self, transport, self._client))
        if self._early:
            transport.write(self._early)
        if early:
            self._client.write(early)
        self._early = b""
        transport.resume_reading()

    def close(self) -> None:
        """Close both ends, once what was written has gone out."""
        self._connections.discard(self)
        for transport in (self._client, self._upstream):
            if transport is not None and not transport.is_closing():
                transport.close()

    #: What uvicorn calls on each connection when it stops.
    shutdown = close
