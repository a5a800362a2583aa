"""What a request is: which Subsonic endpoint, with which parameters, asked by whom. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import unquote

from catalog.users import fold_user
from subsonic.parameters import Parameters

Headers = Sequence[tuple[bytes, bytes]]

#: A form this large is no call of ours; it is forwarded unread.
MAX_FORM_BYTES: Final = 256 * 1024

FORM_TYPE: Final = b"application/x-www-form-urlencoded"

#: What `Identity.user` begins with where only an API key tells who asks.
_KEY: Final = "key:"

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


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that may be steered or listened to.

    Attributes:
        endpoint: of the Subsonic API; "song" is `/api/song/<id>`.
        headers: those that go to the upstream.
        at_s: when it came, by the sessions' timer.
    """

    endpoint: str
    parameters: Parameters
    identity: Identity
    headers: Headers
    at_s: float


def is_named(user: str) -> bool:
    """Whether `Identity.user` is a user's own name: not a key's, and not nobody's."""
    return bool(user) and not user.startswith(_KEY)


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


def player_cookie(headers: Headers) -> bytes:
    """The cookie (name and value) by which an answer of Navidrome's names a player, b"" if none.

    It finds a player sooner by this than by user, client and agent.
    """
    for name, value in headers:
        if name.lower() == b"set-cookie" and (found := _PLAYER_COOKIE.match(value)):
            return found.group(0)
    return b""


class Body(Enum):
    """What a request's body may hold of its parameters."""

    NONE = "nothing: there is none, or it is JSON"
    FORM = "a form that is small enough to read"
    UNREAD = "perhaps parameters, that the upstream may read and we do not"


def kind_of_body(method: str, headers: Headers) -> Body:
    """How far the parameters in the query are all there are.

    Who reads less than the upstream does would take one user's call for another's: a form that is
    too large, encoded, or multipart must not be judged by its query.
    """
    if method != "POST":  # servers take parameters from the body of a POST only
        return Body.NONE
    length = header(headers, b"content-length")
    if not header(headers, b"transfer-encoding") and length in (b"", b"0"):
        return Body.NONE
    media_types = [
        value.partition(b";")[0].strip().lower()
        for name, value in headers
        if name.lower() == b"content-type"
    ]
    if media_types == [b"application/json"]:
        return Body.NONE
    small = not length or (length.isdigit() and int(length) <= MAX_FORM_BYTES)
    if media_types == [FORM_TYPE] and small and not header(headers, b"content-encoding"):
        return Body.FORM
    return Body.UNREAD


def identify(parameters: Parameters, headers: Headers, user_header: str = "") -> Identity:
    """Who asks the Subsonic API.

    Args:
        headers: as they go to the upstream (a header that ends here is no login there).
        user_header: a header that is trusted here; only its holder passes it.
    """
    return _identity(_names(parameters, headers, user_header), parameters.first("c"), headers)


def identify_native(parameters: Parameters, headers: Headers, user_header: str = "") -> Identity:
    """Who asks Navidrome's own API: by token in header, cookie or query, and by nothing else."""
    return _identity(_native_names(parameters, headers, user_header), "", headers)


def _identity(names: Iterable[str], client: str, headers: Headers) -> Identity:
    distinct = set(names)
    agent = _decode(header(headers, b"user-agent"))[:500]
    found = _PLAYER_COOKIE.search(header(headers, b"cookie"))
    player = _decode(found.group(1)) if found else ""
    user = distinct.pop() if len(distinct) == 1 else ""
    return Identity(user, client[:200], agent, player)


def _native_names(parameters: Parameters, headers: Headers, user_header: str) -> Iterable[str]:
    for name, value in headers:
        if name.lower() == b"x-nd-authorization":
            yield _subject(_decode(value).removeprefix("Bearer "))
        elif name.lower() == b"cookie":
            yield from map(_subject, _cookies(value, b"jwt"))
    for token in parameters.all("jwt"):
        yield _subject(token)
    if user_header and (trusted := header(headers, user_header.lower().encode())):
        yield fold_user(_decode(trusted))


def _cookies(value: bytes, wanted: bytes) -> Iterable[str]:
    """The values of all cookies of a name, found as leniently as servers find them.

    Go's net/http trims blanks around names and quotes around values: who read less than it does
    would take the caller for whom another cookie names.
    """
    for part in value.split(b";"):
        name, _, content = part.partition(b"=")
        if name.strip(b" \t") == wanted:
            yield _decode(content.strip(b" \t").strip(b'"'))


def _names(parameters: Parameters, headers: Headers, user_header: str) -> Iterable[str]:
    for user in parameters.all("u"):
        yield fold_user(user)
    for token in parameters.all("jwt"):
        yield _subject(token)
    for key in parameters.all("apiKey"):
        # A key stands for one user whose name it does not tell; in clear it must not be kept.
        yield _KEY + hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:32]
    if user_header and (trusted := header(headers, user_header.lower().encode())):
        yield fold_user(_decode(trusted))
    for name, value in headers:
        if name.lower() == b"x-nd-authorization":
            yield _subject(_decode(value).removeprefix("Bearer "))
        elif name.lower() == b"authorization":
            scheme, _, credentials = _decode(value).partition(" ")
            basic = scheme.lower() == "basic"
            yield _basic_user(credentials) if basic else _subject(credentials)


def _subject(token: str) -> str:
    """The user that a JSON Web Token names (RFC 7519), unverified; "" (nobody) if unreadable."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return fold_user(str(claims["sub"]))
    except (IndexError, KeyError, TypeError, ValueError, RecursionError, binascii.Error):
        return ""


def _basic_user(credentials: str) -> str:
    try:
        text = base64.b64decode(credentials, validate=True).decode("utf-8")
    except (ValueError, binascii.Error):
        return ""
    return fold_user(text.partition(":")[0])


def _decode(value: bytes) -> str:
    return value.decode("utf-8", "replace")
