"""`/segue/why`: the lists served last to the user who asks, with the terms that chose each song.

The login is the API's own, in the same parameters or headers, and the upstream is asked whether it
is good, each time. What is shown is this user's alone: lists are kept by the user's name, and only
an accepted login that names exactly one user is shown any. What a list is like is asked of the
upstream then and there, so that it names what it shows this user now, and nothing else.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from proxy import calls, headers, telling
from proxy.calls import Body
from proxy.errors import UpstreamError
from proxy.hydration import Asker, RefusedError
from proxy.knowledge import View
from proxy.replay import ReplayedBody
from proxy.settings import ServerSettings
from proxy.shelves import SeenSong
from proxy.sight import Sight, still_seen
from proxy.telling import FORM, Named, ServedSong, page
from proxy.upstream import HttpUpstream
from ranker.picks import Pick
from subsonic.envelope import Format
from subsonic.errors import AnswerError
from subsonic.parameters import ParameterError, Parameters

#: Lists kept of a user, and of all users together (some 15 MB); songs of a list that are told.
MOST_LISTS: Final = 10
MOST_IN_ALL: Final = 200
MOST_SONGS: Final = 50

#: Songs whose reasons are put into words in one go: a tenth of a millisecond.
_TOLD_AT_ONCE: Final = 4

_NOTHING: Final = "<p>Nothing was chosen for you since Segue started.</p>"

#: What the upstream wants of every call, where the asker does not say it.
_DEFAULTS: Final = {"v": "1.16.1", "c": "Segue"}

_SAFE: Final = (
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy",
     b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none';"
     b" base-uri 'none'"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ServedList:
    """An answer: when (seconds since 1970), to which client, to which call, like what."""

    at_s: float
    client: str
    endpoint: str
    seeds: Mapping[str, Named]
    songs: tuple[ServedSong, ...]

    @classmethod
    def of(
        cls,
        at_s: float,
        client: str,
        endpoint: str,
        seed_id: str,
        song: Any,
        songs: Iterable[tuple[str, SeenSong, Pick]],
    ) -> ServedList:
        """From (id, song, pick) of each song, of which the first `MOST_SONGS` are kept.

        song: what the upstream showed of the seed, see `Named.of`.
        """
        kept = (ServedSong(i, song.title, song.artist, pick) for i, song, pick in songs)
        seeds = {seed_id: Named.of(seed_id, song)}
        return cls(at_s, client, endpoint, seeds, tuple(islice(kept, MOST_SONGS)))

    def tell(self, soon: Callable[[Callable[[], None]], object]) -> None:
        """Put all reasons into words; until then the snapshot that they are about is held.

        A few at a time, by `soon` (of the running loop): the next call need not wait for fifty.
        """
        songs = iter(self.songs)

        def go_on() -> None:
            some = list(islice(songs, _TOLD_AT_ONCE))
            for song in some:
                _ = song.pick.reasons
            if some:
                soon(go_on)

        soon(go_on)

    @property
    def ids(self) -> list[str]:
        """What it tells of: seeds and songs."""
        return [*self.seeds, *(song.song_id for song in self.songs)]

    def as_json(self, sight: Sight) -> Mapping[str, object]:
        """For programs. sight: what its reader may see of `ids`."""
        return telling.as_json(self.at_s, self.client, self.endpoint, self.seeds, self.songs, sight)

    def as_html(self, sight: Sight, now_s: float) -> str:
        """For people. sight: as above."""
        return telling.as_html(
            self.at_s, now_s, self.client, self.endpoint, self.seeds, self.songs, sight
        )


class Explanations:
    """The lists served last, bounded for each user and in all."""

    def __init__(self) -> None:
        self._users: OrderedDict[str, deque[ServedList]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, user: str, served: ServedList) -> None:
        """Keep what was served to a user ("" is nobody)."""
        if not user:
            return
        lists = self._users.setdefault(user, deque())
        self._users.move_to_end(user)
        lists.append(served)
        self._count += 1
        while len(lists) > MOST_LISTS:
            lists.popleft()
            self._count -= 1
        while self._count > MOST_IN_ALL:
            self._count -= len(self._users.popitem(last=False)[1])

    def of(self, user: str) -> list[ServedList]:
        """A user's lists, latest first."""
        return list(reversed(self._users.get(user, ()))) if user else []

    def forget(self, is_gone: Callable[[str], bool]) -> None:
        """Drop the lists of users of whom `is_gone` holds."""
        for user in [user for user in self._users if is_gone(user)]:
            self._count -= len(self._users.pop(user))


class Why:
    """The page, an ASGI application.

    Args:
        view: gives the links that are in force.
    """

    def __init__(
        self,
        explanations: Explanations,
        upstream: HttpUpstream,
        settings: ServerSettings,
        view: Callable[[], View | None],
    ) -> None:
        self._explanations = explanations
        self._view = view
        self._upstream = upstream
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a GET or a POST (login in a form)."""
        if scope["method"] not in ("GET", "POST", "HEAD"):
            return await _send(send, 405, "text/plain", "GET or POST, please\n")
        readable = b"text/html" in calls.header(scope["headers"], b"accept")
        try:
            parameters, by_form = await _parameters(scope, receive)
        except ParameterError as error:
            return await _send(send, 400, "text/plain", f"{error}\n")
        readable = {"html": True, "json": False}.get(parameters.first("f"), readable)
        onward = headers.request_headers(scope["headers"], scope, self._settings)
        user_header = self._trusted_user_header(scope)
        identity = calls.identify(parameters, onward, user_header)
        if not identity.user:
            return await self._refuse(send, readable, "log in as with any Subsonic client")
        defaults = {k: v for k, v in _DEFAULTS.items() if not parameters.first(k)}
        login = parameters.with_values(**defaults)
        asker = Asker(self._upstream, login, onward, Format.JSON, by_form=by_form)
        try:
            folder_ids = await asker.folder_ids()  # some servers answer ping to whoever asks
        except RefusedError:
            return await self._refuse(send, readable, "the music server refused this login")
        except (UpstreamError, AnswerError, TimeoutError):
            return await _send(send, 502, "text/plain", "the music server did not answer\n")
        lists = self._explanations.of(identity.user)
        ids = [one for served in lists for one in served.ids]
        sight = await still_seen(asker, folder_ids, self._view(), ids)
        if readable:
            now_s = time.time()
            shown = "".join(served.as_html(sight, now_s) for served in lists)
            return await _send(send, 200, "text/html", page(shown or _NOTHING))
        told = json.dumps({"lists": [served.as_json(sight) for served in lists]})
        return await _send(send, 200, "application/json", told)

    async def _refuse(self, send: Send, readable: bool, why: str) -> None:
        if readable:
            return await _send(send, 401, "text/html", page(FORM.replace("WHY", why)))
        return await _send(send, 401, "application/json", json.dumps({"error": why}))

    def _trusted_user_header(self, scope: Scope) -> str:
        client = scope.get("client")
        trusted = headers.is_trusted(client[0] if client else "", self._settings.trusted_proxies)
        return self._settings.user_header if trusted else ""


async def _parameters(scope: Scope, receive: Receive) -> tuple[Parameters, bool]:
    kind = calls.kind_of_body(scope["method"], scope["headers"])
    form = await ReplayedBody(receive).read() if kind is Body.FORM else b""
    if kind is Body.UNREAD or form is None:
        raise ParameterError("send the login in the query or in a form")
    return Parameters.parse(scope["query_string"], form), bool(form)


async def _send(send: Send, status: int, media_type: str, text: str) -> None:
    body = text.encode("utf-8", "replace")
    extra: Iterable[tuple[bytes, bytes]] = (
        (b"content-type", f"{media_type}; charset=utf-8".encode("ascii")),
        (b"content-length", b"%d" % len(body)),
        *_SAFE,
    )
    await send({"type": "http.response.start", "status": status, "headers": list(extra)})
    await send({"type": "http.response.body", "body": body})
