"""Processes of our own beside the job's: what may die, or take much memory, does so alone."""

from __future__ import annotations

import os
import sys


def command(module: str, *arguments: str) -> list[str]:
    """What runs a module of ours in a process of its own."""
    # -P: what lies in the working directory is not ours to import.
    return [sys.executable, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """This process's environment, with the way to what it can import; one BLAS thread each."""
    path = os.pathsep.join(part for part in sys.path if part)
    return {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": path}
