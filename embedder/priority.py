"""Leaving processor and disk to those who listen."""

from __future__ import annotations

import ctypes
import os
import platform
from contextlib import suppress
from typing import Final

_NICE: Final = 10
#: Linux' ioprio_set by machine; others go without.
_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30}
_WHO_PROCESS: Final = 1
#: Best effort, the last of its eight levels: idle would wait for ever on a busy disk.
_LAST_BEST_EFFORT: Final = 2 << 13 | 7


def lower_priority() -> None:
    """Put this process, and those it starts from now on, behind the others."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), _NICE))
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).syscall(number, _WHO_PROCESS, 0, _LAST_BEST_EFFORT)
