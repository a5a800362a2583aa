"""Ranking alone: time, recall of the two-stage search, memory, on synthetic libraries.

    python -m bench ranking            (10,000 and 100,000 tracks; SEGUE_BENCH_LARGE=1: 500,000 too)

One core (set OPENBLAS_NUM_THREADS=1), in its own time, so that what else runs disturbs less; after
all pages were touched once, as in a server that has run for a while. Every track has a tempo, a key
and a loudness. Recall: how many of the 50 best of all rows, each with all its terms in full, the
looks find, after a seed alone, in a session that heard nine songs, and after two skips of what is
near the seed. Memory: what the whole process has of its own (RssAnon) after ranking, and what of it
ranking took.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from bench.synthetic import DIM, synthesise
from catalog.snapshot import Snapshot, open_snapshot
from ranker.picks import Context, Seed
from ranker.rank import rank
from ranker.settings import RankingSettings

GOALS_MS: Final = {10_000: 1.0, 100_000: 3.0, 500_000: 15.0}
SEEDS: Final = 40
ROUNDS: Final = 3
RECALL_SEEDS: Final = (20, 40)
RECALL_AT: Final = 50


def run(data: Path) -> list[dict[str, object]]:
    """A row for each size."""
    sizes = [n for n in GOALS_MS if n <= 100_000 or os.environ.get("SEGUE_BENCH_LARGE")]
    return [_measure(data, n) for n in sizes]


def _measure(data: Path, n: int) -> dict[str, object]:
    folder = data / f"synthetic-{n}-{DIM}"
    if open_snapshot(folder) is None:
        synthesise(folder, n)
    opened = open_snapshot(folder, resident=True)
    if opened is None:
        raise RuntimeError(f"nothing was published in {folder}")
    snapshot = _measured(opened)
    seeds = np.random.default_rng(3).integers(0, n, SEEDS).tolist()
    for array in (snapshot.vectors, snapshot.coarse, snapshot.profile, snapshot.genres):
        if array is not None:
            array.max()
    before = _anonymous_mb()
    times: dict[int, list[float]] = {5: [], 50: []}
    for count, found in times.items():
        _time(snapshot, seeds[0], count)
        found += [_time(snapshot, seed, count) for seed in seeds * ROUNDS]
    after = _anonymous_mb()
    alone = _recall(snapshot, seeds, [Context()] * SEEDS)
    skipped = _recall(snapshot, seeds, [_skips(snapshot, seed) for seed in seeds])
    inside = _recall(snapshot, seeds, [_session(snapshot, seed) for seed in seeds])
    return {
        "tracks": n,
        "5 songs, p50 ms": round(float(np.median(times[5])), 2),
        "50 songs, p50 ms": round(float(np.median(times[50])), 2),
        "5 songs, p95 ms": round(float(np.quantile(times[5], 0.95)), 2),
        "least ms": round(min(times[5]), 2),
        "goal ms": GOALS_MS[n],
        **{
            f"recall at {RECALL_AT}, {k} seeds": round(float(np.mean(alone[:k])), 4)
            for k in RECALL_SEEDS
        },
        "after two skips": round(float(np.mean(skipped)), 4),
        "in a session": round(float(np.mean(inside)), 4),
        "anonymous MB": round(after, 1),
        "of ranking": round(after - before, 1),
    }


def _measured(snapshot: Snapshot) -> Snapshot:
    """With what was measured of each track: by chance, for it costs time whatever it is."""
    random, n = np.random.default_rng(9), snapshot.n
    return replace(
        snapshot,
        tempo_bpm=random.uniform(60, 180, n).astype(np.float32),
        tempo_confidence=random.random(n, np.float32),
        key=random.integers(-1, 24, n).astype(np.int8),
        key_confidence=random.random(n, np.float32),
        loudness_lufs=random.normal(-14, 4, n).astype(np.float32),
    )


def _session(snapshot: Snapshot, seed: int) -> Context:
    heard = tuple((seed + step) % snapshot.n for step in range(1, 10))
    return Context(excluded=frozenset(heard), heard=heard)


def _skips(snapshot: Snapshot, seed: int) -> Context:
    near = rank(snapshot, [Seed(seed)], Context(), RankingSettings(), 6, plain=True)
    skipped = (near[2].row, near[4].row)
    return Context(heard=(seed,), skipped=skipped, skipped_ages_s=(30.0, 60.0))


def _time(snapshot: Snapshot, seed: int, count: int) -> float:
    context = _session(snapshot, seed)
    started = time.thread_time()
    rank(snapshot, [Seed(seed)], context, RankingSettings(), count)
    return (time.thread_time() - started) * 1000


def _recall(snapshot: Snapshot, seeds: list[int], contexts: list[Context]) -> list[float]:
    shares = []
    for seed, context in zip(seeds, contexts, strict=True):
        found = [
            rank(
                snapshot,
                [Seed(seed)],
                context,
                RankingSettings(),
                RECALL_AT,
                plain=True,
                exact=exact,
            )
            for exact in (False, True)
        ]
        two, one = ({pick.row for pick in picks} for picks in found)
        shares.append(len(two & one) / RECALL_AT)
    return shares


def _anonymous_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0
