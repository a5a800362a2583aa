"""What each listener is doing, from the calls that go by. No I/O and no clock: times are given.

Feishin's reports come late, interleaved and stale (see docs/clients.md), so evidence is ranked:

- `GET /api/song/<id>` and the seed of a similar call tell what starts now;
- `getTranscodeDecision` tells what is played now *or next*: it counts while nothing better came;
- a "now playing" scrobble or a playback report tells it some seconds late, and may be about a song
  that has ended since: one that started before the present one and was heard of less than a minute
  ago is stale.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from cachetools import TTLCache

from proxy.calls import Identity

SESSION_TTL_S: Final = 12 * 3600.0
MAX_SESSIONS: Final = 2000
MAX_SESSIONS_OF_A_USER: Final = 50
HEARD_KEPT: Final = 200
SERVED_KEPT: Final = 2000

#: Served songs count against a song for this long.
SERVED_TTL_S: Final = 3 * 3600.0

STALE_S: Final = 60.0

#: After this long without a word a song that was known to play is taken to have ended.
LONG_SONG_S: Final = 20 * 60.0


class Evidence(enum.IntEnum):
    """How far a call tells what is playing."""

    DECISION = 1
    REPORT = 2
    STARTS = 3


@dataclass(frozen=True, slots=True)
class Playing:
    """A song that is playing, since when it was known, and how."""

    song_id: str
    at_s: float
    evidence: Evidence


@dataclass(slots=True)
class Session:
    """One user with one client. Song ids are the server's.

    Attributes:
        playing: what plays now, as well as can be told.
        heard: when each song was last known to play, latest last.
        served: when each song was last in a short answer (such songs are queued by the client).
        offered: when each song was last in a larger pool, of which the client takes a few.
        queue: the client's own queue, where it sends it.
        similar_at_s, similar_count: the last similar call.
        probe_at_s: when the first of Feishin's two folder calls came.
        decided: the last song about which a client asked how to play it.
    """

    playing: Playing | None = None
    decided: Playing | None = None
    heard: OrderedDict[str, float] = field(default_factory=OrderedDict)
    served: OrderedDict[str, float] = field(default_factory=OrderedDict)
    offered: OrderedDict[str, float] = field(default_factory=OrderedDict)
    queue: tuple[str, ...] = ()
    similar_at_s: float = float("-inf")
    similar_count: int = 0
    probe_at_s: float = float("-inf")

    def note_playing(self, song_id: str, at_s: float, evidence: Evidence) -> None:
        """Take a call as evidence that this song plays."""
        now = self.playing
        if evidence is Evidence.DECISION:
            self.decided = Playing(song_id, at_s, evidence)
        if now is not None and song_id == now.song_id:
            self.playing = Playing(song_id, at_s, max(evidence, now.evidence))
            _touch(self.heard, song_id, at_s, HEARD_KEPT)
            return
        if now is not None and evidence is not Evidence.STARTS:
            known_at_s = self.heard.get(song_id)
            stale = known_at_s is not None and at_s - known_at_s < STALE_S
            # A decision about another song, while one is known to play, is about the next one.
            next_one = evidence < now.evidence and at_s - now.at_s < LONG_SONG_S
            if stale or (evidence is Evidence.DECISION and next_one):
                return
        self.playing = Playing(song_id, at_s, evidence)
        if evidence is not Evidence.DECISION:
            _touch(self.heard, song_id, at_s, HEARD_KEPT)

    def note_similar(self, seed_ids: Iterable[str], count: int, at_s: float) -> None:
        """A similar call came: its seed is the truth, where it is one song."""
        self.similar_at_s, self.similar_count = at_s, count
        seeds = list(seed_ids)
        if len(seeds) == 1:
            self.note_playing(seeds[0], at_s, Evidence.STARTS)

    def note_served(self, song_ids: Iterable[str], at_s: float, *, pool: bool) -> None:
        """These songs were in an answer; `pool` if it is larger than what a client queues."""
        target = self.offered if pool else self.served
        for song_id in song_ids:
            _touch(target, song_id, at_s, SERVED_KEPT)

    def served_lately(self, now_s: float) -> list[str]:
        """Songs of short answers that still count, oldest first."""
        return [song for song, at_s in self.served.items() if now_s - at_s <= SERVED_TTL_S]

    def offered_lately(self, now_s: float) -> list[str]:
        """Songs of pools that still count, oldest first."""
        return [song for song, at_s in self.offered.items() if now_s - at_s <= SERVED_TTL_S]

    def heard_latest(self, most: int) -> list[str]:
        """Songs heard, latest first."""
        return list(reversed(self.heard))[:most]


class Sessions:
    """All sessions, bounded in number and time.

    A call of Navidrome's own API names no client: it belongs to every session of the same user,
    User-Agent and player. A session that began before its player cookie was set is found again.
    """

    def __init__(self, timer: Callable[[], float]) -> None:
        self._all: TTLCache[Identity, Session] = TTLCache(MAX_SESSIONS, SESSION_TTL_S, timer)

    def __len__(self) -> int:
        return len(self._all)

    def peek(self, identity: Identity) -> Session:
        """A caller's session as it is; an empty one, not kept, where there is none.

        For callers whose login the upstream has not confirmed yet: they must not begin sessions.
        """
        for known in (identity, Identity(identity.user, identity.client, identity.agent)):
            session = self._all.get(known) if identity.user else None
            if session is not None:
                return session
        session = Session()
        if identity.user:
            self._adopt(identity, session)
        return session

    def get(self, identity: Identity) -> Session | None:
        """The session of a confirmed caller, begun if need be; None for one who names nobody."""
        if not identity.user:
            return None
        session = self._all.get(identity)
        if session is None and identity.player:
            without = Identity(identity.user, identity.client, identity.agent)
            session = self._all.pop(without, None)
        if session is None:
            self._make_room(identity.user)
            session = Session()
            self._adopt(identity, session)
        self._all[identity] = session  # also renews its time
        return session

    def _make_room(self, user: str) -> None:
        """One user, with client names without end, must not push out everybody else."""
        own = [identity for identity in self._all if identity.user == user]
        for identity in own[: max(len(own) - MAX_SESSIONS_OF_A_USER + 1, 0)]:
            del self._all[identity]

    def _adopt(self, identity: Identity, session: Session) -> None:
        """What calls without a client name told before the client's first own call."""
        for player in {identity.player, ""}:
            native = self._all.get(Identity(identity.user, "", identity.agent, player))
            if native is not None and native.playing is not None:
                session.playing = native.playing
                session.heard = native.heard.copy()
                return

    def note_playing(
        self, identity: Identity, song_id: str, at_s: float, evidence: Evidence
    ) -> None:
        """Take a call as evidence, for every session it may belong to."""
        own = self.get(identity)
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


def _touch(kept: OrderedDict[str, float], key: str, at_s: float, most: int) -> None:
    kept[key] = at_s
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)
