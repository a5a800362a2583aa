"""What a user can see now of songs, albums and artists that were known of before: in few calls."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from proxy.hydration import Asker, Missing
from proxy.knowledge import View
from proxy.shelves import SeenSong

#: Songs of no known music folder that the upstream is asked for, and how long that may take.
MOST_ASKED: Final = 50
_ASKING_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Sight:
    """What a user can see now, and of what that could not be found out; the rest they cannot."""

    seen: frozenset[str] = frozenset()
    not_looked_at: frozenset[str] = frozenset()


async def still_seen(
    asker: Asker, folder_ids: Collection[str], view: View | None, ids: Iterable[str]
) -> Sight:
    """Those of `ids` (of songs, albums and artists) that the asker's user can see.

    Who sees one song of a music folder sees them all, so the links tell it of most without a call.
    What is not linked (any more), or lies in no known folder, is asked for as this user: the first
    `MOST_ASKED` of them, together. Of those after them, and of those for which no answer comes in
    time, nothing is known.

    Args:
        folder_ids: the music folders that this user sees; none where the server knows of none.
    """
    seen: set[str] = set()
    unsure: list[str] = []
    for one in dict.fromkeys(ids):
        songs = view.links.seeds(one) if view is not None else ()
        folders = {view.links.folder(song) for song in songs} if view is not None else set()
        if folder_ids and not folders.isdisjoint(folder_ids):
            seen.add(one)
        elif not folder_ids or not folders or "" in folders:
            unsure.append(one)
    asked = unsure[:MOST_ASKED]
    until_s = asyncio.get_running_loop().time() + _ASKING_S
    found = await asker.songs(asked, until_s) if asked else []
    answers = dict(zip(asked, found, strict=True))
    seen |= {one for one, song in answers.items() if isinstance(song, SeenSong)}
    late = [one for one, song in answers.items() if song is Missing.LATE]
    return Sight(frozenset(seen), frozenset((*late, *unsure[MOST_ASKED:])))
