"""One request and its answer on the server's side: the ASGI round of a call.

What is different from uvicorn's: an answer's head passes as it is (case, 304 with a length, a body
until the end for HTTP/1.0), head and body leave in one write, and what breaks off looks broken.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from proxy.errors import AnswerCutShortError
from proxy.heads import JOIN_BYTES, write_head
from proxy.records import begin_request, loggable

_log = logging.getLogger(__name__)


class Call(RequestResponseCycle):
    """One request and its answer, as uvicorn's cycle with a `send` of our own."""

    loop: asyncio.AbstractEventLoop
    task: asyncio.Task[None] | None = None
    head = b""
    is_event_stream = False
    detached = False

    async def run_asgi(self, app: Any) -> None:
        """Run the application; whatever it raises ends at most this connection."""
        begin_request()
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            if not self.disconnected:  # the server is stopping
                self.transport.close()
        except AnswerCutShortError:
            self._break_off()
        except Exception:
            # Never the query: logins travel in it.
            _log.exception("%s %s failed", self.scope["method"], loggable(self.scope["path"]))
            if self.response_started:
                self._break_off()
            else:
                await self.send_500_response()
        else:
            if not (self.response_complete or self.disconnected or self.detached):
                self._break_off()
        finally:
            self.on_response = _nothing

    def leave(self) -> None:
        """The client has gone: so has the call."""
        self.disconnected = True
        self.message_event.set()
        if self.task is not None:
            self.task.cancel()

    def _break_off(self) -> None:
        """End an answer that is not whole so that the client can tell."""
        self._flush_head()
        if self.chunked_encoding is None:
            _reset(self.transport)  # a regular end would look like the body's
        else:
            self.transport.close()

    async def send(self, message: Any) -> None:
        """ASGI's send. Does nothing once the client has gone."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected or self.transport.is_closing():
            return
        if not self.response_started:
            self._send_head(message["status"], message.get("headers", ()))
        elif not self.response_complete:
            self._send_body(message.get("body", b""), message.get("more_body", False))
        else:
            raise RuntimeError("the answer is already complete")

    def _send_head(self, status: int, headers: Any) -> None:
        scope = self.scope
        head = write_head(
            status,
            headers,
            method=scope["method"],
            version=scope["http_version"],
            keep_alive=self.keep_alive,
        )
        self.keep_alive = head.keep_alive
        if head.bare:
            self.expected_content_length = 0
            self.chunked_encoding = False
        elif head.length is not None:
            self.expected_content_length = head.length
            self.chunked_encoding = False
        elif head.chunked:
            self.chunked_encoding = True
        # Most bodies are there already: head and body then go in one write, not two.
        self.head = head.wire
        self.is_event_stream = head.endless
        self.response_started = True
        self.waiting_for_100_continue = False
        self.loop.call_soon(self._flush_head)

    def _flush_head(self) -> None:
        if self.head and not self.transport.is_closing():
            self.transport.write(self.head)
        self.head = b""

    def _send_body(self, body: bytes, more_body: bool) -> None:
        size = len(body)
        head, self.head = self.head, b""
        pieces = [head] if head else []
        if self.chunked_encoding:
            if size:
                pieces += (b"%x\r\n" % size, body, b"\r\n")
            if not more_body:
                pieces.append(b"0\r\n\r\n")
        elif size and self.scope["method"] != "HEAD":
            if self.chunked_encoding is False:
                self.expected_content_length -= size
                if self.expected_content_length < 0:
                    raise RuntimeError("the body is longer than Content-Length")
            pieces.append(body)
        if size <= JOIN_BYTES:
            if pieces:
                self.transport.write(b"".join(pieces))
        else:
            self.transport.writelines(pieces)
        if not more_body:
            if self.expected_content_length:
                raise RuntimeError("the body is shorter than Content-Length")
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()


def _reset(transport: asyncio.Transport) -> None:
    """Close with a reset instead of an end."""
    pseudo = transport.get_extra_info("socket")
    if pseudo is not None:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(pseudo.fileno())) as own:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _nothing() -> None:
    """Takes the place of a callback that holds the connection alive."""
