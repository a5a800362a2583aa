"""All sessions: who has which, bounded in number and time, found again after a restart."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from math import inf
from typing import Final, Protocol

from cachetools import TTLCache

from proxy.calls import Identity
from proxy.plays import Evidence
from proxy.session import Journal, Session

SESSION_TTL_S: Final = 12 * 3600.0
MAX_SESSIONS: Final = 2000
MAX_SESSIONS_OF_A_USER: Final = 50

#: Songs remembered in all sessions together (some 25 MB), and in those of one user. A session that
#: remembers nothing counts as `_LEAST_WEIGHT`.
MOST_SONGS: Final = 100_000
MOST_SONGS_OF_A_USER: Final = 25_000
_LEAST_WEIGHT: Final = MOST_SONGS // MAX_SESSIONS

#: Songs remembered in sessions that were found again, and whose callers no login was heard of yet.
_MOST_UNHEARD: Final = MOST_SONGS // 5

#: Of the latest so many times that somebody was forgotten, calls under way know.
_FORGETTINGS_KEPT: Final = 1000

#: Sessions below this weight cannot be more than a user's share.
_HEAVY: Final = MOST_SONGS_OF_A_USER // MAX_SESSIONS_OF_A_USER


class Keeper(Protocol):
    """Keeps what happens in sessions, elsewhere."""

    def journal(self, identity: Identity) -> Journal:
        """Where a session tells what happens."""

    def recall(self, identity: Identity) -> Iterable[tuple[str, str, float, float]]:
        """What was kept of a session, oldest first: (kind, song, value, time on the timer)."""


class Sessions:
    """All sessions, bounded in number and time.

    A call of Navidrome's own API names no client: it belongs to every session of the same user,
    User-Agent and player. A session that began before its player cookie was set is found again.

    Args:
        timer: seconds, never going back.
        keeper: keeps what happens over a restart; None keeps nothing.
    """

    def __init__(self, timer: Callable[[], float], keeper: Keeper | None = None) -> None:
        self._all: TTLCache[Identity, Session] = TTLCache(
            MOST_SONGS, SESSION_TTL_S, timer, getsizeof=_weight
        )
        #: Strangers may ask as somebody again and again: what was kept is replayed once.
        self._unheard: TTLCache[Identity, Session] = TTLCache(
            _MOST_UNHEARD, SESSION_TTL_S, timer, getsizeof=_weight
        )
        self._keeper = keeper
        self._timer = timer
        #: When users were forgotten, and whether a user was one of them.
        self._forgettings: deque[tuple[float, Callable[[str], bool]]] = deque(
            maxlen=_FORGETTINGS_KEPT
        )

    def __len__(self) -> int:
        return len(self._all)

    def peek(self, identity: Identity) -> Session:
        """A caller's session as it is; an empty one, not kept, where there is none. To read only.

        For callers whose login the upstream has not confirmed yet: they must not begin sessions.
        """
        found = self.find(identity) or self._unheard.get(identity)
        if found is not None:
            return found
        session = Session()
        if identity.user:
            self._begin(identity, session)
            if session.weight:
                with contextlib.suppress(ValueError):  # one alone is too much
                    self._unheard[identity] = session
        return session

    def find(self, identity: Identity) -> Session | None:
        """A caller's session where there is one; it is not renewed."""
        if not identity.user:
            return None
        without = Identity(identity.user, identity.client, identity.agent)
        return self._all.get(identity) or self._all.get(without)

    def get(self, identity: Identity, at_s: float = inf) -> Session | None:
        """The session of a confirmed caller, begun if need be; None for one who names nobody.

        None also for a call that came at `at_s`, on the timer, where its user was forgotten since:
        what it tells is of the time before.
        """
        if not identity.user or self.is_forgotten(identity.user, at_s):
            return None
        session = self._all.get(identity)
        if session is None and identity.player:
            without = Identity(identity.user, identity.client, identity.agent)
            session = self._all.pop(without, None)
        if session is None:
            self._make_room(identity.user)
            session = self._unheard.pop(identity, None)
            if session is None:
                session = Session()
                self._begin(identity, session)
            elif session.playing is None:
                self._adopt(identity, session)
            if self._keeper is not None:
                session.journal = self._keeper.journal(identity)
        self._all[identity] = session  # also renews its time, and weighs it
        if session.weight > _HEAVY:
            self._keep_to_share(identity.user)
        return session

    def forget(self, is_gone: Callable[[str], bool]) -> None:
        """Drop the sessions of users of whom `is_gone` holds, and what calls under way tell."""
        self._forgettings.append((self._timer(), is_gone))
        for identity in [identity for identity in self._all if is_gone(identity.user)]:
            self._all.pop(identity).journal = None  # a call under way may hold it
        for identity in [identity for identity in self._unheard if is_gone(identity.user)]:
            del self._unheard[identity]

    def is_forgotten(self, user: str, since_s: float) -> bool:
        """Whether a user was forgotten at or after a time on the timer."""
        for at_s, is_gone in reversed(self._forgettings):
            if at_s < since_s:
                return False
            if is_gone(user):
                return True
        return False

    def _make_room(self, user: str) -> None:
        """One user, with client names without end, must not push out everybody else."""
        own = [identity for identity in self._all if identity.user == user]
        for identity in own[: max(len(own) - MAX_SESSIONS_OF_A_USER + 1, 0)]:
            del self._all[identity]

    def _keep_to_share(self, user: str) -> None:
        """As above, for one who remembers too much; the session in use stays."""
        own = [(identity, _weight(kept)) for identity, kept in self._all.items()
               if identity.user == user]  # fmt: skip
        total = sum(weight for _, weight in own)
        for identity, weight in own[:-1]:
            if total <= MOST_SONGS_OF_A_USER:
                return
            del self._all[identity]
            total -= weight

    def _begin(self, identity: Identity, session: Session) -> None:
        """What is known of a session that is not in memory."""
        if self._keeper is not None and identity.client:
            session.replay(self._keeper.recall(identity))
        if session.playing is None:
            self._adopt(identity, session)

    def _adopt(self, identity: Identity, session: Session) -> None:
        """What calls without a client name told before the client's first own call."""
        for player in {identity.player, ""}:
            native = self._all.get(Identity(identity.user, "", identity.agent, player))
            if native is not None and native.playing is not None:
                session.playing = native.playing
                session.heard = native.heard.copy()
                if native.plays and native.plays[-1].ended_s is None:
                    session.plays.append(replace(native.plays[-1]))
                return

    def note_playing(
        self, identity: Identity, song_id: str, at_s: float, evidence: Evidence
    ) -> None:
        """Take a call as evidence, for every session it may belong to."""
        own = self.get(identity, at_s)
        if own is None or not song_id:
            return
        own.note_playing(song_id, at_s, evidence)
        if identity.client:
            return
        for other, session in list(self._all.items()):
            if (
                other.client
                and (other.user, other.agent) == (identity.user, identity.agent)
                and (not other.player or not identity.player or other.player == identity.player)
            ):
                session.note_playing(song_id, at_s, evidence)


def _weight(session: Session) -> int:
    return max(session.weight, _LEAST_WEIGHT)
