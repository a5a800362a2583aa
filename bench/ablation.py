"""Each term of the score switched off: what becomes of every figure.

    python -m bench ablation

Real music by two models, sessions as in bench.autodj (segue-1 picks, MusiCNN judges), styles on the
synthetic library. Each figure is a mean over seeds, sessions or listeners that are the same with
and without a term, so that differences are paired: only those of more than two standard errors are
told (of the hub skew, which is one number and no better below 0, those from .03). Where nothing is
worse without it, a term helps nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench import autodj, quality, skipping
from bench.feishin import ITEM_COUNT
from bench.servers import steered
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

#: The figures, and whether more of each is better (1) or less (-1).
FIGURES: Final[Mapping[str, int]] = {
    "P@5 segue-1": 1, "P@5 efficientat-mn04": 1,
    "hub skew segue-1": -1, "hub skew efficientat-mn04": -1,
    "near, real": 1, "near, folder": 1, "near, synthetic": 1,
    "2 in a row, real": -1, "2 in a row, synthetic": -1,
    "3 in a row, real": -1, "3 in a row, synthetic": -1,
    "jump in tempo": -1, "jump in key": -1, "jump in loudness": -1,
    "tempo, seed to picks": -1, "key, seed to picks": -1, "loudness, seed to picks": -1,
    "same style of 20": 1, "albums in 20": 1, "likeness of ten picks": -1,
    "skipped kind, given up": 1, "like an unwanted seed": -1, "known songs, given up by explore": 1,
    "of the loved style": 1, "favourites of a year ago": 1, "of the house's": 1,
    "heard an hour ago": -1, "offered lately": -1, "others the next day": 1,
}  # fmt: skip

#: Terms of motion are small, and two sessions soon go different ways: it takes many to see them.
REAL_SESSIONS: Final = 1000
FOLDER_SESSIONS: Final = 200
SYNTHETIC_SESSIONS: Final = 40
SEEDS: Final = 150
LISTENERS: Final = 150
PICKS: Final = 10

#: A difference of so many standard errors is told, or so much of what has no error.
TOLD_ERRORS: Final = 2.0
TOLD_SKEW: Final = 0.03

#: Of smaller errors a place more is shown.
SMALL_ERROR: Final = 0.0015

Values = NDArray[np.float64]
Jump = Callable[[Snapshot, NDArray[np.intp], int], NDArray[np.float32] | None]

JUMPS: Final[Mapping[str, Jump]] = {
    "tempo": motion.tempo, "key": motion.key, "loudness": motion.loudness,
}  # fmt: skip


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
    base = figures(libraries, whole)
    shown = " · ".join(f"{name} {_plain(values.mean())}" for name, values in base.items())
    rows: list[dict[str, object]] = [{"without": "(nothing)", "is worse": shown, "is better": ""}]
    for term in TERMS:
        without = figures(libraries, replace(whole, **{term: 0.0}))
        rows.append({"without": term, **told(base, without)})
    return rows


def told(base: Mapping[str, Values], without: Mapping[str, Values]) -> dict[str, object]:
    """What is worse and what better without a term, as far as it is more than chance."""
    found: dict[int, list[str]] = {-1: [], 1: []}
    for name, way in FIGURES.items():
        before, after = base[name], without[name]
        change = after - before
        error = float(change.std() / np.sqrt(len(change)))
        by = float(change.mean())
        least = TOLD_ERRORS * error if len(change) > 1 else TOLD_SKEW
        if by and abs(by) >= least:
            places = 3 if not error or error >= SMALL_ERROR else 4
            shown = f"{name} {_plain(before.mean(), places)} → {_plain(after.mean(), places)}"
            shown += f" (± {_plain(error, places)})" if error else ""
            found[way if by > 0 else -way].append(shown)
    return {"is worse": " · ".join(found[-1]), "is better": " · ".join(found[1])}


def figures(libraries: Libraries, settings: RankingSettings) -> dict[str, Values]:
    """Every figure with these settings: a value for each seed, session or listener."""
    found: dict[str, list[float]] = {}
    for model, snapshot in libraries.real.items():
        labels = quality.album_codes(snapshot)
        best = quality.chosen(snapshot, settings, quality.OCCURRENCES)
        same = labels[best[:, : quality.NEIGHBOURS]] == labels[:, np.newaxis]
        found[f"P@5 {model}"] = same.mean(1).tolist()
        found[f"hub skew {model}"] = [max(quality.skewness(best, snapshot.n), 0.0)]
    snapshot, made = libraries.real[MODELS[0]], libraries.made
    found |= _sessions("real", snapshot, libraries.judge, settings, REAL_SESSIONS)
    folder = autodj.folder_of(snapshot)
    inside = autodj.simulate(snapshot, libraries.judge, steered(settings), FOLDER_SESSIONS, folder)
    found["near, folder"] = _by_session(inside.near, FOLDER_SESSIONS)
    found |= _sessions("synthetic", made.snapshot, made.judge, settings, SYNTHETIC_SESSIONS)
    found |= _steps(snapshot, settings)
    found |= _same_style(made, settings)
    found |= _alike(snapshot, settings)
    found["skipped kind, given up"] = [
        one.listened - one.skipped
        for one in (
            skipping.shares(made.snapshot, trial, settings)
            for trial in skipping.style_trials(made, LISTENERS)
        )
    ]
    found["known songs, given up by explore"] = _explored(snapshot, settings)
    found |= _listening(made, settings)
    return {name: np.array(found[name], np.float64) for name in FIGURES}


def _sessions(
    name: str,
    snapshot: Snapshot,
    judge: NDArray[np.float32],
    settings: RankingSettings,
    sessions: int,
) -> dict[str, list[float]]:
    played: list[list[int]] = []
    figures = autodj.simulate(snapshot, judge, steered(settings), sessions, played=played)
    found = {f"near, {name}": _by_session(figures.near, sessions)}
    artists = [snapshot.artist[queue].tolist() for queue in played]
    twice = [[a == b >= 0 for a, b in pairwise(queue)] for queue in artists]
    found[f"2 in a row, {name}"] = [float(np.mean(same)) for same in twice]
    found[f"3 in a row, {name}"] = [
        float(np.mean([a and b for a, b in pairwise(same)])) for same in twice
    ]
    if name == "real":
        found |= {f"jump in {what}": values for what, values in _jumps(snapshot, played)}
    return found


def _by_session(near: Sequence[float], sessions: int) -> list[float]:
    """The mean of each session: all have as many songs."""
    means: list[float] = np.asarray(near).reshape(sessions, -1).mean(1).tolist()
    return means


def _jumps(
    snapshot: Snapshot, played: Sequence[Sequence[int]]
) -> Iterator[tuple[str, list[float]]]:
    """Mean jump between songs played one after the other, 0…1 each (see ranker.motion)."""
    for name, jump in JUMPS.items():
        means = []
        for queue in played:
            steps = (jump(snapshot, np.array([row]), before) for before, row in pairwise(queue))
            known = [float(step[0]) for step in steps if step is not None]
            means.append(float(np.mean(known)) if known else 0.0)
        yield name, means


def _steps(snapshot: Snapshot, settings: RankingSettings) -> dict[str, list[float]]:
    """Mean jump from a song to the five that are chosen after it."""
    found: dict[str, list[float]] = {f"{name}, seed to picks": [] for name in JUMPS}
    for row in range(snapshot.n):
        picks = rank(snapshot, [Seed(row)], Context(), settings, ITEM_COUNT)
        rows = np.array([pick.row for pick in picks])
        for name, jump in JUMPS.items():
            steps = jump(snapshot, rows, row)
            found[f"{name}, seed to picks"].append(0.0 if steps is None else float(steps.mean()))
    return found


def _same_style(made: Synthetic, settings: RankingSettings) -> dict[str, list[float]]:
    shares, albums = [], []
    for row in np.random.default_rng(2).integers(0, made.snapshot.n, SEEDS).tolist():
        picks = rank(made.snapshot, [Seed(row)], Context(), settings, 20)
        rows = [pick.row for pick in picks]
        shares.append(float((made.style[rows] == made.style[row]).mean()))
        albums.append(float(len(set(made.snapshot.album[rows].tolist()))))
    return {"same style of 20": shares, "albums in 20": albums}


def _alike(snapshot: Snapshot, settings: RankingSettings) -> dict[str, list[float]]:
    """How alike ten picks are, and how like a seed that is not wanted: mean cosines."""
    alike, unwanted = [], []
    for row in range(snapshot.n):
        other = (row + snapshot.n // 2) % snapshot.n
        picks = rank(snapshot, [Seed(row)], Context(), settings, PICKS)
        vectors = snapshot.vectors[[pick.row for pick in picks]]
        cosines = vectors @ vectors.T
        alike.append(float(cosines[np.triu_indices(len(picks), 1)].mean()))
        picks = rank(snapshot, [Seed(row), Seed(other, -1.0)], Context(), settings, PICKS)
        vectors = snapshot.vectors[[pick.row for pick in picks]]
        unwanted.append(float((vectors @ snapshot.vectors[other]).mean()))
    return {"likeness of ten picks": alike, "like an unwanted seed": unwanted}


def _explored(snapshot: Snapshot, settings: RankingSettings) -> list[float]:
    """For each seed, the share of known songs that `explore` from 0 to 1 takes out."""
    low, high = (
        quality.known_songs(snapshot, replace(settings, explore=explore)) for explore in (0.0, 1.0)
    )
    return [one - other for one, other in zip(low, high, strict=True)]


def _listening(made: Synthetic, settings: RankingSettings) -> dict[str, list[float]]:
    """Of the next ten: the loved style, favourites of a year ago, what the house returns to, heard
    or offered lately (with nothing excluded), and what another day would bring.
    """
    snapshot, style = made.snapshot, made.style
    random = np.random.default_rng(11)
    names = (
        "of the loved style", "favourites of a year ago", "of the house's", "heard an hour ago",
        "offered lately", "others the next day",
    )  # fmt: skip
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(LISTENERS):
        one, other = (int(row) for row in random.integers(0, snapshot.n, 2))
        loved = random.permutation(np.flatnonzero(style == style[other]))[:20].tolist()
        house = random.permutation(np.flatnonzero(style == style[one]))[:20].tolist()
        ages = [quality.DAY_S] * 10 + [365 * quality.DAY_S] * 10
        likings = [Liking(row, 1.0, age) for row, age in zip(loved, ages, strict=False)]
        seeds = [Seed(one), Seed(other)]

        def ten(context: Context, seeds: list[Seed] = seeds) -> set[int]:
            return {pick.row for pick in rank(snapshot, seeds, context, settings, PICKS)}

        plain = [p.row for p in rank(snapshot, seeds, Context(), settings, 2 * PICKS)][:PICKS]
        tasted = ten(
            Context(taste=taste_of(snapshot, likings, house=house_of(dict.fromkeys(house, 4))))
        )
        heard = ten(Context(heard=tuple(plain), heard_ages_s=(3600.0,) * PICKS))
        offered = ten(Context(held_back=frozenset(plain)))
        today, tomorrow = (ten(Context(chance=day)) for day in (1, 2))
        counts = (
            sum(style[row] == style[other] for row in tasted), len(tasted & {*loved[10:]}),
            len(tasted & {*house}), len(heard & {*plain}), len(offered & {*plain}),
            len(today - tomorrow),
        )  # fmt: skip
        for name, count in zip(names, counts, strict=True):
            found[name].append(count / PICKS)
    return found


def _plain(value: float, places: int = 3) -> str:
    """A number without the nought before its point."""
    return f"{value:.{places}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.2f}"
