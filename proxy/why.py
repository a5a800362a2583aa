"""`/segue/why`: the lists served last to the user who asks, with the terms that chose each song.

The login is the API's own, in the same parameters or headers, and the upstream is asked whether it
is good, each time. What is shown is this user's alone: lists are kept by the user's name, and only
an accepted login that names exactly one user is shown any.
"""

from __future__ import annotations

import html
import json
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from starlette.types import Receive, Scope, Send

from proxy import calls, headers
from proxy.calls import Body
from proxy.errors import UpstreamError
from proxy.hydration import Asker, RefusedError
from proxy.replay import ReplayedBody
from proxy.settings import ServerSettings
from proxy.shelves import SeenSong
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
class ServedSong:
    """A song of a list: its id, title and artist, and why it was chosen."""

    song_id: str
    title: str
    artist: str
    pick: Pick


@dataclass(frozen=True, slots=True)
class ServedList:
    """An answer: when (seconds since 1970), to which client, to which call, after which songs."""

    at_s: float
    client: str
    endpoint: str
    seeds: tuple[str, ...]
    songs: tuple[ServedSong, ...]

    @classmethod
    def of(
        cls,
        at_s: float,
        client: str,
        endpoint: str,
        seeds: Sequence[str],
        songs: Iterable[tuple[str, SeenSong, Pick]],
    ) -> ServedList:
        """From (id, song, pick) of each song, of which the first `MOST_SONGS` are kept."""
        kept = (ServedSong(i, song.title, song.artist, pick) for i, song, pick in songs)
        return cls(at_s, client, endpoint, tuple(seeds), tuple(islice(kept, MOST_SONGS)))

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
    """The page, an ASGI application."""

    def __init__(
        self, explanations: Explanations, upstream: HttpUpstream, settings: ServerSettings
    ) -> None:
        self._explanations = explanations
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
            await asker.ask("getMusicFolders")  # some servers answer ping to whoever asks
        except RefusedError:
            return await self._refuse(send, readable, "the music server refused this login")
        except (UpstreamError, AnswerError, TimeoutError):
            return await _send(send, 502, "text/plain", "the music server did not answer\n")
        lists = self._explanations.of(identity.user)
        if readable:
            return await _send(send, 200, "text/html", _page(_lists_html(lists)))
        told = json.dumps({"lists": [_json(served) for served in lists]})
        return await _send(send, 200, "application/json", told)

    async def _refuse(self, send: Send, readable: bool, why: str) -> None:
        if readable:
            return await _send(send, 401, "text/html", _page(_FORM.replace("WHY", why)))
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


def _json(served: ServedList) -> Mapping[str, object]:
    return {
        "at": _time(served.at_s),
        "client": served.client,
        "call": served.endpoint,
        "seeds": list(served.seeds),
        "songs": [
            {
                "id": song.song_id,
                "title": song.title,
                "artist": song.artist,
                "score": round(song.pick.score, 6),
                "why": [
                    {"term": reason.term, "value": round(reason.value, 6), "text": reason.text}
                    for reason in song.pick.reasons
                ],
            }
            for song in served.songs
        ],
    }


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds")


def _lists_html(lists: Sequence[ServedList]) -> str:
    if not lists:
        return "<p>Nothing was chosen for you since Segue started.</p>"
    return "".join(_list_html(served) for served in lists)


def _list_html(served: ServedList) -> str:
    head = f"{_time(served.at_s)} · {served.client or 'a client'} · {served.endpoint}"
    rows = "".join(
        f"<tr><td>{html.escape(f'{song.artist} – {song.title}')}</td>"
        f"<td>{song.pick.score:.2f}</td><td>{html.escape(_because(song.pick))}</td></tr>"
        for song in served.songs
    )
    return f"<h2>{html.escape(head)}</h2><table>{rows}</table>"


def _because(pick: Pick) -> str:
    first, *others = pick.reasons
    told = [f"{first.value:.2f} {first.text}"]
    told += [f"{r.value:+.2f} {r.text}" for r in others if abs(r.value) >= 0.005]
    return " · ".join(told)


def _page(body: str) -> str:
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Why did it play that?</title>'
        '<meta name="viewport" content="width=device-width"><style>body{font:16px/1.4 sans-serif;'
        "max-width:60em;margin:1em auto;padding:0 1em}td{padding:.2em .6em;vertical-align:top}"
        f"h2{{font-size:1em;margin-top:2em}}</style><h1>Why did it play that?</h1>{body}</html>\n"
    )


_FORM: Final = (
    '<p>WHY</p><form method="post"><label>User <input name="u" autocomplete="username"></label> '
    '<label>Password <input name="p" type="password" autocomplete="current-password"></label> '
    '<input type="hidden" name="f" value="html"><button>Show</button></form>'
)


async def _send(send: Send, status: int, media_type: str, text: str) -> None:
    body = text.encode("utf-8", "replace")
    extra: Iterable[tuple[bytes, bytes]] = (
        (b"content-type", f"{media_type}; charset=utf-8".encode("ascii")),
        (b"content-length", b"%d" % len(body)),
        *_SAFE,
    )
    await send({"type": "http.response.start", "status": status, "headers": list(extra)})
    await send({"type": "http.response.body", "body": body})
