"""What is looked for: seeds and session as vectors, made once for a call, and how rows compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catalog.snapshot import Snapshot
from catalog.tracks import Float32
from ranker.picks import Context, Seed
from ranker.settings import RankingSettings

#: The flow looks at so many songs before the seeds, each counting this part of the one after it.
FLOW_SONGS: Final = 5
FLOW_DECAY: Final = 0.7

_DECAY: Final = np.float32(FLOW_DECAY) ** np.arange(FLOW_SONGS, dtype=np.float32)

#: What is near a skip is half as unwanted after this long, some five songs, and no more after five
#: times as long (`_FORGOTTEN`). That the song itself was skipped, and is not followed, the proxy
#: tells for longer (`proxy.session.SKIP_TTL_S`, which ends both).
SKIP_HALF_LIFE_S: Final = 900.0
MOST_SKIPS: Final = 8

#: After so many half-lives nothing is left that would change an order.
_FORGOTTEN: Final = 0.03


@dataclass(frozen=True, slots=True)
class Likeness:
    """Cosines of r rows to all that a query holds: one product for all terms.

    Attributes:
        wanted (r, s), unwanted (r, u), skipped (r, k): float32 in -1…1.
        flow: (r,) float32; None where nothing was heard.
    """

    wanted: Float32
    unwanted: Float32
    skipped: Float32
    flow: Float32 | None


@dataclass(frozen=True, slots=True)
class Query:
    """Vectors to compare rows with.

    Attributes:
        wanted: (s, d) the seeds to be like, rows of length 1 (or 0); `weights` (s,) sums to 1.
        unwanted: (u, d) seeds to be unlike; `unwanted_weights` (u,) in 0…1.
        skipped: (k, d) songs skipped; `skipped_weights` (k,) in 0…1, less with time.
        flow: (d,) the decayed songs of the session, length 1; None where none was listened to but
            the seeds, which `wanted` has already.
        profile: (p,) the seeds' tags, length 1; None where there are no profiles.
    """

    wanted: Float32
    weights: Float32
    unwanted: Float32
    unwanted_weights: Float32
    skipped: Float32
    skipped_weights: Float32
    flow: Float32 | None
    profile: Float32 | None

    def likeness(self, vectors: Float32) -> Likeness:
        """Of rows (r, d), or of their first columns."""
        columns = vectors.shape[1]
        flow = () if self.flow is None else (self.flow[np.newaxis],)
        parts = (self.wanted, self.unwanted, self.skipped, *flow)
        joined = np.concatenate(parts)[:, :columns]
        found = vectors @ joined.T  # (r, d) @ (d, s + u + k + 1) -> (r, s + u + k + 1)
        s, u, k = len(self.wanted), len(self.unwanted), len(self.skipped)
        return Likeness(
            found[:, :s],
            found[:, s : s + u],
            found[:, s + u : s + u + k],
            None if self.flow is None else found[:, -1],
        )

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        seeds: Sequence[Seed],
        context: Context,
        settings: RankingSettings,
    ) -> Query:
        """From positive and negative seeds and what the session heard and skipped."""
        wanted = [seed for seed in seeds if seed.weight > 0]
        unwanted = [seed for seed in seeds if seed.weight < 0 and settings.unlike]
        skips = recent_skips(context, snapshot.n) if settings.skipped else []
        rows = _rows(snapshot.vectors, [seed.row for seed in wanted])
        weights = np.array([seed.weight for seed in wanted], np.float32)
        most = max((-seed.weight for seed in unwanted), default=1.0)
        return cls(
            wanted=rows,
            weights=np.asarray(weights / max(float(weights.sum()), 1e-6), np.float32),
            unwanted=_rows(snapshot.vectors, [seed.row for seed in unwanted]),
            unwanted_weights=np.array([-seed.weight / most for seed in unwanted], np.float32),
            skipped=_rows(snapshot.vectors, [row for row, _ in skips]),
            skipped_weights=np.array([weight for _, weight in skips], np.float32),
            flow=_flow(snapshot, context, wanted) if settings.flow else None,
            profile=_profile(snapshot, wanted) if settings.tags else None,
        )


def recent_skips(context: Context, n: int) -> list[tuple[int, float]]:
    """(row, weight in 0…1) of the skips that still count, the heaviest first."""
    ages = [*context.skipped_ages_s, *[0.0] * len(context.skipped)]
    found = [
        (row, faded(age_s, SKIP_HALF_LIFE_S))
        for row, age_s in zip(context.skipped, ages, strict=False)
        if 0 <= row < n
    ]
    found = [(row, weight) for row, weight in found if weight > _FORGOTTEN]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:MOST_SKIPS]


def faded(age_s: float, half_life_s: float) -> float:
    """What is left of 1 after `age_s`; ages that make no sense (a clock that jumped) count as 0."""
    return 0.5 ** (max(age_s, 0.0) / half_life_s) if math.isfinite(age_s) else 1.0


def unit(vector: NDArray[Any]) -> Float32:
    """A vector scaled to length 1; nothing stays nothing."""
    return np.asarray(vector / max(math.sqrt(float(vector @ vector)), 1e-6), np.float32)


def _flow(snapshot: Snapshot, context: Context, wanted: Sequence[Seed]) -> Float32 | None:
    seeds = {seed.row for seed in wanted}
    followed = (row for row in context.followed if 0 <= row < snapshot.n and row not in seeds)
    heard = list(islice(followed, FLOW_SONGS))
    if not heard:
        return None
    decay = _DECAY[: len(heard)]
    return unit(decay @ _rows(snapshot.vectors, heard))  # (h,) @ (h, d) -> (d,)


def _profile(snapshot: Snapshot, wanted: Sequence[Seed]) -> Float32 | None:
    if snapshot.profile is None or not snapshot.profile.shape[1]:
        return None
    weights = np.array([seed.weight for seed in wanted], np.float32)
    return unit(weights @ _rows(snapshot.profile, [seed.row for seed in wanted]))


def _rows(matrix: NDArray[Any], rows: Sequence[int]) -> Float32:
    if not rows:
        return np.empty((0, matrix.shape[1]), np.float32)
    return np.asarray(matrix.take(rows, axis=0), np.float32)
