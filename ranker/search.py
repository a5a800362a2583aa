"""Which rows are worth scoring in full.

Every term that is linear in the vectors becomes one product with the coarse copy (the first
columns of vectors and tag profiles, see `embedder.derivation`), the others are added where they
count. The best rows by that get a second look at more columns of the vectors, the best of those a
third at all tags and the genres, and the best of those go on. In a small library all rows do.
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
from ranker.picks import Context
from ranker.query import Likeness, Query
from ranker.settings import RankingSettings

Rows = NDArray[np.intp]

#: A library up to so many rows is scored in full as a whole, and as many of a larger one are and
#: one more for each so many tracks; where more songs are asked for, so many for each.
FULL: Final = 250
FULL_MOST: Final = 600
FULL_PER_TRACKS: Final = 1000
FULL_PER_SONG: Final = 6

#: … and this many times as many where the looks see the score less well, because it is not linear:
#: of several seeds, or with something unwanted.
FULL_BENT: Final = 3

#: Of a larger library this part gets the second look.
SECOND_SHARE: Final = 0.05
SECOND_LEAST: Final = 700
SECOND_MOST: Final = 20_000

#: It is at these columns of the vectors, of which so few may stay unseen. (Blocks that divide a row
#: are gathered in half the time.)
SECOND_COLUMNS: Final = (64, 128)
_NEGLIGIBLE: Final = 8

#: This part of those, or so many times what is scored in full, gets the third, at the whole profile
#: and the genres; fewer than so many times get none.
THIRD_SHARE: Final = 0.25
THIRD_TIMES: Final = 3

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
        scores: (n,) float32 near the sum of the linear terms, of what was offered or heard, and of
            taste.
        spread: the deviation of likeness, in which penalties are counted.
        sample: some scores evenly spread over the library, in order, before what was offered and
            taste.
    """

    scores: Float32
    spread: float
    sample: Float32


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
    # (n, c) · (c,) -> (n,). One product a row takes four fifths of what `@` takes here.
    scores: Float32 = np.vecdot(matrix, wanted)
    if snapshot.hub is not None and settings.hub:
        scores -= np.float32(settings.audio * settings.hub) * snapshot.hub
    sample = np.sort(scores[:: max(len(scores) // _SAMPLE, 1)])
    spread = _spread(sample)
    if context.held_back:
        held = np.fromiter(context.held_back, np.intp, len(context.held_back))
        rows = held[(held >= 0) & (held < snapshot.n)]
        scores[rows] -= np.float32(settings.held_back * spread)
    if context.heard_ages_s and settings.heard_lately:
        # What stays away takes no place of what may come.
        rows = np.unique(np.array(context.heard, np.intp))
        rows = rows[(rows >= 0) & (rows < snapshot.n)]
        away = np.float32(settings.heard_lately * spread)
        scores[rows] -= away * terms.heard_lately(rows, context)
    taste = context.taste
    if taste is not None:
        if taste.near is not None and settings.taste:
            scores += np.float32(settings.taste * spread) * taste.near
        if len(taste.rows) and settings.favourite:
            scores[taste.rows] += np.float32(settings.favourite * spread) * taste.due
    return Coarse(scores, spread, sample)


def candidates(
    snapshot: Snapshot,
    query: Query,
    genres: Sequence[tuple[int, float]],
    coarse: Coarse,
    settings: RankingSettings,
    size: int,
    mask: NDArray[np.bool_] | None,
) -> Rows:
    """Up to `size` rows (of those in `mask`), ascending: the best as far as three looks tell.

    genres: those of the seeds, see `terms.rarities`.
    """
    n = snapshot.n
    looked = max(size, min(max(int(n * SECOND_SHARE), SECOND_LEAST), SECOND_MOST))
    matrix, audio = _coarse(snapshot)
    penalties = _Penalties(query, coarse, settings)
    off: Float32 | None = None
    if penalties.any:
        rows = top(coarse.scores, looked * _PENALISED, mask)
        scores = coarse.scores.take(rows)
        near = penalties.near(matrix.take(rows, axis=0)[:, :audio], slice(0, audio))
        at = _worth(scores, penalties.of(near), looked)
        rows, scores, near = rows.take(at), scores.take(at), near.take(at, axis=0)
    else:
        rows = _passing(coarse, looked, mask)
        scores = coarse.scores.take(rows)
    if len(rows) <= size:
        return rows
    # What the coarse copy lacks of the linear terms, and of what is unwanted.
    direction = _direction(query, settings)
    first, end = SECOND_COLUMNS
    seen = slice(first if audio > first - _NEGLIGIBLE else audio, end)
    block = _columns(snapshot.vectors, rows, seen)
    scores += np.vecdot(block, direction[seen])  # (r, c) · (c,) -> (r,)
    if penalties.any:
        near += penalties.near(block, seen)
        off = penalties.of(near)
    if len(rows) > size * THIRD_TIMES:
        at = _worth(scores, off, max(size * THIRD_TIMES, int(looked * THIRD_SHARE)))
        rows, scores, off = rows.take(at), scores.take(at), None if off is None else off.take(at)
        if query.profile is not None and snapshot.profile is not None:
            known = matrix.shape[1] - audio
            wanted = np.float32(settings.tags) * query.profile[known:]
            scores += np.vecdot(snapshot.profile.take(rows, axis=0)[:, known:], wanted)
        weight = np.float32(settings.genres * coarse.spread)
        scores += weight * terms.genres(snapshot, rows, genres)
    return rows[top(scores if off is None else scores - off, size)]


def _worth(scores: Float32, off: Float32 | None, size: int) -> Rows:
    """Places of the `size` best after penalties, ascending, and of the nearest in any case.

    What is unlike by some columns only is told by more of them: those that make a song like a skip
    were seen, those that make it like the seed not all.
    """
    if off is None:
        return top(scores, size)
    return np.union1d(top(scores - off, size), top(scores, size // 2))


class _Penalties:
    """What is taken off for sounding like what is not wanted, or was skipped."""

    def __init__(self, query: Query, coarse: Coarse, settings: RankingSettings) -> None:
        self._query, self._unwanted = query, len(query.unwanted)
        self._unlike = np.float32(settings.unlike)
        self._skipped = np.float32(settings.skipped * coarse.spread)
        self.any = bool(self._unwanted or len(query.skipped))

    def near(self, block: Float32, columns: slice) -> Float32:
        """(r, u + k) what some columns (r, c) add to the cosines to the unwanted and skipped."""
        joined = np.concatenate([self._query.unwanted[:, columns], self._query.skipped[:, columns]])
        return np.asarray(block @ joined.T, np.float32)

    def of(self, near: Float32) -> Float32:
        """(r,) what cosines (r, u + k) cost."""
        u = self._unwanted
        likeness = Likeness(near[:, :0], near[:, :u], near[:, u:], None)
        found = self._unlike * terms.unlike(likeness, self._query)
        found += self._skipped * terms.skipped(likeness, self._query)
        return np.asarray(found, np.float32)


def top(scores: Float32, size: int, mask: NDArray[np.bool_] | None = None) -> Rows:
    """The `size` best rows (of those in `mask`), ascending; ties go to the lower row."""
    if size >= len(scores):
        return np.arange(len(scores)) if mask is None else np.flatnonzero(mask)
    rows = _reaching(scores, _cut(scores, size, mask), mask)
    if len(rows) < size:  # the sample was unlucky
        rows = _reaching(scores, -np.inf, mask)
    if len(rows) <= size:
        return rows
    found = scores[rows]
    edge = np.partition(found, len(found) - size)[len(found) - size]
    chosen: Rows = rows[found >= edge]
    if len(chosen) > size:  # of those that only reach the edge, the lower rows
        surely = found > edge
        surely[np.flatnonzero(found == edge)[: size - int(np.count_nonzero(surely))]] = True
        chosen = rows[surely]
    return chosen


def full_size(n: int, count: int, query: Query) -> int:
    """How many rows are scored in full."""
    size = min(FULL + n // FULL_PER_TRACKS, FULL_MOST)
    if len(query.wanted) > 1 or len(query.unwanted) or len(query.skipped):
        size *= FULL_BENT
    return max(min(n, size), count * FULL_PER_SONG)


def _passing(coarse: Coarse, size: int, mask: NDArray[np.bool_] | None) -> Rows:
    """About the `size` best rows (of those in `mask`), ascending; three quarters at least."""
    sample = coarse.sample
    wanted = round(size * len(sample) / max(len(coarse.scores), 1))
    if 0 < wanted < len(sample) < len(coarse.scores):
        rows = _reaching(coarse.scores, float(sample[-wanted]), mask)
        if 0.75 * size <= len(rows) <= 1.5 * size:
            return rows
    return top(coarse.scores, size, mask)


def _direction(query: Query, settings: RankingSettings) -> Float32:
    """(d,) what the linear terms of the vectors add up to."""
    wanted = np.float32(settings.audio) * (query.weights @ query.wanted)
    if query.flow is not None:
        wanted += np.float32(settings.flow) * query.flow
    return np.asarray(wanted, np.float32)


def _spread(sample: Float32) -> float:
    """The deviation of scores from a sample of them, in order."""
    if not len(sample):
        return _LEAST_SPREAD
    # By quartiles: a small group of twins, far above the rest, must not make penalties larger.
    low, high = sample[len(sample) // 4], sample[(3 * len(sample)) // 4]
    return max(float(high - low) / _QUARTILES_APART, _LEAST_SPREAD)


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


def _reaching(scores: Float32, cut: float, mask: NDArray[np.bool_] | None) -> Rows:
    """The rows (of those in `mask`) that reach a score, ascending."""
    if cut == -np.inf:
        return np.arange(len(scores)) if mask is None else np.flatnonzero(mask)
    passed = scores >= cut
    if mask is not None:
        np.logical_and(passed, mask, out=passed)
    return passed.nonzero()[0]


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
