"""How long a client is waited for: for a request, for its body, and after it has closed its half.

The connection says what it waits for; when the time is over, it is looked at once more.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from uvicorn.protocols.http.flow_control import FlowControl

from proxy.answer import NEVER_S
from proxy.exchange import Call
from proxy.relay import Relay

#: A client has this long to send the headers of a request it has begun (or a connection opened).
HEAD_S: Final = 20.0

#: Within this long, a body under way must bring `MIN_BODY_BYTES` or end; one whose answer has been
#: given already gets no second such time.
BODY_S: Final = 60.0
MIN_BODY_BYTES: Final = 256

#: A client that sends no more this soon after its request may wait for the answer all the same (it
#: has closed half of the connection), and for so long: later, and after that, it has gone.
STILL_THERE_S: Final = 0.05
HALF_CLOSED_S: Final = 2.0


class Waited(Protocol):
    """A client's connection, as much of it as tells whether to wait on."""

    transport: asyncio.Transport
    flow: FlowControl
    #: A request has begun whose headers are not whole.
    in_head: bool
    #: The call whose answer is being given.
    running: Call | Relay | None

    @property
    def in_body(self) -> bool:
        """Whether a body is under way that is still read."""
        ...

    def refuse(self, status: int) -> None:
        """Answer what is no request of ours, and hang up."""
        ...


class Patience:
    """What one client is waited for, and since when.

    Args:
        idle_s: how long a connection may rest between two calls.
    """

    __slots__ = (
        "_body", "_body_bytes", "_came_s", "_head", "_idle", "_idle_s", "_idle_since_s", "_listens",
        "_loop", "has_closed_half",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, idle_s: float) -> None:
        self._loop = loop
        self._idle_s = idle_s
        #: The client sends no more; whole calls are answered still.
        self.has_closed_half = False
        self._came_s = NEVER_S
        self._idle_since_s = NEVER_S
        self._body_bytes = 0
        self._head: asyncio.TimerHandle | None = None
        self._body: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._listens: asyncio.TimerHandle | None = None

    def end(self) -> None:
        """The connection is lost."""
        for timer in (self._head, self._body, self._idle, self._listens):
            if timer is not None:
                timer.cancel()
        self._head = self._body = self._idle = self._listens = None

    def note_came(self) -> None:
        """Something came, whatever it is."""
        self._idle_since_s = NEVER_S
        self._came_s = self._loop.time()

    # A head

    def await_head(self, client: Waited) -> None:
        """From now on, if it is not awaited already."""
        if self._head is None:
            self._head = self._loop.call_later(HEAD_S, self._head_late, client)

    def note_head(self) -> None:
        """It is there, or wanted no more."""
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _head_late(self, client: Waited) -> None:
        self._head = None
        if client.in_head:
            client.refuse(408)
        elif client.running is None:
            client.transport.close()

    # A body

    def await_body(self, client: Waited) -> None:
        """From now on, if it is not awaited already."""
        if self._body is None:
            self._body_bytes = 0
            self._body = self._loop.call_later(BODY_S, self._body_late, client)

    def note_body(self, size_bytes: int) -> None:
        """A piece of it came."""
        self._body_bytes += size_bytes

    def _body_late(self, client: Waited) -> None:
        self._body = None
        if not client.in_body or client.transport.is_closing():
            return
        if client.running is None:
            client.transport.close()  # answered, and still sending
        elif self._body_bytes < MIN_BODY_BYTES and not client.flow.read_paused:
            client.refuse(408)
        else:  # on its way, or we do not read because the upstream does not
            self.await_body(client)

    # The next call

    def await_next(self, client: Waited) -> None:
        """The last call was answered."""
        # One timer that looks at the clock, not one that is set and cancelled for every call.
        self._idle_since_s = self._loop.time()
        if self._idle is None:
            self._idle = self._loop.call_later(self._idle_s, self._idle_late, client)

    def _idle_late(self, client: Waited) -> None:
        self._idle = None
        if client.transport.is_closing() or self._idle_since_s == NEVER_S:
            return  # the next answer's end starts the watch anew
        left_s = self._idle_since_s + self._idle_s - self._loop.time()
        if left_s > 0:
            self._idle = self._loop.call_later(left_s, self._idle_late, client)
        else:
            client.transport.close()

    # One that sends no more

    def close_half(self, client: Waited) -> bool:
        """Whether it may be listening: to the answer of a call that came whole, a moment ago."""
        running = client.running
        if self.has_closed_half:
            return True
        if (
            running is None
            or running.response_complete
            or running.more_body
            or self._loop.time() - self._came_s > STILL_THERE_S
        ):
            return False
        self.has_closed_half = True
        self._listens = self._loop.call_later(HALF_CLOSED_S, self._answer_late, client)
        return True

    def _answer_late(self, client: Waited) -> None:
        """Whoever has gone is told from who listens by what is sent: so something must be soon.

        An answer that has begun goes on: who has gone resets it. Event streams may be silent.
        """
        self._listens = None
        running = client.running
        if running is None or not running.response_started or running.is_event_stream:
            client.transport.close()
