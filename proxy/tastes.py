"""What each user returns to, learned from accepted calls, and ready when a call is ranked.

Learning is one entry in a bounded table; turning that table into numbers for the ranker is done by
a thread, off the request path. A call takes what is ready and never waits.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from threading import Lock
from time import time
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.tracks import Float32
from catalog.users import fold_user
from proxy.calls import Identity
from proxy.knowledge import Knowledge, View
from proxy.session import Journal
from proxy.sessions import Keeper
from ranker.taste import Liking, Taste, house_of, taste_of

#: Events that tell a taste, as `catalog.history` names them.
KINDS: Final = frozenset(("plays", "stars", "unstars", "rates"))

#: A listen counts half after so long.
PLAY_HALF_LIFE_S: Final = 120 * 86_400.0

#: What stars and ratings count beside the logarithm of listens.
STAR: Final = 1.5
RATINGS: Final = {1: -4.0, 2: -1.5, 3: 0.0, 4: 0.75, 5: 1.5}
GATED_RATING: Final = 1

#: From this weight on somebody returns to a song: starred, rated well, or heard twice.
RETURNS: Final = 1.2

#: Songs kept of a user, and of all users together (some 20 MB); whoever was silent longest goes.
MOST_SONGS: Final = 3000
MOST_IN_ALL: Final = 100_000

#: A song of one star is looked at again after so long, one of a user's at most in so long.
LOOK_AGAIN_S: Final = 900.0
LOOK_NEXT_S: Final = 60.0

#: Memory for what is ready, four bytes a track and user.
READY_BYTES: Final = 32 * 1024 * 1024

FOLLOW_S: Final = 3.0

#: What the house returns to changes slowly, and to count it again takes a tenth of a second.
HOUSE_S: Final = 300.0

_House = tuple[NDArray[np.intp], Float32] | None

_log = logging.getLogger("segue.tastes")


@dataclass(slots=True)
class _Song:
    """How a user stands to a song. `plays` is decayed to `heard_at_s` (wall clock)."""

    plays: float = 0.0
    heard_at_s: float = -math.inf
    starred: bool = False
    rating: int = 0

    def played(self, at_s: float) -> None:
        later = at_s - self.heard_at_s
        if later >= 0:
            self.plays = self.plays * 0.5 ** (later / PLAY_HALF_LIFE_S) + 1
            self.heard_at_s = at_s
        else:  # reports of what was heard offline come late
            self.plays += 0.5 ** (-later / PLAY_HALF_LIFE_S)

    def weight(self, now_s: float) -> float:
        """Above 0 for what is liked."""
        unheard_s = max(now_s - self.heard_at_s, 0.0)
        plays = self.plays * 0.5 ** (unheard_s / PLAY_HALF_LIFE_S) if self.plays else 0.0
        return math.log2(1 + plays) + STAR * self.starred + RATINGS.get(self.rating, 0.0)


@dataclass(slots=True)
class _User:
    """`told_s`: when a star or a rating was last told of (wall clock), not when it was given.

    `gated`: when each song of one star was last looked at, the one longest ago first.
    """

    songs: dict[str, _Song] = field(default_factory=dict)
    at_s: float = 0.0
    told_s: float = -math.inf
    looked_s: float = -math.inf
    gated: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Ready:
    view: View
    taste: Taste


class Tastes:
    """All users' tastes; users by what `key` makes of their names.

    Args:
        wall_clock: seconds since 1970.
        most_songs, most_in_all: bounds of what is kept.
    """

    def __init__(
        self,
        *,
        wall_clock: Callable[[], float] = time,
        most_songs: int = MOST_SONGS,
        most_in_all: int = MOST_IN_ALL,
    ) -> None:
        self._wall_clock = wall_clock
        self._most_songs, self._most_in_all = most_songs, most_in_all
        self._users: OrderedDict[Hashable, _User] = OrderedDict()
        self._songs = 0
        self._ready: OrderedDict[Hashable, _Ready] = OrderedDict()
        self._wanted: set[Hashable] = set()
        self._counted: tuple[View, float, _House] | None = None
        #: How often somebody was forgotten: what was begun before must not be kept after.
        self._forgettings = 0
        #: Held for moments only: the event loop takes it too.
        self._lock = Lock()
        self.key: Callable[[str], Hashable] = fold_user

    def __len__(self) -> int:
        """How many songs of all users are kept."""
        return self._songs

    def note(self, user: Hashable, kind: str, song_id: str, value: float, at_s: float) -> None:
        """Something that a user (by key) did to a song, at a time of the wall clock."""
        now_s = self._wall_clock()
        if not (math.isfinite(at_s) and 0 <= at_s <= now_s):
            at_s = now_s  # a clock that jumped, or nonsense
        kept = self._users.setdefault(user, _User())
        kept.at_s = now_s
        self._users.move_to_end(user)
        if song_id not in kept.songs:
            kept.songs[song_id] = _Song()
            self._songs += 1
        song = kept.songs[song_id]
        if kind == "plays":
            song.played(at_s)
        elif kind in ("stars", "unstars"):
            song.starred = kind == "stars"
            kept.told_s = now_s
        elif kind == "rates":
            song.rating = int(value) if math.isfinite(value) and 0 <= value <= 5 else 0
            kept.told_s = now_s
            if song.rating == GATED_RATING:
                kept.gated.setdefault(song_id, -math.inf)
            else:
                kept.gated.pop(song_id, None)
        self._want(user)
        self._bound(kept)

    def _bound(self, kept: _User) -> None:
        if len(kept.songs) > self._most_songs:
            now_s = self._wall_clock()

            def matters(item: tuple[str, _Song]) -> tuple[float, float]:
                return abs(item[1].weight(now_s)), item[1].heard_at_s

            # Some more than needed, so that a flood does not sort at each event.
            best = sorted(kept.songs.items(), key=matters, reverse=True)
            before = len(kept.songs)
            kept.songs = dict(best[: self._most_songs * 9 // 10])
            kept.gated = {song: at_s for song, at_s in kept.gated.items() if song in kept.songs}
            self._songs -= before - len(kept.songs)
        while self._songs > self._most_in_all and len(self._users) > 1:
            user, gone = self._users.popitem(last=False)
            self._songs -= len(gone.songs)
            self._ready.pop(user, None)

    def mended(
        self, user: str, song_id: str, starred: bool, rating: int, seen_s: float
    ) -> list[tuple[str, float]]:
        """Events that would make what is kept of a song agree with how its user sees it.

        `seen_s` is a time of the wall clock before the server was asked: what was told since then
        may be newer than the song. Of songs of which nothing is kept nothing is learned.
        """
        kept = self._users.get(self.key(user))
        song = None if kept is None else kept.songs.get(song_id)
        if kept is None or song is None or kept.told_s >= seen_s:
            return []
        found: list[tuple[str, float]] = []
        if song.starred != starred:
            found.append(("stars" if starred else "unstars", 0.0))
        if song.rating != rating:
            found.append(("rates", float(rating)))
        return found

    def doubted(self, user: str) -> str | None:
        """A song of one star to look at again, if that is due; it counts as looked at then."""
        kept = self._users.get(self.key(user))
        if kept is None or not kept.gated:
            return None
        now_s = self._wall_clock()
        song_id, looked_s = next(iter(kept.gated.items()))
        # A clock that went back is no reason to wait.
        if 0 <= now_s - kept.looked_s < LOOK_NEXT_S or 0 <= now_s - looked_s < LOOK_AGAIN_S:
            return None
        kept.looked_s = now_s
        del kept.gated[song_id]
        kept.gated[song_id] = now_s
        return song_id

    def forget(self, user: Hashable) -> None:
        """Everything of a user, by key."""
        with self._lock:
            gone = self._users.pop(user, None)
            self._songs -= len(gone.songs) if gone is not None else 0
            self._forgettings += 1
            self._counted = None
            self._ready.pop(user, None)
            self._wanted.discard(user)
            self._wanted.update(self._ready)  # the house that they know counted this user

    def of(self, user: str, view: View) -> Taste | None:
        """A user's taste against a view, if it is ready; it is made ready if not."""
        if not user:
            return None
        key = self.key(user)
        ready = self._ready.get(key)
        if ready is not None and ready.view is view:
            return ready.taste
        self._want(key)
        return None

    def _want(self, user: Hashable) -> None:
        with self._lock:
            self._wanted.add(user)

    def refresh(self, view: View) -> None:
        """Make ready what was asked for or changed. Blocking: for a thread."""
        with self._lock:
            wanted, self._wanted = self._wanted, set()
            forgettings = self._forgettings
        most = max(READY_BYTES // max(4 * view.snapshot.n, 1), 4)
        now_s = self._wall_clock()
        house = self._house(view, now_s) if wanted else None
        for user in wanted:
            kept = self._users.get(user)
            songs = [] if kept is None else list(kept.songs.items())
            likings, gated = [], []
            for song_id, song in songs:
                row = view.links.row(song_id)
                if row is None:
                    continue
                if song.rating == GATED_RATING:
                    gated.append(row)
                likings.append(Liking(row, song.weight(now_s), now_s - song.heard_at_s))
            taste = taste_of(view.snapshot, likings, gated=frozenset(gated), house=house)
            with self._lock:
                if forgettings != self._forgettings:  # its songs may be in all of this
                    self._wanted |= wanted
                    return
                if self._users.get(user) is kept:
                    self._ready[user] = _Ready(view, taste)
                    self._ready.move_to_end(user)
                while len(self._ready) > most:
                    self._ready.popitem(last=False)

    def _house(self, view: View, now_s: float) -> _House:
        counted = self._counted
        if counted is not None and counted[0] is view and 0 <= now_s - counted[1] < HOUSE_S:
            return counted[2]
        forgettings = self._forgettings
        returning: Counter[int] = Counter()
        for kept in list(self._users.values()):
            rows = {
                row
                for song_id, song in list(kept.songs.items())
                if song.weight(now_s) >= RETURNS and (row := view.links.row(song_id)) is not None
            }
            returning.update(rows)
        house = house_of(returning)
        with self._lock:
            if forgettings == self._forgettings:
                self._counted = (view, now_s, house)
        return house

    async def follow(self, knowledge: Knowledge) -> None:
        """Make tastes ready for ever, off the event loop."""
        while True:
            view = knowledge.view
            if view is not None and self._wanted:
                try:
                    await asyncio.to_thread(self.refresh, view)
                except Exception:  # a taste is a nicety: without it songs are chosen all the same
                    _log.exception("tastes cannot be made ready")
            await asyncio.sleep(FOLLOW_S)


class Tasting:
    """A `proxy.sessions.Keeper` that lets tastes learn, in front of one that writes (or none).

    Args:
        timer: what sessions go by, in seconds.
    """

    def __init__(
        self,
        tastes: Tastes,
        inner: Keeper | None,
        timer: Callable[[], float],
        *,
        wall_clock: Callable[[], float] = time,
    ) -> None:
        self._tastes = tastes
        self._inner = inner
        self._timer = timer
        self._wall_clock = wall_clock

    def journal(self, identity: Identity) -> Journal:
        """Takes what happens in one session."""
        written = self._inner.journal(identity) if self._inner is not None else None
        user = self._tastes.key(identity.user)

        def take(kind: str, song_id: str, value: float, at_s: float) -> None:
            if written is not None:
                written(kind, song_id, value, at_s)
            if kind in KINDS:
                wall_s = self._wall_clock() - (self._timer() - at_s)
                self._tastes.note(user, kind, song_id, value, wall_s)

        return take

    def recall(self, identity: Identity) -> Iterable[tuple[str, str, float, float]]:
        """What the writer kept."""
        return self._inner.recall(identity) if self._inner is not None else ()
