"""Segue's own pages, below `/segue/`: health and metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from proxy.errors import UpstreamError
from proxy.headers import is_insider
from proxy.metrics import Metrics
from proxy.settings import ServerSettings
from proxy.upstream import Upstream

#: Where `proxy.why` answers; here, so that who only forwards loads nothing of it.
WHY_PATH: Final = "/segue/why"

#: How long the upstream may take to answer a health check, and how long the answer is believed.
_CHECK_S: Final = 2.0
_NO_STORE: Final = {"cache-control": "no-store"}

_GAUGES: Final = {
    "tracks": ("segue_tracks", "Tracks in the snapshot."),
    "linked": ("segue_linked_songs", "Songs of the server that are linked to a track."),
    "linked_share": ("segue_linked_share", "Linked songs to tracks in the snapshot, 0 to 1."),
    "snapshot_age_s": ("segue_snapshot_age_seconds", "Age of the snapshot."),
}


class Status(Protocol):
    """Whoever knows what Segue can choose from."""

    def facts(self) -> Mapping[str, object]:
        """At least `snapshot` (its version; None: everything is forwarded), `tracks`, `linked`."""
        ...


class Forwarding:
    """The status of a Segue without a snapshot."""

    def facts(self) -> Mapping[str, object]:
        """Nothing is known."""
        return {"snapshot": None, "tracks": 0, "linked": 0}


class Pages:
    """What the pages show.

    `{"status"}` is "ok"; "forwarding" where there is no snapshot, so that nothing is steered; or
    "unavailable" (503) where the upstream cannot be reached.
    """

    def __init__(
        self,
        upstream: Upstream,
        upstream_name: str,
        settings: ServerSettings,
        metrics: Metrics,
        status: Status,
    ) -> None:
        self._upstream = upstream
        self._upstream_name = upstream_name
        self._settings = settings
        self._metrics = metrics
        self._status = status
        self._checked_at_s = float("-inf")
        self._reachable = False
        self._lock = asyncio.Lock()

    def application(self) -> Starlette:
        """The ASGI application that serves them; anything else below `/segue/` is a 404."""
        return Starlette(
            routes=[
                Route("/segue/health", self._health, methods=["GET"]),
                Route("/segue/metrics", self._show_metrics, methods=["GET"]),
            ]
        )

    async def _health(self, request: Request) -> Response:
        facts = self._status.facts()
        reachable = await self._is_reachable()
        status = "forwarding" if facts.get("snapshot") is None else "ok"
        shown: dict[str, object] = {"status": status if reachable else "unavailable"}
        if is_insider(request.scope, self._settings):
            shown |= {
                "version": _version(),
                "upstream": {"url": self._upstream_name, "reachable": reachable},
                **facts,
            }
        return JSONResponse(shown, 200 if reachable else 503, _NO_STORE)

    async def _show_metrics(self, request: Request) -> Response:
        if not is_insider(request.scope, self._settings):
            return PlainTextResponse("Not Found", 404)
        facts = dict(self._status.facts())
        tracks, linked = facts.get("tracks"), facts.get("linked")
        if isinstance(tracks, int) and isinstance(linked, int) and tracks:
            facts["linked_share"] = min(linked / tracks, 1.0)
        gauges = {
            name: (about, float(value))
            for key, (name, about) in _GAUGES.items()
            if isinstance(value := facts.get(key), int | float)
        }
        return PlainTextResponse(
            self._metrics.render(gauges), headers=_NO_STORE, media_type="text/plain; version=0.0.4"
        )

    async def _is_reachable(self) -> bool:
        """Whether the upstream answers at all; asked at most once in a while, by one at a time."""
        async with self._lock:
            if time.monotonic() - self._checked_at_s > _CHECK_S:
                self._reachable = await self._check()
                self._checked_at_s = time.monotonic()
            return self._reachable

    async def _check(self) -> bool:
        try:
            async with asyncio.timeout(_CHECK_S):
                answer = await self._upstream.request("HEAD", b"/", [(b"user-agent", b"Segue")])
                await answer.aclose()
        except (UpstreamError, TimeoutError):
            return False
        return answer.status < 500


def _version() -> str:
    try:
        return version("segue")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"
