"""What a loaded model is, and the one gate that everything it says goes through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from catalog.tracks import Analysis, Float32
from embedder.errors import CANNOT_ANALYSE, DecodingError
from embedder.excerpts import Excerpts


class Analyser(Protocol):
    """A loaded model. `analyse` may be called from several threads at once."""

    def analyse(self, excerpts: Excerpts) -> tuple[Analysis, ...]:
        """What this model, and what is loaded with it, says of a track that sounds like this."""
        ...


def hear(analysers: Sequence[Analyser], excerpts: Excerpts) -> tuple[Analysis, ...]:
    """What all models say of a track: numbers, of the promised shapes, or nothing.

    Raises:
        DecodingError: what a model says are not the numbers it promises.
    """
    analyses = tuple(one for analyser in analysers for one in analyser.analyse(excerpts))
    for one in analyses:
        dim, labels = one.model.dim, len(one.model.labels)
        _check(one.model.name, "vector", one.vector, dim)
        _check(one.model.name, "scores", one.scores, labels)
    return analyses


def _check(model: str, what: str, values: Float32 | None, size: int) -> None:
    found = 0 if values is None else values.size
    if found != size:
        raise DecodingError(CANNOT_ANALYSE, f"{model} gave {found} {what}, {size} expected")
    if values is not None and not np.isfinite(values).all():
        raise DecodingError(CANNOT_ANALYSE, f"{model} gave {what} that are not finite numbers")
