"""What a listener returns to: its share of the next ten, and how many of those are songs they know.

They return to one of the two styles between which a session wanders, and know twenty songs of it,
half of them heard yesterday and half a year ago. Judged by the other ears: likeness of the picks to
the seeds. Part of `python -m bench autodj`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bench.synthetic import Synthetic
from ranker.picks import Context, Seed
from ranker.rank import rank
from ranker.settings import RankingSettings
from ranker.taste import Liking, taste_of


def rows(name: str, made: Synthetic, listeners: int = 100) -> list[dict[str, object]]:
    """A line for each weight."""
    snapshot, style = made.snapshot, made.style
    found_rows: list[dict[str, object]] = []
    for weight in (0.0, 0.15, 0.3, 0.6, 1.0):
        settings = replace(RankingSettings(), taste=weight, favourite=weight)
        chance = np.random.default_rng(11)
        shares, near, old, fresh = [], [], [], []
        while len(shares) < listeners:
            one, other = (int(row) for row in chance.integers(0, snapshot.n, 2))
            loved = np.flatnonzero(style == style[other])
            if style[one] == style[other] or len(loved) < 40:
                continue
            known = chance.permutation(loved)[:20].tolist()
            ages_s = [86_400.0] * 10 + [365 * 86_400.0] * 10
            likings = [Liking(row, 1.0, age) for row, age in zip(known, ages_s, strict=True)]
            context = Context(taste=taste_of(snapshot, likings))
            picks = rank(snapshot, [Seed(one), Seed(other)], context, settings, 10)
            found = [pick.row for pick in picks]
            shares.append(float((style[found] == style[other]).mean()))
            near.append(float((made.judge[found] @ made.judge[[one, other]].T).mean()))
            fresh.append(len({*found} & {*known[:10]}))
            old.append(len({*found} & {*known[10:]}))
        found_rows.append(
            {
                "library": name,
                "asked": f"taste and favourites at {weight}",
                "of the loved style": round(float(np.mean(shares)), 3),
                "known, heard yesterday": round(float(np.mean(fresh)) / 10, 3),
                "known, heard a year ago": round(float(np.mean(old)) / 10, 3),
                "likeness to the seeds": round(float(np.mean(near)), 3),
            }
        )
    return found_rows
