"""Keeps what happens in sessions on disk, off the request path, and brings it back after a restart.

Events wait in a bounded queue and are written in batches by a thread. Whatever the disk does, no
call waits for it and none fails; what cannot be written is told once and dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock
from time import time
from typing import Final

from catalog.errors import CatalogError
from catalog.history import QUEUES, Event, History, KeptEvent, purge_forgotten
from proxy.calls import Identity
from proxy.session import Journal
from proxy.sessions import SESSION_TTL_S
from proxy.tastes import KINDS, Tastes

FLUSH_S: Final = 2.0

#: Of a flood of events (thousands a second) the oldest unwritten are dropped.
MOST_WAITING: Final = 20_000

#: Brought back after a restart: what a session of this length could have left.
MOST_RECALLED: Final = 50_000

#: Queues that wait: of each session the last one only, since they are long.
MOST_QUEUES_WAITING: Final = 200

_log = logging.getLogger("segue.history")

_Place = tuple[bytes, str, bytes]


class Recorder:
    """Keeps sessions in the history (see `proxy.sessions.Keeper`).

    Args:
        timer: what sessions go by, in seconds; a restart sets it back.
        wall_clock: seconds since 1970; events are kept by it.
        tastes: what was kept of tastes is told to them by `load`.
    """

    def __init__(
        self,
        data: Path,
        timer: Callable[[], float],
        *,
        wall_clock: Callable[[], float] = time,
        tastes: Tastes | None = None,
    ) -> None:
        self._data = data
        self._tastes = tastes
        self._timer = timer
        self._wall_clock = wall_clock
        self._waiting: deque[Event] = deque(maxlen=MOST_WAITING)
        self._queues: dict[Identity, Event] = {}
        self._told = ""
        #: One thread at a time writes: a batch must not come after the purge of what is in it.
        self._writing = Lock()
        self._recalled: dict[_Place, list[KeptEvent]] = {}
        self._place: Callable[[Identity], _Place] | None = None
        self._key: Callable[[str], bytes] | None = None
        #: Told of users that were forgotten (by a check of their names), to drop what they hold.
        self.on_forgotten: Callable[[Callable[[str], bool]], None] = lambda _: None

    def journal(self, identity: Identity) -> Journal:
        """Takes what happens in one session; never blocks, never fails."""

        def take(kind: str, song_id: str, value: float, at_s: float) -> None:
            wall_s = self._wall_clock() - (self._timer() - at_s)
            event = Event(
                wall_s, identity.user, identity.client, identity.agent, identity.player,
                kind, song_id, value,
            )  # fmt: skip
            if kind == QUEUES:
                self._queues[identity] = event
                while len(self._queues) > MOST_QUEUES_WAITING:
                    del self._queues[next(iter(self._queues))]
            else:
                self._waiting.append(event)

        return take

    def recall(self, identity: Identity) -> Iterable[tuple[str, str, float, float]]:
        """What was kept of a session before this start, once `load` has read it."""
        if self._place is None:
            return []
        without_cookie = Identity(identity.user, identity.client, identity.agent)
        events = [
            event
            for place in dict.fromkeys((self._place(without_cookie), self._place(identity)))
            for event in self._recalled.get(place, ())
        ]
        events.sort(key=lambda event: event.at_s)
        offset_s = self._timer() - self._wall_clock()
        # A clock that jumped back must not put what was played into the future.
        now_s = self._timer()
        return [(e.kind, e.song_id, e.value, min(e.at_s + offset_s, now_s)) for e in events]

    def load(self) -> None:
        """Read what was kept of the last hours. Blocking; trouble is told, never raised."""
        try:
            purge_forgotten(self._data)  # nothing of theirs is in memory yet
            with History.open(self._data) as history:
                now_s = self._wall_clock()
                since_s = now_s - SESSION_TTL_S
                recalled: dict[_Place, list[KeptEvent]] = {}
                for event in deque(history.since(since_s, now_s), maxlen=MOST_RECALLED):
                    place = (event.user, event.client, event.place)
                    recalled.setdefault(place, []).append(event)
                user_key, place_key = history.user_key, history.place_key
                if self._tastes is not None:
                    self._tastes.key = user_key
                    for event in history.of_kinds(sorted(KINDS), now_s):
                        self._tastes.note(
                            event.user, event.kind, event.song_id, event.value, event.at_s
                        )
        except Exception as error:  # a history that cannot be read must not stop the proxy
            _log.error("what was played before is not known: %s", error)
            return
        self._recalled = recalled
        self._key = user_key
        self._place = lambda i: (user_key(i.user), i.client, place_key(i.agent, i.player))

    def flush(self) -> None:
        """Write what waits. Blocking; trouble is told once, and what waited is dropped."""
        with self._writing:
            events: list[Event] = []
            while self._waiting:
                events.append(self._waiting.popleft())
            queues, self._queues = self._queues, {}
            events += queues.values()
            if not events:
                return
            try:
                with History.open(self._data) as history:
                    history.append(events)
            except CatalogError as error:
                self._complain("what was played is not kept: %s", error)
            else:
                self._told = ""

    def _forgotten(self) -> set[bytes]:
        """Keys of users that were forgotten meanwhile, of whom nothing is on disk any more.

        Blocking; trouble is told once, never raised.
        """
        with self._writing:
            try:
                return set(purge_forgotten(self._data))
            except (CatalogError, OSError) as error:
                self._complain("who was forgotten may still be in the history: %s", error)
                return set()

    def _complain(self, what: str, error: Exception) -> None:
        if str(error) != self._told:
            self._told = str(error)
            _log.error(what, error)

    def drop(self, keys: set[bytes]) -> None:
        """Drop what is in memory of users who were forgotten, by their keys."""
        key = self._key
        if not keys or key is None:
            return
        self._recalled = {at: kept for at, kept in self._recalled.items() if at[0] not in keys}
        waiting = [event for event in self._waiting if key(event.user) not in keys]
        self._waiting = deque(waiting, maxlen=MOST_WAITING)
        self._queues = {i: event for i, event in self._queues.items() if key(i.user) not in keys}
        if self._tastes is not None:
            for user in keys:
                self._tastes.forget(user)
        self.on_forgotten(lambda user: key(user) in keys)

    async def follow(self) -> None:
        """Write for ever, and once more when cancelled."""
        try:
            while True:
                await asyncio.sleep(FLUSH_S)
                # The disk may hang, and then hangs this thread; no call waits for it.
                self.drop(await asyncio.to_thread(self._forgotten))
                await asyncio.to_thread(self.flush)
        finally:
            self.drop(self._forgotten())
            self.flush()
            self._forgotten()  # and whoever was forgotten while that was written
