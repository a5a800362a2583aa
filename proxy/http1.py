"""One HTTP/1.1 connection to the upstream, as lean as asyncio allows.

The wire is read into one buffer that all connections share and parsed by llhttp (httptools). What a
client does not take at once makes the connection stop reading, so a slow client costs one piece of
the body, not the body. Nothing is decoded or decompressed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

import httptools

from proxy.answer import NEVER_S, Answer
from proxy.errors import BadUpstreamAnswer, UpstreamBroke, UpstreamError, UpstreamTimeout
from proxy.heads import one_chunk, read_framing

#: Bytes read from a socket in one go, into a buffer that all connections of a loop share. Measured
#: with 200 stalled downloads: 64 KiB hold 30 MB of memory, 256 KiB 90 MB; a single download runs
#: at 1.2 and 1.7 GB/s.
READ_SIZE_BYTES: Final = 64 * 1024
BODY_AHEAD_BYTES: Final = 64 * 1024  # reading stops while this much waits for the client
MAX_HEAD_BYTES: Final = 256 * 1024  # headers beyond this are no answer


class Connection(asyncio.BufferedProtocol):
    """A connection that carries one call at a time.

    Args:
        loop: the running loop.
        buffer: where all connections of the loop read into.
        address: how to name the upstream in messages.
        headers_s: how long the upstream may take to begin its answer.
        idle_s: how long it may pause within a body (event streams may for ever).
        released: called with the connection when its call is done; `usable` tells if it may be used
            again.
    """

    __slots__ = (
        "_answer", "_broke_by", "_buffer", "_can_write", "_early", "_head_bytes", "_in_head",
        "_interim", "_is_head", "_keep_alive", "_parser", "_paused", "_pump", "_released",
        "_tainted", "_until_close", "_upgrade", "_view", "_wants_head", "address", "deadline",
        "headers_s", "idle_s", "idle_since", "loop", "transport", "usable", "was_idle",
    )  # fmt: skip

    _head_bytes: int
    _in_head: bool
    _interim: bool

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        buffer: bytearray,
        address: str,
        headers_s: float,
        idle_s: float,
        released: Callable[[Connection], None],
    ) -> None:
        self.loop = loop
        self.address = address
        self.headers_s = headers_s
        self.idle_s = idle_s
        #: Loop time after which the upstream is too late; the pool looks at it now and then.
        self.deadline = NEVER_S
        self.idle_since = 0.0
        #: Whether it waited in the pool, where a server may close it at any time.
        self.was_idle = False
        self.usable = False
        self.transport: asyncio.Transport | None = None
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._released = released
        self._parser = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None
        self._can_write: asyncio.Future[None] | None = None
        self._pump: asyncio.Task[None] | None = None
        self._broke_by: UpstreamError | None = None
        self._early = b""
        self._paused = False
        self._reset(is_head=False)

    # What the pool and the answers use.

    async def call(
        self,
        head: bytes,
        body: bytes | AsyncIterator[bytes] | None,
        *,
        chunked: bool,
        is_head: bool,
        upgrade: bool = False,
    ) -> Answer:
        """Send a request, and return its answer as soon as the headers are there.

        Args:
            head: request line and headers, with the empty line.
            body: sent after it; an iterator is sent while the answer may already be coming.
            chunked: whether the body goes in chunks (else the headers told its length).
            is_head: the method is HEAD.
            upgrade: a 101 is welcome.

        Raises:
            UpstreamError: no answer. `UpstreamBroke.untouched` where the connection had been idle
                before and closed without a byte.
        """
        answer = Answer(self)
        self.begin(answer, head, body, chunked=chunked, is_head=is_head, upgrade=upgrade)
        answer._waiter = self.loop.create_future()
        try:
            await answer._waiter
        except asyncio.CancelledError:
            if self._answer is answer:  # else whole, and the connection may be another call's
                self.abort()
            raise
        finally:
            answer._waiter = None
            if self._answer is answer:
                self._wants_head = False
                self.deadline = NEVER_S
        if answer._error is not None and not answer.status:
            raise answer._error
        return answer

    def begin(
        self,
        answer: Answer,
        head: bytes,
        body: bytes | AsyncIterator[bytes] | None = None,
        *,
        chunked: bool = False,
        is_head: bool = False,
        upgrade: bool = False,
    ) -> None:
        """Send a request; `answer` is told of what comes. Arguments as for `call`.

        Raises:
            UpstreamBroke: the connection is closed.
        """
        transport = self.transport
        if transport is None or transport.is_closing():
            raise UpstreamBroke(f"{self.address} closed the connection", untouched=self.was_idle)
        self._reset(is_head=is_head)
        self._upgrade = upgrade
        self._answer = answer
        answer._connection = self
        if body is None:
            transport.write(head)
        elif isinstance(body, bytes):
            transport.write(head + (one_chunk(body) if chunked else body))
        else:
            transport.write(head)
            self._pump = self.loop.create_task(self._send_body(body, chunked=chunked))
        self._wants_head = True
        if self._pump is None:
            self.deadline = self.loop.time() + self.headers_s

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._fail(UpstreamBroke(f"the call to {self.address} was given up"))

    def close(self) -> None:
        """Close a connection that carries nothing."""
        self.usable = False
        if self.transport is not None:
            self.transport.close()

    def expire(self) -> None:
        """The pool found that `deadline` has passed."""
        begun = self._answer is not None and self._answer.status
        doing = "to go on with its answer" if begun else "to answer"
        self._fail(UpstreamTimeout(f"{self.address} took too long {doing}"))

    def expect_more(self, within_s: float) -> None:
        """An answer's reader has taken all there is and waits."""
        self.deadline = self.loop.time() + within_s
        if self._paused and self.transport is not None:
            self._paused = False
            self.transport.resume_reading()

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """Give the transport away; the connection is done."""
        transport = self.transport
        if transport is None or transport.is_closing():
            raise UpstreamBroke(f"{self.address} closed the connection")
        transport.pause_reading()
        self.transport = None
        self._answer = None
        self._released(self)
        return transport, self._early

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        answer = self._answer
        if answer is None:  # nobody asked: a late answer, or not HTTP
            self.abort()
            return
        if self._in_head:
            self._head_bytes += nbytes
            if self._head_bytes > MAX_HEAD_BYTES + READ_SIZE_BYTES:
                self._fail(BadUpstreamAnswer(f"{self.address} sent endless headers"))
                return
        try:
            self._parser.feed_data(self._view[:nbytes])
        except httptools.HttpParserUpgrade as upgrade:
            self._early = bytes(self._view[upgrade.args[0] : nbytes])
            if self.transport is not None:
                self.transport.pause_reading()  # what follows is for who takes the transport
        except httptools.HttpParserError as error:
            if answer._complete:  # junk after a whole answer harms only the connection
                self._tainted = True
                self._end_call(answer)
                answer._wake()
                return
            # The parser's words are about syntax; the upstream's bytes are not among them.
            self._fail(BadUpstreamAnswer(f"{self.address} did not answer with HTTP ({error})"))
            return
        if answer._complete:
            self._end_call(answer)
        if answer.status and (answer._chunks or answer._complete or self._wants_head):
            answer._wake()
        if (
            self._answer is answer
            and not self._paused
            and sum(map(len, answer._chunks)) >= BODY_AHEAD_BYTES
        ):
            self._paused = True
            if self.transport is not None:
                self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.usable = False
        answer = self._answer
        if self._broke_by is not None:
            error = self._broke_by
        elif answer is not None and answer.status and self._until_close and exc is None:
            answer._complete = True
            self._end_call(answer)
            answer._wake()
            return
        else:
            begun = answer is not None and answer.status
            where = "in the middle of its answer" if begun else "before answering"
            error = UpstreamBroke(
                f"{self.address} closed the connection {where}",
                untouched=self.was_idle and self._head_bytes == 0,
            )
        self._finish(error)

    def pause_writing(self) -> None:
        if self._can_write is None:
            self._can_write = self.loop.create_future()
        if self._pump is not None and self._wants_head:
            self.deadline = self.loop.time() + self.idle_s  # now the upload waits for the upstream

    def resume_writing(self) -> None:
        if self._can_write is not None:
            if not self._can_write.done():
                self._can_write.set_result(None)
            self._can_write = None
        if self._pump is not None:
            self.deadline = NEVER_S

    # llhttp

    def on_message_begin(self) -> None:
        answer = self._answer
        if answer is None or answer._complete:
            self._tainted = True
        elif self._interim:
            self._interim = False
            answer.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head and self._answer is not None:  # else a trailer
            self._answer.headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        answer = self._answer
        if answer is None or answer._complete:
            self._tainted = True
            return
        status = self._parser.get_status_code()
        if status < 100:  # llhttp takes any three digits; 0 would read as no answer yet
            raise ValueError("a status that is none")
        if status < 200 and status != 101:
            self._interim = True
            return
        if status == 101 and not self._upgrade:
            raise ValueError("a change of protocol that nobody asked for")
        self._in_head = False
        framing = read_framing(answer.headers)
        answer._endless = framing.endless
        answer.status = status
        self._keep_alive = self._parser.should_keep_alive()
        if self._is_head:  # llhttp does not know: it takes the body that does not come for one
            answer._complete = True
            self._keep_alive = not framing.closes and self._parser.get_http_version() == "1.1"
        else:
            self._until_close = framing.until_close

    def on_body(self, body: bytes) -> None:
        answer = self._answer
        if answer is None or answer._complete:
            self._tainted = True  # a body where there can be none
        else:
            answer._chunks.append(body)

    def on_message_complete(self) -> None:
        answer = self._answer
        if answer is not None and not self._interim and answer.status != 101:
            answer._complete = True

    # Inside

    def _reset(self, *, is_head: bool) -> None:
        self._is_head = is_head
        self._in_head = True
        self._interim = False
        self._head_bytes = 0
        self._keep_alive = False
        self._until_close = False
        self._tainted = False
        self._upgrade = False
        self._wants_head = False

    def _end_call(self, answer: Answer) -> None:
        """The answer is whole: the connection is free, whether its reader has taken it or not."""
        self._answer = None
        self.deadline = NEVER_S
        answer._connection = None
        transport = self.transport
        sent = self._pump is None or self._pump.done()
        if not sent and self._pump is not None:
            self._pump.cancel()  # answered before all was sent: the rest is not wanted
        self._pump = None
        self.usable = (
            self._keep_alive
            and sent
            and not self._tainted
            and not self._paused
            and transport is not None
            and not transport.is_closing()
        )
        if self._is_head:  # the parser still waits for the body that HEAD does not have
            self._parser = httptools.HttpResponseParser(self)
        if self.usable:
            self.idle_since = self.loop.time()
        elif transport is not None:
            transport.abort()
        self._released(self)

    def _fail(self, error: UpstreamError) -> None:
        self._broke_by = self._broke_by or error
        self.usable = False
        self._finish(error)
        if self.transport is not None:
            self.transport.abort()

    def _finish(self, error: UpstreamError) -> None:
        """Tell whoever waits that it is over."""
        if self._pump is not None:
            self._pump.cancel()
            self._pump = None
        self.resume_writing()
        answer, self._answer = self._answer, None
        if answer is not None:
            answer._error = error
            answer._connection = None
            answer._wake()
        self._released(self)

    async def _send_body(self, body: AsyncIterator[bytes], *, chunked: bool) -> None:
        try:
            async for piece in body:
                if not piece:
                    continue
                if self._can_write is not None:
                    await self._can_write
                transport = self.transport
                if transport is None or transport.is_closing():
                    return
                if chunked:
                    transport.writelines((b"%x\r\n" % len(piece), piece, b"\r\n"))
                else:
                    transport.write(piece)
            if chunked and self.transport is not None and not self.transport.is_closing():
                self.transport.write(b"0\r\n\r\n")
        except Exception:  # the client broke off: half a body must not look like a whole one
            self.abort()
            return
        if self._wants_head:
            self.deadline = self.loop.time() + self.headers_s
