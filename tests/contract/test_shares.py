"""One user with many calls leaves the others their part of the server."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response

from proxy.hydration import CONCURRENCY
from proxy.settings import SteeringSettings
from tests.contract.conftest import keep_house
from tests.contract.upstream import FakeServer

pytestmark = pytest.mark.anyio

SEED = "song0002"


class SlowServer(FakeServer):
    """Takes its time for each song, and counts how many a user asks for at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def _rest(self, request: Request) -> Response:
        user = request.query_params.get("u", "")
        asked = request.query_params.get("id", SEED)
        if request.url.path.startswith("/rest/getSong") and asked != SEED:  # no check of a login
            self.now[user] += 1
            self.most[user] = max(self.most[user], self.now[user])
            await asyncio.sleep(0.02)
            self.now[user] -= 1
        return await super()._rest(request)


async def test_many_calls_under_many_names_are_one_users(tmp_path: Path) -> None:
    """Each asks for all there is, as a client that nobody has heard of."""
    server = SlowServer()
    settings = SteeringSettings(deadline_ms=10_000)
    async with keep_house(tmp_path, steering=settings, server=server) as house:
        flood = asyncio.gather(
            *(
                house.call("getSimilarSongs", user="bob", id=SEED, count=500, client=f"c{i}")
                for i in range(8)
            )
        )
        await asyncio.sleep(0.05)
        assert len(await house.songs("getSimilarSongs", id=SEED, count=20)) == 20
        assert not flood.done()
        assert {answer.headers["x-segue"] for answer in await flood} == {"steered"}
        assert 8 < server.most["bob"] <= CONCURRENCY
