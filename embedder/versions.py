"""Which tracks are one recording, told by their sound alone: candidates cheaply, then bit by bit.

Comparing all pairs of half a million tracks would take hours. Tracks are sorted into cells by
duration and by the mean level of three bands; only those that may share a cell are looked at, first
in all bands, then by their fingerprints.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.library import Library
from catalog.tracks import Float32, Int64
from embedder.fingerprint import (
    DIM,
    FINGERPRINT,
    MOST_LEVEL_DB,
    MOST_TRIMMED_S,
    N_BANDS,
    heard,
    profiles,
    same_recording,
)

#: Cells are so wide that one more beside the own holds all that may be near.
_CELL_BANDS: Final = (2, 7, 12)
_CELL_DB: Final = 3 * MOST_LEVEL_DB
_CELL_S: Final = 2 * MOST_TRIMMED_S
#: Pairs looked at at once.
_BLOCK: Final = 1 << 18


def same_sounding(
    library: Library, track_ids: Int64, duration_s: NDArray[np.floating]
) -> Iterator[tuple[int, int]]:
    """Pairs of rows that are one recording; `track_ids` (n,) ascend, `duration_s` (n,)."""
    levels = np.full((len(track_ids), N_BANDS), np.nan, np.float32)
    for rows, found in _prints(library, track_ids):
        levels[rows] = np.where(heard(found)[:, np.newaxis], profiles(found), np.nan)
    pairs = candidates(levels, duration_s)
    wanted = np.unique(pairs)
    prints = np.zeros((len(wanted), DIM), np.float32)
    for rows, found in _prints(library, track_ids):
        place = np.minimum(np.searchsorted(wanted, rows), max(len(wanted) - 1, 0))
        there = wanted[place] == rows if len(wanted) else np.zeros(len(rows), np.bool_)
        prints[place[there]] = found[there]
    places = np.searchsorted(wanted, pairs)
    for (one, other), (a, b) in zip(pairs.tolist(), places.tolist(), strict=True):
        if same_recording(prints[a], prints[b], float(duration_s[one]), float(duration_s[other])):
            yield one, other


def _prints(library: Library, track_ids: Int64) -> Iterator[tuple[NDArray[np.intp], Float32]]:
    """Rows of the snapshot with their stored fingerprints, block by block."""
    for ids, found in library.vector_blocks(FINGERPRINT):
        rows = np.minimum(np.searchsorted(track_ids, ids), max(len(track_ids) - 1, 0))
        ours = track_ids[rows] == ids if len(track_ids) else np.zeros(len(ids), np.bool_)
        yield rows[ours], found[ours]


def candidates(levels: Float32, duration_s: NDArray[np.floating]) -> Int64:
    """Pairs (m, 2) of rows, lower first, that may be one recording; each once, in order.

    Args:
        levels: (n, N_BANDS) mean level of each band in dB, rows of NaN for tracks to leave out.
        duration_s: (n,).
    """
    rows = np.flatnonzero(np.isfinite(levels).all(axis=1))
    places = np.column_stack([duration_s[rows], levels[rows][:, _CELL_BANDS]]).astype(np.float64)
    reach = np.array([MOST_TRIMMED_S, *[MOST_LEVEL_DB] * len(_CELL_BANDS)])
    width = np.array([_CELL_S, *[_CELL_DB] * len(_CELL_BANDS)])
    own = np.floor(places / width).astype(np.int64)
    keys = _hash(own)
    order = np.argsort(keys, kind="stable")
    found: list[Int64] = [np.zeros((0, 2), np.int64)]
    for sides in product((-1, 0, 1), repeat=len(width)):
        cell = np.floor((places + np.array(sides) * reach) / width).astype(np.int64)
        # Looked up from the side only where that is another cell than from the middle.
        looks = np.flatnonzero(((cell != own) == (np.array(sides) != 0)).all(axis=1))
        probe = _hash(cell[looks])
        first = np.searchsorted(keys[order], probe, "left")
        count = np.searchsorted(keys[order], probe, "right") - first
        for part in _parts(count):
            one = np.repeat(looks[part], count[part])
            begun = np.cumsum(count[part]) - count[part]
            inside = np.arange(len(one)) - np.repeat(begun, count[part])
            other = order[np.repeat(first[part], count[part]) + inside]
            a, b = rows[one], rows[other]
            near = a < b
            near[near] &= np.abs(duration_s[a[near]] - duration_s[b[near]]) <= MOST_TRIMMED_S
            near[near] &= (np.abs(levels[a[near]] - levels[b[near]]) <= MOST_LEVEL_DB).all(axis=1)
            found.append(np.column_stack([a[near], b[near]]).astype(np.int64))
    return np.unique(np.concatenate(found), axis=0)


def _parts(count: NDArray[np.intp]) -> Iterator[slice]:
    """Slices whose counts add up to about `_BLOCK`."""
    total = np.cumsum(count)
    start = 0
    while start < len(count):
        before = total[start - 1] if start else 0
        stop = max(int(np.searchsorted(total, before + _BLOCK, "right")), start + 1)
        yield slice(start, stop)
        start = stop


def _hash(cells: Int64) -> Int64:
    """One number for each row of cells (n, d); that two cells share one costs only time."""
    mixed = np.zeros(len(cells), np.int64)
    with np.errstate(over="ignore"):
        for column in cells.T:
            mixed = (mixed ^ column) * np.int64(0x9E3779B97F4A7C15 - (1 << 64))
            mixed ^= mixed >> np.int64(29)
    return mixed
