"""What a run measured at its beginning, and what it remembers of the steps before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

#: Numbers of a vector.
DIM: Final = 512


@dataclass(frozen=True, slots=True)
class Scales:
    """Each label's spread over the music that was measured, and how much it counts."""

    tags: Tensor
    tag_weight: Tensor
    moods: Tensor


class Memory:
    """Vectors and targets of earlier steps, the oldest forgotten first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.vectors = torch.zeros(0, DIM)
        self.targets = torch.zeros(0, DIM)

    def add(self, vectors: Tensor, targets: Tensor) -> None:
        """Remember rows (n, 512), not centred, and their targets (n, 512)."""
        self.vectors = torch.cat([vectors.detach(), self.vectors])[: self._size]
        self.targets = torch.cat([targets, self.targets])[: self._size]
