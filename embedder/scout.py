"""A process that looks at a music folder: where a dead mount hangs whoever asks, it hangs alone.

`python -m embedder.scout WISH` tells `embedder.scouts` what it finds, in JSON, a line at a time. A
process that hangs in the kernel takes no signal, not even SIGKILL; this one holds nothing that
anybody waits for.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from embedder.folders import Why, find_files

#: Files are told so many at a time, and at least so often.
_BATCH: Final = 1000
_TELL_EVERY_S: Final = 1.0


def list_files(folder: Path) -> None:
    """Tell where a folder is, then its audio files, then what is passed over (`denied`)."""
    batch: list[tuple[str, int, int]] = []
    denied: dict[str, Why] = {}
    told_s = time.monotonic()

    def tell(fewest: int = 0) -> None:
        nonlocal told_s
        now_s = time.monotonic()
        if len(batch) >= fewest or now_s - told_s >= _TELL_EVERY_S:
            say(kind="files", files=batch)
            batch.clear()
            told_s = now_s

    try:
        there = folder.is_dir()
        say(kind="folder", resolved=os.path.realpath(folder), there=there)
        if not there:
            return
        for found in find_files(folder, denied, look=lambda: tell(_BATCH)):
            batch.append(found)  # noqa: PERF402 - told meanwhile
    except OSError as error:
        say(kind="failed", why=error.strerror or str(error))
        return
    tell()
    say(kind="denied", denied=denied)


def try_files(folder: Path, paths: Sequence[str]) -> None:
    """Tell whether a folder is there and has anything in it, then of each file whether it reads.

    `why` is "" where it does; `away`: nothing lies there, as far as may be seen.
    """
    why, away = _look(folder)
    say(kind="folder", why=why, away=away)
    for path in paths:
        say(kind="file", why=_try(folder / path))


def _look(folder: Path) -> tuple[str, bool]:
    try:
        with os.scandir(folder) as entries:
            empty = next(entries, None) is None
    except OSError as error:
        return error.strerror or str(error), not isinstance(error, PermissionError)
    return "it is empty" if empty else "", empty


def _try(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            os.read(descriptor, 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def say(**message: object) -> None:
    """Write one message."""
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Run as a process of its own."""
    wish = json.loads(sys.argv[1])
    say(kind="ready")
    if "list" in wish:
        list_files(Path(wish["list"]))
    else:
        try_files(Path(wish["folder"]), wish["files"])
    say(kind="end")


if __name__ == "__main__":
    main()
