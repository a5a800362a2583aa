"""Gates: what does not come at all.

Kinds (`catalog.kinds`: seasonal, spoken, live, short, long) come where a seed opens them
(`opened_by`) or nothing else is left. What the listener gave one star, what is excluded, and other
versions of that never come. Which track is of which kind is told by `embedder.kinds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catalog.kinds import SEASONAL
from catalog.snapshot import Snapshot
from ranker.picks import Context, Seed

Mask = NDArray[np.bool_]

_FEW: Final = 100

#: The only season that the flag knows is Christmas.
CHRISTMAS_MONTH: Final = 12


def in_season(month: int) -> int:
    """Flags of `catalog.kinds` for `Context.open_kinds` in a month (1…12)."""
    return SEASONAL if month == CHRISTMAS_MONTH else 0


def allowed(snapshot: Snapshot, seeds: Sequence[Seed], context: Context) -> Mask:
    """(n,) bool: within the call's limits, neither a seed, nor excluded, nor never wanted."""
    mask = np.ones(snapshot.n, np.bool_) if context.eligible is None else context.eligible.copy()
    mask[_gone(snapshot, seeds, context)] = False
    if context.taste is not None:
        mask[list(context.taste.gated)] = False
    return mask


def opened_by(snapshot: Snapshot, seeds: Sequence[Seed]) -> int:
    """Flags of the kinds that come because wanted seeds are of them."""
    opened = 0
    if snapshot.kind is not None:
        for seed in seeds:
            if seed.weight > 0:
                opened |= int(snapshot.kind[seed.row])
    return opened


def of_open_kind(snapshot: Snapshot, seeds: Sequence[Seed], context: Context) -> Mask | None:
    """(n,) bool: of no kind but those that seeds or the context open; None: all are."""
    if snapshot.kind is None:
        return None
    closed = np.uint8(~(context.open_kinds | opened_by(snapshot, seeds)) & 0xFF)
    # Mostly all are closed: one look at each instead of two.
    mask: Mask = (snapshot.kind if closed == 0xFF else snapshot.kind & closed) == 0
    return mask


def other_recordings(
    snapshot: Snapshot, rows: NDArray[np.intp], seeds: Sequence[Seed], context: Context
) -> Mask:
    """(r,) bool: those of `rows` that are no version of a seed or of anything excluded."""
    known = snapshot.recording[_gone(snapshot, seeds, context)]
    mask: Mask = ~is_one_of(snapshot.recording[rows], known[known >= 0])
    return mask


def is_one_of(codes: NDArray[np.integer[Any]], few: NDArray[np.int32]) -> Mask:
    """(r,) bool, as `np.isin`, which sorts all there is: this is ten times as quick."""
    if len(few) > _FEW:
        ordered = np.sort(few)
        at = np.minimum(np.searchsorted(ordered, codes), len(ordered) - 1)
        return np.asarray(ordered[at] == codes)
    found: Mask = (codes[:, np.newaxis] == few).any(1)
    return found


def _gone(snapshot: Snapshot, seeds: Sequence[Seed], context: Context) -> NDArray[np.intp]:
    rows = np.array([*(seed.row for seed in seeds), *context.excluded], np.intp)
    return rows[(rows >= 0) & (rows < snapshot.n)]
