"""What goes into a ranking and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ranker.taste import Taste


@dataclass(frozen=True, slots=True)
class Seed:
    """A row of the snapshot to be like, or with a negative weight to be unlike."""

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
        heard_ages_s: seconds since each of `heard`; may be shorter, or empty where not known.
        skipped: rows skipped in this session; what is near them is less wanted for a while.
        skipped_ages_s: seconds since each of `skipped`; missing ones count as just now.
        chosen: rows that the answer has already, in order, where it is put together from several
            rankings; they are spaced from as if they were picks. They belong into `excluded` too.
        open_kinds: flags of `catalog.kinds` that may come although no seed is of that kind, as
            seasonal music in its season (`ranker.gates.in_season`).
        taste: what the listener returns to; None where it is not known.
        chance: picks another of several near equal orders; 0 leaves chance out.
    """

    eligible: NDArray[np.bool_] | None = None
    excluded: frozenset[int] = frozenset()
    held_back: frozenset[int] = frozenset()
    heard: tuple[int, ...] = ()
    heard_ages_s: tuple[float, ...] = ()
    skipped: tuple[int, ...] = ()
    skipped_ages_s: tuple[float, ...] = ()
    chosen: tuple[int, ...] = ()
    open_kinds: int = 0
    taste: Taste | None = None
    chance: int = 0

    @property
    def followed(self) -> tuple[int, ...]:
        """What the session may go on from: rows heard and not skipped, latest first."""
        left = frozenset(self.skipped)
        return tuple(row for row in self.heard if row not in left) if left else self.heard


@dataclass(frozen=True, slots=True)
class Reason:
    """One term of a score: its signed contribution, and the same in words."""

    term: str
    value: float
    text: str


class Pick:
    """A chosen row. `score` is the sum of the values of its reasons.

    What the others in the house return to moves the order a little and is in no reason and no
    score: nobody can read it off. Reasons are put into words when they are first asked for: a list
    of fifty is answered without.

    Args:
        reasons: the reasons, or what tells them; it is called once at most.
    """

    __slots__ = ("_reasons", "row", "score")

    def __init__(
        self, row: int, score: float, reasons: tuple[Reason, ...] | Callable[[], tuple[Reason, ...]]
    ) -> None:
        self.row = row
        self.score = score
        self._reasons = reasons

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The very terms that made the score."""
        if callable(self._reasons):
            self._reasons = self._reasons()
        return self._reasons

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Pick):
            return NotImplemented
        mine, others = (self.row, self.score), (other.row, other.score)
        return mine == others and self.reasons == other.reasons

    def __hash__(self) -> int:
        return hash((self.row, self.score))

    def __repr__(self) -> str:
        return f"Pick(row={self.row}, score={self.score}, reasons={self.reasons})"
