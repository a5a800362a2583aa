"""A request body that can be read for its parameters and then handed on as it came."""

from __future__ import annotations

from starlette.types import Message, Receive

from proxy import calls


class ReplayedBody:
    """A request body that can be read and then replayed, message by message."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: list[Message] = []

    async def read(self) -> bytes | None:
        """All of it; None when it is too large to be a form of ours (nothing is lost)."""
        size = 0
        while True:
            message = await self._receive()
            self._kept.append(message)
            size += len(message.get("body", b""))
            if message["type"] != "http.request" or size > calls.MAX_FORM_BYTES:
                return None
            if not message.get("more_body", False):
                return b"".join(kept.get("body", b"") for kept in self._kept)

    async def replay(self) -> Message:
        """The ASGI `receive`: first what was read, then what still comes."""
        return self._kept.pop(0) if self._kept else await self._receive()
