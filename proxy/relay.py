"""An answer that goes to its client as it comes, from transport to transport.

Most calls are short reads that are forwarded untouched. For these an ASGI round (a task, an event,
four awaits) costs more than all that is done to their bytes, so they have none: what the upstream's
parser tells is written to the client in the same turn of the loop. Everything else, and every call
of these that goes wrong before its answer began, takes the application's way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any, Final, Protocol

from uvicorn.protocols.http.flow_control import FlowControl

from proxy.answer import NEVER_S, Answer
from proxy.calls import Headers
from proxy.errors import UpstreamError
from proxy.headers import response_headers
from proxy.heads import JOIN_BYTES, write_head


class Client(Protocol):
    """The client's connection, as much of it as a relay needs."""

    transport: asyncio.Transport
    flow: FlowControl

    def on_response_complete(self) -> None:
        """The answer was written to its end."""
        ...

    def start_over(self, relay: Relay, error: UpstreamError) -> None:
        """There is no answer, and nothing was written: the application takes the call."""
        ...


class Book(Protocol):
    """Where calls are counted and failures told."""

    def note_forwarded(self, path: str) -> None:
        """An answer was forwarded whole."""
        ...

    def note_failed(self, scope: MutableMapping[str, Any], error: UpstreamError) -> None:
        """The upstream broke off."""
        ...


class Relay(Answer):
    """One call without a body, from a client that speaks HTTP/1.1, and its answer.

    Takes the place of uvicorn's cycle in the listener, which may take `keep_alive` away.
    """

    __slots__ = (
        "_book", "_chunked", "_client", "_is_bare", "disconnected", "heard", "is_event_stream",
        "keep_alive", "response_complete", "response_started", "scope",
    )  # fmt: skip

    more_body: Final = False
    detached: Final = False

    def __init__(self, scope: MutableMapping[str, Any], client: Client, book: Book) -> None:
        super().__init__(None)
        self.scope = scope
        self.keep_alive = True
        self.is_event_stream = False
        self.response_started = False
        self.response_complete = False
        self.disconnected = False
        #: Told of the answer's status and headers, as they come.
        self.heard: Callable[[int, Headers], None] | None = None
        self._client = client
        self._book = book
        self._chunked = False
        self._is_bare = False

    def leave(self) -> None:
        """The client has gone: so has the call."""
        self.disconnected = True
        self.abandon()

    def resume(self) -> None:
        """The client takes more."""
        if not self.disconnected and (self._chunks or self._complete or self._error is not None):
            self._wake()
        elif self._connection is not None:
            self._expect_more()

    def _wake(self) -> None:
        """Something came: a head, pieces of the body, the end, or what went wrong."""
        client = self._client
        if self.disconnected or self.response_complete:
            return
        error = self._error
        if not self.status:
            if error is not None:
                self.disconnected = True
                client.start_over(self, error)
            return
        transport = client.transport
        if client.flow.write_paused or transport.is_closing():
            if self._connection is not None:
                self._connection.deadline = NEVER_S  # it is not the upstream that is late
            return
        pieces: list[bytes] = []
        if not self.response_started:
            self.response_started = True
            if self.heard is not None:
                self.heard(self.status, self.headers)
            head, _, self._chunked, self._is_bare, _, self.is_event_stream = write_head(
                self.status,
                response_headers(self.headers),
                method=self.scope["method"],
                keep_alive=self.keep_alive,
            )
            pieces.append(head)
        size = 0
        chunks = self._chunks
        if chunks:
            if not self._is_bare:
                size = len(chunks[0]) if len(chunks) == 1 else sum(map(len, chunks))
                if self._chunked:
                    pieces.append(b"%x\r\n" % size)
                    pieces += chunks
                    pieces.append(b"\r\n")
                else:
                    pieces += chunks
            self._chunks = []
        complete = self._complete
        if complete and self._chunked:
            pieces.append(b"0\r\n\r\n")
        if pieces:
            if size <= JOIN_BYTES:
                transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            else:
                transport.writelines(pieces)
        if complete:
            self._end()
        elif error is not None:
            self._book.note_failed(self.scope, error)
            self.disconnected = True
            transport.close()  # a length not reached or chunks without an end: the client can tell
        else:
            self._expect_more()

    def _expect_more(self) -> None:
        connection = self._connection
        if connection is None:
            return
        if self._client.flow.write_paused:
            connection.deadline = NEVER_S
        else:
            connection.expect_more(NEVER_S if self._endless else connection.idle_s)

    def _end(self) -> None:
        self.response_complete = True
        self._book.note_forwarded(self.scope["path"])
        if not self.keep_alive:
            self._client.transport.close()
        self._client.on_response_complete()
