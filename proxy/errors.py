"""What can go wrong in the proxy.

::

    ProxyError
    ├── ServeError              Segue cannot listen: port in use, no right, bad socket path
    ├── AnswerCutShortError     the upstream broke off after its headers had gone to the client
    └── UpstreamError
        ├── UpstreamRefused     nobody answers at the address (502)
        ├── UpstreamTimeout     too slow to connect, to begin, or to go on (504)
        ├── UpstreamBroke       it closed before its answer was whole (502)
        └── BadUpstreamAnswer   what it sent is not HTTP (502)

A message names the upstream's address, never a query, a header or a body: those hold logins.
"""

from typing import ClassVar


class ProxyError(Exception):
    """Root of the room."""


class ServeError(ProxyError):
    """Segue cannot listen where it was told to; the message says why and what to do."""


class AnswerCutShortError(ProxyError):
    """Raised to the server so that it ends the connection: the client must see that it broke."""


class UpstreamError(ProxyError):
    """No usable answer."""

    #: The HTTP status a client gets for it.
    status: ClassVar[int] = 502
    #: A stable slug for metrics and logs.
    reason: ClassVar[str] = "upstream-error"


class UpstreamRefused(UpstreamError):  # noqa: N818 - says what happened
    """No connection: refused, no route, no such name or socket."""

    reason = "refused"


class UpstreamTimeout(UpstreamError):  # noqa: N818
    """Connecting, the headers, or the next piece of the body took too long."""

    status = 504
    reason = "timeout"


class UpstreamBroke(UpstreamError):  # noqa: N818
    """The connection ended before the answer was whole."""

    reason = "broke"

    def __init__(self, message: str, *, untouched: bool = False) -> None:
        super().__init__(message)
        #: Nothing of an answer had arrived on a connection that had been kept alive.
        self.untouched = untouched


class BadUpstreamAnswer(UpstreamError):  # noqa: N818
    """Not HTTP, or HTTP that two readers could read in two ways."""

    reason = "bad-answer"
