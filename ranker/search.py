"""The coarse pass: which rows are worth scoring in full.

Every term that is linear in the vectors becomes one product with the coarse copy (the first
columns of vectors and tag profiles, see `embedder.derivation`); what is skipped or unwanted needs
a product each. The best rows by that go on. In a small library all rows do.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.snapshot import COARSE_COLUMNS, Snapshot
from catalog.tracks import Float32
from ranker import terms
from ranker.picks import Context
from ranker.query import Query
from ranker.settings import RankingSettings

#: Of a larger library so many of the best by the coarse pass are scored in full: a tenth, within
#: these. A library up to the least is scored in full as a whole.
FULL_LEAST: Final = 1000
FULL_MOST: Final = 2000
FULL_SHARE: Final = 0.1

#: … unless more songs are asked for: so many for each.
FULL_PER_SONG: Final = 6

#: The spread of scores is taken from about so many rows.
_SPREAD_SAMPLE: Final = 2048
_LEAST_SPREAD: Final = 0.02

#: Rows far from the best are left aside by a score that a sample of so many rows gives: it lets
#: through about this many times what is wanted, and in the sample some to spare.
_CUT_SAMPLE: Final = 8192
_CUT_MARGIN: Final = 1.3
_CUT_SPARE: Final = 20

#: Of a normal distribution, in its deviations.
_QUARTILES_APART: Final = 1.349


def coarse_scores(
    snapshot: Snapshot, query: Query, context: Context, settings: RankingSettings
) -> tuple[Float32, float]:
    """(n,) float32 near the sum of the terms without spacing, and the deviation of likeness."""
    matrix, audio = _coarse(snapshot)
    vectors = matrix[:, :audio]
    wanted = np.zeros(matrix.shape[1], np.float32)
    wanted[:audio] = settings.audio * (query.weights @ query.wanted[:, :audio])
    if query.flow is not None:
        wanted[:audio] += np.float32(settings.flow) * query.flow[:audio]
    if query.profile is not None:
        tags = matrix.shape[1] - audio
        wanted[audio:] = settings.tags * query.profile[:tags]
    scores = np.asarray(matrix @ wanted, np.float32)  # (n, c) @ (c,) -> (n,)
    if snapshot.hub is not None and settings.hub:
        scores -= np.float32(settings.audio * settings.hub) * snapshot.hub
    sample = scores[:: max(snapshot.n // _SPREAD_SAMPLE, 1)]
    # By quartiles: a small group of twins, far above the rest, must not make penalties larger.
    low, high = np.percentile(sample, (25, 75))
    spread = max(float(high - low) / _QUARTILES_APART, _LEAST_SPREAD)
    if len(query.unwanted):
        unlike = terms.nearest(vectors, query.unwanted[:, :audio], query.unwanted_weights)
        scores -= np.float32(settings.unlike) * unlike
    if len(query.skipped):
        kin = terms.kin(vectors, query.skipped[:, :audio], query.skipped_weights)
        scores -= np.float32(settings.skipped * spread) * kin
    if context.held_back:
        rows = [row for row in context.held_back if 0 <= row < snapshot.n]
        scores[rows] -= np.float32(settings.held_back * spread)
    return scores, spread


def best(scores: Float32, size: int, mask: NDArray[np.bool_] | None = None) -> NDArray[np.intp]:
    """The `size` rows (of those in `mask`) with the best scores, best first, ties to the lower."""
    cut = _cut(scores, size, mask)
    passed = scores >= cut
    rows = np.flatnonzero(passed if mask is None else passed & mask)
    if len(rows) < size and cut > -np.inf:  # the sample was unlucky
        rows = np.arange(len(scores)) if mask is None else np.flatnonzero(mask)
    found = scores[rows]
    if size < len(rows):
        # Partitioning breaks ties at the edge as it likes: take all that reach the edge's score.
        edge = -np.partition(-found, size - 1)[size - 1]
        part = np.flatnonzero(found >= edge)
        rows, found = rows[part], found[part]
    return rows[np.lexsort((rows, -found))[:size]]


def _cut(scores: Float32, size: int, mask: NDArray[np.bool_] | None) -> float:
    """A score that some more than `size` rows reach, from a sample; -inf where all must be seen."""
    step = len(scores) // _CUT_SAMPLE
    if step < 2:
        return -np.inf
    sample = scores[::step] if mask is None else scores[::step][mask[::step]]
    wanted = int(_CUT_MARGIN * size / step) + _CUT_SPARE
    if wanted >= len(sample):
        return -np.inf
    return float(np.partition(sample, len(sample) - wanted)[len(sample) - wanted])


def full_size(n: int, count: int) -> int:
    """How many rows are scored in full."""
    return max(min(max(int(n * FULL_SHARE), FULL_LEAST), FULL_MOST), count * FULL_PER_SONG)


def _coarse(snapshot: Snapshot) -> tuple[Float32, int]:
    """The matrix to search and how many of its columns are of the vectors."""
    if snapshot.coarse is None:
        return snapshot.vectors, snapshot.vectors.shape[1]
    of_profile = 0 if snapshot.profile is None else snapshot.profile.shape[1]
    return snapshot.coarse, snapshot.coarse.shape[1] - min(of_profile, COARSE_COLUMNS[1])
