"""Each term of the score switched off: what becomes of every figure.

    python -m bench ablation

A figure that a term does not touch stays as it is. Real music by two models, sessions as in
bench.autodj (segue-1 picks, MusiCNN judges), styles on the synthetic library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench import autodj, quality
from bench.synthetic import Synthetic, synthesise
from catalog.snapshot import Snapshot
from ranker import motion
from ranker.picks import Context, Seed
from ranker.rank import rank
from ranker.settings import RankingSettings
from ranker.taste import Liking, house_of, taste_of

MODELS: Final = ("segue-1", "efficientat-mn04")

#: Each term, and `breadth`, which is the weight of diversity.
TERMS: Final = (
    "tags", "genres", "hub", "flow", "breadth", "tempo", "key", "loudness", "artist_repetition",
    "album_repetition", "unlike", "skipped", "taste", "favourite", "house", "familiar",
    "heard_lately", "held_back", "chance",
)  # fmt: skip

REAL_SESSIONS: Final = 200
SYNTHETIC_SESSIONS: Final = 40
LISTENERS: Final = 40


@dataclass(frozen=True, slots=True)
class Libraries:
    """What the figures are taken from. `real` by model; `judge` hears the real music."""

    real: dict[str, Snapshot]
    judge: NDArray[np.float32]
    made: Synthetic


def run(audio: Path, models: Path, data: Path) -> list[dict[str, object]]:
    """A row for the whole score and one without each term."""
    from bench.judge import judge

    real = {model: quality.embedded(audio, models, data, model) for model in MODELS}
    heard = judge(real[MODELS[0]], audio, models, data / "musicnn.npz")
    libraries = Libraries(real, heard, synthesise(data / "synthetic", 20_000))
    whole = RankingSettings()
    settings = {"(nothing)": whole, **{term: replace(whole, **{term: 0.0}) for term in TERMS}}
    return [{"without": term, **figures(libraries, one)} for term, one in settings.items()]


def figures(libraries: Libraries, settings: RankingSettings) -> dict[str, object]:
    """Every figure with these settings."""
    found: dict[str, object] = {}
    for model, snapshot in libraries.real.items():
        labels = quality.album_codes(snapshot)
        best = quality.chosen(snapshot, settings, quality.OCCURRENCES)
        same = labels[best[:, : quality.NEIGHBOURS]] == labels[:, np.newaxis]
        found[f"P@5 {model}"] = round(float(same.mean()), 3)
        found[f"hub skew {model}"] = round(quality.skewness(best, snapshot.n), 2)
    snapshot = libraries.real[MODELS[0]]
    played: list[list[int]] = []
    sessions = autodj.simulate(
        snapshot,
        libraries.judge,
        autodj.ranked(snapshot, settings),
        REAL_SESSIONS,
        played=played,
    )
    found |= _session_figures("real", sessions)
    found |= _jumps(snapshot, played)
    folder = autodj.folder_of(snapshot)
    inside = autodj.simulate(
        snapshot, libraries.judge, autodj.ranked(snapshot, settings), REAL_SESSIONS, folder
    )
    found["near, folder"] = round(float(np.mean(inside.near)), 3)
    made = libraries.made
    synthetic = autodj.simulate(
        made.snapshot, made.judge, autodj.ranked(made.snapshot, settings), SYNTHETIC_SESSIONS
    )
    found |= _session_figures("synthetic", synthetic)
    found |= _same_style(made, settings)
    found["two skips: left of the kind"] = _skips(made, settings)
    found |= _unlike(snapshot, settings)
    found |= _listening(made, settings)
    return found


def _session_figures(name: str, sessions: autodj.Figures) -> dict[str, object]:
    return {
        f"near, {name}": round(float(np.mean(sessions.near)), 3),
        f"2 in a row, {name}": f"{sessions.twice / sessions.played:.1%}",
        f"3 in a row, {name}": sessions.thrice,
    }


def _jumps(snapshot: Snapshot, played: Sequence[Sequence[int]]) -> dict[str, object]:
    """Mean jump between songs played one after the other, 0…1 each (see ranker.motion)."""
    found: dict[str, object] = {}
    for name, jump in (
        ("tempo", motion.tempo),
        ("key", motion.key),
        ("loudness", motion.loudness),
    ):
        steps = [
            float(distance[0])
            for queue in played
            for before, row in pairwise(queue)
            if (distance := jump(snapshot, np.array([row]), before)) is not None
        ]
        found[f"jump in {name}"] = round(float(np.mean(steps)), 4) if steps else None
    return found


def _same_style(made: Synthetic, settings: RankingSettings, seeds: int = 150) -> dict[str, object]:
    shares, albums = [], []
    for row in np.random.default_rng(2).integers(0, made.snapshot.n, seeds).tolist():
        picks = rank(made.snapshot, [Seed(row)], Context(), settings, 20)
        rows = [pick.row for pick in picks]
        shares.append(float((made.style[rows] == made.style[row]).mean()))
        albums.append(len(set(made.snapshot.album[rows].tolist())))
    return {
        "same style of 20": round(float(np.mean(shares)), 3),
        "albums in 20": round(float(np.mean(albums)), 1),
    }


def _skips(made: Synthetic, settings: RankingSettings) -> str:
    row = autodj.skips(made, settings, LISTENERS)
    return f"{row['before']} → {row['after']}"


def _unlike(snapshot: Snapshot, settings: RankingSettings) -> dict[str, object]:
    near = []
    for row in range(0, snapshot.n, 2):
        other = (row + snapshot.n // 2) % snapshot.n
        picks = rank(snapshot, [Seed(row), Seed(other, -1.0)], Context(), settings, 10)
        near.append(
            float((snapshot.vectors[[p.row for p in picks]] @ snapshot.vectors[other]).mean())
        )
    explored = (replace(settings, explore=explore) for explore in (0.0, 1.0))
    known = [quality.known_songs(snapshot, one) for one in explored]
    return {
        "like an unwanted seed": round(float(np.mean(near)), 3),
        "known songs, explore 0 → 1": " → ".join(f"{share:.3f}" for share in known),
    }


def _listening(made: Synthetic, settings: RankingSettings) -> dict[str, object]:
    """Of the next ten: the loved style, favourites of a year ago, what the house returns to, heard
    or offered lately (with nothing excluded), and what another day would bring.
    """
    snapshot, style = made.snapshot, made.style
    random = np.random.default_rng(11)
    sums = dict.fromkeys(("loved", "old", "house", "heard", "offered", "other"), 0)
    for _ in range(LISTENERS):
        one, other = (int(row) for row in random.integers(0, snapshot.n, 2))
        loved = random.permutation(np.flatnonzero(style == style[other]))[:20].tolist()
        house = random.permutation(np.flatnonzero(style == style[one]))[:20].tolist()
        ages = [quality.DAY_S] * 10 + [365 * quality.DAY_S] * 10
        likings = [Liking(row, 1.0, age) for row, age in zip(loved, ages, strict=False)]
        seeds = [Seed(one), Seed(other)]
        plain = [p.row for p in rank(snapshot, seeds, Context(), settings, 20)]
        taste = taste_of(snapshot, likings, house=house_of(dict.fromkeys(house, 4)))
        tasted = [p.row for p in rank(snapshot, seeds, Context(taste=taste), settings, 10)]
        sums["loved"] += int((style[tasted] == style[other]).sum())
        sums["old"] += len({*tasted} & {*loved[10:]})
        sums["house"] += len({*tasted} & {*house})
        heard = Context(heard=tuple(plain[:10]), heard_ages_s=(3600.0,) * 10)
        sums["heard"] += len(
            {p.row for p in rank(snapshot, seeds, heard, settings, 10)} & {*plain[:10]}
        )
        held = Context(held_back=frozenset(plain[:10]))
        sums["offered"] += len(
            {p.row for p in rank(snapshot, seeds, held, settings, 10)} & {*plain[:10]}
        )
        days = [
            {p.row for p in rank(snapshot, seeds, Context(chance=day), settings, 10)}
            for day in (1, 2)
        ]
        sums["other"] += len(days[0] - days[1])
    names = {
        "loved": "of the loved style", "old": "favourites of a year ago",
        "house": "of the house's", "heard": "heard an hour ago", "offered": "offered lately",
        "other": "others the next day",
    }  # fmt: skip
    return {names[key]: round(value / (10 * LISTENERS), 3) for key, value in sums.items()}
