"""Processes of our own beside the job's: what may die, or take much memory, does so alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: Ctrl-C and a service manager's stop reach all processes of a group, or of a service.
_STOPS: Final = (signal.SIGINT, signal.SIGTERM)


def command(module: str, *arguments: str) -> list[str]:
    """What runs a module of ours in a process of its own."""
    # -P: what lies in the working directory is not ours to import.
    return [sys.executable, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """This process's environment, with the way to what it can import; one BLAS thread each."""
    path = os.pathsep.join(part for part in sys.path if part)
    return {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": path}


@contextmanager
def sheltered() -> Iterator[None]:
    """Processes that this thread starts meanwhile get no wish to stop, from their first instruction
    on: it is the job's to handle. What comes for this process is handled afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run(module: str, *arguments: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run a module of ours to its end in a process of its own, for what it writes.

    Raises:
        subprocess.TimeoutExpired: it took longer, and was ended.
    """
    with sheltered():
        process = subprocess.Popen(
            command(module, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment(),
        )
    with process:
        try:
            output, told = process.communicate(timeout=timeout_s)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, output, told)
