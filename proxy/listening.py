"""Calls that tell about a session: forwarded as they are, believed once the upstream said ok."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Scope, Send

from proxy import calls
from proxy.calls import Asked, Headers
from proxy.logins import Logins
from proxy.observation import LONGEST_ID, OkTap, changes, observe
from proxy.replay import ReplayedBody
from proxy.sessions import Sessions
from proxy.shelves import Shelves
from subsonic.envelope import Format, is_callback, wanted_format
from subsonic.parameters import Parameters

#: Calls whose answer is a song itself.
_STREAMS: Final = frozenset(("stream", "download"))

#: Where a song is asked for, an answer of such a type is an error.
_ERRORS_ARE: Final = (b"xml", b"json", b"javascript", b"text/")

_log = logging.getLogger("segue.steering")


def stream_endpoint(path: str) -> str | None:
    """ "stream" or "download" where a path asks for a song itself; None for any other."""
    if "stream" not in path and "download" not in path:  # as most of what is forwarded
        return None
    endpoint = calls.rest_endpoint(path)
    return endpoint if endpoint in _STREAMS else None


class Listening:
    """Forwards calls and notes what the accepted ones tell.

    Args:
        wall_clock: seconds since 1970.
    """

    def __init__(
        self,
        sessions: Sessions,
        shelves: Shelves,
        logins: Logins,
        wall_clock: Callable[[], float],
    ) -> None:
        self._sessions = sessions
        self._shelves = shelves
        self._logins = logins
        self._wall_clock = wall_clock

    async def __call__(
        self, scope: Scope, body: ReplayedBody, send: Send, forward: ASGIApp, asked: Asked
    ) -> None:
        """Hand a call on to `forward` exactly as it came."""
        native = asked.endpoint == "song"
        parameters = asked.parameters
        if native:
            parameters = Parameters([("id", calls.native_song_id(scope["path"]) or "")])
        writes = changes(asked.endpoint, parameters)
        wanted = wanted_format(parameters)
        # Where a server gives back whatever callback it is asked for, the client wrote the answer.
        forged = wanted is Format.JSONP and not is_callback(parameters.first("callback"))
        unclear = True

        def judge(said_ok: bool | None) -> None:
            """Before the client has the answer: its next call must not find what was before."""
            nonlocal unclear
            unclear = said_ok is None or forged
            said_ok = said_ok and not forged
            if said_ok and writes:
                self._shelves.drop_changed(asked.identity.user)

        def believe() -> None:
            if forged:
                return
            if not native:
                self._logins.note(self._logins.digest(asked.parameters, asked.headers))
            observe(
                self._sessions,
                asked.identity,
                asked.endpoint,
                parameters,
                asked.at_s,
                self._wall_clock(),
            )

        tap = OkTap(
            send,
            is_xml=not native and wanted is Format.XML,
            song_id=parameters.first("id") if native else "",
            on_ok=believe,
            before_end=judge,
        )
        try:
            await forward(scope, body.replay, tap)
        finally:
            # Broken off, or not readable: it may have been done. A stranger's was not.
            if writes and unclear and self._is_known(asked):
                self._shelves.drop_changed(asked.identity.user)

    def overhear(self, asked: Asked) -> Callable[[int, Headers], None]:
        """What is to be told of the head of the answer to a stream or download."""

        def heard(status: int, answered: Headers) -> None:
            try:
                media_type = calls.header(answered, b"content-type").lower()
                failed = any(kind in media_type for kind in _ERRORS_ARE)
                song_id = asked.parameters.first("id")
                if status not in (200, 206) or failed or not 0 < len(song_id) <= LONGEST_ID:
                    return
                session = self._sessions.get(asked.identity, asked.at_s)
                if session is not None:
                    session.note_streamed(song_id, asked.at_s)
            except Exception:  # whatever it is, the song goes on
                _log.exception("a stream cannot be taken note of")

        return heard

    def _is_known(self, asked: Asked) -> bool:
        return self._logins.knows(self._logins.digest(asked.parameters, asked.headers))
