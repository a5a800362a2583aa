"""How good the choice is, term by term, on a folder of real music; docs/quality.md explains it.

P@5 "same game": for each track, the share of the five best other tracks, by score alone, that
come from the same album (which in this library is a game), averaged; paired against the cosine of
centred vectors. Hub skew: the skewness of how often each track is among the ten best of others.

    python -m bench quality                                    (all models side by side)
    python -m bench.quality --audio DIR --models DIR --model segue-1 --model timbre
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catalog.library import Library
from catalog.settings import LibrarySettings
from catalog.snapshot import Snapshot, open_snapshot
from catalog.tracks import Float32
from embedder.derivation import centre, unit
from embedder.job import embed
from embedder.models.registry import ENTRIES, why_not
from embedder.publish import standardise
from embedder.settings import EmbeddingSettings
from ranker.errors import WordsError
from ranker.picks import Context, Seed
from ranker.rank import rank
from ranker.settings import RankingSettings
from ranker.taste import Liking, taste_of
from ranker.wishes import wish
from ranker.words import rank_words

#: What is asked of each model's whole score, on the 165 excerpts of the development library.
GOALS = {"segue-1": 0.283, "efficientat-mn04": 0.283, "timbre": 0.17}

#: The first column: what the others are figures of.
FIGURE = "figure"

#: The vectors as they are published, whitened or not as the model's entry says, genres and motion.
PLAINEST = "without tags and hub correction"

NEIGHBOURS = 5
OCCURRENCES = 10
DAY_S = 86_400.0

#: A word, and the AudioSet or mood tag in whose top tenth its songs should be found.
WORDS = (
    ("sad", "Sad music"), ("tender", "Tender music"), ("angry", "Angry music"),
    ("scary", "Scary music"), ("exciting", "Exciting music"), ("piano", "Piano"),
    ("guitar", "Guitar"), ("violin", "Violin, fiddle"), ("choir", "Choir"), ("rock", "Rock music"),
    ("techno", "Techno"), ("ambient", "Ambient music"), ("orchestral", "Orchestra"),
    ("chiptune", "Video game music"), ("dreamy", "dream"), ("epic", "epic"), ("calm", "calm"),
    ("energetic", "energetic"), ("dark", "dark"), ("late night drive", "deep"),
)  # fmt: skip

#: Words that are asked for with more and with less of each other.
DEGREED = (
    "sad", "calm", "happy", "energetic", "dark", "epic", "dreamy", "piano", "guitar", "drums",
    "electronic", "rock", "orchestral", "slow",
)  # fmt: skip
DEGREES = ("{} very {}", "{} {}", "{}", "{} less {}", "{} not {}")

#: A rise of so many deviations, of ten songs' mean, is one song of another artist.
RISE = 0.05

#: What names a row; the other entries are its figures.
_TEXTS = ("score", "knob at 0 · .25 · .5 · .75 · 1", "words", "tag")


def data_folder() -> Path:
    """Where what the benchmarks embed is kept: `$SEGUE_BENCH_DATA`, else a temporary folder."""
    named = os.environ.get("SEGUE_BENCH_DATA")
    folder = Path(named) if named else Path(tempfile.gettempdir()) / f"segue-bench-{os.getuid()}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def embedded(audio: Path, models: Path, data: Path, model: str) -> Snapshot:
    """The snapshot of a folder of music with a model; what was analysed before is kept."""
    folder = data / model
    embed(
        LibrarySettings(music=(str(audio),), data=str(folder)),
        EmbeddingSettings(model=model, models_dir=str(models)),
    )
    snapshot = open_snapshot(folder)
    if snapshot is None:
        raise RuntimeError(f"nothing was published in {folder}")
    return snapshot


def precision(vectors: Float32, labels: NDArray[np.int32], k: int = NEIGHBOURS) -> float:
    """Mean share of a row's `k` nearest other rows that bear its label; rows of length 1."""
    return float((labels[nearest(vectors, k)] == labels[:, np.newaxis]).mean())


def nearest(vectors: Float32, k: int) -> NDArray[np.intp]:
    """(n, k) each row's nearest other rows by cosine, best first."""
    scores = vectors @ vectors.T  # (n, d) @ (d, n) -> (n, n)
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def chance(labels: NDArray[np.int32]) -> float:
    """The same for neighbours drawn at random."""
    same = labels[:, np.newaxis] == labels
    return float((same.sum(1) - 1).mean() / (len(labels) - 1))


def skewness(found: NDArray[np.intp], n: int) -> float:
    """Of how often each of `n` rows occurs in `found`."""
    times = np.bincount(found.ravel(), minlength=n).astype(np.float64)
    return float(((times - times.mean()) ** 3).mean() / max(times.std(), 1e-9) ** 3)


def album_codes(snapshot: Snapshot) -> NDArray[np.int32]:
    """Equal for equal album names, whoever the artist: in a game's soundtrack there are many."""
    names = [snapshot.text("album", row).casefold() for row in range(snapshot.n)]
    return np.unique(names, return_inverse=True)[1].astype(np.int32)


def chosen(snapshot: Snapshot, settings: RankingSettings, k: int) -> NDArray[np.intp]:
    """(n, k) what is ranked best after each row, by score alone."""
    return np.array(
        [
            [pick.row for pick in rank(snapshot, [Seed(row)], Context(), settings, k, plain=True)]
            for row in range(snapshot.n)
        ]
    )


def likeness(snapshot: Snapshot, model: str, folder: Path) -> list[dict[str, object]]:
    """P@5 and hub skew of centred vectors, of the score, and of the score without each term.

    `whitening`: how far the published vectors are whitened, 0 (not at all) to 1.
    """
    labels = album_codes(snapshot)
    entry = next(entry for entry in ENTRIES if entry.name == model)
    with Library.open(folder, read_only=True) as library:
        raw = library.vectors(entry.model)[1]
    if entry.unscaled:
        raw = standardise(raw)
    centred = unit(centre(raw))
    base = (labels[nearest(centred, NEIGHBOURS)] == labels[:, np.newaxis]).mean(1)
    skew = skewness(nearest(centred, OCCURRENCES), snapshot.n)
    rows: list[dict[str, object]] = [
        {"model": model, "score": "by chance", "P@5 same game": round(chance(labels), 3)},
        {
            "model": model,
            "score": "centred vectors",
            "P@5 same game": round(float(base.mean()), 3),
            "hub skew": round(skew, 2),
        },
    ]
    whole = RankingSettings()
    variants = {
        PLAINEST: replace(whole, hub=0, tags=0),
        "without tags": replace(whole, tags=0),
        "without hub correction": replace(whole, hub=0),
        "whole score": whole,
    }
    for name, settings in variants.items():
        found = chosen(snapshot, settings, OCCURRENCES)
        each = (labels[found[:, :NEIGHBOURS]] == labels[:, np.newaxis]).mean(1)
        paired = each - base
        error = float(paired.std() / np.sqrt(len(paired)))
        rows.append(
            {
                "model": model,
                "score": name,
                "P@5 same game": round(float(each.mean()), 3),
                "whitening": entry.whitening if name == PLAINEST else None,
                "paired": f"{paired.mean():+.3f} ± {error:.3f}",
                "hub skew": round(skewness(found, snapshot.n), 2),
                "goal": GOALS.get(model) if settings is whole else None,
            }
        )
    return rows


def knobs(snapshot: Snapshot) -> list[dict[str, object]]:
    """What each knob does at five places: the figure must fall or rise all along."""
    places = (0.0, 0.25, 0.5, 0.75, 1.0)
    seeds = range(0, snapshot.n, 2)
    vectors, rows = snapshot.vectors, []

    def near(settings: RankingSettings, negative: float = 0.0) -> tuple[float, float]:
        to_seed, to_other = [], []
        for row in seeds:
            other = (row + snapshot.n // 2) % snapshot.n
            wanted = [Seed(row)] + ([Seed(other, -negative)] if negative else [])
            picks = rank(snapshot, wanted, Context(excluded=frozenset([other])), settings, 10)
            found = [pick.row for pick in picks]
            to_seed.append(float((vectors[found] @ vectors[row]).mean()))
            to_other.append(float((vectors[found] @ vectors[other]).mean()))
        return float(np.mean(to_seed)), float(np.mean(to_other))

    settings = RankingSettings()
    figures = {
        "breadth: likeness of ten picks to the seed": [
            near(replace(settings, breadth=at))[0] for at in places
        ],
        "explore: share of artists heard": [
            heard_artists(snapshot, replace(settings, explore=at)) for at in places
        ],
        "explore: share of songs known": [
            float(np.mean(known_songs(snapshot, replace(settings, explore=at)))) for at in places
        ],
        "a seed with weight -1: likeness of ten picks to it, `unlike`": [
            near(replace(settings, unlike=at), 1.0)[1] for at in places
        ],
    }
    for name, values in figures.items():
        falls = bool((np.diff(values) < 0).all())
        shown = " · ".join(f"{value:.3f}" for value in values)
        rows.append({"knob at 0 · .25 · .5 · .75 · 1": name, "figure": shown, "falls": falls})
    return rows


def heard_artists(snapshot: Snapshot, settings: RankingSettings, draws: int = 4) -> float:
    """Of ten picks after each song, the share by artists of that song and three others by chance.

    All four were just heard. (Four neighbours in the library are often of one artist, who has no
    room in the answer whatever the knob says.)
    """
    random, found = np.random.default_rng(1), 0
    picked = 0
    for _ in range(draws):
        others = random.integers(1, max(snapshot.n, 2), 3)
        for row in range(snapshot.n):
            heard = (row, *((row + others) % snapshot.n).tolist())
            context = Context(excluded=frozenset(heard), heard=heard)
            picks = rank(snapshot, [Seed(row)], context, settings, 10)
            artists = snapshot.artist[[pick.row for pick in picks]]
            found += int(np.isin(artists, snapshot.artist[list(heard)]).sum())
            picked += len(picks)
    return found / max(picked, 1)


def known_songs(snapshot: Snapshot, settings: RankingSettings, known: int = 40) -> list[float]:
    """Of ten picks after each song, the share that a listener knows who knows forty by chance."""
    random, shares = np.random.default_rng(2), []
    for row in range(snapshot.n):
        likes = random.choice(snapshot.n, min(known, snapshot.n), replace=False).tolist()
        taste = taste_of(snapshot, [Liking(like, 1.0, DAY_S) for like in likes])
        picks = rank(snapshot, [Seed(row)], Context(taste=taste), settings, 10)
        shares.append(len({pick.row for pick in picks} & {*likes}) / max(len(picks), 1))
    return shares


def words(snapshot: Snapshot, asked: Sequence[tuple[str, str]] = WORDS) -> list[dict[str, object]]:
    """For each word, how many of its ten best are in the top tenth of the tag it should find."""
    rows: list[dict[str, object]] = []
    shares = []
    for word, label in asked:
        group = next((g for g in snapshot.tag_groups.values() if label in g.labels), None)
        if group is None:
            continue
        scores = np.asarray(group.scores[:, group.labels.index(label)], np.float32)
        top = set(np.argsort(-scores)[: snapshot.n // 10].tolist())
        try:
            picks = rank_words(word, snapshot, Context(), RankingSettings(), 10)
        except WordsError:
            continue
        share = sum(pick.row in top for pick in picks) / len(picks)
        shares.append(share)
        rows.append({"words": word, "tag": label, "x chance": round(share * 10, 1)})
    rows.append({"words": "all", "tag": "mean", "x chance": round(float(np.mean(shares)) * 10, 1)})
    return rows


def degrees(snapshot: Snapshot, asked: Sequence[str] = DEGREED) -> list[dict[str, object]]:
    """How much of a second word ten songs have, from "sad very calm" to "sad not calm": the mean
    of its labels, in deviations. It should fall at every step; `rises` are pairs where it does not.
    """
    means: list[list[float]] = []
    for one, other in permutations(asked, 2):
        try:
            meant = wish(other, snapshot).weights
            picks = [
                rank_words(form.format(one, other), snapshot, Context(), RankingSettings(), 10)
                for form in DEGREES
            ]
        except WordsError:
            continue
        has = sum(
            np.asarray(snapshot.tag_groups[name].scores, np.float32) @ np.maximum(weights, 0)
            for name, weights in meant.items()
        ) / sum(float(np.maximum(weights, 0).sum()) for weights in meant.values())
        means.append([float(has[[pick.row for pick in found]].mean()) for found in picks])
    if not means:
        return []
    steps = np.diff(means).max(1)
    return [
        {
            "words": " · ".join(form.format("A", "B") for form in DEGREES),
            "of B": " · ".join(f"{mean:.2f}" for mean in np.mean(means, axis=0)),
            "pairs": len(means),
            f"rises above {RISE}": int((steps > RISE).sum()),
            "largest": round(float(steps.max()), 3),
        }
    ]


def run(audio: Path, models: Path, wanted: Sequence[str] | None = None) -> list[dict[str, object]]:
    """Every figure in a row, a column for each model that can run (or each one wanted)."""
    data = data_folder()
    columns: dict[str, dict[str, object]] = {}
    for entry in ENTRIES:
        if entry.beside or (wanted is not None and entry.name not in wanted):
            continue
        reason = why_not(entry, models)
        if reason:
            columns[entry.name] = {"skipped": reason}
            continue
        snapshot = embedded(audio, models, data, entry.name)
        rows = likeness(snapshot, entry.name, data / entry.name)
        if snapshot.tag_groups:
            rows += knobs(snapshot)
            rows += words(snapshot)
            rows += degrees(snapshot)
        columns[entry.name] = dict(_named(rows))
    names = dict.fromkeys(name for column in columns.values() for name in column)
    return [
        {FIGURE: name, **{model: column.get(name) for model, column in columns.items()}}
        for name in names
    ]


def _named(rows: Sequence[Mapping[str, object]]) -> Iterator[tuple[str, object]]:
    """Each figure of some rows with what it is called: by the row's text, then by its column."""
    for row in rows:
        name = ", ".join(str(row[key]) for key in _TEXTS if key in row)
        for key, value in row.items():
            if key not in _TEXTS and key != "model" and value is not None:
                yield f"{name}: {key}", value


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--model", action="append", choices=[entry.name for entry in ENTRIES])
    given = parser.parse_args()
    for row in run(given.audio, given.models, given.model):
        print("  ".join(f"{key}: {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
