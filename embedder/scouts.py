"""What a scout finds in a music folder (`embedder.scout`), seen from the job."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from embedder.errors import EmbedderError
from embedder.processes import command, environment, sheltered

#: What a scout is started with; its wish follows.
COMMAND: Final[list[str]] = command("embedder.scout")

_START_S: Final = 60.0
_END_S: Final = 0.2
#: How soon a wish to stop is seen.
_LOOK_EVERY_S: Final = 0.2

#: Folders beside the music are waited for no longer.
_MOST_ASIDE_S: Final = 10.0

#: So many other files that cannot be read are not the fault of each.
FEWEST_TRIED: Final = 2


#: Scouts that hang in the kernel, by what they were asked for: a job that looks again and again
#: must not fill the memory with them.
_left_behind: dict[str, subprocess.Popen[bytes]] = {}


def find_trouble(
    folder: Path, paths: Sequence[str], timeout_s: float, stop: threading.Event | None = None
) -> str:
    """Why a folder cannot be read now, in words, after one of its files could not; "" if it can.

    It can when any of the files below it (`paths`) can, or there are too few to judge by. Not
    looked into further once `stop` is set.
    """
    tried, last = 0, ""
    try:
        with closing(ask(timeout_s, stop, folder=str(folder), files=list(paths))) as answers:
            for answer in answers:
                if answer["kind"] == "folder":
                    if answer["why"]:
                        return str(answer["why"])
                    continue
                if not answer["why"]:
                    return ""
                tried, last = tried + 1, str(answer["why"])
    except TimeoutError as error:
        return str(error)
    return f"{tried} others of its files neither ({last})" if tried >= FEWEST_TRIED else ""


def is_away(folder: Path, timeout_s: float) -> bool:
    """As `catalog.library.is_away`; of a folder that does not answer it is not known, so not so."""
    try:
        with closing(
            ask(min(timeout_s, _MOST_ASIDE_S), None, folder=str(folder), files=[])
        ) as answers:
            return any(bool(answer["away"]) for answer in answers)
    except TimeoutError:
        return False


def ask(
    timeout_s: float, stop: threading.Event | None = None, **wish: object
) -> Generator[dict[str, Any], None, None]:
    """What a scout says, message by message, until it is done or `stop` is set.

    Raises:
        TimeoutError: it said nothing for `timeout_s`, or one before it hangs in the same way still.
        EmbedderError: it does not run.
    """
    wished = json.dumps(wish)
    if (left := _left_behind.pop(wished, None)) is not None and left.poll() is None:
        _left_behind[wished] = left
        raise _silence(timeout_s)
    process = _start(wished)
    assert process.stdout is not None
    try:
        said = _lines(process.stdout.fileno(), timeout_s, stop)
        for line in said:
            message: dict[str, Any] = json.loads(line)
            if message["kind"] == "end":
                return
            if message["kind"] not in {"ready", "alive"}:
                yield message
        if stop is None or not stop.is_set():
            raise EmbedderError(
                "a process that looks at the music folder does not run: try"
                f" `{sys.executable} -m embedder.scout`"
            )
    finally:
        process.stdout.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
        if process.poll() is None:
            process.kill()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                _left_behind[wished] = process


def _start(wish: str) -> subprocess.Popen[bytes]:
    with sheltered():
        return subprocess.Popen(
            [*COMMAND, wish],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
        )


def _lines(descriptor: int, timeout_s: float, stop: threading.Event | None) -> Iterator[bytes]:
    """The lines that come, until there are no more or `stop` is set."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    rest, limit_s = b"", max(_START_S, timeout_s)
    heard_s = time.monotonic()
    while stop is None or not stop.is_set():
        if not poll.poll(1000 * (limit_s if stop is None else min(limit_s, _LOOK_EVERY_S))):
            if time.monotonic() - heard_s >= limit_s:
                raise _silence(limit_s)
            continue
        piece = os.read(descriptor, 2**20)
        if not piece:
            return
        heard_s, limit_s = time.monotonic(), timeout_s
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines


def _silence(limit_s: float) -> TimeoutError:
    return TimeoutError(f"nothing came from it for {limit_s:g} s")
