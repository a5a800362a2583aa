"""What every test may ask for. Data beside the checkout is used where it is, and never needed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
