"""Feishin's AutoDJ at work, many sessions of forty songs, in front of the proxy's own choice.

Each session starts with a song by chance. The player is `bench.feishin`, what answers it
`bench.servers`; counted is what came. "repeats" are songs of an answer that were queued already
(the player drops them), "fall-backs" questions after which it had to ask again. Judged by other
ears (MusiCNN on real music, another projection on synthetic): how many of the songs added are among
the tenth of the unplayed songs (of the folder) nearest to the last five played. A tenth of 46 songs
is four and six tenths of the fifth, so that chance is a tenth however many are left.

What a small folder costs is told by pickers that are as often right in the whole library as Segue
is: the judge itself, choosing by the very rule it judges by, with noise in its ears or at each
choice. Where five are asked for of forty songs, each errs more often than where they are of 150.

    python -m bench autodj
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench import skipping, tastes
from bench.feishin import Evening, Player
from bench.servers import POOL, Picker, Plain, Servers, all_knowing, linked, steered
from bench.synthetic import synthesise
from catalog.snapshot import Snapshot
from ranker.picks import Context
from ranker.settings import RankingSettings

SONGS: Final = 40
NEAREST: Final = 0.1
SESSION_TAIL: Final = 5
SESSIONS: Final = 200
SMALL: Final = 1000
HALVINGS: Final = 8

#: How often a listener goes over songs of the queue, in the sessions where that is done at all.
JUMPS: Final = 0.3

PLAIN: Final = "plain server, random"

REAL_MODELS: Final = ("segue-1", "efficientat-mn04")


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

    def take(self, evening: Evening, artist: NDArray[np.int32]) -> None:
        """Add a session; `artist` (n,) are the artists of the snapshot's rows."""
        artists = artist[_rows(evening.played)].tolist()
        self.played += len(artists)
        self.repeats += evening.repeats
        self.fall_backs += evening.fall_backs
        self.asked += len(evening.additions)
        self.outside += evening.outside
        for i in range(1, len(artists)):
            same = artists[i] >= 0 and artists[i] == artists[i - 1]
            self.twice += same
            self.thrice += same and i > 1 and artists[i] == artists[i - 2]

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
    servers: Servers,
    sessions: int,
    folder: NDArray[np.bool_] | None = None,
    *,
    songs: int = SONGS,
    jumps: float = 0.0,
    played: list[list[int]] | None = None,
) -> Figures:
    """Play `sessions` sessions; with `folder` (n,) bool as with a music folder selected.

    What was played is added to `played`. `jumps`: see `bench.feishin.Player`.
    """
    figures, view = Figures(), linked(snapshot, folder)
    starts = np.arange(snapshot.n) if folder is None else np.flatnonzero(folder)
    for number in range(sessions):
        chance = random.Random(number)
        start = f"{chance.choice(starts)}"
        player = Player(servers(view, number), snapshot, chance, folder, jumps)
        evening = player.listen(start, songs)
        figures.take(evening, snapshot.artist)
        queue, heard = _rows(evening.queue), _rows(evening.played)
        for addition in evening.additions:
            before, tail = queue[: addition.queued], heard[: addition.played][-SESSION_TAIL:]
            figures.near += _judged(judge, tail, before, _rows(addition.songs), folder)
        if played is not None:
            played.append(heard)
    return figures


def _rows(song_ids: Sequence[str]) -> list[int]:
    return [int(song_id) for song_id in song_ids]


def _judged(
    judge: NDArray[np.float32],
    heard: Sequence[int],
    queue: Sequence[int],
    added: Sequence[int],
    folder: NDArray[np.bool_] | None,
) -> list[float]:
    """Of each song added 1 where it is near, 0 where not, and a part where the tenth ends in it.

    Near `heard`, of what is not in the queue.
    """
    near = heard_by(judge, heard)
    left = np.ones(len(judge), np.bool_) if folder is None else folder.copy()
    left[list(queue)] = False
    near_left = near[left]
    room = NEAREST * len(near_left)
    return [float(np.clip(room - np.count_nonzero(near_left > near[row]), 0, 1)) for row in added]


def heard_by(judge: NDArray[np.float32], rows: Sequence[int]) -> NDArray[np.float32]:
    """(n,) how near every song is to some songs, by a judge's vectors (n, d)."""
    found: NDArray[np.float32] = judge @ judge[list(rows)].mean(0)  # (n, d) @ (d,) -> (n,)
    return found


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
        servers = all_knowing(noisy(judge, middle, of_ears=of_ears))
        if simulate(snapshot, judge, servers, sessions, songs=songs).share > share:
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
    segue = steered(settings)
    no_spacing = replace(settings, artist_repetition=0, album_repetition=0)
    rows = []
    for label, servers, jumps in (
        ("Segue", segue, 0.0),
        ("songs gone over", segue, JUMPS),
        ("without spacing", steered(no_spacing), 0.0),
        (PLAIN, Plain, 0.0),
    ):
        row = simulate(snapshot, judge, servers, sessions, jumps=jumps).row(label)
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
        all_servers: dict[str, Servers] = {"Segue": segue, PLAIN: Plain}
        if songs == SONGS:
            all_servers["pools of ten"] = steered(settings, pool=POOL)
        share = simulate(snapshot, judge, segue, sessions, songs=songs).share
        if small:
            all_servers["the judge itself"] = all_knowing(noisy(judge, 0, of_ears=False))
            for label, of_ears in (("noisy ears", True), ("noisy choice", False)):
                picker = as_right(snapshot, judge, share, sessions, songs, of_ears=of_ears)
                all_servers[f"as right as Segue, {label}"] = all_knowing(picker)
        for label, servers in all_servers.items():
            whole = share
            if label not in ("Segue", "pools of ten"):
                whole = simulate(snapshot, judge, servers, sessions, songs=songs).share
            for where, folder in folders.items():
                figures = simulate(snapshot, judge, servers, sessions, folder, songs=songs)
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
    return [*rows, *tastes.rows("synthetic 20,000", made)]
