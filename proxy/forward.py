"""Everything that Segue does not answer itself: streamed to the upstream and back."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextvars import copy_context
from typing import Any, Final

from proxy.errors import AnswerCutShortError, UpstreamError
from proxy.headers import request_headers, response_headers
from proxy.metrics import Metrics, group_of
from proxy.records import begin_request, loggable
from proxy.relay import Client, Relay
from proxy.settings import ServerSettings
from proxy.upstream import HttpUpstream, Upstream, UpstreamResponse
from subsonic.envelope import failure
from subsonic.errors import GENERIC
from subsonic.parameters import ParameterError, Parameters

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger(__name__)

_FORM: Final = b"application/x-www-form-urlencoded"
#: A form up to this is read before it is sent on: it may tell the format of an apology.
_MAX_FORM_BYTES: Final = 64 * 1024
_MESSAGES: Final = {
    502: "Segue: the music server cannot be reached",
    504: "Segue: the music server did not answer in time",
}


class ClientGone(Exception):  # noqa: N818 - says what happened
    """The client closed its connection in the middle of its request."""


def target_of(scope: Scope) -> bytes:
    """The raw target to ask the upstream for: exactly what the client sent, below `base_path`."""
    target: bytes | None = scope.get("segue.target")
    if target is not None:
        return target
    query: bytes = scope.get("query_string", b"")  # another ASGI server than ours
    path: bytes = scope.get("raw_path") or scope["path"].encode("utf-8")
    return path + b"?" + query if query else path


class Forward:
    """The ASGI application that passes a call on and its answer back, byte for byte.

    Needs `proxy.server`'s protocol for three things: the raw target, the end of a call whose client
    has gone (its task is cancelled) and WebSockets. Under another ASGI server it works without.
    """

    def __init__(self, upstream: Upstream, settings: ServerSettings, metrics: Metrics) -> None:
        self._upstream = upstream
        self._settings = settings
        self._metrics = metrics
        self._pool = upstream if isinstance(upstream, HttpUpstream) else None

    def relay(self, scope: Scope, client: Client) -> Relay | None:
        """Send a call without a body on at once, if it only reads and a connection is kept.

        Args:
            scope: as for `__call__`. `segue.tail`, the head for the upstream without its first
                line, is taken from there, or put there for the client's next call.
        """
        if self._pool is None:
            return None
        tail: bytes | None = scope.get("segue.tail")
        try:
            if tail is None:
                headers = request_headers(scope["headers"], scope, self._settings)
                scope["segue.tail"] = tail = self._pool.tail_of(headers)
            relay = Relay(scope, client, self)
            if self._pool.begin(scope["method"], target_of(scope), tail, relay):
                return relay
        except (UpstreamError, ValueError):
            pass  # `__call__` will say what is wrong
        return None

    def note_forwarded(self, path: str) -> None:
        """Count an answer that was forwarded whole."""
        self._metrics.requests["forward", "ok", group_of(path)] += 1

    async def apologise(self, error: UpstreamError, scope: Scope, send: Send) -> None:
        """Answer a call without a body that a relay could not."""
        self._note(error, scope)
        await self._apologise(error, scope, None, send)

    def note_failed(self, scope: Scope, error: UpstreamError) -> None:
        """Count and tell what the upstream did to an answer that had begun."""
        copy_context().run(self._note_in_turn, error, scope)

    def _note_in_turn(self, error: UpstreamError, scope: Scope) -> None:
        begin_request()
        self._note(error, scope)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward one call.

        Raises:
            AnswerCutShortError: the upstream broke off when its headers had already been passed on.
        """
        raw = scope["headers"]
        headers = request_headers(raw, scope, self._settings)
        body: bytes | AsyncIterator[bytes] | None = None
        if _has_body(raw):
            try:
                body = await _read_body(receive, wait_for_all=_is_small_form(raw))
            except ClientGone:
                self._metrics.requests["forward", "gone", group_of(scope["path"])] += 1
                return
        upgrade = "segue.tunnel" in scope
        try:
            answer = await self._upstream.request(
                scope["method"], target_of(scope), headers, body, upgrade=upgrade
            )
        except UpstreamError as error:
            self._note(error, scope)
            await self._apologise(error, scope, body, send)
            return
        try:
            if answer.status == 101:
                scope["segue.tunnel"](answer)
                self._metrics.requests["forward", "tunnel", group_of(scope["path"])] += 1
                return
            await _send_answer(answer, send)
        except UpstreamError as error:
            self._note(error, scope)
            raise AnswerCutShortError(str(error)) from error
        finally:
            answer.abandon()  # no effect on one that was read to its end
        self.note_forwarded(scope["path"])

    def _note(self, error: UpstreamError, scope: Scope) -> None:
        self._metrics.requests["forward", "error", group_of(scope["path"])] += 1
        self._metrics.upstream_errors[error.reason] += 1
        # The path only: logins travel in the query, in headers and in the body.
        _log.warning("%s %s: %s", scope["method"], loggable(scope["path"]), error)

    async def _apologise(
        self,
        error: UpstreamError,
        scope: Scope,
        body: bytes | AsyncIterator[bytes] | None,
        send: Send,
    ) -> None:
        message = _MESSAGES[error.status]
        media_type, content = "text/plain; charset=utf-8", message.encode() + b"\n"
        if scope["path"].startswith("/rest/"):
            media_type, content = failure(_parameters(scope, body), GENERIC, message)
        await send(
            {
                "type": "http.response.start",
                "status": error.status,
                "headers": [
                    (b"content-type", media_type.encode("ascii")),
                    (b"content-length", b"%d" % len(content)),
                    (b"cache-control", b"no-store"),
                ],
            }
        )
        await send({"type": "http.response.body", "body": content, "more_body": False})


async def _send_answer(answer: UpstreamResponse, send: Send) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": response_headers(answer.headers),
        }
    )
    more = True
    while more:
        data, more = await answer.chunk()
        await send({"type": "http.response.body", "body": data, "more_body": more})


async def _read_body(receive: Receive, *, wait_for_all: bool) -> bytes | AsyncIterator[bytes]:
    """The body: at once where it is small or has come already, else piece by piece as it comes."""
    message = await receive()
    first: bytes = message.get("body", b"")
    while wait_for_all and message.get("more_body") and message["type"] != "http.disconnect":
        message = await receive()
        first += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise ClientGone
    return _body_pieces(first, receive) if message.get("more_body") else first


async def _body_pieces(first: bytes, receive: Receive) -> AsyncIterator[bytes]:
    yield first
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


def _has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    for name, _ in headers:  # noqa: SIM110 - a generator costs more than the loop, on every call
        if name == b"content-length" or name == b"transfer-encoding":
            return True
    return False


def _is_form(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(n == b"content-type" and v.lower().startswith(_FORM) for n, v in headers)


def _is_small_form(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    lengths = [v for n, v in headers if n == b"content-length"]
    return bool(lengths) and int(lengths[0]) <= _MAX_FORM_BYTES and _is_form(headers)


def _parameters(scope: Scope, body: bytes | AsyncIterator[bytes] | None) -> Parameters:
    """As much of the parameters as tells the client's format."""
    form = body if isinstance(body, bytes) and _is_form(scope["headers"]) else b""
    try:
        return Parameters.parse(scope.get("query_string", b""), form)
    except ParameterError:
        return Parameters()
