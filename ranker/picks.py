"""What goes into a ranking and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Seed:
    """A row of the snapshot to be like, with a positive weight."""

    row: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Context:
    """What the moment allows and remembers.

    Attributes:
        eligible: (n,) bool, the rows that the call's limits allow; None allows all.
        excluded: rows that must not come (queued, playing, just served).
        held_back: rows that were offered not long ago; they come when little else is left.
        heard: rows heard in this session, latest first.
    """

    eligible: NDArray[np.bool_] | None = None
    excluded: frozenset[int] = frozenset()
    held_back: frozenset[int] = frozenset()
    heard: tuple[int, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Reason:
    """One term of a score: its signed contribution, and the same in words."""

    term: str
    value: float
    text: str


@dataclass(frozen=True, slots=True)
class Pick:
    """A chosen row. `score` is the sum of the values of its reasons."""

    row: int
    score: float
    reasons: tuple[Reason, ...]
