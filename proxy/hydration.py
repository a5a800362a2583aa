"""Songs as the asking user sees them: asked of the upstream with this very request's login.

Nothing of another user can get into an answer: what the upstream does not show this user is not
there, and what is kept for a minute is under this very login (see `proxy.shelves`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final
from urllib.parse import quote, urlencode

from proxy import calls
from proxy.calls import FORM_TYPE, Headers
from proxy.fetching import Fetching, Read
from proxy.shares import Share
from proxy.shelves import SeenSong, Shelf
from proxy.upstream import HttpUpstream
from subsonic.cutting import Cutter
from subsonic.envelope import Answer, Format, fragment, parse
from subsonic.errors import AnswerError
from subsonic.parameters import IDENTITY, Parameters

#: A song is a few kB; an answer larger than this is none.
MAX_ANSWER_BYTES: Final = 1024 * 1024

#: Asked at once for one request: what one listener may take of a small server. (Fifty songs of
#: Navidrome's on two cores took a bare client 42 ms by 4 at once, 32.5 by 12, 31 by 24; by 24,
#: eight listeners overran the queue of a small server that had just come back.)
CONCURRENCY: Final = 16

#: So many of them before the upstream has said that the login is good: what a refused one costs it.
UNCONFIRMED: Final = 3

#: Of a title or an artist.
_LONGEST_TOLD: Final = 200

#: Of the client's own headers, those about its body and about what it has already.
_ABOUT_THE_BODY: Final = frozenset(
    (b"content-length", b"content-type", b"content-encoding", b"content-md5", b"accept-encoding",
     b"range", b"expect", b"transfer-encoding")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reply:
    """An ok answer of the upstream and its raw headers."""

    answer: Answer
    headers: Headers


class Missing(Enum):
    """Why a song did not come."""

    HIDDEN = "the upstream does not show it to this user"
    LATE = "no answer, or not in time"


class RefusedError(Exception):
    """The upstream answered, but did not say ok: its own answer to the client's call is better.

    Attributes:
        code: the error's.
        headers, body: of the answer, as it came.
    """

    def __init__(self, code: int, headers: Headers = (), body: bytes = b"") -> None:
        super().__init__(f"the upstream refused (error {code})")
        self.code = code
        self.headers = headers
        self.body = body


class Asker:
    """Calls made on behalf of one request.

    Args:
        headers: the request's headers as they go to the upstream (see proxy.headers).
        by_form: the login came in a form; then it is sent in one, so that it does not turn up in
            the access logs of servers in between.
        share: this user's, of songs that are asked for at a time; None: as many as one call may.
    """

    def __init__(
        self,
        upstream: HttpUpstream,
        parameters: Parameters,
        headers: Headers,
        wanted: Format,
        *,
        by_form: bool,
        share: Share | None = None,
    ) -> None:
        self._upstream = upstream
        self._share = share
        self._is_xml = wanted is Format.XML
        form = "xml" if self._is_xml else "json"
        self._login = parameters.only(IDENTITY).with_values(f=form).encode()
        self._by_form = by_form
        self._headers = [
            (name, value)
            for name, value in headers
            if name.lower() not in _ABOUT_THE_BODY and not name.lower().startswith(b"if-")
        ]
        self._cutter = Cutter("song")
        self._shelf: Shelf | None = None
        self._early: list[tuple[str, SeenSong]] = []

    def confirm(self, reply: Reply, shelf: Shelf | None) -> None:
        """The upstream said ok to this login with `reply`: what is kept of it may be used."""
        self.take_cookie(calls.player_cookie(reply.headers))
        self._shelf = shelf
        if shelf is not None:
            for song_id, seen in self._early:
                shelf.put(song_id, seen)

    async def ask(self, endpoint: str, **parameters: str) -> Reply:
        """One call as this user.

        Raises:
            UpstreamError: no answer.
            AnswerError: an answer that is no Subsonic answer.
            RefusedError: a failed one.
        """
        method, path, more = self._way(endpoint)
        encoded = self._login
        if parameters:
            encoded += b"&" + urlencode(parameters, quote_via=quote).encode("ascii")
        headers = [*self._headers, *more]
        body: bytes | None = None
        if self._by_form:
            body = encoded
            headers.append((b"content-length", b"%d" % len(encoded)))
        else:
            path += b"?" + encoded
        response = await self._upstream.request(method, path, headers, body)
        try:
            content = await response.read(MAX_ANSWER_BYTES)
        finally:
            await response.aclose()
        if response.status != 200:
            raise AnswerError(f"the upstream answered {endpoint} with status {response.status}")
        answer = parse(content, is_xml=self._is_xml)
        if not answer.ok:
            raise RefusedError(answer.error[0], response.headers, content)
        return Reply(answer, response.headers)

    async def song(self, song_id: str) -> tuple[Reply, Any]:
        """One song: the reply, and the song in it (XML element or JSON object)."""
        reply = await self.ask("getSong", id=song_id)
        song = reply.answer.payload("song")
        if not self._is_whole(song) or song.get("id") != song_id:
            raise AnswerError("the upstream answered getSong without the song asked for")
        return reply, song

    async def songs(
        self,
        song_ids: Sequence[str],
        until_s: float,
        confirming: asyncio.Future[Any] | None = None,
    ) -> list[SeenSong | Missing]:
        """Songs in the order asked for; `Missing` for those that did not come, or not in time.

        `until_s` is a time of the running loop. Lateness is no error: what came is given. Until
        `confirming` has ended, no more than `UNCONFIRMED` songs are asked for, and none after it if
        it ends badly; the caller must not use what is given then.
        """
        found: dict[str, SeenSong | Missing] = {}
        if self._shelf is not None:
            for song_id in song_ids:
                kept = self._shelf.take(song_id)
                if kept is not None:
                    found[song_id] = kept
        missing = [song_id for song_id in song_ids if song_id not in found]
        if missing:
            asked = await self._ask_for(missing, until_s, confirming)
            found.update(zip(missing, asked, strict=True))
        return [found[song_id] for song_id in song_ids]

    async def _ask_for(
        self, song_ids: Sequence[str], until_s: float, confirming: asyncio.Future[Any] | None
    ) -> list[SeenSong | Missing]:
        found: list[SeenSong | Missing] = [Missing.LATE] * len(song_ids)

        def take(number: int, status: int, body: bytes) -> None:
            found[number] = self._taken(song_ids[number], status, body)

        reads = self._reads(song_ids)
        unconfirmed = confirming is not None and not confirming.done()
        fetching = Fetching(
            self._upstream,
            reads,
            take,
            limit=MAX_ANSWER_BYTES,
            at_once=CONCURRENCY,
            first=UNCONFIRMED if unconfirmed else None,
            share=self._share,
        )
        if confirming is not None:
            confirming.add_done_callback(
                lambda done: fetching.stop() if _failed(done) else fetching.go_on()
            )
        await fetching.run(max(until_s - asyncio.get_running_loop().time(), 0))
        return found

    def _reads(self, song_ids: Sequence[str]) -> list[Read]:
        """getSong for each of these, as it goes over the wire."""
        method, path, more = self._way("getSong")
        line = b"%b %b%b" % (method, self._upstream.origin.base_path, path)
        tail = self._upstream.tail_of([*self._headers, *more])
        ids = (quote(song_id, safe="").encode("ascii") for song_id in song_ids)
        queries = [b"%b&id=%b" % (self._login, song_id) for song_id in ids]
        if not self._by_form:
            return [Read(b"%b?%b HTTP/1.1\r\n%b" % (line, query, tail)) for query in queries]
        head = line + b" HTTP/1.1\r\ncontent-length: "
        return [Read(b"%b%d\r\n%b" % (head, len(query), tail), query) for query in queries]

    def _way(self, endpoint: str) -> tuple[bytes, bytes, Headers]:
        """Method, path below the upstream's base, and headers beside the client's own."""
        path = b"/rest/%b.view" % endpoint.encode("ascii")
        if self._by_form:
            return b"POST", path, [(b"content-type", FORM_TYPE)]
        return b"GET", path, []

    def _taken(self, song_id: str, status: int, body: bytes) -> SeenSong | Missing:
        if status != 200:
            return Missing.LATE
        cut = None if self._is_xml else self._cutter.cut(body)
        if cut is not None:
            markup, song = cut
        else:
            try:
                answer = parse(body, is_xml=self._is_xml)
            except AnswerError:
                return Missing.LATE
            if not answer.ok:
                return Missing.HIDDEN
            song = answer.payload("song")
            if not self._is_whole(song):
                return Missing.LATE
            markup = fragment(song, is_xml=self._is_xml)
        return self._seen(song_id, song, markup)

    def _seen(self, song_id: str, song: Any, markup: bytes) -> SeenSong | Missing:
        if song.get("id") != song_id:
            return Missing.LATE
        seen = SeenSong(
            markup,
            str(song.get("title") or "")[:_LONGEST_TOLD],
            str(song.get("artist") or "")[:_LONGEST_TOLD],
            _rating(song.get("userRating")),
            bool(song.get("starred")),
        )
        if self._shelf is not None:
            self._shelf.put(song_id, seen)
        else:
            self._early.append((song_id, seen))
        return seen

    def _is_whole(self, song: Any) -> bool:
        return song is not None if self._is_xml else isinstance(song, dict)

    def take_cookie(self, cookie: bytes) -> None:
        """Further calls name this player, as a browser would, unless the client named its own."""
        if cookie and not any(name.lower() == b"cookie" for name, _ in self._headers):
            self._headers.append((b"cookie", cookie))

    async def folder_ids(self) -> set[str]:
        """The music folders that this user sees. Raises as `ask`."""
        reply = await self.ask("getMusicFolders")
        folders = reply.answer.payload("musicFolders")
        if folders is None:
            return set()
        entries = folders if reply.answer.is_xml else folders.get("musicFolder") or ()
        return {str(entry.get("id")) for entry in entries}


def _rating(value: object) -> int:
    text = str(value)
    return int(text) if text in ("1", "2", "3", "4", "5") else 0


def _failed(done: asyncio.Future[Any]) -> bool:
    return done.cancelled() or done.exception() is not None
