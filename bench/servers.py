"""What answers a player in `bench.autodj`: the proxy's own choice, a plain server, or a picker.

The proxy is here as it is, from a call's parameters to the ids of the answer: `proxy.observation`
takes what is reported into `proxy.sessions`, `proxy.decisions` says whether a call is steered,
`proxy.choosing` what comes. Left out are the upstream and what is asked of it: every song is seen.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.feishin import (
    FOLDER_ID,
    GENRE,
    ITEM_COUNT,
    SIMILAR_ENDPOINT,
    SONG_ENDPOINT,
    SONG_S,
    Server,
)
from catalog.links import Links
from catalog.snapshot import Snapshot
from catalog.tracks import Song
from proxy.calls import Identity
from proxy.choosing import Choice, LeftError, choose_seeds
from proxy.decisions import Leave, Plan, decide
from proxy.knowledge import View
from proxy.observation import observe
from proxy.sessions import Sessions
from proxy.settings import SteeringSettings
from ranker.picks import Context
from ranker.settings import RankingSettings
from subsonic.parameters import Parameters

#: How many songs a pool has, of which a player takes what it needs.
POOL: Final = 10

_USER: Final = "listener"
_AGENT: Final = "Feishin"

#: What a picker gets: the playing row, the context, how many. What it gives: rows.
Picker = Callable[[int, Context, int], list[int]]

#: What gives each session its server, by the session's number.
Servers = Callable[[View, int], Server]


def linked(snapshot: Snapshot, folder: NDArray[np.bool_] | None = None) -> View:
    """Every track is a song of the server, called by its row; `folder` (n,) bool is `FOLDER_ID`."""
    inside = np.ones(snapshot.n, np.bool_) if folder is None else folder
    folder_ids = np.where(inside, FOLDER_ID, "2").tolist()
    songs = (
        (Song(f"{row}", folder_id=folder_id, genres=(GENRE,)), track_id)
        for row, (folder_id, track_id) in enumerate(
            zip(folder_ids, snapshot.track_ids.tolist(), strict=True)
        )
    )
    return View(snapshot, Links(snapshot, songs), 0)


class Plain:
    """A server without Segue: any songs, whatever is queued. It knows genres by name alone."""

    def __init__(self, view: View, number: int) -> None:
        self._view = view
        self._chance = random.Random(f"plain {number}")

    def report(self, endpoint: str, parameters: Parameters, at_s: float) -> None:
        """Nothing comes of it."""

    def ask(self, endpoint: str, parameters: Parameters, at_s: float) -> Callable[[], list[str]]:
        """Songs by chance within the call's limits."""
        links, n = self._view.links, len(self._view.links)
        size = parameters.integer("count" if endpoint == SIMILAR_ENDPOINT else "size", 10)
        genre, folder_ids = parameters.first("genre"), parameters.all("musicFolderId")
        songs: range | list[int] = range(n)
        if genre or folder_ids:
            mask = links.select(genre=genre, folder_ids=folder_ids)
            songs = np.flatnonzero(mask).tolist()
        found = self._chance.sample(songs, min(size, len(songs)))
        return lambda: [links.song_id(song) for song in found]


class Proxy:
    """Segue in front of a plain server.

    Args:
        pool: answers have so many songs, of which the player takes what it needs; 0 leaves that
            to the proxy.
        chance: whether another day is another order.
    """

    def __init__(
        self,
        view: View,
        number: int,
        ranking: RankingSettings,
        *,
        pool: int = 0,
        chance: bool = True,
    ) -> None:
        self._view = view
        self._ranking = ranking
        self._pool = pool
        self._now_s = 0.0
        self._sessions = Sessions(lambda: self._now_s)
        self._plain = Plain(view, number)
        #: As proxy.steering makes it of the user and the day.
        self._chance = zlib.crc32(f"{_USER}\0{number}".encode()) + 1 if chance else 0

    def report(self, endpoint: str, parameters: Parameters, at_s: float) -> None:
        """As `proxy.listening`, where the upstream said ok."""
        self._now_s = at_s
        client = "" if endpoint == SONG_ENDPOINT else parameters.first("c")
        observe(self._sessions, Identity(_USER, client, _AGENT), endpoint, parameters, at_s)

    def ask(self, endpoint: str, parameters: Parameters, at_s: float) -> Callable[[], list[str]]:
        """As `proxy.steering`, where the upstream knows the login and shows every song."""
        self._now_s = at_s
        identity = Identity(_USER, parameters.first("c"), _AGENT)
        session = self._sessions.peek(identity)
        plan = decide(endpoint, parameters, session, SteeringSettings(), at_s)

        def answer() -> list[str]:
            try:
                if isinstance(plan, Leave):
                    raise LeftError(plan.reason)
                return self._steered(plan, identity, at_s)
            except LeftError:
                self._note_left(endpoint, parameters, identity, at_s)
                return self._plain.ask(endpoint, parameters, at_s)()

        return answer

    def _steered(self, plan: Plan, identity: Identity, at_s: float) -> list[str]:
        session = self._sessions.get(identity, at_s)
        if session is None:
            raise LeftError("no-session")
        if plan.probe:
            session.probe_at_s = at_s
        if self._pool:
            plan = replace(plan, count=self._pool, is_pool=True)
        seeds = choose_seeds(plan, self._view, session)
        choice = Choice(
            plan, self._view, seeds, session, self._ranking,
            now_s=at_s, remembers=True, chance=self._chance,
        )  # fmt: skip
        song_ids = [one.song_id for one in choice.best(plan.count)]
        if not song_ids:
            raise LeftError("no-songs")
        if plan.seed_id:
            session.note_similar([plan.seed_id], plan.count, at_s)
        session.note_served(song_ids, at_s, pool=plan.is_pool, seed_id=plan.seed_id)
        return song_ids

    def _note_left(
        self, endpoint: str, parameters: Parameters, identity: Identity, at_s: float
    ) -> None:
        session = self._sessions.get(identity, at_s)
        if session is not None and endpoint == SIMILAR_ENDPOINT:
            count = parameters.integer("count", 0)
            session.note_similar([parameters.first("id")], count, at_s)


class AllKnowing:
    """A picker that is told all that is queued, and gives as many as are needed: no server's equal.

    It stands for what could be chosen at best by whoever hears so well.
    """

    def __init__(self, view: View, picker: Picker) -> None:
        self._view = view
        self._picker = picker
        self._heard: list[int] = []
        self._served: list[int] = []

    def report(self, endpoint: str, parameters: Parameters, at_s: float) -> None:
        """What starts."""
        if endpoint == SONG_ENDPOINT:
            self._heard.insert(0, int(parameters.first("id")))

    def ask(self, endpoint: str, parameters: Parameters, at_s: float) -> Callable[[], list[str]]:
        """What the picker picks."""
        snapshot, links = self._view.snapshot, self._view.links
        mask = links.select(folder_ids=parameters.all("musicFolderId"))
        first = endpoint == SIMILAR_ENDPOINT or bool(parameters.first("genre"))

        def answer() -> list[str]:
            context = Context(
                eligible=links.eligible_rows(mask, snapshot.n),
                excluded=frozenset((*self._heard, *self._served)),
                heard=tuple(self._heard),
                heard_ages_s=tuple(SONG_S * at for at in range(len(self._heard))),
            )
            rows = self._picker(self._heard[0], context, ITEM_COUNT if first else POOL)
            self._served += rows
            return [f"{row}" for row in rows]

        return answer


def steered(ranking: RankingSettings, *, pool: int = 0, chance: bool = True) -> Servers:
    """Segue, with these weights; see `Proxy`."""
    return lambda view, number: Proxy(view, number, ranking, pool=pool, chance=chance)


def all_knowing(picker: Picker) -> Servers:
    """See `AllKnowing`."""
    return lambda view, number: AllKnowing(view, picker)
