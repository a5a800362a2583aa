"""The server's side of a connection: whose turn it is, and how it ends.

Built on uvicorn's httptools protocol and `proxy.reading`. What is different from uvicorn's: a call
that only reads is relayed without a task of its own, requests are limited in time, a client that
goes away ends its call, and an upgrade to WebSocket becomes a tunnel.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping, Sized
from functools import partial
from typing import Any, Final, Protocol, cast

from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle
from uvicorn.server import ServerState

from proxy.answer import Answer
from proxy.blocks import HeaderBlocks
from proxy.errors import UpstreamBroke, UpstreamError
from proxy.exchange import Call
from proxy.patience import Patience
from proxy.reading import Reader
from proxy.relay import Client, Relay
from proxy.tunnel import Tunnel

_REFUSALS: Final = {
    400: b"Bad Request",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    501: b"Not Implemented",
}


class Relaying(Protocol):
    """An application that can forward a call without an ASGI round."""

    def relay(self, scope: Any, client: Client) -> Relay | None:
        """The call under way, or None where the application must be asked as usual."""
        ...

    async def apologise(self, error: UpstreamError, scope: Any, send: Any) -> None:
        """Answer a relayed call to which the upstream did not."""
        ...


#: Parsed at a time, and no more while so many calls wait for their turn: a read of 256 KiB may hold
#: ten thousand calls, of a kilobyte and more each once they are made.
_SLICE_BYTES: Final = 4096
_MOST_WAITING: Final = 16


class _Flow(FlowControl):
    """Reads nothing while calls wait for their turn, whoever has room for more.

    Else each answer lets in as many calls as one read brings, and who sends without waiting for
    answers (90,000 calls in ten seconds) fills the memory.
    """

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if not self._waiting:
            super().resume_reading()


class Listener(Reader):
    """A client's connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._relaying = cast("Relaying", self.app) if hasattr(self.app, "relay") else None
        self._blocks = HeaderBlocks()
        #: The call whose answer is being given.
        self.running: Call | Relay | None = None
        self._patience = Patience(self.loop, self.timeout_keep_alive)
        self._tunnel: Tunnel | None = None
        #: What came and is to be parsed when fewer calls wait.
        self._unread = b""

    # asyncio

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport, self.pipeline)
        self._patience.await_head(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._patience.end()
        running = self.running
        if running is not None and not running.response_complete and not running.detached:
            running.leave()
        if self._tunnel is not None:
            self._tunnel.close()
        super().connection_lost(exc)
        self.running = None

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._tunnel is not None:
            self._tunnel.hold(data)
            return
        self._patience.note_came()
        if self._unread:
            self._unread += data
            return
        starts = not self._in_message and not self._odd_line and self.running is None
        if starts and self._relay_known(data):
            return
        self._take(data)
        alone = starts and len(data) <= _SLICE_BYTES and not self._in_message and self._begun == 1
        if alone and type(self.running) is Relay:
            scope = self.running.scope
            self._blocks.learn(data, scope["headers"], scope["segue.tail"])
        if not self._deaf and not self._is_occupied():
            self._patience.await_head(self)
        if self._in_message and not self.in_head:
            self._patience.await_body(self)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether the connection stays: calls that came whole, a moment ago, are answered."""
        return self._tunnel is None and self._patience.close_half(self)

    def _take(self, data: bytes) -> None:
        """Parse what came, or as much of it as there is room for."""
        if len(data) <= _SLICE_BYTES and len(self.pipeline) < _MOST_WAITING:
            self._read(data)
            return
        for at in range(0, len(data), _SLICE_BYTES):
            if self._deaf:
                return
            if self._tunnel is not None:
                self._tunnel.hold(data[at:])
                return
            if len(self.pipeline) >= _MOST_WAITING:
                self._unread = data[at:]
                return
            self._read(data[at : at + _SLICE_BYTES])

    def resume_writing(self) -> None:
        super().resume_writing()
        if type(self.running) is Relay:
            self.running.resume()

    # Starting

    def _start(self, scope: dict[str, Any], *, upgrade: bool) -> None:
        keep_alive = (
            scope["http_version"] != "1.0" and self.parser.should_keep_alive() and not upgrade
        )
        if upgrade and (
            self._get_upgrade() != b"websocket"
            or self.pipeline
            or self.running is not None
            or _has_body(self.headers, or_says_so=False)
        ):
            return  # `_change_protocol` sends it through again without the upgrade
        if (
            keep_alive
            and self.running is None
            and not self.expect_100_continue
            and not _has_body(self.headers)
            and self._relay(scope)
        ):
            return
        call = self._make_call(scope, keep_alive=keep_alive, expect=self.expect_100_continue)
        if upgrade:
            scope["segue.tunnel"] = self._dig
            self._tunnel = Tunnel(self.transport)
        self.cycle = call
        if self.running is not None:
            self.flow.pause_reading()
            self.pipeline.appendleft((call, self.app))
        else:
            self._start_asgi_task(call, self.app)

    def _relay_known(self, data: bytes) -> bool:
        """Relay a request whose headers this connection has sent before."""
        found = self._blocks.find(data)
        if found is None:
            return False
        method, target, block = found
        scope = self._scope_of(method, target, "1.1", block.headers)
        scope["segue.tail"] = block.tail
        if not self._relay(scope):
            return False
        self._patience.note_head()
        return True

    def _relay(self, scope: dict[str, Any]) -> bool:
        if self._relaying is None:
            return False
        relay = self._relaying.relay(scope, self)
        if relay is None:
            return False
        self.running = relay
        return True

    def start_over(self, relay: Relay, error: UpstreamError) -> None:
        """The application asks again where nobody took the call, else it says what went wrong."""
        self.running = None
        if self.transport.is_closing():
            return
        again = isinstance(error, UpstreamBroke) and error.untouched
        scope = relay.scope
        call = self._make_call(scope, keep_alive=relay.keep_alive, expect=False)
        call.more_body = False
        assert self._relaying is not None
        app = self.app if again else partial(_apologise, self._relaying, error)
        self._start_asgi_task(call, app)

    def _make_call(
        self, scope: MutableMapping[str, Any], *, keep_alive: bool, expect: bool
    ) -> Call:
        call = Call(
            scope=cast("Any", scope),
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=expect,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        call.loop = self.loop
        return call

    def _is_occupied(self) -> bool:
        """Whether something other than a client's next request is awaited."""
        return not self.in_head and (self._in_message or self.running is not None)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        assert isinstance(cycle, Call)
        self.running = cycle
        task = self.loop.create_task(cycle.run_asgi(app))
        cycle.task = task
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_body(self, body: bytes) -> None:
        self._silent_bytes = 0
        self._patience.note_body(len(body))
        call = self.cycle
        if call.response_complete:
            return
        call.body += body
        if len(call.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        call.message_event.set()

    def on_message_complete(self) -> None:
        self._silent_bytes = 0
        self._in_message = False
        call = self.cycle
        if call is not None and not call.response_complete:
            call.more_body = False
            call.message_event.set()

    def on_response_complete(self) -> None:
        """Start what was pipelined, or wait for the next request."""
        self.server_state.total_requests += 1
        self.running = None
        if self.transport.is_closing():
            return
        following = self.pipeline.pop() if self.pipeline else None
        if self._patience.has_closed_half and following is None:
            self.transport.close()
            return
        self.flow.resume_reading()
        if following is not None:
            self._patience.note_came()  # nothing was read meanwhile, nor the end
            self._start_asgi_task(*following)
            if self._unread and len(self.pipeline) < _MOST_WAITING:
                unread, self._unread = self._unread, b""
                self._take(unread)
            return
        self._patience.await_next(self)

    # Upgrades

    def _change_protocol(self, rest: bytes) -> bytes | None:
        """After the head of a request with an upgrade: what is to be parsed next."""
        if self._tunnel is not None:
            self._tunnel.hold(rest)
            return None
        if self._deaf:  # refused in its head; CONNECT always ends here
            return None
        return self._without_upgrade(rest)

    def _dig(self, answer: Answer) -> None:
        """The upstream said 101: pass its head on, then bytes both ways until either side ends."""
        tunnel, call = self._tunnel, self.running
        if tunnel is None or not isinstance(call, Call) or self.transport.is_closing():
            answer.abandon()
            return
        call.detached = call.response_started = call.response_complete = True
        lines = [STATUS_LINE[101]]
        lines += [b"%b: %b\r\n" % header for header in answer.headers]
        self.transport.write(b"".join([*lines, b"\r\n"]))
        self.connections.discard(self)
        tunnel.open(answer.detach(), self.server_state.connections)
        self._tunnel = None

    # Limits

    @property
    def in_body(self) -> bool:
        """Whether a body is under way that is still read."""
        return self._in_message and not self.in_head and not self._deaf

    def _note_head(self) -> None:
        self._patience.note_head()

    def refuse(self, status: int) -> None:
        """Answer what is no request of ours, after what was asked before it, and hang up."""
        self._deaf = True
        self._patience.note_head()
        if self.transport.is_closing():
            return
        self.flow.pause_reading()
        running = self.running
        if running is not None and not running.response_complete:
            if not running.more_body:  # it was asked well, before what is refused now
                running.keep_alive = False
                self.pipeline.clear()
                return
            running.leave()  # the rest of its body is not coming
            if running.response_started:
                self.transport.close()
                return
        reason = _REFUSALS[status]
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%b\n" % (status, reason, len(reason) + 1, reason)
        )
        self.transport.close()

    def shutdown(self) -> None:
        """Stop: at once where nothing runs or only an endless stream does, else after the call."""
        running = self.running
        if running is None or running.response_complete or running.is_event_stream:
            self.transport.close()
        else:
            running.keep_alive = False


async def _apologise(
    relaying: Relaying, error: UpstreamError, scope: Any, _: Any, send: Any
) -> None:
    await relaying.apologise(error, scope, send)


def _has_body(headers: list[tuple[bytes, bytes]], *, or_says_so: bool = True) -> bool:
    """Whether a request has a body; or a length of 0, which says that it has none."""
    for name, value in headers:
        if name == b"transfer-encoding" or (
            name == b"content-length" and (or_says_so or value.strip(b"0"))
        ):
            return True
    return False
