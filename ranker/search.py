"""Which rows are worth scoring in full.

Every term that is linear in the vectors becomes one product with the coarse copy (the first
columns of vectors and tag profiles, see `embedder.derivation`), the others are added where they
count. The best rows by that get a second look at more columns of the vectors, the best of those a
third at still more and at the genres, and the best of those go on. In a small library all rows do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.snapshot import Snapshot
from catalog.tracks import Float32
from ranker import terms
from ranker.picks import Context, Seed
from ranker.query import Query
from ranker.settings import RankingSettings

Rows = NDArray[np.intp]

#: A library up to so many rows is scored in full as a whole, and as many of a larger one are.
FULL: Final = 350

#: … unless more songs are asked for: so many for each.
FULL_PER_SONG: Final = 6

#: Of a larger library this part gets the second look, at these columns of the vectors. (Blocks that
#: divide a row are gathered in half the time.)
SECOND_SHARE: Final = 0.05
SECOND_LEAST: Final = 700
SECOND_MOST: Final = 20_000
SECOND_COLUMNS: Final = (64, 128)

#: So few columns between the coarse copy's and these may stay unseen.
_NEGLIGIBLE: Final = 8

#: … and this part of those, or so many times what is scored in full, the third, at these columns,
#: the whole profile and the genres.
THIRD_SHARE: Final = 0.25
THIRD_TIMES: Final = 3
THIRD_COLUMNS: Final = (128, 256)

#: Of what is skipped or unwanted only the best this many times over are looked at: penalties take
#: some of them away.
_PENALISED: Final = 4

#: The spread of scores, and where to cut, are taken from about so many rows.
_SAMPLE: Final = 2048
_LEAST_SPREAD: Final = 0.02

#: The cut lets through about this many times what is wanted, and in the sample some to spare.
_CUT_MARGIN: Final = 1.3
_CUT_SPARE: Final = 20

#: Of a normal distribution, in its deviations.
_QUARTILES_APART: Final = 1.349


@dataclass(frozen=True, slots=True)
class Coarse:
    """The coarse pass of one call.

    Attributes:
        scores: (n,) float32 near the sum of the linear terms, of what was offered, and of taste.
        spread: the deviation of likeness, in which penalties are counted.
    """

    scores: Float32
    spread: float


def coarse_pass(
    snapshot: Snapshot, query: Query, context: Context, settings: RankingSettings
) -> Coarse:
    """One look at every row."""
    matrix, audio = _coarse(snapshot)
    wanted = np.zeros(matrix.shape[1], np.float32)
    wanted[:audio] = _direction(query, settings)[:audio]
    if query.profile is not None:
        tags = matrix.shape[1] - audio
        wanted[audio:] = settings.tags * query.profile[:tags]
    scores = np.asarray(matrix @ wanted, np.float32)  # (n, c) @ (c,) -> (n,)
    if snapshot.hub is not None and settings.hub:
        scores -= np.float32(settings.audio * settings.hub) * snapshot.hub
    spread = _spread(scores)
    if context.held_back:
        held = np.fromiter(context.held_back, np.intp, len(context.held_back))
        rows = held[(held >= 0) & (held < snapshot.n)]
        scores[rows] -= np.float32(settings.held_back * spread)
    taste = context.taste
    if taste is not None:
        if taste.near is not None and settings.taste:
            scores += np.float32(settings.taste * spread) * taste.near
        if len(taste.rows) and settings.favourite:
            scores[taste.rows] += np.float32(settings.favourite * spread) * taste.due
    return Coarse(scores, spread)


def candidates(
    snapshot: Snapshot,
    seeds: Sequence[Seed],
    query: Query,
    coarse: Coarse,
    settings: RankingSettings,
    size: int,
    mask: NDArray[np.bool_] | None,
) -> Rows:
    """Up to `size` rows (of those in `mask`), ascending: the best as far as three looks tell."""
    n = snapshot.n
    looked = max(size, min(max(int(n * SECOND_SHARE), SECOND_LEAST), SECOND_MOST))
    penalised = bool(len(query.unwanted) or len(query.skipped))
    rows = top(coarse.scores, looked * _PENALISED if penalised else looked, mask)
    if len(rows) <= size:
        return rows
    matrix, audio = _coarse(snapshot)
    scores = coarse.scores[rows]
    if penalised:
        near = query.likeness(matrix[rows, :audio])
        scores -= np.float32(settings.unlike) * terms.unlike(near, query)
        scores -= np.float32(settings.skipped * coarse.spread) * terms.skipped(near, query)
        at = top(scores, looked)
        rows, scores = rows[at], scores[at]
    if looked > size:  # what the coarse copy lacks of the linear terms
        direction = _direction(query, settings)
        first, end = SECOND_COLUMNS
        seen = slice(first if audio > first - _NEGLIGIBLE else audio, end)
        scores += _columns(snapshot.vectors, rows, seen) @ direction[seen]  # (r, c) @ (c,) -> (r,)
        at = top(scores, max(size * THIRD_TIMES, int(looked * THIRD_SHARE)))
        rows, scores = rows[at], scores[at]
        seen = slice(*THIRD_COLUMNS)
        scores += _columns(snapshot.vectors, rows, seen) @ direction[seen]
        if query.profile is not None and snapshot.profile is not None:
            known = matrix.shape[1] - audio
            wanted = np.float32(settings.tags) * query.profile[known:]
            scores += snapshot.profile.take(rows, axis=0)[:, known:] @ wanted
        if settings.genres and snapshot.genres is not None:
            weight = np.float32(settings.genres * coarse.spread)
            scores += weight * terms.genres(snapshot, rows, seeds)
    return rows[top(scores, size)]


def top(scores: Float32, size: int, mask: NDArray[np.bool_] | None = None) -> Rows:
    """The `size` best rows (of those in `mask`), ascending; ties go to the lower row."""
    if size >= len(scores):
        return np.arange(len(scores)) if mask is None else np.flatnonzero(mask)
    cut = _cut(scores, size, mask)
    passed = scores >= cut
    rows = np.flatnonzero(passed if mask is None else passed & mask)
    if len(rows) < size and cut > -np.inf:  # the sample was unlucky
        rows = np.arange(len(scores)) if mask is None else np.flatnonzero(mask)
    if len(rows) <= size:
        return rows
    found = scores[rows]
    edge = np.partition(found, len(found) - size)[len(found) - size]
    surely = found > edge
    # Of those that only reach the edge, the lower rows.
    at_edge = np.flatnonzero(found == edge)[: size - int(np.count_nonzero(surely))]
    surely[at_edge] = True
    chosen: Rows = rows[surely]
    return chosen


def full_size(n: int, count: int) -> int:
    """How many rows are scored in full."""
    return max(min(n, FULL), count * FULL_PER_SONG)


def _direction(query: Query, settings: RankingSettings) -> Float32:
    """(d,) what the linear terms of the vectors add up to."""
    wanted = np.float32(settings.audio) * (query.weights @ query.wanted)
    if query.flow is not None:
        wanted += np.float32(settings.flow) * query.flow
    return np.asarray(wanted, np.float32)


def _spread(scores: Float32) -> float:
    sample = scores[:: max(len(scores) // _SAMPLE, 1)]
    if not len(sample):
        return _LEAST_SPREAD
    # By quartiles: a small group of twins, far above the rest, must not make penalties larger.
    low, high = len(sample) // 4, (3 * len(sample)) // 4
    parted = np.partition(sample, (low, high))
    return max(float(parted[high] - parted[low]) / _QUARTILES_APART, _LEAST_SPREAD)


def _cut(scores: Float32, size: int, mask: NDArray[np.bool_] | None) -> float:
    """A score that some more than `size` rows reach, from a sample; -inf where all must be seen."""
    step = len(scores) // _SAMPLE
    if step < 2:
        return -np.inf
    sample = scores[::step] if mask is None else scores[::step][mask[::step]]
    wanted = int(_CUT_MARGIN * size / step) + _CUT_SPARE
    if wanted >= len(sample):
        return -np.inf
    return float(np.partition(sample, len(sample) - wanted)[len(sample) - wanted])


def _coarse(snapshot: Snapshot) -> tuple[Float32, int]:
    """The matrix to search and how many of its columns are of the vectors."""
    if snapshot.coarse is None:
        return snapshot.vectors, snapshot.vectors.shape[1]
    return snapshot.coarse, snapshot.coarse_of_vectors


def _columns(matrix: Float32, rows: Rows, columns: slice) -> Float32:
    """(r, c) some columns of some rows; fewer where the matrix (n, d) has no more."""
    d, width = matrix.shape[1], columns.stop - columns.start
    if d % width or columns.start % width or not matrix.flags.c_contiguous:
        return np.asarray(matrix[:, columns][rows])
    blocks = matrix.reshape(-1, width)
    found: Float32 = blocks.take(rows * (d // width) + columns.start // width, axis=0)
    return found
