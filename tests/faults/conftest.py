"""Segue, steering, in front of a server that misbehaves, in front of the recorded dialect."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.application import Application
from proxy.assembly import assemble
from proxy.linking import link_server
from proxy.server import serve_in_background
from proxy.settings import ProxySettings, ServerSettings, SteeringSettings
from proxy.upstream import HttpUpstream, Timeouts
from ranker.settings import RankingSettings
from subsonic.client import Client
from subsonic.settings import UpstreamSettings
from tests.contract.conftest import serving, write_catalog
from tests.contract.upstream import FakeServer
from tests.faults.flaky import Flaky, misbehaving

#: How long each soak goes on; an hour is `SEGUE_SOAK_S=3600 make soak`.
SOAK_S = float(os.environ.get("SEGUE_SOAK_S", "60"))

#: So that a server that hangs is found out within a test.
QUICK = Timeouts(headers_s=0.6, idle_s=0.6)


@dataclass
class FlakyHouse:
    """What runs."""

    server: FakeServer
    flaky: Flaky
    url: str
    data: Path
    application: Application

    @property
    def port(self) -> int:
        """Segue's."""
        return int(self.url.rpartition(":")[2])

    @property
    def upstream(self) -> HttpUpstream:
        """Segue's pool of connections."""
        assert isinstance(self.application.upstream, HttpUpstream)
        return self.application.upstream


@contextlib.asynccontextmanager
async def keep_flaky_house(data: Path, *, idle_faults: float = 0.0) -> AsyncIterator[FlakyHouse]:
    """Everything up and linked, with quick time-outs, and down again."""
    server = FakeServer()
    write_catalog(data, server)
    async with contextlib.AsyncExitStack() as stack:
        honest = await stack.enter_async_context(serving(server))
        login = UpstreamSettings(honest, "admin", "sesame")
        async with Client(login) as client:
            await link_server(client, data)
        port = int(honest.rpartition(":")[2])
        flaky = await stack.enter_async_context(misbehaving(port, idle_faults))
        listening = ServerSettings(host="127.0.0.1", port=0, drain_s=0.5)
        settings = ProxySettings(flaky.url, listening, SteeringSettings(deadline_ms=300))
        application = assemble(settings, UpstreamSettings(flaky.url), RankingSettings(), data)
        house = FlakyHouse(server, flaky, "", data, application)
        house.upstream.timeouts = QUICK
        house.url = await stack.enter_async_context(serve_in_background(application, listening))
        yield house


@pytest.fixture
async def flaky_house(tmp_path: Path) -> AsyncIterator[FlakyHouse]:
    """A house whose server also closes connections at bad moments, one in five."""
    async with keep_flaky_house(tmp_path, idle_faults=0.2) as house:
        yield house
