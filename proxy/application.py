"""The ASGI application: Segue's own pages, then calls to steer, then everything else forwarded."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Protocol

from starlette.applications import Starlette

from proxy.calls import Headers
from proxy.errors import UpstreamError
from proxy.forward import App, Forward, Message, Receive, Scope, Send, target_of
from proxy.metrics import Metrics
from proxy.pages import WHY_PATH, Forwarding, Pages, Status
from proxy.places import relocate
from proxy.relay import Client, Relay
from proxy.settings import ProxySettings
from proxy.targets import climbs
from proxy.upstream import HttpUpstream, Origin, Upstream

_log = logging.getLogger(__name__)


class Steering(Protocol):
    """Whoever answers calls in the upstream's place."""

    def claims(self, scope: Scope) -> bool:
        """Whether this call is to be steered (or watched); by its scope alone, at once."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send, forward: App) -> None:
        """Answer the call, or hand it to `forward` with a `receive` that replays what was read."""
        ...

    def overhears(self, scope: Scope) -> Callable[[int, Headers], None] | None:
        """For a call that is not claimed: what is to be told of the answer's status and headers."""
        ...


class Application:
    """Routes a call. `scope["path"]`, `raw_path` and `segue.target` lose `base_path` here.

    The upstream's connections and `background` live as long as the ASGI lifespan.
    """

    def __init__(
        self,
        settings: ProxySettings,
        upstream: Upstream,
        steering: Steering | None,
        status: Status,
        metrics: Metrics,
        background: Callable[[], AbstractAsyncContextManager[None]] | None,
        why: App | None = None,
    ) -> None:
        server = settings.server
        self.upstream = upstream
        self.metrics = metrics
        self._base_path = server.base_path
        self._outer = server.base_path.encode("ascii")
        self._inner = Origin.parse(settings.upstream_url).base_path
        self._is_moved = self._inner != self._outer
        self._steering = steering
        self._background = background
        self._why = why
        self._forward = Forward(upstream, server, metrics)
        self._pages = Pages(upstream, settings.upstream_url, server, metrics, status).application()
        self._lifespan = Starlette(lifespan=lambda _: self.live())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        if scope["type"] != "http":  # WebSockets come as HTTP with an upgrade, from our own server
            raise RuntimeError(f"Segue serves no {scope['type']} scopes; run it with proxy.server")
        if (self._base_path or self._inner) and climbs(target_of(scope)):
            await _answer(send, 400, b"Bad Request\n")
            return
        if self._base_path and not self._strip_base_path(scope):
            await _answer(send, 404, b"Not Found\n")
            return
        if self._is_moved:
            send = self._relocating(scope, send)
        path = scope["path"]
        if path.startswith("/segue/"):
            self.metrics.requests["own", "ok"] += 1
            own = self._why if path == WHY_PATH and self._why is not None else self._pages
            await own(scope, receive, send)
        elif self._steering is not None and self._steers(self._steering, scope):
            await self._steering(scope, receive, send, self._forward)
        else:
            heard = self._overhears(scope)
            if heard is not None:
                send = _overhearing(send, heard)
            await self._forward(scope, receive, send)

    def relay(self, scope: Scope, client: Client) -> Relay | None:
        """Forward a call without a body at once, with no task of its own, where that is possible.

        None where it is not, for whatever reason: then the application takes it, as any other.
        """
        if self._base_path or self._is_moved or scope["path"].startswith("/segue/"):
            return None
        if self._steering is not None and self._steers(self._steering, scope):
            return None
        relay = self._forward.relay(scope, client)
        if relay is not None:
            relay.heard = self._overhears(scope)
        return relay

    async def apologise(self, error: UpstreamError, scope: Scope, send: Send) -> None:
        """Answer a relayed call to which the upstream did not."""
        await self._forward.apologise(error, scope, send)

    def _relocating(self, scope: Scope, send: Send) -> Send:
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")

        async def relocated(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = relocate(message["headers"], self._inner, self._outer, host)
                message = {**message, "headers": headers}
            await send(message)

        return relocated

    def _steers(self, steering: Steering, scope: Scope) -> bool:
        try:
            return steering.claims(scope)
        except Exception:  # fail open: a fault of ours is never the client's
            _log.exception("cannot tell whether a call is to be steered; forwarding it")
            self.metrics.fallbacks["fault"] += 1
            return False

    def _overhears(self, scope: Scope) -> Callable[[int, Headers], None] | None:
        if self._steering is None:
            return None
        try:
            return self._steering.overhears(scope)
        except Exception:  # fail open, as above
            _log.exception("cannot tell whether a call tells something")
            return None

    def _strip_base_path(self, scope: Scope) -> bool:
        base = self._base_path
        raw = base.encode("ascii")
        target = target_of(scope)
        path: str = scope["path"]
        inside = target.startswith(raw) and target[len(raw) : len(raw) + 1] in (b"/", b"?", b"")
        if not inside:
            return False
        below = target[len(raw) :]
        scope["segue.target"] = below if below.startswith(b"/") else b"/" + below
        scope["path"] = path[len(base) :] or "/"
        scope["raw_path"] = scope["segue.target"].partition(b"?")[0]
        return True

    @asynccontextmanager
    async def live(self) -> AsyncIterator[None]:
        """What is open while the server runs; the ASGI lifespan does the same."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.upstream.aclose)
            if self._background is not None:
                await stack.enter_async_context(self._background())
            yield


def create_application(
    settings: ProxySettings,
    *,
    upstream: Upstream | None = None,
    steering: Steering | None = None,
    status: Status | None = None,
    metrics: Metrics | None = None,
    background: Callable[[], AbstractAsyncContextManager[None]] | None = None,
    why: App | None = None,
) -> Application:
    """Put the proxy together.

    Args:
        upstream: the server to forward to; by default the one at `settings.upstream_url`.
        steering: answers some calls; None forwards everything.
        status: what `/segue/health` tells beside the upstream's state.
        metrics: counters to share with `steering`.
        background: what lives beside the calls, such as linking; entered once the server starts.
        why: answers `/segue/why`.

    Raises:
        ValueError: `settings.upstream_url` is not an address.
    """
    return Application(
        settings,
        upstream or HttpUpstream(settings.upstream_url),
        steering,
        status or Forwarding(),
        metrics or Metrics(),
        background,
        why,
    )


def _overhearing(send: Send, heard: Callable[[int, Headers], None]) -> Send:
    async def overheard(message: Message) -> None:
        if message["type"] == "http.response.start":
            heard(message["status"], message["headers"])
        await send(message)

    return overheard


async def _answer(send: Send, status: int, body: bytes) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", b"%d" % len(body)),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})
