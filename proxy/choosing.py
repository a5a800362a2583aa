"""Which songs answer a plan: seeds from the call or the session, what must not come, and ranking.

No I/O: what the user may see is found out by hydrating (proxy.hydration), and whoever does that
asks here again for others in the place of hidden ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxy.decisions import Plan
from proxy.knowledge import View
from proxy.plays import Playing
from proxy.session import HEARD_TTL_S, Session
from ranker.gates import in_season
from ranker.picks import Context, Pick, Seed
from ranker.rank import rank
from ranker.settings import RankingSettings
from ranker.taste import Taste
from subsonic.ids import resolve_genre

MOST_SEEDS: Final = 50

#: So many songs are what a session goes on from, and what it hears again is less wanted, however
#: long ago that was: only what was heard within `HEARD_TTL_S` stays away. The latest few of that
#: hardly ever come.
RECENTLY_HEARD: Final = 30
JUST_HEARD: Final = 3

#: When all has been heard, or served, what was so longest ago comes first: this share of it, then
#: that.
_LONGEST_AGO: Final = (0.25, 0.5)


class LeftError(Exception):
    """The call is left to the upstream, for a reason (a slug, see docs/clients.md)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def choose_seeds(
    plan: Plan, view: View, session: Session, playing: Playing | None = None
) -> Sequence[int]:
    """Songs (numbers in the links) to be like: the call's own, or what the session plays.

    playing: what plays, where the session may not be told of it yet.

    Raises:
        LeftError: the call's seed is not linked, or nothing is known to play.
    """
    if plan.seed_id:
        seeds = view.links.seeds(plan.seed_id)
        if not seeds:
            raise LeftError("seed-not-linked")
    else:
        playing = playing or session.playing
        now = [playing.song_id] if playing else []
        before = islice(reversed(session.heard), JUST_HEARD)
        known = map(view.links.song, [*now, *before])
        seeds = [song for song in known if song is not None][:1]
        if not seeds:
            raise LeftError("no-seed")
    step = -(-len(seeds) // MOST_SEEDS)
    return seeds[::step]


def by_folder(seeds: Sequence[int], view: View) -> list[list[int]]:
    """Seeds by music folder: who sees one song of a folder sees them all."""
    groups: dict[str, list[int]] = {}
    for seed in seeds:
        groups.setdefault(view.links.folder(seed), []).append(seed)
    return list(groups.values())


@dataclass(frozen=True, slots=True)
class Chosen:
    """A song to hydrate, and the row of the snapshot that was picked, with its reasons."""

    song_id: str
    pick: Pick


class Choice:
    """The candidates of one call, best first, asked for in portions.

    Args:
        now_s: on the sessions' timer.
        remembers: whether what was heard and skipped may count (history is not off).
        taste: what the user returns to, if that is known.
        month: 1…12, for what belongs to a season.
        chance: see `ranker.picks.Context`.

    Raises:
        LeftError: the call's genre is an id of no known genre.
    """

    def __init__(
        self,
        plan: Plan,
        view: View,
        seeds: Sequence[int],
        session: Session,
        ranking: RankingSettings,
        *,
        now_s: float,
        remembers: bool,
        taste: Taste | None = None,
        month: int = 0,
        chance: int = 0,
    ) -> None:
        links = view.links
        genre = resolve_genre(plan.genre, links.genres) if plan.genre else ""
        if genre is None:
            raise LeftError("unknown-genre")
        self._view = view
        self._ranking = ranking
        self._seeds = [Seed(int(links.rows[seed])) for seed in seeds]
        self._mask: NDArray[np.bool_] = links.select(
            genre=genre,
            from_year=plan.from_year,
            to_year=plan.to_year,
            folder_ids=plan.folder_ids,
        )
        if chance:  # a radio that is begun again is not the same list again
            chance += len(session.answered.get(plan.seed_id, ()))
        moment = Context(open_kinds=in_season(month), taste=taste, chance=chance)
        #: Takes from the session what later tiers want of it: to be called where others write to
        #: it, before `best` is called in a thread of its own.
        self.look_ahead: Callable[[], object]
        left_behind = session.left_behind(plan.seed_id, now_s)
        self._first, self._later = self._make_tiers(session, left_behind, now_s, remembers, moment)
        playing = frozenset(self._rows([session.playing.song_id]) if session.playing else ())
        #: Where a client has queued all there is: whoever begins a radio leaves its queue behind.
        self._beyond = replace(self._first, excluded=playing) if plan.seed_id else None

    def hide(self, song_ids: Iterable[str]) -> None:
        """These songs are not shown to this user. Another song of the same track still may be."""
        for song_id in song_ids:
            song = self._view.links.song(song_id)
            if song is not None:
                self._mask[song] = False

    def restrict(self, folder_ids: Collection[str]) -> None:
        """Only these music folders are this user's. Songs of unknown folders stay."""
        if folder_ids:
            self._mask &= self._view.links.select(folder_ids=(*folder_ids, ""))

    def _make_tiers(
        self,
        session: Session,
        left_behind: Sequence[str],
        now_s: float,
        remembers: bool,
        moment: Context,
    ) -> tuple[Context, Callable[[], Iterator[Context]]]:
        """What to choose by, and what more to choose by where that is not enough.

        What was heard does not come again while a song is left that was not, however often that
        was offered. What an answer held may still be queued, so it does not come again either; but
        songs of earlier answers to this very seed, left behind since (`left_behind`), are only held
        back: else a radio begun ever again falls. A small library runs out: then what was heard
        longest ago comes again, what the client may have queued, and at last anything but what
        plays now and what the client says it has queued.
        """
        heard = self._aged_rows(session.heard_lately(RECENTLY_HEARD, now_s))
        skipped = self._aged_rows(session.skipped_lately(now_s, self._duration_of))
        given = frozenset(session.served_rows(self._view.links, now_s))
        offered = frozenset(session.offered_rows(self._view.links, now_s))
        free = frozenset(self._rows(left_behind))
        playing = self._rows([session.playing.song_id]) if session.playing else []
        never = {*playing, *self._rows(session.queue)}
        reserved = self._rows(session.reserved_now(now_s))
        lately = list(dict.fromkeys(row for row, age_s in heard if age_s <= HEARD_TTL_S))
        mood = replace(
            moment,
            heard=tuple(row for row, _ in heard[:RECENTLY_HEARD]) if remembers else (),
            heard_ages_s=tuple(age for _, age in heard[:RECENTLY_HEARD]) if remembers else (),
            skipped=tuple(row for row, _ in skipped) if remembers else (),
            skipped_ages_s=tuple(age for _, age in skipped) if remembers else (),
        )
        left = {row for row, _ in skipped}
        first = replace(
            mood,
            excluded=(given - free).union(never, lately, left, reserved),
            held_back=offered.union(free),
        )

        @cache
        def queued() -> list[int]:
            return self._rows(session.waiting(now_s))

        self.look_ahead = queued

        def later() -> Iterator[Context]:
            back = offered.union(given, lately, reserved)
            waiting = {*never, *queued(), *reserved}
            yield replace(mood, excluded=frozenset({*waiting, *lately, *left}), held_back=back)
            again = replace(mood, held_back=back)
            if remembers:
                rows, ages_s = zip(*heard, strict=True) if heard else ((), ())
                again = replace(again, heard=rows, heard_ages_s=ages_s)
            for share in _LONGEST_AGO:
                newer = lately[: max(len(lately) - int(share * len(lately)), JUST_HEARD)]
                yield replace(again, excluded=frozenset({*waiting, *newer}))
            yield replace(again, excluded=frozenset({*waiting, *lately[:JUST_HEARD]}))
            # What may be queued, in turn too: else the best of it came at every call.
            for share in _LONGEST_AGO:
                newer = queued()[int(share * len(queued())) :]
                excluded = frozenset({*never, *lately[:JUST_HEARD], *newer, *reserved})
                yield replace(again, excluded=excluded)
            yield replace(again, excluded=frozenset({*never, *lately[:JUST_HEARD]}))
            yield replace(again, excluded=frozenset(never))

        return first, later

    def _tiers(self) -> Iterator[Context]:
        yield self._first
        yield from self._later()

    def _duration_of(self, song_id: str) -> float:
        row = self._view.links.row(song_id)
        return inf if row is None else float(self._view.snapshot.duration_s[row])

    def _aged_rows(self, songs: Iterable[tuple[str, float]]) -> list[tuple[int, float]]:
        row_of = self._view.links.row
        return [(row, age_s) for song, age_s in songs if (row := row_of(song)) is not None]

    def _rows(self, song_ids: Sequence[str]) -> list[int]:
        return self._view.links.rows_of(song_ids)

    def best(self, count: int, chosen: Collection[int] = ()) -> list[Chosen]:
        """The best `count` songs within the call's limits, with these rows already chosen."""
        links, snapshot = self._view.links, self._view.snapshot
        eligible = links.eligible_rows(self._mask, snapshot.n)
        picks: list[Pick] = []
        for tier in self._tiers():
            there = (*sorted(chosen), *(pick.row for pick in picks))
            gone = tier.excluded.union(there)
            if not _is_left(eligible, gone):
                continue
            context = replace(tier, eligible=eligible, excluded=gone, chosen=there)
            missing = count - len(picks)
            picks += rank(snapshot, self._seeds, context, self._ranking, missing)
            if len(picks) >= count:
                break
        if not picks and not chosen and self._beyond is not None:
            context = replace(self._beyond, eligible=eligible)
            picks = rank(snapshot, self._seeds, context, self._ranking, count)
        songs = links.choose([pick.row for pick in picks], self._mask)
        return [
            Chosen(links.song_id(song), pick)
            for pick, song in zip(picks, songs, strict=True)
            if song is not None
        ]


def _is_left(eligible: NDArray[np.bool_], gone: Collection[int]) -> bool:
    """Whether any eligible row is not gone: to rank none costs as much as to rank all."""
    if int(np.count_nonzero(eligible)) > len(gone):
        return True
    rows = np.fromiter(gone, np.intp, len(gone))
    rows = rows[(rows >= 0) & (rows < len(eligible))]
    return int(np.count_nonzero(eligible)) > int(np.count_nonzero(eligible[rows]))
