"""What a call that is forwarded tells about a session, and whether the upstream said ok to it."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from typing import Final

from starlette.types import Message, Send

from proxy.calls import Headers, Identity, header
from proxy.plays import Evidence
from proxy.session import LATE_S, QUEUE_SEPARATOR
from proxy.sessions import Sessions
from subsonic.envelope import parse
from subsonic.errors import AnswerError
from subsonic.parameters import Parameters

#: What is kept of an answer to read it whole; of a longer one its beginning must tell.
_MOST_BYTES: Final = 64 * 1024

_BEGINS: Final = {
    True: re.compile(
        rb'\s*+(?:<\?xml[^>]{0,200}>\s*+)?<subsonic-response\b[^>]{0,500}?\sstatus="([a-z]+)"'
    ),
    False: re.compile(
        rb'\s*+(?:[\w$.]{1,200}\()?\s*+\{\s*"subsonic-response"\s*:\s*\{\s*"status"\s*:\s*"([a-z]+)"'
    ),
}

_LONGEST_FAILURE: Final = 2048

#: "deflate" is zlib's format (RFC 9110), and by many servers raw deflate.
_WINDOWS: Final = {
    b"gzip": (zlib.MAX_WBITS | 16,),
    b"deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS),
}

MOST_QUEUED: Final = 5000

#: Clients that were offline send what was heard meanwhile in one call.
MOST_SCROBBLED: Final = 500

#: Longer ones are no ids; a server may say ok to any text.
LONGEST_ID: Final = 64

#: Stars come by the album; more than this at once is no taste.
MOST_STARRED: Final = 100

#: What a scrobble says of when a song was heard, at most so long ago (in ms since 1970).
MOST_AGO_S: Final = 400 * 86_400.0

#: Calls after which a song that was shown before may look different to its user; see `changes`.
WRITES: Final = frozenset(
    ("scrobble", "star", "unstar", "setRating", "createBookmark", "deleteBookmark")
)

OBSERVED: Final = frozenset(
    ("reportPlayback", "getTranscodeDecision", "savePlayQueue", "savePlayQueueByIndex", *WRITES)
)


def changes(endpoint: str, parameters: Parameters) -> bool:
    """Whether a song that was shown before may look different to its user after an observed call.

    Plays, stars, ratings and bookmarks are part of a song. A report of playback counts as a play
    once it tells of the end (OpenSubsonic, playbackReport).
    """
    if endpoint == "reportPlayback":
        return parameters.first("state") == "stopped"
    return endpoint in WRITES


def observe(
    sessions: Sessions,
    identity: Identity,
    endpoint: str,
    parameters: Parameters,
    at_s: float,
    wall_s: float = 0.0,
) -> None:
    """Take an accepted call into the session. `endpoint` "song" is Navidrome's `/api/song/<id>`.

    `wall_s` is the time since 1970 that belongs to `at_s`, for calls that tell times themselves.
    """
    session = sessions.get(identity, at_s)
    if session is None:
        return
    name = "mediaId" if endpoint in ("getTranscodeDecision", "reportPlayback") else "id"
    ids = [song_id for song_id in parameters.all(name) if _is_id(song_id)]
    if endpoint.startswith("savePlayQueue"):
        session.note_queue(ids[:MOST_QUEUED], at_s)
    if not ids:
        return
    if endpoint == "song":
        sessions.note_playing(identity, ids[0], at_s, Evidence.STARTS)
    elif endpoint == "getTranscodeDecision":
        if parameters.first("mediaType", "song") == "song":
            sessions.note_playing(identity, ids[0], at_s, Evidence.DECISION)
    elif endpoint == "reportPlayback":
        state = parameters.first("state")
        if state in ("starting", "playing"):
            sessions.note_playing(identity, ids[0], at_s, Evidence.REPORT)
        elif state == "paused":
            session.note_paused(ids[0], at_s)
        elif state == "stopped":
            session.note_stopped(ids[0], parameters.integer("positionMs", 0) / 1000, at_s)
    elif endpoint == "scrobble":
        if not parameters.boolean("submission", True):
            sessions.note_playing(identity, ids[-1], at_s, Evidence.REPORT)
        else:
            times = parameters.all("time")
            for number, song_id in enumerate(ids[:MOST_SCROBBLED]):
                ago_s = _ago_s(times[number] if number < len(times) else "", wall_s)
                if ago_s <= LATE_S:
                    session.note_completed(song_id, at_s)
                session.note_liking("plays", song_id, 1.0, at_s - ago_s)
    elif endpoint in ("star", "unstar"):
        for song_id in ids[:MOST_STARRED]:
            session.note_liking(f"{endpoint}s", song_id, 0.0, at_s)
    elif endpoint == "setRating":
        rating = parameters.integer("rating", -1)
        if 0 <= rating <= 5:
            session.note_liking("rates", ids[0], float(rating), at_s)


def _is_id(text: str) -> bool:
    return 0 < len(text) <= LONGEST_ID and QUEUE_SEPARATOR not in text


def _ago_s(text: str, wall_s: float) -> float:
    """How long ago a time in ms since 1970 is; 0 for none, for nonsense and for the future."""
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        return 0.0
    ago_s = wall_s - int(text) / 1000
    return ago_s if 0 < ago_s <= MOST_AGO_S else 0.0


class OkTap:
    """Passes an answer on untouched and looks at it on the way: was it ok?

    Args:
        is_xml: the answer is Subsonic's XML rather than JSON (or JSONP).
        song_id: for Navidrome's own API: the song that an ok answer describes. A web page that
            is given for any path says 200, too.
        on_ok: called once, when the last piece of an ok answer has been handed on.
        before_end: called once, before the last piece is handed on: was the answer ok (None: it
            cannot be read)?
        marks: headers to add, given whether the upstream may have said "failed". The answer's
            head then waits for its first piece.
    """

    def __init__(
        self,
        send: Send,
        *,
        is_xml: bool,
        on_ok: Callable[[], None],
        song_id: str = "",
        before_end: Callable[[bool | None], None] | None = None,
        marks: Callable[[bool], list[tuple[bytes, bytes]]] | None = None,
    ) -> None:
        self._send = send
        self._is_xml = is_xml
        self._song_id = song_id
        self._on_ok = on_ok
        self._before_end = before_end
        self._marks = marks
        self._head: Message | None = None
        self._status = 0
        self._headers: Headers = ()
        self._body = bytearray()
        self._whole = True

    async def __call__(self, message: Message) -> None:
        """The ASGI `send`."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = message["headers"]
            self._head = message
            if self._marks is None:
                await self._pass_head()
            return
        is_body = message["type"] == "http.response.body"
        last = is_body and not message.get("more_body", False)
        if is_body:
            self._take(message.get("body", b""))
        said_ok = self.said_ok(complete=True) if last else None
        if last and self._before_end is not None:
            self._before_end(said_ok)
        await self._pass_head(last)
        await self._send(message)
        if said_ok:
            self._on_ok()

    async def _pass_head(self, last: bool = False) -> None:
        head, self._head = self._head, None
        if head is None:
            return
        if self._marks is not None:
            marks = self._marks(self._may_have_failed(last))
            head = {**head, "headers": [*head["headers"], *marks]}
        await self._send(head)

    def _take(self, piece: bytes) -> None:
        room = _MOST_BYTES - len(self._body)
        self._whole = self._whole and len(piece) <= room
        self._body += piece[:room]

    def _may_have_failed(self, last: bool) -> bool:
        """Failures are short, so what is long is none; what cannot be read may be one."""
        body = self._decoded()
        return self.said_ok(last) is not True and (body is None or len(body) < _LONGEST_FAILURE)

    def _decoded(self) -> bytes | None:
        return _decoded(bytes(self._body), header(self._headers, b"content-encoding"))

    def said_ok(self, complete: bool) -> bool | None:
        """Whether the answer is ok as far as it came; None where that cannot be told (yet)."""
        if self._status != 200:
            return False
        body = self._decoded()
        if body is None:
            return None
        if self._song_id:
            return self._whole and complete and _is_song(body, self._song_id)
        found = _BEGINS[self._is_xml].match(body)
        if found:
            return found.group(1) == b"ok"
        if not self._whole:
            return None
        try:  # "status" need not come first
            return parse(_unwrapped(body, self._is_xml), is_xml=self._is_xml).ok
        except AnswerError:
            return False if complete else None


def _is_song(body: bytes, song_id: str) -> bool:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("id") == song_id


def _unwrapped(body: bytes, is_xml: bool) -> bytes:
    """A JSONP answer without its callback."""
    if is_xml or body[:1] == b"{":
        return body
    start, end = body.find(b"("), body.rfind(b")")
    return body[start + 1 : end] if 0 <= start < end else body


def _decoded(body: bytes, encoding: bytes) -> bytes | None:
    """The body without gzip or deflate, up to a bound; None where it cannot be read."""
    if not encoding or encoding == b"identity":
        return body
    for window in _WINDOWS.get(encoding.lower(), ()):
        try:
            return zlib.decompressobj(window).decompress(body, _MOST_BYTES)
        except zlib.error:
            continue
    return None
