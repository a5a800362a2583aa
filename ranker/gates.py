"""Gates: what does not come at all, unless a seed is of the same kind or nothing else is left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from catalog.snapshot import Snapshot
from ranker.picks import Context, Seed

Mask = NDArray[np.bool_]


def allowed(snapshot: Snapshot, seeds: Sequence[Seed], context: Context) -> Mask:
    """(n,) bool: within the call's limits, neither a seed nor excluded."""
    mask = np.ones(snapshot.n, np.bool_) if context.eligible is None else context.eligible.copy()
    gone = [*(seed.row for seed in seeds), *context.excluded]
    mask[[row for row in gone if 0 <= row < snapshot.n]] = False
    return mask


def of_open_kind(snapshot: Snapshot, seeds: Sequence[Seed], context: Context) -> Mask | None:
    """(n,) bool: not of a kind (see `catalog.kinds`) that no wanted seed is of; None: all are."""
    if snapshot.kind is None:
        return None
    opened = context.open_kinds
    for seed in seeds:
        if seed.weight > 0:
            opened |= int(snapshot.kind[seed.row])
    mask: Mask = (snapshot.kind & np.uint8(~opened & 0xFF)) == 0
    return mask


def other_recordings(
    snapshot: Snapshot, rows: NDArray[np.intp], seeds: Sequence[Seed], context: Context
) -> NDArray[np.intp]:
    """Those of `rows` that are no version of a seed or of anything excluded."""
    gone = [*(seed.row for seed in seeds), *context.excluded]
    known = snapshot.recording[[row for row in gone if 0 <= row < snapshot.n]]
    recordings = np.unique(known[known >= 0])
    return rows[~np.isin(snapshot.recording[rows], recordings)]
