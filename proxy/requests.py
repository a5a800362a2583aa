"""Requests as they go over the wire, and which of them may be sent twice. Pure."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

_SAFE_METHODS: Final = frozenset((b"GET", b"HEAD", b"OPTIONS"))
#: Subsonic calls that only read; GETs such as scrobble, star or createPlaylist write.
_READS: Final = re.compile(rb"(get|ping$|search|stream$|download$|hls)")

#: A few short paths are most calls; long ones would only fill the memory of a cache.
_SHORT: Final = 100


def may_repeat(method: bytes, target: bytes, body: bytes | AsyncIterator[bytes] | None) -> bool:
    """Whether this very request, with its body, can and may be sent a second time."""
    return (body is None or isinstance(body, bytes)) and is_repeatable(method, target)


def is_repeatable(method: bytes, target: bytes) -> bool:
    """Whether sending a request twice does what sending it once does.

    A method that promises so is not enough: Subsonic scrobbles and deletes by GET. Nor is it
    needed: Feishin reads by form POST.
    """
    path = target.partition(b"?")[0]
    known = _is_repeatable if len(path) <= _SHORT else _is_repeatable.__wrapped__
    return known(method, path)


@lru_cache(maxsize=1024)
def _is_repeatable(method: bytes, path: bytes) -> bool:
    path = path.lower()
    if b"%" in path:
        path = unquote_to_bytes(path).lower()
    if b"/rest/" not in path:
        return method in _SAFE_METHODS
    name = path.rpartition(b"/rest/")[2].removesuffix(b".view")
    return (method in _SAFE_METHODS or method == b"POST") and _READS.match(name) is not None


def request_head(
    method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]], more: bytes = b""
) -> bytes:
    """Request line and headers as they go over the wire.

    Raises:
        ValueError: a line break or blank where it would change the request's meaning.
    """
    lines = [b"%b %b HTTP/1.1" % (method, target)]
    lines += map(b": ".join, headers)
    head = b"\r\n".join(lines) + b"\r\n" + more + b"\r\n"
    breaks = len(lines) + 1 + more.count(b"\n")
    if head.count(b"\n") != breaks or head.count(b"\r") != breaks or lines[0].count(b" ") != 2:
        raise ValueError("a line break or blank in a request's target or headers")
    return head
