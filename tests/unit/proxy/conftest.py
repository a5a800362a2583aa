"""The proxy runs on uvloop, so its tests do too."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.proxy import wire


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(params=[0, 1], ids=["asked", "relayed"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once by the application, once (reads over a kept connection) from transport to transport."""
    monkeypatch.setattr(wire, "KEPT", request.param)
