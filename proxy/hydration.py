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
from urllib.parse import urlencode

from proxy.calls import FORM_TYPE, Headers
from proxy.errors import UpstreamError
from proxy.shelves import SeenSong, Shelf
from proxy.upstream import Upstream
from subsonic.envelope import Answer, Format, fragment, parse
from subsonic.errors import AnswerError
from subsonic.parameters import IDENTITY, Parameters

#: A song is a few kB; an answer larger than this is none.
MAX_ANSWER_BYTES: Final = 1024 * 1024

#: Asked at once for one request: what one listener may take of a small server.
CONCURRENCY: Final = 8

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
    """

    def __init__(
        self,
        upstream: Upstream,
        parameters: Parameters,
        headers: Headers,
        wanted: Format,
        *,
        by_form: bool,
    ) -> None:
        self._upstream = upstream
        self._is_xml = wanted is Format.XML
        form = "xml" if self._is_xml else "json"
        self._login = parameters.only(IDENTITY).with_values(f=form).encode()
        self._by_form = by_form
        self._headers = [
            (name, value)
            for name, value in headers
            if name.lower() not in _ABOUT_THE_BODY and not name.lower().startswith(b"if-")
        ]
        self._slots = asyncio.Semaphore(CONCURRENCY)
        #: What is kept of this login; to be set once the upstream has said ok to it.
        self.shelf: Shelf | None = None

    async def ask(self, endpoint: str, **parameters: str) -> Reply:
        """One call as this user.

        Raises:
            UpstreamError: no answer.
            AnswerError: an answer that is no Subsonic answer.
            RefusedError: a failed one.
        """
        encoded = self._login
        if parameters:
            encoded += b"&" + urlencode(parameters).encode("ascii")
        target = b"/rest/%s.view" % endpoint.encode("ascii")
        headers = list(self._headers)
        body: bytes | None = None
        method = b"GET"
        if self._by_form:
            method, body = b"POST", encoded
            headers += [
                (b"content-type", FORM_TYPE),
                (b"content-length", b"%d" % len(encoded)),
            ]
        else:
            target += b"?" + encoded
        async with self._slots:
            response = await self._upstream.request(method, target, headers, body)
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
        whole = song is not None if self._is_xml else isinstance(song, dict)
        if not whole or song.get("id") != song_id:
            raise AnswerError("the upstream answered getSong without the song asked for")
        return reply, song

    async def songs(self, song_ids: Sequence[str], until_s: float) -> list[SeenSong | Missing]:
        """Songs in the order asked for; `Missing` for those that did not come, or not in time.

        `until_s` is a time of the running loop. Lateness is no error: what came is given.
        """
        found: dict[str, SeenSong | Missing] = {}
        if self.shelf is not None:
            for song_id in song_ids:
                kept = self.shelf.take(song_id)
                if kept is not None:
                    found[song_id] = kept
        missing = [song_id for song_id in song_ids if song_id not in found]
        if missing:
            asked = await self._ask_for(missing, until_s)
            found.update(zip(missing, asked, strict=True))
        return [found[song_id] for song_id in song_ids]

    async def _ask_for(self, song_ids: Sequence[str], until_s: float) -> list[SeenSong | Missing]:
        tasks = [asyncio.ensure_future(self._song_or_missing(song_id)) for song_id in song_ids]
        timeout_s = max(until_s - asyncio.get_running_loop().time(), 0)
        try:
            await asyncio.wait(tasks, timeout=timeout_s)
        finally:
            late = [task for task in tasks if not task.done()]
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        return [Missing.LATE if task.cancelled() else task.result() for task in tasks]

    async def _song_or_missing(self, song_id: str) -> SeenSong | Missing:
        try:
            _, song = await self.song(song_id)
        except RefusedError:
            return Missing.HIDDEN
        except (UpstreamError, AnswerError):
            return Missing.LATE
        seen = SeenSong(
            fragment(song, is_xml=self._is_xml),
            str(song.get("title") or "")[:_LONGEST_TOLD],
            str(song.get("artist") or "")[:_LONGEST_TOLD],
            str(song.get("userRating")) == "1",
        )
        if self.shelf is not None:
            self.shelf.put(song_id, seen)
        return seen

    async def folder_ids(self) -> set[str]:
        """The music folders that this user sees. Raises as `ask`."""
        reply = await self.ask("getMusicFolders")
        folders = reply.answer.payload("musicFolders")
        if folders is None:
            return set()
        entries = folders if reply.answer.is_xml else folders.get("musicFolder") or ()
        return {str(entry.get("id")) for entry in entries}
