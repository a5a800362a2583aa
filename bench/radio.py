"""A radio started again and again from one song: are the songs still like it, and still others?

A listener of a real library of 165 starts the same radio five times in an afternoon; before each
further start a part of the answer was played. Sessions are the proxy's own (`proxy.session`,
`proxy.choosing`). Judged by MusiCNN, as in `bench.autodj`: the share of an answer that is among the
tenth of the library nearest to the song.

Part of `python -m bench autodj`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.autodj import NEAREST, heard_by
from bench.feishin import SONG_S
from bench.servers import linked
from catalog.snapshot import Snapshot
from proxy.choosing import Choice, choose_seeds
from proxy.decisions import Plan
from proxy.knowledge import View
from proxy.plays import Evidence
from proxy.session import Session
from ranker.settings import RankingSettings
from subsonic.envelope import Format

STARTS: Final = 5
SEEDS: Final = 80

#: How many songs are asked for, how many of them are played before the next start, and how long
#: after those it comes.
CASES: Final = (
    (5, 2, 60.0), (20, 1, 60.0), (20, 5, 60.0), (20, 20, 60.0), (20, 0, 1800.0), (20, 0, 60.0),
)  # fmt: skip


def radio(
    view: View,
    seed: int,
    count: int,
    played: int,
    pause_s: float,
    *,
    day: int = 1,
    starts: int = STARTS,
) -> list[list[int]]:
    """The rows of each answer to one seed in one session, `played` songs of each being heard."""
    session, now_s = Session(), 10_000.0
    plan = Plan("similarSongs", Format.JSON, "", f"{seed}", count)
    answers: list[list[int]] = []
    for _ in range(starts):
        seeds = choose_seeds(plan, view, session)
        choice = Choice(
            plan, view, seeds, session, RankingSettings(), now_s=now_s, remembers=True, chance=day
        )
        found = choice.best(count)
        session.note_similar([plan.seed_id], count, now_s)
        song_ids = [one.song_id for one in found]
        session.note_served(song_ids, now_s, pool=False, seed_id=plan.seed_id)
        answers.append([one.pick.row for one in found])
        now_s += pause_s
        for song_id in song_ids[:played]:
            session.note_playing(song_id, now_s, Evidence.REPORT)
            now_s += SONG_S
            session.note_completed(song_id, now_s)
    return answers


def rows(name: str, snapshot: Snapshot, judge: NDArray[np.float32]) -> Iterator[dict[str, object]]:
    """A line for each of `CASES`, and for the day after, when what was served is forgotten."""
    view = linked(snapshot)
    seeds = np.random.default_rng(4).permutation(view.snapshot.n)[:SEEDS].tolist()
    for count, played, pause_s in CASES:
        answers = [radio(view, seed, count, played, pause_s) for seed in seeds]
        yield {
            "library": name,
            "asked": f"a radio of {count}, {played} of them played, the next {pause_s:.0f} s later",
            **_figures(judge, seeds, answers),
        }
    for count in (5, 20):
        days = [
            [radio(view, seed, count, 0, 0, day=day, starts=1)[0] for day in (1, 2)]
            for seed in seeds
        ]
        asked = f"a radio of {count}, the next day"
        yield {"library": name, "asked": asked, **_figures(judge, seeds, days)}


def _figures(
    judge: NDArray[np.float32], seeds: Sequence[int], answers: Sequence[Sequence[list[int]]]
) -> dict[str, object]:
    """Of the answers to each seed, one after the other.

    "near": the share near the seed, start by start; "again": of an answer, what was in the one
    before, and in the one before that; "in place": what was so at the same place.
    """
    near = [
        [_near(judge, seed, answer) for answer in own]
        for seed, own in zip(seeds, answers, strict=True)
    ]
    pairs = [pair for own in answers for pair in pairwise(own)]
    later = [(own[at], own[at + 2]) for own in answers for at in range(len(own) - 2)]
    return {
        "near": " ".join(f"{share:.2f}" for share in np.mean(near, axis=0)),
        "again": round(float(np.mean([_shared(*pair) for pair in pairs])), 2),
        "again, later": round(float(np.mean([_shared(*pair) for pair in later])), 2)
        if later
        else None,
        "in place": round(float(np.mean([_in_place(*pair) for pair in later or pairs])), 2),
    }


def _near(judge: NDArray[np.float32], seed: int, answer: Sequence[int]) -> float:
    near = heard_by(judge, [seed])
    others = np.sort(np.delete(near, seed))
    least = others[-round(NEAREST * len(others))]
    return float((near[answer] >= least).mean()) if answer else 0.0


def _shared(one: Sequence[int], other: Sequence[int]) -> float:
    return len({*one} & {*other}) / max(len(other), 1)


def _in_place(one: Sequence[int], other: Sequence[int]) -> float:
    same = sum(a == b for a, b in zip(one, other, strict=False))
    return same / max(len(other), 1)
