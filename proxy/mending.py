"""Stars and ratings that were changed past Segue: what a song says, against what was kept of it.

What is kept of a taste comes from calls that went by. Somebody who uses another way to the server
now and then would keep a star, or a song of one star, for ever. So each song that is shown is
compared; and since a song of one star is never chosen, one of those is asked for now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from proxy.calls import Asked
from proxy.errors import UpstreamError
from proxy.hydration import Asker
from proxy.session import Session
from proxy.shelves import SeenSong
from proxy.tastes import Tastes
from subsonic.errors import AnswerError

#: A listener does not wait longer for it.
_LOOK_S: Final = 0.25


class Mending:
    """Mends one proxy's tastes.

    Args:
        timer: what calls go by, in seconds.
        wall_clock: seconds since 1970, by which tastes are kept.
    """

    def __init__(
        self,
        tastes: Tastes | None,
        timer: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._tastes = tastes
        self._timer = timer
        self._wall_clock = wall_clock

    async def look(
        self, asked: Asked, asker: Asker, until_s: float
    ) -> Sequence[tuple[str, SeenSong]]:
        """A song of one star as it is now, if that is due. Trouble is nothing to the call.

        The login must have been confirmed. `until_s` is a time of the running loop.
        """
        song_id = self._tastes.doubted(asked.identity.user) if self._tastes is not None else None
        if song_id is None:
            return ()
        soon_s = min(until_s, asyncio.get_running_loop().time() + _LOOK_S)
        try:
            async with asyncio.timeout_at(soon_s):
                (seen,) = await asker.songs([song_id], soon_s)
        except (UpstreamError, AnswerError, TimeoutError):
            return ()
        return [(song_id, seen)] if isinstance(seen, SeenSong) else ()

    def learn(self, asked: Asked, session: Session, songs: Sequence[tuple[str, SeenSong]]) -> None:
        """What these songs say otherwise than what was kept goes where a call's word would."""
        if self._tastes is None:
            return
        user, now_s = asked.identity.user, self._timer()
        began_s = self._wall_clock() - (now_s - asked.at_s)
        found = [
            (kind, song_id, value)
            for song_id, seen in songs
            for kind, value in self._tastes.mended(
                user, song_id, seen.is_starred, seen.rating, began_s
            )
        ]
        for kind, song_id, value in found:
            session.note_liking(kind, song_id, value, now_s)
