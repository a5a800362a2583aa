"""Logins as keyed digests: which song was shown to whom, and to whom the upstream has said ok.

No login is kept in clear, and the key is made anew at each start.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Collection, Iterable
from typing import Final

from cachetools import TTLCache

from proxy.calls import Headers
from subsonic.parameters import IDENTITY, Parameters

#: How long a login is known after the upstream said ok to it, and how many are.
KNOWN_S: Final = 600.0
MOST_KNOWN: Final = 4096

#: What proves a name. The upstream judges it anew at each call, and many clients salt each anew.
PROOFS: Final = frozenset(("p", "t", "s"))

#: Headers that change from call to call and tell nothing of who asks; all others count.
_OF_A_CALL: Final = frozenset(
    (b"accept", b"accept-encoding", b"accept-language", b"cache-control", b"connection",
     b"content-length", b"content-type", b"date", b"pragma", b"priority", b"range", b"referer",
     b"traceparent", b"tracestate", b"x-request-id")
)  # fmt: skip


class Logins:
    """Makes digests, and knows those logins that the upstream said ok to a short while ago.

    To be known opens nothing: the upstream is asked all the same. But whoever shows a known login
    learns nothing from how long the refusal takes, so Segue need not wait for it before it thinks.
    """

    def __init__(self, timer: Callable[[], float]) -> None:
        self._secret = secrets.token_bytes(32)
        self._known: TTLCache[bytes, bytes] = TTLCache(MOST_KNOWN, KNOWN_S, timer)

    def digest(
        self,
        parameters: Parameters,
        headers: Headers,
        *more: bytes,
        without: Collection[str] = frozenset(),
    ) -> bytes:
        """A login with all that may tell who asks, but the parameters named in `without`.

        headers: as they go to the upstream. more: what else tells two digests apart.
        """
        digest = hashlib.blake2b(key=self._secret, digest_size=32)
        for part in (*more, *_parts(parameters, headers, without)):
            digest.update(len(part).to_bytes(8, "big"))  # so that no two sequences are one
            digest.update(part)
        return digest.digest()

    def note(self, login: bytes, cookie: bytes = b"") -> None:
        """The upstream said ok to it, and named its player by this cookie."""
        self._known[login] = cookie or self.cookie(login)

    def forget(self, login: bytes) -> None:
        """The upstream refused it."""
        self._known.pop(login, None)

    def cookie(self, login: bytes) -> bytes:
        """The cookie of the player that the upstream named to it, b"" where none is known."""
        return self._known.get(login, b"")

    def knows(self, login: bytes) -> bool:
        """Whether the upstream said ok to it lately."""
        return login in self._known


def _parts(parameters: Parameters, headers: Headers, without: Collection[str]) -> Iterable[bytes]:
    for name, value in parameters.only(IDENTITY):
        if name not in without:
            yield name.encode("utf-8", "surrogatepass")
            yield value.encode("utf-8", "surrogatepass")
    yield b"headers"
    for header, content in headers:
        lower = header.lower()
        if lower not in _OF_A_CALL and not lower.startswith((b"if-", b"sec-")):
            yield lower
            yield content
