"""Who asks: their session, what plays in it, and the upstream's word that the login is good.

Login first: nothing that is kept is shown, and no session is begun, before that word.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from proxy import calls
from proxy.calls import Asked
from proxy.choosing import LeftError, by_folder, choose_seeds
from proxy.decisions import Plan
from proxy.hydration import Asker, RefusedError, Reply
from proxy.knowledge import View
from proxy.logins import Logins
from proxy.plays import Evidence, Playing
from proxy.session import Session
from proxy.sessions import Sessions
from proxy.shelves import Shelf, Shelves
from subsonic.errors import NOT_AUTHORISED, NOT_FOUND

#: The first answer to a login, and those seeds that its user may see.
Confirmed = tuple[Reply, Sequence[int]]

#: How long a call waits for the report of what is playing, which comes some 20 ms after it.
AWAIT_PLAYING_S: Final = 0.08
_AWAIT_STEP_S: Final = 0.004

#: A report that came this long before its call is about the same song.
_JUST_BEFORE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call whose login is good, or was a moment ago and is looked at again.

    Attributes:
        session: what to choose by.
        seeds: rows of the snapshot, of songs that the user may see as far as that is known.
        confirming: the upstream's word. Nothing is to be answered before it is there.
        shelf: what is kept of the user's songs; None where the login had to be heard first.
    """

    session: Session
    seeds: Sequence[int]
    confirming: asyncio.Future[Confirmed]
    shelf: Shelf | None


class Admission:
    """Lets calls in that are to be steered."""

    def __init__(self, sessions: Sessions, shelves: Shelves, logins: Logins) -> None:
        self._sessions = sessions
        self._shelves = shelves
        self._logins = logins

    @asynccontextmanager
    async def admit(
        self,
        asked: Asked,
        plan: Plan,
        view: View,
        session: Session,
        asker: Asker,
        until_s: float,
    ) -> AsyncIterator[Admitted]:
        """Let a call in, for as long as it is under way; what is raised may come by `confirming`.

        `session` is the caller's as it is, `until_s` a time of the running loop.

        Raises:
            LeftError: there is no seed, or a music folder that the user does not see.
            RefusedError: the login, or every seed.
            TimeoutError, UpstreamError, AnswerError: no answer to go by.
        """
        decided: Playing | None = None
        async with asyncio.timeout_at(until_s):
            if plan.probe:
                await asker.folder_ids()  # some servers answer ping to whoever asks
                session, decided = await self._await_playing(asked)
        seeds = choose_seeds(plan, view, session, decided)
        login = self._logins.digest(asked.parameters, asked.headers)
        known = self._session_of_known(asked, plan, view, seeds, login)
        shelf = None
        if known is not None:
            session = known
            asker.take_cookie(self._logins.cookie(login))
            shelf = self._shelf(asked, plan)
        confirming = asyncio.ensure_future(
            self._confirm(asked, plan, view, seeds, asker, login, shelf)
        )
        # Whoever gives up first need not look at how this ends.
        confirming.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            if known is None:
                async with asyncio.timeout_at(until_s):
                    _, seeds = await confirming
                own = self._sessions.get(asked.identity, asked.at_s)
                if own is not None and decided is not None and not _has_just_begun(own, asked):
                    own.note_playing(decided.song_id, asked.at_s, Evidence.STARTS)
                session = own or session
            else:
                await asyncio.sleep(0)  # it goes: the upstream looks at the login while we choose
            yield Admitted(session, seeds, confirming, shelf)
        finally:
            confirming.cancel()

    async def _await_playing(self, asked: Asked) -> tuple[Session, Playing | None]:
        """The session once it is known what plays, or as it is after `AWAIT_PLAYING_S`.

        `getTranscodeDecision` may be about the next song: it counts if nothing better comes. Then
        it is given beside the session, which is told of it when the login is confirmed.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + AWAIT_PLAYING_S
        while True:
            session = self._sessions.peek(asked.identity)
            if _has_just_begun(session, asked):
                return session, None
            if loop.time() >= until_s:
                break
            await asyncio.sleep(_AWAIT_STEP_S)
        decided = session.decided
        is_of_now = decided is not None and decided.at_s >= asked.at_s - _JUST_BEFORE_S
        return session, decided if is_of_now else None

    def _session_of_known(
        self, asked: Asked, plan: Plan, view: View, seeds: Sequence[int], login: bytes
    ) -> Session | None:
        """The session of a login that was good a moment ago, to choose by until the upstream says
        that it still is; None where it must be heard first.

        A stranger could else tell by the clock who is listening.
        """
        if plan.probe or len(plan.folder_ids) > 1 or len(by_folder(seeds, view)) > 1:
            return None
        if not self._logins.knows(login):
            return None
        return self._sessions.find(asked.identity)

    async def _confirm(
        self,
        asked: Asked,
        plan: Plan,
        view: View,
        seeds: Sequence[int],
        asker: Asker,
        login: bytes,
        shelf: Shelf | None,
    ) -> Confirmed:
        """The upstream's word that this login is good; from here on what is kept may be used."""
        try:
            # By a seed, also where the user was seen to play it: what they report, a server may
            # have taken though they may not see it.
            first, seen = await _see(asker, view, seeds)
        except RefusedError:
            self._logins.forget(login)
            raise
        if len(plan.folder_ids) > 1 and not set(plan.folder_ids) <= await asker.folder_ids():
            raise LeftError("folder-not-seen")  # one unknown is the upstream's own error
        self._logins.note(login, calls.player_cookie(first.headers))
        session = self._sessions.get(asked.identity, asked.at_s)
        if plan.probe and session is not None:  # its second call may come before this is answered
            session.probe_at_s = asked.at_s
        asker.confirm(first, shelf or self._shelf(asked, plan))
        return first, seen

    def _shelf(self, asked: Asked, plan: Plan) -> Shelf | None:
        if self._sessions.is_forgotten(asked.identity.user, asked.at_s):
            return None
        return self._shelves.open(
            asked.identity, asked.parameters, asked.headers, plan.format.value
        )


def _has_just_begun(session: Session, asked: Asked) -> bool:
    """Whether it is known what plays as this call comes."""
    now = session.playing
    since_s = asked.at_s - _JUST_BEFORE_S
    return now is not None and now.at_s >= since_s and now.evidence is not Evidence.STREAM


async def _see(asker: Asker, view: View, seeds: Sequence[int]) -> Confirmed:
    """The first answer to this login, and those seeds that this user may see.

    An artist's songs may lie in several music folders: one song of each is asked for.

    Raises:
        RefusedError: the login, or every seed.
        UpstreamError, AnswerError: no answer to go by.
    """
    first: Reply | None = None
    seen: list[int] = []
    refused = RefusedError(NOT_FOUND)
    for group in by_folder(seeds, view):
        try:
            reply, _ = await asker.song(view.links.song_id(group[0]))
        except RefusedError as error:
            if error.code not in (NOT_FOUND, NOT_AUTHORISED):
                raise  # the login itself: asking again would only count as another try
            refused = error
            continue
        first = first or reply
        seen += group
    if first is None:
        raise refused
    return first, seen
