"""Feishin's AutoDJ as a player: what it reports and asks, drops, shuffles and queues, and when.

As recorded of a real one (see docs/clients.md). A song that starts is told by `/api/song/<id>`, and
five seconds later by a "now playing" scrobble; that it was heard, when the next one has begun. When
the last song of the queue starts, five more are asked for: `getSimilarSongs`; where some of those
are queued already or missing, fifty by chance of the genre, songs of the artist, fifty by chance of
all. With a music folder selected there are fifty of folder and genre, before any word of the song
that starts, and then ten of the folder.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from catalog.snapshot import Snapshot
from proxy.decisions import RANDOM_ENDPOINT
from subsonic.ids import genre_id
from subsonic.parameters import Parameters

SIMILAR_ENDPOINT: Final = "getSimilarSongs"
SONG_ENDPOINT: Final = "song"  # of the server's own API; see proxy.observation

ITEM_COUNT: Final = 5
SONG_S: Final = 210.0
MOST_OF_ARTIST: Final = 50

#: Every song is of this genre, so that only folders are limits. Feishin sends its id.
GENRE: Final = "Soundtrack"
_GENRE_ID: Final = genre_id(GENRE)

#: The music folder that is selected, where one is.
FOLDER_ID: Final = "1"

#: After the start of a song: when the player tells of it by its own API where a folder is selected,
#: that the one before was heard, and that it plays; and how long one question takes.
_TOLD_S: Final = 0.02
_HEARD_S: Final = 0.05
_PLAYING_S: Final = 5.0
_QUESTION_S: Final = 0.1

#: A listener who goes over songs of the queue goes over so many at most.
_MOST_JUMPED: Final = 3

_START_S: Final = 10_000.0

#: What every call says.
_OWN: Final = (("u", "listener"), ("c", "Feishin"), ("f", "json"), ("v", "1.13.0"))


class Server(Protocol):
    """What a player talks to, for one session."""

    def report(self, endpoint: str, parameters: Parameters, at_s: float) -> None:
        """Something that plays, or was heard."""

    def ask(self, endpoint: str, parameters: Parameters, at_s: float) -> Callable[[], list[str]]:
        """A question; its answer is taken when what came meanwhile was reported."""


@dataclass(frozen=True, slots=True)
class Addition:
    """Songs that were added to a queue of `queued` songs when `played` of a session had begun."""

    queued: int
    played: int
    songs: list[str]


@dataclass(slots=True)
class Evening:
    """What came of one session. Songs are ids.

    Attributes:
        queue, played: they differ where the listener went over some.
        repeats: songs of answers that were in the queue already, or twice in one answer.
        outside: songs of answers that are not of the selected folder.
        fall_backs: how often the first answer did not bring enough.
    """

    queue: list[str]
    played: list[str] = field(default_factory=list)
    additions: list[Addition] = field(default_factory=list)
    repeats: int = 0
    outside: int = 0
    fall_backs: int = 0


class Player:
    """A listener with Feishin. Song ids are rows of the snapshot, in decimal.

    Args:
        folder: (n,) bool, what is in the selected music folder; None where none is selected.
        jumps: how often the listener goes over songs of the queue, 0…1.
    """

    def __init__(
        self,
        server: Server,
        snapshot: Snapshot,
        chance: random.Random,
        folder: NDArray[np.bool_] | None = None,
        jumps: float = 0.0,
    ) -> None:
        self._server = server
        self._artist = snapshot.artist
        self._chance = chance
        self._folder = folder
        self._jumps = jumps

    def listen(self, start: str, songs: int) -> Evening:
        """Play `songs` songs of the queue from `start` on, or until nothing more comes."""
        evening = Evening([start])
        position, now_s = 0, _START_S
        while position < min(songs, len(evening.queue)):
            song_id = evening.queue[position]
            before = evening.played[-1:]
            evening.played.append(song_id)
            if position == len(evening.queue) - 1:
                self._add(evening, now_s)
            else:
                self._report(SONG_ENDPOINT, now_s, id=song_id)
            for heard in before:
                self._report("scrobble", now_s + _HEARD_S, id=heard, submission="true")
            self._report("scrobble", now_s + _PLAYING_S, id=song_id, submission="false")
            now_s += SONG_S
            position += 1
            if self._jumps and self._chance.random() < self._jumps:
                further = position + self._chance.randint(1, _MOST_JUMPED)
                position = max(position, min(further, len(evening.queue) - 1))
        return evening

    def _add(self, evening: Evening, now_s: float) -> None:
        added: list[str] = []
        is_short = False
        for answer in self._answers(evening.queue, now_s):
            known = {*evening.queue, *added}
            fresh = [song for song in dict.fromkeys(answer) if song not in known]
            evening.repeats += len(answer) - len(fresh)
            if self._folder is not None:
                evening.outside += sum(not self._folder[int(song)] for song in answer)
            self._chance.shuffle(fresh)
            added += fresh[: ITEM_COUNT - len(added)]
            if len(added) == ITEM_COUNT:
                break
            is_short = True
        evening.fall_backs += is_short
        evening.additions.append(Addition(len(evening.queue), len(evening.played), added))
        evening.queue += added

    def _answers(self, queue: list[str], now_s: float) -> Iterator[list[str]]:
        """One answer after the other: what is not taken is not asked for."""
        playing = queue[-1]
        if self._folder is not None:
            folder = {"musicFolderId": FOLDER_ID}
            first = self._ask(RANDOM_ENDPOINT, now_s, genre=_GENRE_ID, size=50, **folder)
            self._report(SONG_ENDPOINT, now_s + _TOLD_S, id=playing)
            yield first()
            yield self._ask(RANDOM_ENDPOINT, now_s + _QUESTION_S, size=10, **folder)()
            return
        self._report(SONG_ENDPOINT, now_s, id=playing)
        yield self._ask(SIMILAR_ENDPOINT, now_s, count=ITEM_COUNT, id=playing)()
        yield self._ask(RANDOM_ENDPOINT, now_s + _QUESTION_S, genre=_GENRE_ID, size=50)()
        # Songs of the artist are the server's own answer, whoever stands in front of it.
        own = [song for song in self._of_artist(playing) if song not in queue]
        yield self._chance.sample(own, min(MOST_OF_ARTIST, len(own)))
        yield self._ask(RANDOM_ENDPOINT, now_s + 2 * _QUESTION_S, size=50)()

    def _of_artist(self, song_id: str) -> list[str]:
        artist = int(self._artist[int(song_id)])
        rows = np.flatnonzero(self._artist == artist).tolist() if artist >= 0 else []
        return [f"{row}" for row in rows]

    def _report(self, endpoint: str, at_s: float, **values: str) -> None:
        self._server.report(endpoint, _parameters(values), at_s)

    def _ask(self, endpoint: str, at_s: float, **values: str | int) -> Callable[[], list[str]]:
        return self._server.ask(endpoint, _parameters(values), at_s)


def _parameters(values: dict[str, str] | dict[str, str | int]) -> Parameters:
    return Parameters([*_OWN, *((name, str(value)) for name, value in values.items())])
