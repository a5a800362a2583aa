"""What a request is: which Subsonic endpoint, with which parameters, asked by whom. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase
from typing import Final
from urllib.parse import unquote

from subsonic.parameters import Parameters

Headers = Sequence[tuple[bytes, bytes]]

#: A form this large is no call of ours; it is forwarded unread.
MAX_FORM_BYTES: Final = 256 * 1024

FORM_TYPE: Final = b"application/x-www-form-urlencoded"

_LOWER: Final = str.maketrans(ascii_uppercase, ascii_lowercase)
_REST: Final = re.compile(r"/rest/([A-Za-z0-9]{1,64})(?:\.view)?")
_NATIVE_SONG: Final = re.compile(r"/api/song/([^/?]{1,64})")
_PLAYER_COOKIE: Final = re.compile(rb"nd-player-[0-9a-f]+=([^;\s]{1,64})")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, as far as the request says; believed only once the upstream said ok to it.

    Attributes:
        user: in lower case, since servers compare names so; "" where the request names nobody,
            or more than one (then nobody can tell which one the upstream takes).
        client: the `c` parameter; "" for calls of Navidrome's own API.
        agent: the User-Agent.
        player: the value of Navidrome's player cookie, "" before it is set.
    """

    user: str
    client: str = ""
    agent: str = ""
    player: str = ""


def rest_endpoint(path: str) -> str | None:
    """The endpoint of a path below `/rest/`, without `.view`; None for any other path."""
    found = _REST.fullmatch(path)
    return found.group(1) if found else None


def native_song_id(path: str) -> str | None:
    """The id in `/api/song/<id>`, which Feishin asks for when a song starts; else None."""
    found = _NATIVE_SONG.fullmatch(path)
    return unquote(found.group(1)) if found else None


def header(headers: Headers, name: bytes) -> bytes:
    """The first header of that name (lower case), b"" where there is none."""
    return next((value for key, value in headers if key.lower() == name), b"")


def is_form(headers: Headers) -> bool:
    """Whether the body is a form that is small enough to read."""
    if header(headers, b"content-type").partition(b";")[0].strip().lower() != FORM_TYPE:
        return False
    if header(headers, b"content-encoding"):
        return False
    length = header(headers, b"content-length")
    return not length or (length.isdigit() and int(length) <= MAX_FORM_BYTES)


def identify(parameters: Parameters, headers: Headers, user_header: str = "") -> Identity:
    """Who asks. `user_header` names a header that is trusted here (only its holder passes it)."""
    names = set(_names(parameters, headers))
    if user_header and (trusted := header(headers, user_header.lower().encode())):
        names.add(_fold(_decode(trusted)))
    client = parameters.first("c")
    agent = _decode(header(headers, b"user-agent"))[:500]
    found = _PLAYER_COOKIE.search(header(headers, b"cookie"))
    player = _decode(found.group(1)) if found else ""
    user = names.pop() if len(names) == 1 else ""
    return Identity(user, client[:200], agent, player)


def _names(parameters: Parameters, headers: Headers) -> Iterable[str]:
    for user in parameters.all("u"):
        yield _fold(user)
    for token in parameters.all("jwt"):
        yield _subject(token)
    for key in parameters.all("apiKey"):
        # A key stands for one user whose name it does not tell; in clear it must not be kept.
        yield "key:" + hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:32]
    bearer = _decode(header(headers, b"x-nd-authorization"))
    if bearer:
        yield _subject(bearer.removeprefix("Bearer "))
    authorization = _decode(header(headers, b"authorization"))
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "basic":
        yield _basic_user(credentials)
    elif authorization:
        yield _subject(credentials)


def _subject(token: str) -> str:
    """The user that a JSON Web Token names (RFC 7519 `sub`), unverified; "?" if unreadable."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return _fold(str(claims["sub"]))
    except (IndexError, KeyError, TypeError, ValueError, RecursionError, binascii.Error):
        return "?"


def _basic_user(credentials: str) -> str:
    try:
        text = base64.b64decode(credentials, validate=True).decode("utf-8")
    except (ValueError, binascii.Error):
        return "?"
    return _fold(text.partition(":")[0])


def _fold(name: str) -> str:
    """A user's name as servers compare it: SQLite's NOCASE knows ASCII's letters only."""
    return name.translate(_LOWER)


def _decode(value: bytes) -> str:
    return value.decode("utf-8", "replace")
