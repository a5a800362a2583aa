"""Feishin's AutoDJ at work, many sessions of forty songs, in front of the ranker.

Each session starts with a song by chance. When its last queued song starts, five more are asked
for; the player drops what is queued, **shuffles the rest** and takes up to five, and what is then
short is a fall-back. With a folder selected the first answer has the five that it queues (see
`proxy.decisions.FolderForm`), and where some are missing a pool of ten follows. Judged by other
ears (MusiCNN on real music, another projection on synthetic): how many of the songs added are
among the tenth of the unplayed songs (of the folder) nearest to the last five played. A tenth of 46
songs is four and six tenths of the fifth, so that chance is a tenth however many are left.

What a small folder costs is told by pickers that are as often right in the whole library as Segue
is: the judge itself, choosing by the very rule it judges by, with noise in its ears or at each
choice. Where five are asked for of forty songs, each errs more often than where they are of 150.

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

from bench import skipping
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
HALVINGS: Final = 8

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
    near: list[float] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Of the songs added, how many are near."""
        return float(np.mean(self.near))

    def row(self, name: str, whole: float | None = None) -> dict[str, object]:
        """As a line of the table; `whole`: the picker's share without a folder."""
        return {
            "picker": name,
            "songs": self.played,
            "repeats": self.repeats,
            "fall-backs": f"{self.fall_backs} of {self.asked}",
            "same artist 2 in a row": f"{self.twice / self.played:.1%}",
            "3 in a row": self.thrice,
            "outside the folder": self.outside,
            "among the nearest 10 %": round(self.share, 3),
            "x chance": round(self.share / NEAREST, 1),
            "of it without a folder": f"{self.share / whole:.0%}" if whole else None,
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
) -> list[float]:
    """Of each song added 1 where it is near, 0 where not, and a part where the tenth ends in it."""
    near = heard_by(judge, queue[-SESSION_TAIL:])
    left = np.ones(len(judge), np.bool_) if folder is None else folder.copy()
    left[list(queue)] = False
    near_left = near[left]
    room = NEAREST * len(near_left)
    return [float(np.clip(room - np.count_nonzero(near_left > near[row]), 0, 1)) for row in added]


def heard_by(judge: NDArray[np.float32], rows: Sequence[int]) -> NDArray[np.float32]:
    """(n,) how near every song is to some songs, by a judge's vectors (n, d)."""
    found: NDArray[np.float32] = judge @ judge[list(rows)].mean(0)  # (n, d) @ (d,) -> (n,)
    return found


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


def noisy(judge: NDArray[np.float32], noise: float, *, of_ears: bool) -> Picker:
    """The judge as a picker, by its own rule, with noise in its vectors or else at each choice."""
    random = np.random.default_rng(5)
    ears = judge
    if of_ears:
        heard = judge + noise * random.standard_normal(judge.shape, np.float32) / np.float32(
            np.sqrt(judge.shape[1])
        )
        ears = heard / np.maximum(np.linalg.norm(heard, axis=1, keepdims=True), 1e-6)

    def pick(playing: int, context: Context, count: int) -> list[int]:
        near = heard_by(ears, context.heard[:SESSION_TAIL])
        if not of_ears:
            near = near + noise * random.standard_normal(len(near), np.float32)
        left = np.ones(len(near), np.bool_) if context.eligible is None else context.eligible.copy()
        left[list(context.excluded)] = False
        order = np.argsort(-np.where(left, near, -np.inf), kind="stable")
        return order[: min(count, int(left.sum()))].tolist()

    return pick


def as_right(
    snapshot: Snapshot,
    judge: NDArray[np.float32],
    share: float,
    sessions: int,
    songs: int,
    *,
    of_ears: bool,
) -> Picker:
    """The `noisy` judge whose share without a folder is nearest to `share`, by halving."""
    low, high = 0.0, 8.0 if of_ears else 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        picker = noisy(judge, middle, of_ears=of_ears)
        if simulate(snapshot, judge, picker, sessions, songs=songs).share > share:
            low = middle
        else:
            high = middle
    return noisy(judge, (low + high) / 2, of_ears=of_ears)


def folder_of(snapshot: Snapshot) -> NDArray[np.bool_]:
    """(n,) bool: a music folder, half the albums of a small library, a quarter of a large one."""
    albums = np.unique(snapshot.album)
    return np.isin(snapshot.album, albums[:: 2 if snapshot.n < SMALL else 4])


def most_of(snapshot: Snapshot) -> NDArray[np.bool_]:
    """(n,) bool: three albums of four."""
    albums = np.unique(snapshot.album)
    return ~np.isin(snapshot.album, albums[3::4])


def table(
    name: str, snapshot: Snapshot, judge: NDArray[np.float32], sessions: int
) -> list[dict[str, object]]:
    """Segue, the same without spacing, and a plain server, without and with a folder selected."""
    settings = RankingSettings()
    segue, random = ranked(snapshot, settings), by_chance(snapshot)
    no_spacing = replace(settings, artist_repetition=0, album_repetition=0)
    rows = []
    for label, picker in (
        ("Segue", segue),
        ("without spacing", ranked(snapshot, no_spacing)),
        ("plain server, random", random),
    ):
        row = simulate(snapshot, judge, picker, sessions).row(label)
        rows.append({"library": name, "asked": "all", **row})
    inside = folder_of(snapshot)
    folders = {f"folder of {int(inside.sum())}": inside}
    small = snapshot.n < SMALL
    if small:
        folders[f"the other {int((~inside).sum())}"] = ~inside
        most = most_of(snapshot)
        folders[f"folder of {int(most.sum())}"] = most
    # Forty songs are half of a small folder: twenty are as large a part of it as forty of all.
    for songs in (SONGS, SONGS // 2) if small else (SONGS,):
        pickers = {"Segue": segue, "plain server, random": random}
        if songs == SONGS:
            pickers["pools of ten"] = _pools(segue)
        share = simulate(snapshot, judge, segue, sessions, songs=songs).share
        if small:
            pickers["the judge itself"] = noisy(judge, 0, of_ears=False)
            for label, of_ears in (("noisy ears", True), ("noisy choice", False)):
                pickers[f"as right as Segue, {label}"] = as_right(
                    snapshot, judge, share, sessions, songs, of_ears=of_ears
                )
        for label, picker in pickers.items():
            whole = share
            if label != "pools of ten":
                whole = simulate(snapshot, judge, picker, sessions, songs=songs).share
            for where, folder in folders.items():
                figures = simulate(snapshot, judge, picker, sessions, folder, songs=songs)
                row = figures.row(f"{label}, {songs} songs", whole)
                rows.append({"library": name, "asked": where, **row})
    return rows


def run(audio: Path, models: Path, data: Path) -> list[dict[str, object]]:
    """Real music by two models, and a synthetic library of 20,000 tracks."""
    from bench import radio
    from bench.judge import judge
    from bench.quality import embedded

    rows: list[dict[str, object]] = []
    if audio.exists():
        for model in REAL_MODELS:
            snapshot = embedded(audio, models, data, model)
            heard = judge(snapshot, audio, models, data / "musicnn.npz")
            rows += table(f"real 165, {model}", snapshot, heard, SESSIONS)
            rows += skipping.real(f"real 165, {model}", snapshot)
            rows += radio.rows(f"real 165, {model}", snapshot, heard)
    made = synthesise(data / "synthetic", 20_000)
    rows += table("synthetic 20,000", made.snapshot, made.judge, SESSIONS)
    rows += skipping.synthetic("synthetic 20,000", made)
    return [*rows, *tastes(made)]


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
