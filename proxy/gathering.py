"""From a choice to songs: hydrated as the asking user, with others in the place of hidden ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from proxy.admission import Confirmed
from proxy.choosing import Choice, Chosen
from proxy.errors import UpstreamError
from proxy.hydration import Asker, Missing, RefusedError
from proxy.session import Session
from proxy.shelves import SeenSong
from ranker.picks import Pick
from subsonic.errors import AnswerError

#: How often songs that a user may not see, or never wants to, are replaced by others.
_MOST_TURNS: Final = 6


@dataclass(slots=True)
class Gathered:
    """What an answer is made of, best first: ids, songs as this user sees them, and why."""

    song_ids: list[str] = field(default_factory=list)
    songs: list[SeenSong] = field(default_factory=list)
    picks: list[Pick] = field(default_factory=list)


async def gather(
    count: int,
    choose: Callable[[], Choice],
    session: Session,
    asker: Asker,
    confirming: asyncio.Future[Confirmed],
    until_s: float,
    *,
    together: bool,
    in_thread: bool,
    now_s: float,
) -> Gathered:
    """Up to `count` songs.

    `choose` makes the choice once it is this call's turn: what another call of the session is about
    to answer with is known to it then. Nothing is answered, or taken from what is kept, before
    `confirming` says that the login is good; until then a few songs are asked for where `together`,
    else none: they may turn out to be kept. `until_s` is a time of the running loop, `now_s` one of
    the sessions' timer.

    Raises:
        TimeoutError, UpstreamError, AnswerError, RefusedError: before there was any song.
    """
    gathered = Gathered()
    choice: Choice | None = None
    rows: set[int] = set()
    loop = asyncio.get_running_loop()
    for turn in range(_MOST_TURNS):
        missing = count - len(gathered.songs)
        if missing <= 0 or loop.time() >= until_s:
            break
        chosen: list[Chosen] = []
        try:
            async with asyncio.timeout_at(until_s):
                async with session.turn:
                    choice = choice or choose()
                    chosen = await _best(choice, missing, rows, in_thread)
                    session.reserve((one.song_id for one in chosen), now_s)
            found = await _hydrated(
                [one.song_id for one in chosen], asker, confirming, until_s, together
            )
            if Missing.HIDDEN in found and turn == 0:
                async with asyncio.timeout_at(until_s):
                    choice.restrict(await asker.folder_ids())
        except (TimeoutError, UpstreamError, AnswerError, RefusedError):
            session.release(one.song_id for one in chosen)
            if not gathered.songs:
                raise
            break
        gone = []
        for one, song in zip(chosen, found, strict=True):
            if isinstance(song, Missing) or song.is_one_star:
                gone.append(one.song_id)
            else:
                rows.add(one.pick.row)
                gathered.song_ids.append(one.song_id)
                gathered.songs.append(song)
                gathered.picks.append(one.pick)
        if 2 * found.count(Missing.LATE) > len(found):  # the upstream has enough to do
            if gathered.songs:
                break
            session.release(one.song_id for one in chosen)
            raise TimeoutError
        choice.hide(gone)
        if not gone:  # all that there is, or all that was asked for
            break
    return gathered


async def _hydrated(
    song_ids: Sequence[str],
    asker: Asker,
    confirming: asyncio.Future[Confirmed],
    until_s: float,
    together: bool,
) -> list[SeenSong | Missing]:
    found = None
    if together and not confirming.done():
        found = await asker.songs(song_ids, until_s, confirming)
    async with asyncio.timeout_at(until_s):
        await confirming
    return await asker.songs(song_ids, until_s) if found is None else found


async def _best(choice: Choice, count: int, rows: set[int], in_thread: bool) -> list[Chosen]:
    if in_thread:
        choice.look_ahead()
        return await asyncio.to_thread(choice.best, count, rows)
    return choice.best(count, rows)
