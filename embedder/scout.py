"""A process that looks at a music folder: where a dead mount hangs whoever asks, it hangs alone.

`python -m embedder.scout WISH` tells `embedder.scouts` what it finds, in JSON, a line at a time. A
process that hangs in the kernel takes no signal, not even SIGKILL; this one holds nothing that
anybody waits for.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def try_files(folder: Path, paths: Sequence[str]) -> None:
    """Tell whether a folder is there and has anything in it, then of each file whether it reads.

    `why` is "" where it does.
    """
    say(kind="folder", why=_look(folder))
    for path in paths:
        say(kind="file", why=_try(folder / path))


def _look(folder: Path) -> str:
    try:
        with os.scandir(folder) as entries:
            return "" if next(entries, None) is not None else "it is empty"
    except OSError as error:
        return error.strerror or str(error)


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
    os.write(sys.stdout.fileno(), json.dumps(message).encode() + b"\n")


def main() -> None:
    """Run as a process of its own."""
    wish = json.loads(sys.argv[1])
    say(kind="ready")
    try_files(Path(wish["folder"]), wish["files"])
    say(kind="end")


if __name__ == "__main__":
    main()
