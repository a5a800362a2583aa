"""What a call that is forwarded tells about a session, and whether the upstream said ok to it."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.types import Message, Send

from proxy.calls import Headers, Identity, header
from proxy.session import Evidence, Sessions
from subsonic.envelope import parse
from subsonic.errors import AnswerError
from subsonic.parameters import Parameters

#: Answers to reports are some hundred bytes; of a longer one nothing is kept.
_MOST_BYTES: Final = 64 * 1024

OBSERVED: Final = frozenset(
    ("scrobble", "reportPlayback", "getTranscodeDecision", "savePlayQueue",
     "savePlayQueueByIndex")
)  # fmt: skip


def observe(
    sessions: Sessions, identity: Identity, endpoint: str, parameters: Parameters, at_s: float
) -> None:
    """Take an accepted call into the session. `endpoint` "song" is Navidrome's `/api/song/<id>`."""
    session = sessions.get(identity)
    if session is None:
        return
    if endpoint == "song":
        sessions.note_playing(identity, parameters.first("id"), at_s, Evidence.STARTS)
    elif endpoint == "getTranscodeDecision":
        if parameters.first("mediaType", "song") == "song":
            sessions.note_playing(identity, parameters.first("mediaId"), at_s, Evidence.DECISION)
    elif endpoint == "scrobble":
        ids = parameters.all("id")
        if parameters.first("submission", "true").lower() == "false" and ids:
            sessions.note_playing(identity, ids[-1], at_s, Evidence.REPORT)
    elif endpoint == "reportPlayback":
        if parameters.first("state") in ("starting", "playing"):
            sessions.note_playing(identity, parameters.first("mediaId"), at_s, Evidence.REPORT)
    elif endpoint.startswith("savePlayQueue"):
        session.queue = tuple(parameters.all("id"))[:5000]


@dataclass(slots=True)
class OkTap:
    """Passes an answer on untouched and looks at it on the way: was it ok?

    `on_ok` is called once, when the last piece has been handed on.
    """

    send: Send
    is_xml: bool
    subsonic: bool
    on_ok: Callable[[], None]
    _status: int = 0
    _headers: Headers = ()
    _body: bytearray = field(default_factory=bytearray)
    _whole: bool = True

    async def __call__(self, message: Message) -> None:
        """The ASGI `send`."""
        await self.send(message)
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = message["headers"]
        elif message["type"] == "http.response.body" and self._status:
            self._take(message.get("body", b""))
            if not message.get("more_body", False) and self._is_ok():
                self.on_ok()

    def _take(self, piece: bytes) -> None:
        if not self.subsonic or not self._whole:
            return
        if len(self._body) + len(piece) > _MOST_BYTES:
            self._whole = False
            self._body.clear()
        else:
            self._body += piece

    def _is_ok(self) -> bool:
        if self._status != 200:
            return False
        if not self.subsonic:
            return True
        body = _decoded(bytes(self._body), header(self._headers, b"content-encoding"))
        if not self._whole or body is None:
            return False
        try:
            return parse(_unwrapped(body, self.is_xml), is_xml=self.is_xml).ok
        except AnswerError:
            return False


def _unwrapped(body: bytes, is_xml: bool) -> bytes:
    """A JSONP answer without its callback."""
    if is_xml or body[:1] == b"{":
        return body
    start, end = body.find(b"("), body.rfind(b")")
    return body[start + 1 : end] if 0 <= start < end else body


def _decoded(body: bytes, encoding: bytes) -> bytes | None:
    """The body without gzip or deflate, up to a bound; None where it cannot be read."""
    if not encoding or encoding == b"identity":
        return body
    window = {b"gzip": zlib.MAX_WBITS | 16, b"deflate": zlib.MAX_WBITS}.get(encoding.lower())
    if window is None:
        return None
    reader: Any = zlib.decompressobj(window)
    try:
        plain: bytes = reader.decompress(body, _MOST_BYTES)
    except zlib.error:
        return None
    return None if reader.unconsumed_tail else plain
