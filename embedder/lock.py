"""One job at a time works on a data folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from embedder.errors import EmbedderError

LOCK_FILE: Final = "embed.lock"


@contextmanager
def only_job(data: Path) -> Iterator[None]:
    """Hold the data folder's lock; the system lets go of it when a job dies.

    Raises:
        EmbedderError: another job holds it.
    """
    data.mkdir(parents=True, exist_ok=True)
    with (data / LOCK_FILE).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EmbedderError(
                f"another `segue embed` is at work in {data}: let it end"
            ) from error
        yield
