"""What the log says of a call: a number that all its lines share, a path without secrets."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextvars import ContextVar
from itertools import count
from typing import Any, Final

#: Different after each start, so that numbers of two runs in one log are not taken for the same.
_RUN: Final = os.urandom(3).hex()
_numbers: Final = count(1)
_current: Final[ContextVar[int]] = ContextVar("segue.request", default=0)

#: What follows these is a capability: whoever knows it may listen.
_SHARES: Final = ("/share/", "/p/", "/public/")
_LONGEST: Final = 200


def begin_request() -> None:
    """From here on, lines logged in this task (and those that it starts) belong to one call."""
    _current.set(next(_numbers))


def request_id() -> str:
    """The call's name in the log, such as "9f31c2-17"; "" outside of one."""
    number = _current.get()
    return f"{_RUN}-{number}" if number else ""


def name_requests() -> None:
    """Let every log record made in a call carry `request`, which structured logs show."""
    made: Callable[..., logging.LogRecord] = logging.getLogRecordFactory()
    if getattr(made, "names_requests", False):
        return

    def make(*args: Any, **more: Any) -> logging.LogRecord:
        record = made(*args, **more)
        if name := request_id():
            record.request = name
        return record

    make.names_requests = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make)


def loggable(path: str) -> str:
    """A path as the log may show it: no query, no share's token, nothing that breaks a line."""
    for share in _SHARES:
        before, found, _ = path.partition(share)
        if found and before.count("/") <= 1:
            path = before + share + "…"
    return "".join(c if c.isprintable() else "?" for c in path[:_LONGEST])
