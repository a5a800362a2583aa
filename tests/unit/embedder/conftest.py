"""What the embedder's tests share: encoded files, and processes that decode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from embedder import listening
from embedder.folders import Why
from embedder.source import Folders, Listing, walk
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
    """Let the job use the session's processes instead of starting its own, and list by itself."""
    monkeypatch.setattr(listening, "Workers", lambda timeout_s: nullcontext(pool))
    monkeypatch.setattr(Folders, "listings", list_here)


def list_here(folders: Folders) -> list[Listing]:
    """As `Folders.listings`, in this process, where a test can let the system calls fail."""
    listings = {}
    for folder in folders._folders:
        denied: dict[str, Why] = {}
        files = walk(folder, denied)
        listings[folder.resolve()] = Listing(folder.resolve(), files, denied=denied)
    return list(listings.values())
