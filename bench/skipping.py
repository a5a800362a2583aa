"""Two songs of one kind are skipped: what becomes of that kind in the songs that come next.

Sessions are as the proxy remembers them (see `proxy.choosing`): what was skipped is among what was
heard, and is not offered again. Each is compared with the same one in which the two were listened
to. Part of `python -m bench autodj`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.synthetic import Synthetic
from catalog.snapshot import Snapshot
from ranker.picks import Context, Seed
from ranker.rank import rank
from ranker.settings import RankingSettings

SESSIONS: Final = 150

#: How long a song plays that is listened to, and one that is skipped.
SONG_S: Final = 210.0
SKIPPED_S: Final = 8.0

#: A kind is the part of a library that is nearest to a song; so many songs are looked at next, and
#: again so many songs later.
KIND: Final = 0.1
NEXT: Final = 10
LATER: Final = 20

#: What is played after the two, and asked for: the third best, the song before again, or any.
NEXT_SONGS: Final = ("the next of the queue", "the song before", "any song")


class Shares(NamedTuple):
    """A kind's share of the next ten, and of the ten that are chosen twenty songs later.

    Attributes:
        before: where none of it had been queued.
        listened, skipped: two songs of it were played just before, to the end or for some seconds.
        listened_later, skipped_later: twenty other songs later.
    """

    before: float
    listened: float
    skipped: float
    listened_later: float
    skipped_later: float


@dataclass(frozen=True, slots=True)
class Trial:
    """Two songs of a kind come in a session.

    Attributes:
        earlier: what was heard before them, latest first.
        pair: the two, in order.
        playing, seeds: what plays after them, and what is asked for then.
        kind: (n,) bool, what is of their kind.
        between: what is heard until the kind is looked for again.
    """

    earlier: tuple[int, ...]
    pair: tuple[int, int]
    playing: int
    seeds: tuple[Seed, ...]
    kind: NDArray[np.bool_]
    between: tuple[int, ...]


def real(name: str, snapshot: Snapshot) -> Iterator[dict[str, object]]:
    """Lines of the table: the kind is what is nearest to the two, by the vectors."""
    for next_song in NEXT_SONGS:
        yield row(name, f"then {next_song}", snapshot, next_trials(snapshot, next_song))


def synthetic(name: str, made: Synthetic) -> Iterator[dict[str, object]]:
    """A line of the table: the kind is a style."""
    yield row(name, "between two styles", made.snapshot, style_trials(made))


def row(name: str, then: str, snapshot: Snapshot, trials: Sequence[Trial]) -> dict[str, object]:
    """A line of the table: two skips of one kind, against two listens."""
    rows = [shares(snapshot, trial, RankingSettings()) for trial in trials]
    mean = Shares(*np.mean(rows, axis=0).tolist())
    return {
        "library": name,
        "asked": f"a kind's share of the next {NEXT}, {then}",
        **{label.replace("_", " "): round(share, 3) for label, share in mean._asdict().items()},
        "left": round(mean.skipped / mean.listened, 2),
        "left later": round(mean.skipped_later / mean.listened_later, 2),
    }


def shares(snapshot: Snapshot, trial: Trial, settings: RankingSettings) -> Shares:
    """What becomes of a kind, with a session as the proxy remembers it (proxy.choosing)."""

    def share(*heard: tuple[int, float], skipped: Sequence[tuple[int, float]] = ()) -> float:
        latest = dict(reversed(heard))
        ages_s = {row: latest[row] for row in dict.fromkeys(row for row, _ in heard)}
        context = Context(
            excluded=frozenset({*ages_s, *trial.pair}),
            heard=tuple(ages_s),
            heard_ages_s=tuple(ages_s.values()),
            skipped=tuple(row for row, _ in skipped),
            skipped_ages_s=tuple(age_s for _, age_s in skipped),
        )
        picks = rank(snapshot, trial.seeds, context, settings, NEXT)
        return sum(bool(trial.kind[pick.row]) for pick in picks) / NEXT

    def session(song_s: float, waited: Sequence[int]) -> list[tuple[int, float]]:
        """What was heard, latest first, where each of the two played for `song_s`."""
        heard = [(row, (at + 1) * SONG_S) for at, row in enumerate(reversed(waited))]
        begun_s = len(waited) * SONG_S
        pair = [(row, begun_s + (at + 1) * song_s) for at, row in enumerate(reversed(trial.pair))]
        begun_s += 2 * song_s
        earlier = [(row, begun_s + (at + 1) * SONG_S) for at, row in enumerate(trial.earlier)]
        return [(trial.playing, 0.0), *heard, *pair, *earlier]

    def left(waited: Sequence[int]) -> list[tuple[int, float]]:
        """The two, latest first, and how long ago each was left."""
        begun_s = len(waited) * SONG_S
        return [(row, begun_s + at * SKIPPED_S) for at, row in enumerate(reversed(trial.pair))]

    before = ((row, (at + 1) * SONG_S) for at, row in enumerate(trial.earlier))
    return Shares(
        share((trial.playing, 0.0), *before),
        share(*session(SONG_S, ())),
        share(*session(SKIPPED_S, ()), skipped=left(())),
        share(*session(SONG_S, trial.between)),
        share(*session(SKIPPED_S, trial.between), skipped=left(trial.between)),
    )


def next_trials(snapshot: Snapshot, next_song: str, most: int = SESSIONS) -> list[Trial]:
    """The two best songs after one by chance. Their kind: the tenth of the library nearest to them.

    next_song: one of `NEXT_SONGS`.
    """
    vectors, chance = np.asarray(snapshot.vectors, np.float32), np.random.default_rng(5)
    found: list[Trial] = []
    for first in chance.permutation(snapshot.n)[:most].tolist():
        context = Context(excluded=frozenset({first}), heard=(first,), heard_ages_s=(0.0,))
        one, other, third = (
            pick.row for pick in rank(snapshot, [Seed(first)], context, RankingSettings(), 3)
        )
        any_song, *between = (
            row for row in chance.permutation(snapshot.n).tolist() if row not in (first, one, other)
        )
        nexts = {"the next of the queue": third, "the song before": first, "any song": any_song}
        playing = nexts[next_song]
        near = (vectors @ vectors[[one, other]].T).max(1)  # (n, d) @ (d, 2) -> (n, 2) -> (n,)
        kind = np.zeros(snapshot.n, np.bool_)
        kind[np.argsort(-near, kind="stable")[: int(KIND * snapshot.n)]] = True
        found.append(
            Trial((first,), (one, other), playing, (Seed(playing),), kind, tuple(between[:LATER]))
        )
    return found


def style_trials(made: Synthetic, most: int = SESSIONS) -> list[Trial]:
    """Two of one style, where a session wanders between that and another."""
    snapshot, style = made.snapshot, made.style
    chance = np.random.default_rng(5)
    found: list[Trial] = []
    while len(found) < most:
        one, other = (int(row) for row in chance.integers(0, snapshot.n, 2))
        kind = style == style[other]
        if style[one] == style[other] or np.count_nonzero(kind) < 20:
            continue
        seeds = (Seed(one), Seed(other))
        near = rank(snapshot, seeds, Context(), RankingSettings(), 30)
        kin = [pick.row for pick in near if kind[pick.row]][:2]
        if len(kin) < 2:
            continue
        between = tuple(chance.integers(0, snapshot.n, LATER).tolist())
        found.append(Trial((other,), (kin[0], kin[1]), one, seeds, kind, between))
    return found
