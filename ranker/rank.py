"""Seeds and context in, picks in order out.

Two steps: every eligible row gets a score (one matrix product over the snapshot), then a greedy
choice from the best of them spaces artists, keeps one track per recording and, with `breadth`,
prefers songs unlike those already chosen (maximal marginal relevance, Carbonell & Goldstein 1998,
with lambda = breadth). Both steps only add terms, and each is a reason of the pick.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.snapshot import Snapshot
from catalog.tracks import Float32
from ranker import terms
from ranker.picks import Context, Pick, Reason, Seed
from ranker.settings import RankingSettings

#: The greedy step looks at this many of the best for each song asked for, and at least so many.
POOL_FACTOR: Final = 6
POOL_LEAST: Final = 100

#: How many of the songs heard last count for artist spacing.
RECENT: Final = 4


@dataclass(slots=True)
class _Scored:
    """The terms of every row, already weighted; their sum is the score."""

    audio: Float32
    tags: Float32
    familiar: Float32
    held_back: Float32
    total: Float32 = field(init=False)

    def __post_init__(self) -> None:
        self.total = self.audio + self.tags + self.familiar + self.held_back


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

    A seed and its other versions never come. With `plain`, by score alone: no artist spacing, no
    diversity, no version rule. Equal input gives equal output; ties go to the lower row.
    """
    if not seeds or count <= 0 or not snapshot.n:
        return []
    scored = _score(snapshot, seeds, context, settings)
    allowed = _allowed(snapshot, seeds, context, plain)
    candidates = np.flatnonzero(allowed)
    if not len(candidates):
        return []
    size = count if plain else max(count * POOL_FACTOR, POOL_LEAST)
    pool = _best(scored.total, candidates, size)
    if plain:
        return [_pick(snapshot, seeds, scored, int(row), ()) for row in pool[:count]]
    picks = _choose(snapshot, seeds, context, settings, scored, pool, count)
    if len(picks) < count and len(pool) < len(candidates):  # many versions of few recordings
        pool = _best(scored.total, candidates, len(candidates))
        picks = _choose(snapshot, seeds, context, settings, scored, pool, count)
    return picks


def _score(
    snapshot: Snapshot, seeds: Sequence[Seed], context: Context, settings: RankingSettings
) -> _Scored:
    nothing = np.zeros(snapshot.n, np.float32)
    familiar = nothing
    if context.heard and settings.familiar and settings.explore != 0.5:
        artists = np.unique(snapshot.artist[list(context.heard)])
        known = np.isin(snapshot.artist, artists[artists >= 0])
        familiar = known * np.float32(settings.familiar * (1 - 2 * settings.explore))
    held_back = nothing
    if context.held_back:
        held_back = nothing.copy()
        held_back[list(context.held_back)] = -settings.held_back
    return _Scored(
        audio=np.float32(settings.audio) * terms.audio(snapshot, seeds),
        tags=np.float32(settings.tags) * terms.tags(snapshot, seeds) if settings.tags else nothing,
        familiar=familiar.astype(np.float32),
        held_back=held_back,
    )


def _allowed(
    snapshot: Snapshot, seeds: Sequence[Seed], context: Context, plain: bool
) -> NDArray[np.bool_]:
    allowed = np.ones(snapshot.n, np.bool_)
    if context.eligible is not None:
        allowed &= context.eligible
    rows = [seed.row for seed in seeds]
    gone = [*rows, *context.excluded]
    allowed[gone] = False
    if not plain:
        recordings = np.unique(snapshot.recording[gone])
        allowed &= ~np.isin(snapshot.recording, recordings[recordings >= 0])
    return allowed


def _best(total: Float32, candidates: NDArray[np.intp], size: int) -> list[int]:
    scores = total[candidates]
    if size < len(candidates):
        part = np.argpartition(-scores, size - 1)[:size]
        # argpartition breaks ties at the edge as it likes: take all that reach the edge's score.
        part = np.flatnonzero(scores >= scores[part].min())
        candidates, scores = candidates[part], scores[part]
    order = np.lexsort((candidates, -scores))[:size]
    return [int(row) for row in candidates[order]]


def _choose(
    snapshot: Snapshot,
    seeds: Sequence[Seed],
    context: Context,
    settings: RankingSettings,
    scored: _Scored,
    pool: Sequence[int],
    count: int,
) -> list[Pick]:
    rows = np.array(pool)
    scores = scored.total[rows].astype(np.float64)
    vectors = snapshot.vectors[rows]  # (p, d)
    artists = snapshot.artist[rows]
    recordings = snapshot.recording[rows]
    trade = settings.breadth
    nearest = np.full(len(rows), -1.0)  # cosine to the nearest song already chosen
    open_ = np.ones(len(rows), np.bool_)
    recent = [row for row in context.heard[:RECENT] if row < snapshot.n]
    before: Counter[int] = Counter(int(snapshot.artist[row]) for row in recent)
    repetitions = np.array([before[int(a)] if a >= 0 else 0 for a in artists], np.float64)
    picks: list[Pick] = []
    while len(picks) < count and open_.any():
        penalty = settings.artist_repetition * repetitions
        likeness = trade * np.maximum(nearest, 0)
        value = np.where(open_, scores - penalty - likeness, -np.inf)
        at = int(np.argmax(value))
        spaced: list[Reason] = []
        if penalty[at]:
            times = int(repetitions[at])
            text = f"artist came {'once' if times == 1 else f'{times} times'} just before"
            spaced.append(Reason("artist_repetition", -float(penalty[at]), text))
        if likeness[at]:
            spaced.append(Reason("diversity", -float(likeness[at]), "like another one chosen"))
        picks.append(_pick(snapshot, seeds, scored, int(rows[at]), spaced))
        open_[at] = False
        if recordings[at] >= 0:
            open_ &= recordings != recordings[at]
        if artists[at] >= 0:
            repetitions += artists == artists[at]
        if trade:
            nearest = np.maximum(nearest, vectors @ vectors[at])  # (p, d) @ (d,) -> (p,)
    return picks


def _pick(
    snapshot: Snapshot,
    seeds: Sequence[Seed],
    scored: _Scored,
    row: int,
    spaced: Sequence[Reason],
) -> Pick:
    reasons = [Reason("audio", float(scored.audio[row]), _how_alike(float(scored.audio[row])))]
    if scored.tags[row]:
        shared = terms.shared_tags(snapshot, seeds, row)
        text = f"both {', '.join(shared)}" if shared else "tags and moods compared"
        reasons.append(Reason("tags", float(scored.tags[row]), text))
    if scored.familiar[row]:
        reasons.append(
            Reason("familiar", float(scored.familiar[row]), "artist heard in this session")
        )
    if scored.held_back[row]:
        reasons.append(Reason("held_back", float(scored.held_back[row]), "offered not long ago"))
    reasons += spaced
    return Pick(row, sum(reason.value for reason in reasons), tuple(reasons))


def _how_alike(value: float) -> str:
    for least, text in ((0.6, "sounds very much alike"), (0.3, "sounds alike"),
                        (0.1, "sounds somewhat alike")):  # fmt: skip
        if value >= least:
            return text
    return "little else sounds alike"
