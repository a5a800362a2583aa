"""The server's side of a connection: uvicorn's httptools protocol with the proxy's own rules.

What is different from uvicorn's: the raw target is kept (also where llhttp would refuse it: raw
UTF-8, methods it does not know), trailers are dropped, headers are limited in size and time, a
client that goes away ends its call, and an upgrade to WebSocket becomes a tunnel.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from proxy.answer import NEVER_S, Answer
from proxy.exchange import Call
from proxy.targets import TargetError, origin_form
from proxy.tunnel import Tunnel

MAX_HEAD_BYTES: Final = 64 * 1024
#: A client has this long to send the headers of a request it has begun (or a connection opened).
HEAD_S: Final = 20.0

#: Within this long, a body under way must bring `MIN_BODY_BYTES` or end; one whose answer has been
#: given already gets no second such time.
BODY_S: Final = 60.0
MIN_BODY_BYTES: Final = 256

_REQUEST_LINE: Final = re.compile(
    rb"(?:\r\n)*([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^\x00-\x20\x7f]+) HTTP/(1\.[01])\r\n"
)

_REFUSALS: Final = {
    400: b"Bad Request",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
}


class _RefusedError(Exception):
    """Raised inside a parser callback, to stop parsing."""


class Listener(HttpToolsProtocol):
    """A client's connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._running: Call | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._body_timer: asyncio.TimerHandle | None = None
        self._body_bytes = 0
        self._in_message = False
        self._in_head = False
        #: What has come of the head under way; None where its start is not known to the byte.
        self._head_so_far: bytes | None = b""
        #: A request line that llhttp refuses, until it is whole.
        self._odd_line = b""
        self._override: tuple[bytes, bytes] | None = None
        self._begun = 0
        self._head_bytes = 0
        self._silent_bytes = 0
        self._idle_since_s = NEVER_S
        self._refusal = 0
        self._deaf = False
        self._tunnel: Tunnel | None = None

    # asyncio

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_timer()
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None
        self._unset_keepalive_if_required()
        running = self._running
        if running is not None and not running.response_complete and not running.detached:
            running.disconnected = True
            running.message_event.set()
            if running.task is not None:
                running.task.cancel()
        if self._tunnel is not None:
            self._tunnel.close()
        super().connection_lost(exc)
        self._running = None

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._tunnel is not None:
            self._tunnel.hold(data)
            return
        self._idle_since_s = NEVER_S
        self._silent_bytes += len(data)
        if self._odd_line:
            self._feed_odd_request_line(self._odd_line + data)
        else:
            self._feed(data)
        if self._silent_bytes > MAX_HEAD_BYTES:  # a head, trailer or chunk extension without end
            self._refuse(431)
        elif self._head_timer is None and not self._deaf and not self._is_occupied():
            self._await_head()
        if self._in_message and self._body_timer is None and not self._in_head:
            self._await_body()

    def _feed(self, data: bytes) -> None:
        """Parse what came. Requests that are read again are so in turn, never within each other."""
        left: bytes | None = data
        while left is not None and not self._deaf:
            left = self._parse(left)

    def _parse(self, data: bytes) -> bytes | None:
        """Parse once; what is to be parsed next, with a request without its upgrade first."""
        starts_here = self._in_head or not self._in_message
        self._begun = 1 if self._in_head else 0
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._change_protocol(data[upgrade.args[0] :])
        except (httptools.HttpParserInvalidURLError, httptools.HttpParserInvalidMethodError):
            # Only where the request is known to begin: what a body holds is no request.
            if starts_here and self._begun == 1 and self._head_so_far is not None:
                self._feed_odd_request_line(self._head_so_far + data)
            else:
                self._refuse(400)
        except httptools.HttpParserError:
            self._refuse(self._refusal or 400)
        else:
            if self._in_head:
                known = starts_here and self._begun == 1 and self._head_so_far is not None
                self._head_so_far = (self._head_so_far or b"") + data if known else None
        return None

    def _feed_odd_request_line(self, data: bytes) -> None:
        """Navidrome serves raw UTF-8 in targets, and it is the upstream that knows its methods."""
        self._odd_line = b""
        line = _REQUEST_LINE.match(data)
        if line is not None and self._override is None:
            method, target, version = line.groups()
            self._override = (method, target)
            self._head_so_far = None
            self._in_message = self._in_head = False
            self.parser = httptools.HttpRequestParser(self)
            self._feed(b"POST / HTTP/%b\r\n" % version + data[line.end() :])
        elif b"\n" not in data.lstrip(b"\r\n") and self._override is None:
            self._odd_line = data
            self._in_head = True
        else:
            self._refuse(400)

    # llhttp

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_message = self._in_head = True
        self._begun += 1
        self._head_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer: never a header, least of all a login
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refusal = 431
            raise _RefusedError
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._silent_bytes = 0
        self._head_so_far = b""
        self._forget_timer()
        method, target = self._override or (self.parser.get_method(), self.url)
        self._override = None
        if len(target) + self._head_bytes > MAX_HEAD_BYTES:
            self._refusal = 431
            raise _RefusedError
        version = self.parser.get_http_version()
        try:
            target, authority = origin_form(method, target)
        except TargetError as error:
            self._refusal = error.status
            raise _RefusedError from None
        if authority:
            self.headers[:] = [h for h in self.headers if h[0] != b"host"] + [(b"host", authority)]
        hosts = sum(1 for name, _ in self.headers if name == b"host")
        if hosts > 1 or (hosts == 0 and version != "1.0"):
            raise _RefusedError
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        raw_path, _, query = target.partition(b"?")
        path = raw_path.partition(b"#")[0]
        scope["method"] = method.decode("ascii")
        scope["http_version"] = version
        scope["path"] = (unquote_to_bytes(path) if b"%" in path else path).decode(
            "utf-8", "replace"
        )
        scope["raw_path"] = raw_path
        scope["query_string"] = query
        scope["segue.target"] = target
        self._start(scope, version, upgrade=self.parser.should_upgrade())

    def _start(self, scope: dict[str, Any], version: str, *, upgrade: bool) -> None:
        call = Call(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive() and not upgrade,
            on_response=self.on_response_complete,
        )
        call.loop = self.loop
        if upgrade:
            if self._get_upgrade() != b"websocket" or self.pipeline or self._is_busy():
                return  # `_change_protocol` sends it through again without the upgrade
            scope["segue.tunnel"] = self._dig
            self._tunnel = Tunnel(self.transport)
        self.cycle = call
        if self._is_busy():
            self.flow.pause_reading()
            self.pipeline.appendleft((call, self.app))
        else:
            self._start_asgi_task(call, self.app)

    def _is_occupied(self) -> bool:
        """Whether something other than a client's next request is awaited."""
        return not self._in_head and (self._in_message or self._is_busy())

    def _is_busy(self) -> bool:
        return self._running is not None and not self._running.response_complete

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        assert isinstance(cycle, Call)
        self._running = cycle
        task = self.loop.create_task(cycle.run_asgi(app))
        cycle.task = task
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_body(self, body: bytes) -> None:
        self._silent_bytes = 0
        self._body_bytes += len(body)
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
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        # One timer that looks at the clock, not one that is set and cancelled for every call.
        self._idle_since_s = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._watch_idleness(self.timeout_keep_alive)

    def _watch_idleness(self, in_s: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(in_s, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has been idle for long enough."""
        self.timeout_keep_alive_task = None
        if self.transport.is_closing() or self._idle_since_s == NEVER_S:
            return  # the next answer's end starts the watch anew
        left_s = self._idle_since_s + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._watch_idleness(left_s)
        else:
            self.transport.close()

    # Upgrades

    def _change_protocol(self, rest: bytes) -> bytes | None:
        """After the head of a request with an upgrade: what is to be parsed next."""
        if self._tunnel is not None:
            self._tunnel.hold(rest)
            return None
        if self._deaf:  # refused in its head; CONNECT always ends here
            return None
        # An upgrade that is not offered (h2c, mostly) is no upgrade (RFC 9110 §7.8). llhttp has
        # skipped the body, so the request is read again without it.
        scope: Any = self.scope
        lines = [b"%b %b HTTP/1.1" % (scope["method"].encode("ascii"), scope["segue.target"])]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self._in_message = self._in_head = False
        return b"\r\n".join([*lines, b"", b""]) + rest

    def _dig(self, answer: Answer) -> None:
        """The upstream said 101: pass its head on, then bytes both ways until either side ends."""
        tunnel, call = self._tunnel, self._running
        if tunnel is None or call is None or self.transport.is_closing():
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

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_S, self._head_late)

    def _forget_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_late(self) -> None:
        self._head_timer = None
        if self._in_head:
            self._refuse(408)
        elif not self._is_busy():
            self.transport.close()

    def _await_body(self) -> None:
        self._body_bytes = 0
        self._body_timer = self.loop.call_later(BODY_S, self._body_late)

    def _body_late(self) -> None:
        self._body_timer = None
        if self._deaf or self._in_head or not self._in_message or self.transport.is_closing():
            return
        if not self._is_busy():
            self.transport.close()  # answered, and still sending
        elif self._body_bytes < MIN_BODY_BYTES and not self.flow.read_paused:
            self._refuse(408)
        else:  # on its way, or we do not read because the upstream does not
            self._await_body()

    def _refuse(self, status: int) -> None:
        """Answer what is no request of ours, after what was asked before it, and hang up."""
        self._deaf = True
        self._forget_timer()
        if self.transport.is_closing():
            return
        self.flow.pause_reading()
        running = self._running
        if running is not None and not running.response_complete:
            if not running.more_body:  # it was asked well, before what is refused now
                running.keep_alive = False
                self.pipeline.clear()
                return
            running.disconnected = True  # to its application; the rest of its body is not coming
            running.message_event.set()
            if running.task is not None:
                running.task.cancel()
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
        running = self._running
        if running is None or running.response_complete or running.is_event_stream:
            self.transport.close()
        else:
            running.keep_alive = False
