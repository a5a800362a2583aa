"""What every test may ask for. Data beside the checkout is used where it is, and never needed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvicorn

#: Real music, weights, traces and schemas that may lie beside a checkout (see docs/development.md).
SHARED = Path(os.environ.get("SEGUE_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def _shared(*parts: str) -> Path:
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs the data folder {'/'.join(('shared', *parts))} beside the checkout")
    return path


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def quick_endings() -> Iterator[None]:
    """Servers of this process look a hundred times a second whether they are to end, not ten."""

    async def nap(seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01))

    patch = pytest.MonkeyPatch()
    patch.setattr(uvicorn.server, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": nap}))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def shared_audio() -> Path:
    """165 real excerpts laid out as Artist/Album/NN - Title.ext."""
    return _shared("audio", "library")


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Published weights with golden outputs."""
    return _shared("models")


@pytest.fixture(scope="session")
def shared_traces() -> Path:
    """Recorded calls of a real Feishin and a real Navidrome."""
    return _shared("traces")


@pytest.fixture(scope="session")
def shared_contracts() -> Path:
    """OpenSubsonic's JSON schemas."""
    return _shared("contracts", "opensubsonic")


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """Ctrl-C reaches what the tests start, also where the tests themselves run in the background.

    A shell lets its background jobs ignore SIGINT, and every process they start inherits that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
