"""Feishin's AutoDJ at work, many sessions of forty songs, in front of the ranker.

Each session starts with a song by chance. When its last queued song starts, five more are asked
for; the player drops what is queued, **shuffles the rest** and takes up to five, and what is then
short is a fall-back. With a folder selected the first answer has the five that it queues (see
`proxy.decisions.FolderForm`), and where some are missing a pool of ten follows. Judged by other
ears (MusiCNN on real music, another projection on synthetic): how many of the songs added are
among the tenth of the unplayed songs (of the folder) nearest to the last five played.

    python -m bench autodj
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.synthetic import Synthetic, synthesise
from catalog.snapshot import Snapshot
from ranker.picks import Context, Seed
from ranker.rank import rank
from ranker.settings import RankingSettings
from ranker.taste import Liking, taste_of

SONGS: Final = 40
ITEM_COUNT: Final = 5
POOL: Final = 10
SONG_S: Final = 210.0
NEAREST: Final = 0.1
SESSION_TAIL: Final = 5
SESSIONS: Final = 200
SMALL: Final = 1000

REAL_MODELS: Final = ("segue-1", "efficientat-mn04")

#: What a picker gets: the playing row, the context, how many. What it gives: rows.
Picker = Callable[[int, Context, int], list[int]]


@dataclass(slots=True)
class Figures:
    """Sums over sessions."""

    played: int = 0
    repeats: int = 0
    fall_backs: int = 0
    asked: int = 0
    twice: int = 0
    thrice: int = 0
    outside: int = 0
    near: list[bool] = field(default_factory=list)

    def row(self, name: str, chance: float) -> dict[str, object]:
        """As a line of the table; `chance`: the share near of a random picker."""
        near = float(np.mean(self.near))
        return {
            "picker": name,
            "songs": self.played,
            "repeats": self.repeats,
            "fall-backs": f"{self.fall_backs} of {self.asked}",
            "same artist 2 in a row": f"{self.twice / self.played:.1%}",
            "3 in a row": self.thrice,
            "outside the folder": self.outside,
            "among the nearest 10 %": round(near, 3),
            "x random": round(near / chance, 2) if chance else "",
        }


def simulate(
    snapshot: Snapshot,
    judge: NDArray[np.float32],
    picker: Picker,
    sessions: int,
    folder: NDArray[np.bool_] | None = None,
    *,
    songs: int = SONGS,
    played: list[list[int]] | None = None,
) -> Figures:
    """Play `sessions` sessions; with `folder` (n,) bool as with a music folder selected.

    What was played is added to `played`.
    """
    figures = Figures()
    starts = np.arange(snapshot.n) if folder is None else np.flatnonzero(folder)
    for number in range(sessions):
        chance = random.Random(number)
        start = int(chance.choice(starts))
        queue = _session(snapshot, judge, picker, figures, chance, start, folder, songs)
        if played is not None:
            played.append(queue)
    return figures


def _session(
    snapshot: Snapshot,
    judge: NDArray[np.float32],
    picker: Picker,
    figures: Figures,
    chance: random.Random,
    start: int,
    folder: NDArray[np.bool_] | None,
    songs: int,
) -> list[int]:
    queue = [start]
    offered: set[int] = set()
    position = 0
    while position < songs:
        if position == len(queue) - 1:
            added: list[int] = []
            figures.asked += 1
            for count in (ITEM_COUNT,) if folder is None else (ITEM_COUNT, POOL):
                before = [*queue, *added]
                context = Context(
                    eligible=folder,
                    excluded=frozenset(before),
                    held_back=frozenset(offered - set(before)),
                    heard=tuple(queue[::-1]),
                    heard_ages_s=tuple(SONG_S * i for i in range(len(queue))),
                )
                answer = picker(queue[position], context, count)
                fresh = [row for row in dict.fromkeys(answer) if row not in before]
                chance.shuffle(fresh)
                added += fresh[: ITEM_COUNT - len(added)]
                if folder is not None:
                    offered.update(fresh)
                    figures.outside += sum(not folder[row] for row in fresh)
                if len(added) == ITEM_COUNT:
                    break
            figures.fall_backs += len(added) < ITEM_COUNT
            figures.near += _judged(judge, queue, added, folder)
            queue += added
            if position == len(queue) - 1:
                break
        position += 1
    queue = queue[:songs]
    _count(figures, snapshot.artist[queue].tolist(), queue)
    return queue


def _judged(
    judge: NDArray[np.float32],
    queue: Sequence[int],
    added: Sequence[int],
    folder: NDArray[np.bool_] | None,
) -> list[bool]:
    tail = judge[queue[-SESSION_TAIL:]].mean(0)
    near = judge @ tail  # (n, d) @ (d,) -> (n,)
    left = np.ones(len(judge), np.bool_) if folder is None else folder.copy()
    left[list(queue)] = False
    edge = np.quantile(near[left], 1 - NEAREST)
    return [bool(near[row] >= edge) for row in added]


def _count(figures: Figures, artists: Sequence[int], queue: Sequence[int]) -> None:
    figures.played += len(queue)
    figures.repeats += len(queue) - len(set(queue))
    for i in range(1, len(artists)):
        same = artists[i] >= 0 and artists[i] == artists[i - 1]
        figures.twice += same
        figures.thrice += same and i > 1 and artists[i] == artists[i - 2]


def ranked(snapshot: Snapshot, settings: RankingSettings) -> Picker:
    """Segue's ranker, seeded with what plays."""

    def pick(playing: int, context: Context, count: int) -> list[int]:
        picks = rank(snapshot, [Seed(playing)], context, settings, count)
        return [pick.row for pick in picks]

    return pick


def _pools(picker: Picker) -> Picker:
    return lambda playing, context, count: picker(playing, context, POOL)


def by_chance(snapshot: Snapshot) -> Picker:
    """Any eligible song not yet queued: what a plain server's random songs are."""
    chance = random.Random(7)

    def pick(playing: int, context: Context, count: int) -> list[int]:
        eligible = (
            range(snapshot.n)
            if context.eligible is None
            else np.flatnonzero(context.eligible).tolist()
        )
        left = [row for row in eligible if row not in context.excluded]
        return chance.sample(left, min(count, len(left)))

    return pick


def folder_of(snapshot: Snapshot) -> NDArray[np.bool_]:
    """(n,) bool: a music folder, half the albums of a small library, a quarter of a large one."""
    albums = np.unique(snapshot.album)
    return np.isin(snapshot.album, albums[:: 2 if snapshot.n < SMALL else 4])


def table(
    name: str, snapshot: Snapshot, judge: NDArray[np.float32], sessions: int
) -> list[dict[str, object]]:
    """Segue, the same without spacing, and a plain server, without and with a folder selected."""
    settings = RankingSettings()
    inside = folder_of(snapshot)
    rows = []
    for where, folder in (("all", None), ("folder", inside)):
        random_picks = simulate(snapshot, judge, by_chance(snapshot), sessions, folder)
        chance = float(np.mean(random_picks.near))
        pickers: dict[str, Picker] = {"Segue": ranked(snapshot, settings)}
        if folder is None:
            no_spacing = replace(settings, artist_repetition=0, album_repetition=0)
            pickers["without spacing"] = ranked(snapshot, no_spacing)
        else:
            pickers["pools of ten"] = _pools(ranked(snapshot, settings))
        for label, picker in pickers.items():
            figures = simulate(snapshot, judge, picker, sessions, folder)
            rows.append({"library": name, "asked": where, **figures.row(label, chance)})
        if folder is not None and snapshot.n < SMALL:
            # Forty songs are half of such a folder: the near ones run out, whoever chooses. As
            # large a part of it as forty songs are of the library tells what the folder costs.
            songs = round(SONGS * float(folder.mean()))
            few = [
                simulate(snapshot, judge, picker, sessions, folder, songs=songs)
                for picker in (by_chance(snapshot), ranked(snapshot, settings))
            ]
            row = few[1].row(f"Segue, {songs} songs", float(np.mean(few[0].near)))
            rows.append({"library": name, "asked": where, **row})
        rows.append(
            {"library": name, "asked": where, **random_picks.row("plain server, random", chance)}
        )
    return rows


def run(audio: Path, models: Path, data: Path) -> list[dict[str, object]]:
    """Real music by two models, and a synthetic library of 20,000 tracks."""
    from bench.judge import judge
    from bench.quality import embedded

    rows: list[dict[str, object]] = []
    if audio.exists():
        for model in REAL_MODELS:
            snapshot = embedded(audio, models, data, model)
            heard = judge(snapshot, audio, models, data / "musicnn.npz")
            rows += table(f"real 165, {model}", snapshot, heard, SESSIONS)
    made = synthesise(data / "synthetic", 20_000)
    rows += table("synthetic 20,000", made.snapshot, made.judge, SESSIONS)
    return [*rows, skips(made, RankingSettings()), *tastes(made)]


def tastes(made: Synthetic, listeners: int = 100) -> list[dict[str, object]]:
    """Listeners who return to one of the two styles between which a session wanders: its share of
    the next ten, and how many of those are songs they know.

    They know twenty songs of it, half of them heard yesterday and half a year ago. Judged by the
    other ears: likeness of the picks to the seeds.
    """
    snapshot, style = made.snapshot, made.style
    rows: list[dict[str, object]] = []
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
        rows.append(
            {
                "library": "synthetic 20,000",
                "asked": f"taste and favourites at {weight}",
                "of the loved style": round(float(np.mean(shares)), 3),
                "known, heard yesterday": round(float(np.mean(fresh)) / 10, 3),
                "known, heard a year ago": round(float(np.mean(old)) / 10, 3),
                "likeness to the seeds": round(float(np.mean(near)), 3),
            }
        )
    return rows


def skips(made: Synthetic, settings: RankingSettings, most: int = 150) -> dict[str, object]:
    """Two skips of one style: its share of the next ten before, just after, and 20 songs later.

    Seeds are pairs of songs of two styles, as where a session wanders from one to the other.
    """
    snapshot, style = made.snapshot, made.style
    chance = np.random.default_rng(5)
    shares: dict[str, list[float]] = {"before": [], "after": [], "20 songs later": []}
    while len(shares["before"]) < most:
        one, other = (int(row) for row in chance.integers(0, snapshot.n, 2))
        of_style = np.flatnonzero(style == style[other])
        if style[one] == style[other] or len(of_style) < 20:
            continue
        seeds = [Seed(one), Seed(other)]
        near = rank(snapshot, seeds, Context(), settings, 30)
        kin = [pick.row for pick in near if style[pick.row] == style[other]][:2]
        if len(kin) < 2:
            continue
        gone = frozenset(kin)
        for label, age_s in (("before", None), ("after", 30.0), ("20 songs later", 20 * SONG_S)):
            skipped = () if age_s is None else tuple(kin)
            ages = () if age_s is None else (age_s, age_s)
            context = Context(excluded=gone, skipped=skipped, skipped_ages_s=ages)
            picks = rank(snapshot, seeds, context, settings, 10)
            shares[label].append(float(np.mean([style[p.row] == style[other] for p in picks])))
    return {
        "library": "synthetic 20,000",
        "asked": "two skips of one style: its share of the next ten",
        **{label: round(float(np.mean(found)), 3) for label, found in shares.items()},
    }
