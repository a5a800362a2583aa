"""What the embedder's tests share: encoded files, and processes that decode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from embedder import listening
from embedder.workers import Workers
from tests.unit.embedder.sounds import Recordings


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    """Long files, each encoded once a session."""
    return Recordings(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="session")
def pool() -> Iterator[Workers]:
    """Decoding processes that outlive a run: starting them takes longer than most tests."""
    with Workers(timeout_s=60.0) as workers:
        yield workers


@pytest.fixture
def shared_workers(pool: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the job use the session's processes instead of starting its own."""
    monkeypatch.setattr(listening, "Workers", lambda timeout_s: nullcontext(pool))
