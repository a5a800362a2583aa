"""What the upstream answered: the head at once, the body as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from proxy.errors import BadUpstreamAnswer, UpstreamBroke, UpstreamError

if TYPE_CHECKING:
    from proxy.http1 import Connection

#: A loop time that does not come.
NEVER_S: Final = float("inf")


class Answer:
    """An answer of the upstream: its head, and its body piece by piece.

    `status`, and `headers` exactly as they came: order, duplicates and case. One reader at a time.
    Whoever gets an answer reads it to its end or calls `aclose`.
    """

    __slots__ = (
        "_chunks",
        "_complete",
        "_connection",
        "_endless",
        "_error",
        "_waiter",
        "headers",
        "status",
    )

    def __init__(self, connection: Connection | None) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._connection = connection
        self._chunks: list[bytes] = []
        self._complete = False
        self._endless = False
        self._error: UpstreamError | None = None
        self._waiter: asyncio.Future[None] | None = None

    def header(self, name: bytes, default: bytes = b"") -> bytes:
        """The first value of a header, whatever its case."""
        name = name.lower()
        return next((v for n, v in self.headers if n.lower() == name), default)

    async def chunk(self) -> tuple[bytes, bool]:
        """The next piece of the body, and whether more may follow; (b"", False) at the end.

        Raises:
            UpstreamError: it broke off, or nothing came for too long.
        """
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._complete:
                return b"", False
            await self._wait()
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        return data, not self._complete

    async def aiter(self) -> AsyncIterator[bytes]:
        """The body, piece by piece."""
        more = True
        while more:
            data, more = await self.chunk()
            if data:
                yield data

    async def read(self, limit: int) -> bytes:
        """The whole body.

        Raises:
            BadUpstreamAnswer: it is longer than `limit` bytes; the connection is closed.
        """
        pieces: list[bytes] = []
        size = 0
        more = True
        while more:
            data, more = await self.chunk()
            size += len(data)
            if size > limit:
                await self.aclose()
                raise BadUpstreamAnswer(f"the upstream's answer is longer than {limit} bytes")
            pieces.append(data)
        return b"".join(pieces)

    async def aclose(self) -> None:
        """Done with it. Before its end this closes the connection, which frees the upstream."""
        self.abandon()

    def abandon(self) -> None:
        """`aclose` for callers that cannot wait."""
        if not self._complete and self._connection is not None:
            self._connection.abort()

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """After a 101: the transport, paused, for a new protocol; and what came early."""
        if self._connection is None or self.status != 101:
            raise RuntimeError("only a connection that was upgraded can be detached")
        return self._connection.detach()

    async def _wait(self) -> None:
        connection = self._connection
        if connection is None:  # cannot be: an answer ends complete or with an error
            raise UpstreamBroke("the upstream's connection is gone")
        self._waiter = connection.loop.create_future()
        connection.expect_more(NEVER_S if self._endless else connection.idle_s)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if self._connection is connection:  # else it may be another call's by now
                connection.deadline = NEVER_S

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
