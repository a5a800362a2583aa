"""Seeds and context in, picks in order out.

Three steps: a coarse pass finds the rows worth looking at (ranker.search), each of those gets all
terms in full (ranker.terms), and a greedy choice spaces them (ranker.spacing). All steps only add
terms, and each term is a reason of the pick. Exact where the library is small, and all but exact
where it is large (see docs/quality.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catalog.snapshot import Snapshot
from catalog.tracks import Float32
from ranker import gates, reasons, search, spacing, terms
from ranker.picks import Context, Pick, Seed
from ranker.query import Query
from ranker.settings import RankingSettings

#: The greedy step looks at this many of the best for each song asked for, and at least so many.
POOL_FACTOR: Final = 6
POOL_LEAST: Final = 100


@dataclass(frozen=True, slots=True)
class _Scored:
    """Rows, best first: their vectors, terms (weighted, by name) and the sum of those."""

    rows: NDArray[np.intp]
    vectors: Float32
    terms: dict[str, Float32]
    total: Float32

    def best(self, size: int) -> _Scored:
        # Rows come in the coarse pass's order: by number first, so that ties go to the lower.
        by_row = np.argsort(self.rows)
        at = by_row[search.best(self.total[by_row], size)]
        parts = {name: values[at] for name, values in self.terms.items()}
        return _Scored(self.rows[at], self.vectors[at], parts, self.total[at])


class _Ranking:
    """One call: what all its steps share."""

    def __init__(
        self,
        snapshot: Snapshot,
        seeds: Sequence[Seed],
        context: Context,
        settings: RankingSettings,
    ) -> None:
        self.snapshot, self.seeds, self.settings = snapshot, seeds, settings
        self.query = Query.of(snapshot, seeds, context, settings)
        self.tagged = terms.mean_tags(snapshot, seeds)
        self.coarse, self.spread = search.coarse_scores(snapshot, self.query, context, settings)

    def plain(self, context: Context, count: int) -> list[Pick]:
        """By score alone."""
        mask = gates.allowed(self.snapshot, self.seeds, context)
        rows = search.best(self.coarse, search.full_size(self.snapshot.n, count), mask)
        scored = self._score(rows, context).best(count)
        return [self._pick(scored, spacing.Placed(at)) for at in range(len(scored.rows))]

    def spaced(
        self, mask: NDArray[np.bool_], context: Context, heard: tuple[int, ...], count: int
    ) -> list[Pick]:
        """Up to `count` of the rows in `mask`, after `heard` (latest first)."""
        candidates = int(np.count_nonzero(mask))
        size, pool = search.full_size(self.snapshot.n, count), max(count * POOL_FACTOR, POOL_LEAST)
        while True:
            rows = search.best(self.coarse, size, mask)
            rows = gates.other_recordings(self.snapshot, rows, self.seeds, context)
            scored = self._score(rows, context).best(pool)
            placed = spacing.order(
                self.snapshot,
                scored.rows,
                scored.total,
                scored.vectors,
                self.query,
                heard,
                self.settings,
                self.spread,
                count,
            )
            if len(placed) == count or min(size, pool) >= candidates:
                return [self._pick(scored, one) for one in placed]
            size, pool = size * 8, pool * 8  # many versions of few recordings

    def _score(self, rows: NDArray[np.intp], context: Context) -> _Scored:
        snapshot, settings, query, spread = self.snapshot, self.settings, self.query, self.spread
        vectors = np.asarray(snapshot.vectors)[rows]
        audio = terms.audio(vectors, query) - settings.hub * terms.hub(snapshot, rows)
        weighted: dict[str, NDArray[Any]] = {"audio": settings.audio * audio}
        if settings.tags and snapshot.tag_groups:
            weighted["tags"] = settings.tags * terms.tags(snapshot, rows, query, self.tagged)
        if query.flow is not None:
            weighted["flow"] = settings.flow * terms.flow(vectors, query)
        if len(query.unwanted):
            weighted["unlike"] = -settings.unlike * terms.unlike(vectors, query)
        if len(query.skipped):
            weighted["skipped"] = -settings.skipped * spread * terms.skipped(vectors, query)
        if context.heard and settings.familiar and settings.explore != 0.5:
            weight = settings.familiar * spread * (1 - 2 * settings.explore)
            weighted["familiar"] = weight * terms.familiar(snapshot, rows, context)
        if context.heard_ages_s and settings.heard_lately:
            weight = settings.heard_lately * spread
            weighted["heard_lately"] = -weight * terms.heard_lately(rows, context)
        if context.held_back and settings.held_back:
            weight = settings.held_back * spread
            weighted["held_back"] = -weight * terms.held_back(rows, context)
        found = {name: np.asarray(values, np.float32) for name, values in weighted.items()}
        total = np.asarray(np.sum(list(found.values()), axis=0), np.float32)
        return _Scored(rows, vectors, found, total)

    def _pick(self, scored: _Scored, placed: spacing.Placed) -> Pick:
        row = int(scored.rows[placed.at])
        values = {name: float(part[placed.at]) for name, part in scored.terms.items()}
        values |= {
            "artist_repetition": -placed.artist,
            "album_repetition": -placed.album,
            "diversity": -placed.diversity,
        }
        told = reasons.tell(self.snapshot, self.tagged, row, values, self.settings)
        return Pick(row, sum(reason.value for reason in told), told)


def rank(
    snapshot: Snapshot,
    seeds: Sequence[Seed],
    context: Context,
    settings: RankingSettings,
    count: int,
    *,
    plain: bool = False,
) -> list[Pick]:
    """The best `count` rows after these seeds; fewer where the library has no more.

    A seed and its other versions never come; gated kinds only where nothing else is left. With
    `plain`, by score alone: no spacing, no diversity, no gates, no version rule. Equal input gives
    equal output; ties go to the lower row. Seeds of unknown rows, or whose weights are no numbers,
    are left out; without a seed to be like nothing comes.
    """
    seeds = [s for s in seeds if 0 <= s.row < snapshot.n and math.isfinite(s.weight)]
    if count <= 0 or not any(seed.weight > 0 for seed in seeds):
        return []
    count = min(count, snapshot.n)
    ranking = _Ranking(snapshot, seeds, context, settings)
    if plain:
        return ranking.plain(context, count)
    allowed = gates.allowed(snapshot, seeds, context)
    kinds = gates.of_open_kind(snapshot, seeds, context)
    if kinds is None:
        return ranking.spaced(allowed, context, context.heard, count)
    picks = ranking.spaced(allowed & kinds, context, context.heard, count)
    if len(picks) < count:
        came = [pick.row for pick in picks]
        beyond = replace(context, excluded=context.excluded.union(came))
        heard = (*reversed(came), *context.heard)
        picks += ranking.spaced(allowed & ~kinds, beyond, heard, count - len(picks))
    return picks
