"""Seeds and context in, picks in order out.

Three steps: coarse looks find the rows worth scoring (ranker.search), each of those gets all
terms in full (ranker.terms), and a greedy choice spaces them (ranker.spacing). All steps only add
terms, and each term is a reason of the pick. Exact where the library is small, and all but exact
where it is large (see docs/quality.md).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catalog.snapshot import Snapshot
from catalog.tracks import Float32
from ranker import gates, motion, reasons, search, spacing, terms
from ranker.picks import Context, Pick, Seed
from ranker.query import Query
from ranker.settings import RankingSettings

#: The greedy step looks at this many of the best for each song asked for, and at least so many.
POOL_FACTOR: Final = 6
POOL_LEAST: Final = 100

#: Where one artist fills the best of a library, others are looked for among so many.
_CROWDED_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Scored:
    """Rows with their terms (weighted, by name), the sum of those, and what they are like.

    `order` is that sum with what is in no reason (see `ranker.picks.Pick`).
    """

    rows: NDArray[np.intp]
    vectors: Float32
    likeness: Float32
    terms: dict[str, Float32]
    total: Float32
    order: Float32

    def best(self, size: int) -> _Scored:
        """The `size` best, best first; ties go to the lower row."""
        at = search.top(self.order, size)
        at = at.take(np.argsort(-self.order.take(at), kind="stable"))
        parts = {name: values.take(at) for name, values in self.terms.items()}
        return _Scored(
            self.rows.take(at),
            self.vectors.take(at, axis=0),
            self.likeness.take(at),
            parts,
            self.total.take(at),
            self.order.take(at),
        )


class _Ranking:
    """One call: what all its steps share."""

    def __init__(
        self,
        snapshot: Snapshot,
        seeds: Sequence[Seed],
        context: Context,
        settings: RankingSettings,
        *,
        exact: bool,
    ) -> None:
        self.snapshot, self.seeds, self.settings, self.exact = snapshot, seeds, settings, exact
        self.query = Query.of(snapshot, seeds, context, settings)
        # Only reasons want them, where the snapshot has profiles.
        self.tagged = functools.cache(functools.partial(terms.mean_tags, snapshot, seeds))
        self.genres = terms.rarities(snapshot, seeds) if settings.genres else []
        self.coarse = search.coarse_pass(snapshot, self.query, context, settings)
        # Of a song heard twice the latest time, which is the first, counts.
        ages = list(zip(context.heard, context.heard_ages_s, strict=False))
        self.heard_ages_s = dict(reversed(ages))

    def plain(self, context: Context, count: int) -> list[Pick]:
        """By score alone."""
        mask = gates.allowed(self.snapshot, self.seeds, context)
        scored = self._score(self._candidates(self._full_size(count), mask), context).best(count)
        return self._picks(scored, [spacing.Placed(at) for at in range(len(scored.rows))])

    def spaced(
        self, mask: NDArray[np.bool_], context: Context, heard: tuple[int, ...], count: int
    ) -> list[Pick]:
        """Up to `count` of the rows in `mask`, after `heard` (latest first)."""
        size, pool = self._full_size(count), max(count * POOL_FACTOR, POOL_LEAST)
        while True:
            scored = self._score(self._candidates(size, mask), context).best(pool)
            others = gates.other_recordings(self.snapshot, scored.rows, self.seeds, context)
            placed = spacing.order(
                self.snapshot,
                scored.rows,
                np.where(others, scored.order, np.float32(-np.inf)),
                scored.vectors,
                scored.likeness,
                heard,
                context.chosen,
                self.settings,
                self.coarse.spread,
                count,
            )
            crowded = pool < _CROWDED_MOST and any(one.crowded for one in placed)
            enough = len(placed) == count and not crowded
            if enough or min(size, pool) >= int(np.count_nonzero(mask)):
                return self._picks(scored, placed)
            size, pool = size * 8, pool * 8  # many versions of few recordings

    def _full_size(self, count: int) -> int:
        n = self.snapshot.n
        return n if self.exact else search.full_size(n, count, self.query)

    def _candidates(self, size: int, mask: NDArray[np.bool_]) -> NDArray[np.intp]:
        return search.candidates(
            self.snapshot, self.query, self.genres, self.coarse, self.settings, size, mask
        )

    def _score(self, rows: NDArray[np.intp], context: Context) -> _Scored:
        snapshot, settings, query = self.snapshot, self.settings, self.query
        spread, taste = self.coarse.spread, context.taste
        vectors = snapshot.vectors.take(rows, axis=0)
        near = query.likeness(vectors)
        audio = terms.audio(near, query) - settings.hub * terms.hub(snapshot, rows)
        weighted: dict[str, NDArray[Any]] = {"audio": settings.audio * audio}
        if settings.tags and snapshot.tag_groups:
            weighted["tags"] = settings.tags * terms.tags(snapshot, rows, query, self.tagged)
        if self.genres:
            weight = settings.genres * spread
            weighted["genres"] = weight * terms.genres(snapshot, rows, self.genres)
        if query.flow is not None:
            weighted["flow"] = settings.flow * terms.flow(near)
        weighted |= self._jumps(rows, context)
        if len(query.unwanted):
            weighted["unlike"] = -settings.unlike * terms.unlike(near, query)
        if len(query.skipped):
            weighted["skipped"] = -settings.skipped * spread * terms.skipped(near, query)
        if taste is not None and settings.taste and taste.near is not None:
            weighted["taste"] = settings.taste * spread * terms.taste(rows, taste)
        if taste is not None and settings.favourite and len(taste.rows):
            weighted["favourite"] = settings.favourite * spread * terms.favourite(rows, taste)
        if (context.heard or taste is not None) and settings.familiar and settings.explore != 0.5:
            weight = settings.familiar * spread * (1 - 2 * settings.explore)
            weighted["familiar"] = weight * terms.familiar(snapshot, rows, context)
        if context.heard_ages_s and settings.heard_lately:
            weight = settings.heard_lately * spread
            weighted["heard_lately"] = -weight * terms.heard_lately(rows, context)
        if context.held_back and settings.held_back:
            weight = settings.held_back * spread
            weighted["held_back"] = -weight * terms.held_back(rows, context)
        if context.chance and settings.chance:
            weighted["chance"] = settings.chance * spread * terms.by_chance(rows, context.chance)
        found = {name: np.asarray(values, np.float32) for name, values in weighted.items()}
        total = found["audio"].copy()
        for name, values in found.items():
            if name != "audio":
                total += values
        order = total
        if taste is not None and taste.house is not None and settings.house:
            order = total + np.float32(settings.house * spread) * terms.house(rows, taste)
        return _Scored(rows, vectors, near.wanted.max(1), found, total, order)

    def _jumps(self, rows: NDArray[np.intp], context: Context) -> dict[str, NDArray[Any]]:
        """Tempo, key and loudness against the song before, where they are known."""
        snapshot, settings = self.snapshot, self.settings
        heard = (row for row in context.heard if 0 <= row < snapshot.n)
        before = next(heard, None)
        if before is None:
            before = next(seed.row for seed in self.seeds if seed.weight > 0)
        found: dict[str, NDArray[Any]] = {}
        for name, weight, jump in (
            ("tempo", settings.tempo, motion.tempo),
            ("key", settings.key, motion.key),
            ("loudness", settings.loudness, motion.loudness),
        ):
            distance = jump(snapshot, rows, before) if weight else None
            if distance is not None:
                found[name] = -weight * self.coarse.spread * distance
        return found

    def _picks(self, scored: _Scored, placed: Sequence[spacing.Placed]) -> list[Pick]:
        at = np.array([one.at for one in placed], np.intp)
        parts = [part[at].tolist() for part in scored.terms.values()]
        rows = scored.rows[at].tolist()
        return [
            self._pick(row, dict(zip(scored.terms, values, strict=True)), one)
            for row, one, *values in zip(rows, placed, *parts, strict=True)
        ]

    def _pick(self, row: int, values: dict[str, float], placed: spacing.Placed) -> Pick:
        values["artist_repetition"] = -placed.artist
        values["album_repetition"] = -placed.album
        values["diversity"] = -placed.diversity
        snapshot, seeds = self.snapshot, self.seeds
        tagged, settings, age_s = self.tagged, self.settings, self.heard_ages_s.get(row)
        return Pick(
            row,
            sum(values.values()),
            lambda: reasons.tell(snapshot, seeds, tagged, row, values, settings, age_s),
        )


def rank(
    snapshot: Snapshot,
    seeds: Sequence[Seed],
    context: Context,
    settings: RankingSettings,
    count: int,
    *,
    plain: bool = False,
    exact: bool = False,
) -> list[Pick]:
    """The best `count` rows after these seeds; fewer where the library has no more.

    A seed and its other versions never come; gated kinds only where nothing else is left. With
    `plain`, by score alone: no spacing, no diversity, no gates, no version rule. With `exact`,
    every row is scored in full, as a small library's are. Equal input gives equal output; ties go
    to the lower row. Seeds of unknown rows, or whose weights are no numbers, are left out; without
    a seed to be like nothing comes.
    """
    seeds = [s for s in seeds if 0 <= s.row < snapshot.n and math.isfinite(s.weight)]
    if count <= 0 or not any(seed.weight > 0 for seed in seeds):
        return []
    count = min(count, snapshot.n)
    ranking = _Ranking(snapshot, seeds, context, settings, exact=exact)
    if plain:
        return ranking.plain(context, count)
    heard = context.heard
    if len(seeds) == 1 and heard[:1] != (seeds[0].row,):
        heard = (seeds[0].row, *heard)  # it plays, though no report of it came yet
    allowed = gates.allowed(snapshot, seeds, context)
    kinds = gates.of_open_kind(snapshot, seeds, context)
    if kinds is None:
        return ranking.spaced(allowed, context, heard, count)
    picks = ranking.spaced(allowed & kinds, context, heard, count)
    if len(picks) < count:
        came = tuple(pick.row for pick in picks)
        beyond = replace(
            context,
            excluded=context.excluded.union(came),
            chosen=(*context.chosen, *came),
        )
        picks += ranking.spaced(allowed & ~kinds, beyond, heard, count - len(picks))
    return picks
