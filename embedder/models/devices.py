"""What the machine has, found out without loading torch where there is nothing to find."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

#: Where NVIDIA's driver, and Windows' under WSL, show themselves.
_DRIVERS: Final = ("/dev/nvidiactl", "/dev/dxg")


def cuda_there() -> bool:
    """Whether torch can run on CUDA here: torch takes seconds to load, so a driver comes first."""
    if importlib.util.find_spec("torch") is None or not any(Path(one).exists() for one in _DRIVERS):
        return False
    try:
        import torch
    except (ImportError, OSError):
        return False
    return bool(torch.cuda.is_available())
