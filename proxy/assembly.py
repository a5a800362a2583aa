"""The proxy as `segue serve` runs it: forwarding, steering, and what keeps both informed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.application import Application, create_application
from proxy.knowledge import Knowledge
from proxy.linking import Linker
from proxy.metrics import Metrics
from proxy.recorder import Recorder
from proxy.settings import ProxySettings
from proxy.steering import Steering
from proxy.tastes import Tastes, Tasting
from proxy.upstream import HttpUpstream
from ranker.settings import RankingSettings
from subsonic.settings import UpstreamSettings


class KnowledgeStatus:
    """What `/segue/health` tells of the snapshot and the links."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge

    def facts(self) -> Mapping[str, object]:
        """`snapshot` (None before one is published), `tracks`, `linked`, `model`."""
        view = self._knowledge.view
        if view is None:
            return {"snapshot": None, "tracks": 0, "linked": 0}
        return {
            "snapshot": view.snapshot.version,
            "snapshot_age_s": round(time.time() - self._knowledge.published_at_s, 1),
            "tracks": view.snapshot.n,
            "linked": len(view.links),
            "model": view.snapshot.model.name,
        }


def assemble(
    settings: ProxySettings,
    upstream_settings: UpstreamSettings,
    ranking: RankingSettings,
    data: Path,
    *,
    timer: Callable[[], float] = time.monotonic,
) -> Application:
    """The whole proxy. Nothing is opened before the ASGI lifespan starts.

    `timer` (seconds) is what sessions go by.
    """
    metrics = Metrics()
    upstream = HttpUpstream(settings.upstream_url)
    knowledge = Knowledge(data)
    linker = Linker(upstream_settings, data)
    history = settings.steering.history
    tastes = Tastes() if history != "off" else None
    recorder = Recorder(data, timer, tastes=tastes) if history == "on" else None
    keeper = Tasting(tastes, recorder, timer) if tastes is not None else None
    steering = Steering(
        settings, ranking, upstream, knowledge, metrics, timer=timer, keeper=keeper, tastes=tastes
    )
    if recorder is not None:
        recorder.on_forgotten = steering.forget

    @asynccontextmanager
    async def background() -> AsyncIterator[None]:
        await asyncio.to_thread(knowledge.refresh)  # what is there already is used at once
        tasks = [asyncio.create_task(knowledge.follow()), asyncio.create_task(linker.follow())]
        if recorder is not None:
            await asyncio.to_thread(recorder.load)
            tasks.append(asyncio.create_task(recorder.follow()))
        if tastes is not None:
            tasks.append(asyncio.create_task(tastes.follow(knowledge)))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return create_application(
        settings,
        upstream=upstream,
        steering=steering,
        status=KnowledgeStatus(knowledge),
        metrics=metrics,
        background=background,
        why=steering.why,
    )
