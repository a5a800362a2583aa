"""Which tracks are one recording, told by their sound alone: candidates cheaply, then bit by bit.

Comparing all pairs of half a million tracks bit by bit would take weeks. In order of duration those
that may be one lie close together; a matrix product tells which of them are near in all bands (of
13,000 pairs of different games' music 1 in 1,500), a glance at two windows which of those may
agree, and few are left.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.library import Library
from catalog.tracks import Float32, Int64
from embedder.fingerprint import (
    FINGERPRINT,
    MOST_LEVEL_DB,
    MOST_TRIMMED_S,
    N_BANDS,
    N_FRAMES,
    disagree,
    frames,
    heard,
    may_agree,
    profiles,
    same_recording,
)
from embedder.windows import MOST_WINDOWS

#: How far apart the mean levels may be over all bands, in dB (Euclidean). 120 re-encodings of 15
#: tracks are at most 2.4 away from theirs, the true pairs of 165 tracks at most 2.6.
MOST_DISTANCE_DB: Final = 5.0

#: So many rows are held against so many others at once: a product that stays in the cache.
_ROWS, _OTHERS = 128, 4096
#: So many pairs' windows are looked at at once.
_PAIRS: Final = 1 << 12


class Sounds:
    """The prints of a library's tracks, as far as tracks are held against each other."""

    def __init__(
        self,
        library: Library,
        track_ids: Int64,
        duration_s: NDArray[np.floating],
        named: NDArray[np.intp],
    ) -> None:
        """`track_ids` (n,) ascend, `duration_s` (n,); `named` are the rows that `apart` may be
        asked about, ascending."""
        levels = np.full((len(track_ids), N_BANDS), np.nan, np.float32)
        for rows, found in _prints(library, track_ids):
            levels[rows] = np.where(heard(found)[:, np.newaxis], profiles(found), np.nan)
        #: Rows whose prints tell something, (n,).
        self.told: NDArray[np.bool_] = np.asarray(np.isfinite(levels).all(axis=1))
        self._pairs = candidates(levels, duration_s)
        self._rows = np.union1d(self._pairs, named[self.told[named]])
        # A frame's 15 bits, or -1, fit into 16: 612 bytes a track.
        self._frames = np.zeros((len(self._rows), MOST_WINDOWS, N_FRAMES), np.int16)
        for rows, found in _prints(library, track_ids):
            place, there = self._places(rows)
            self._frames[place[there]] = frames(found[there])
        self._seconds = duration_s[self._rows].astype(np.float64)

    def alike(self) -> Iterator[tuple[int, int]]:
        """Pairs of rows that are one recording."""
        kept, seconds = self._frames, self._seconds
        for start in range(0, len(self._pairs), _PAIRS):
            ours, theirs = np.searchsorted(self._rows, self._pairs[start : start + _PAIRS]).T
            maybe = may_agree(kept[ours], kept[theirs], seconds[ours], seconds[theirs])
            for one, other in zip(ours[maybe].tolist(), theirs[maybe].tolist(), strict=True):
                if same_recording(kept[one], kept[other], seconds[one], seconds[other]):
                    yield int(self._rows[one]), int(self._rows[other])

    def apart(self, ones: NDArray[np.intp], others: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which of many pairs of rows are plainly two recordings, (m,); not those of which too
        little is known."""
        (ours, known), (theirs, known_too) = self._places(ones), self._places(others)
        found = known & known_too
        pairs = np.flatnonzero(found)
        for start in range(0, len(pairs), _PAIRS):
            part = pairs[start : start + _PAIRS]
            a, b = ours[part], theirs[part]
            found[part] = disagree(
                self._frames[a], self._frames[b], self._seconds[a], self._seconds[b]
            )
        return found

    def _places(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Where rows are among those that were kept, and which are."""
        if not len(self._rows):
            return np.zeros(len(rows), np.intp), np.zeros(len(rows), np.bool_)
        place = np.minimum(np.searchsorted(self._rows, rows), len(self._rows) - 1)
        return place, self._rows[place] == rows


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
    rows = rows[np.argsort(duration_s[rows], kind="stable")]
    seconds, places = duration_s[rows].astype(np.float64), levels[rows]
    centred = places - places.mean(0) if len(rows) else places
    half = -0.5 * (centred * centred).sum(1, keepdims=True)
    one = np.ones_like(half)
    # Of rows a, b: a @ b - (a @ a) / 2 - (b @ b) / 2 is minus half their squared distance.
    left, right = np.hstack([centred, half, one]), np.hstack([centred, one, half]).T.copy()
    least = np.float32(-0.5 * MOST_DISTANCE_DB**2)
    ends = np.searchsorted(seconds, seconds + MOST_TRIMMED_S, "right")
    found: list[Int64] = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(rows), _ROWS):
        stop = min(start + _ROWS, len(rows))
        for first in range(start, int(ends[stop - 1]), _OTHERS):
            last = min(first + _OTHERS, int(ends[stop - 1]))
            near = left[start:stop] @ right[:, first:last]  # (r, b + 2) @ (b + 2, o) -> (r, o)
            a, b = np.divmod(np.flatnonzero(near >= least), last - first)
            a, b = a + start, b + first
            alike = (a < b) & (b < ends[a])
            a, b = a[alike], b[alike]
            alike = (np.abs(places[a] - places[b]) <= MOST_LEVEL_DB).all(axis=1)
            found.append(np.column_stack([rows[a[alike]], rows[b[alike]]]))
    pairs = np.concatenate(found)
    pairs.sort(axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
