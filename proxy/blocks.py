"""Header blocks that a connection has sent before.

A player sends the same headers with every call of a connection: only the request line differs. What
llhttp has once read as the whole head of a request without a body, it would read so again, so the
same bytes are not parsed twice.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from proxy.headers import Header

#: A browser has two or three kinds of calls, by what they accept.
_MOST: Final = 4
#: Longer ones would only fill memory.
_LONGEST_BYTES: Final = 4096
_LONGEST_LINE_BYTES: Final = 4096

#: Request lines that every reader reads alike; all others are llhttp's.
_LINE: Final = re.compile(rb"(GET|HEAD) (/[A-Za-z0-9%._~:/?\[\]@!$&'()*+,;=-]*+) HTTP/1\.1\r\n")


class Block(NamedTuple):
    """What a block of headers means."""

    headers: list[Header]
    #: The same as it goes to the upstream.
    tail: bytes


class HeaderBlocks:
    """The latest blocks of one connection."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, Block] = {}

    def find(self, data: bytes) -> tuple[str, bytes, Block] | None:
        """(method, target, block) if `data` is one whole request with a known block."""
        line = _LINE.match(data)
        if line is None or line.end() > _LONGEST_LINE_BYTES:
            return None
        block = self._known.get(data[line.end() :])
        if block is None:
            return None
        method, target = line.groups()
        return "HEAD" if method == b"HEAD" else "GET", target, block

    def learn(self, data: bytes, headers: list[Header], tail: bytes) -> None:
        """Remember the block of `data`, which llhttp read as one whole request without a body."""
        line = _LINE.match(data)
        if line is None:
            return
        block = data[line.end() :]
        # The parser skips blank lines between requests; nothing may follow that is not looked at.
        if len(block) > _LONGEST_BYTES or block.find(b"\r\n\r\n") != len(block) - 4:
            return
        if len(self._known) >= _MOST:
            del self._known[next(iter(self._known))]
        self._known[block] = Block(headers, tail)
