"""Answers of our own, in the upstream's clothes: its envelope, its headers, the client's format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proxy import calls, headers
from proxy.decisions import Plan
from proxy.hydration import RefusedError, Reply
from proxy.shelves import SeenSong
from subsonic.envelope import Format, compose, wanted_format, wrap
from subsonic.parameters import Parameters

#: The upstream's, about a body that is not the one we send.
_NOT_OURS: Final = frozenset(
    (b"content-length", b"content-encoding", b"transfer-encoding", b"content-type", b"etag",
     b"last-modified", b"date")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Composed:
    """A whole answer: raw headers with the body's length, and the body."""

    headers: list[tuple[bytes, bytes]]
    body: bytes


def marks(what: str, own_ms: float) -> list[tuple[bytes, bytes]]:
    """The headers that tell Segue's part in a call that may be steered."""
    return [
        (b"X-Segue", what.encode("ascii")),
        (b"Server-Timing", b"segue;dur=%.1f" % own_ms),
    ]


def refusal(parameters: Parameters, refused: RefusedError) -> Composed:
    """The upstream's own refusal of a login as the answer to the client's call."""
    wanted = wanted_format(parameters)
    body = wrap(refused.body, wanted, parameters.first("callback"))
    media_type = calls.header(refused.headers, b"content-type")
    if wanted is Format.JSONP or not media_type:
        media_type = wanted.media_type.encode("ascii")
    return Composed(
        [
            (b"Content-Type", media_type),
            *_kept(refused.headers),
            (b"Content-Length", b"%d" % len(body)),
            *marks("forwarded; reason=failed", 0.0),
        ],
        body,
    )


def dress(plan: Plan, template: Reply, songs: Sequence[SeenSong]) -> Composed:
    """These songs as the answer to a plan, with what the upstream put on its own answer."""
    found = compose(template.answer, plan.listing, [song.markup for song in songs])
    body = wrap(found, plan.format, plan.callback)
    media_type = calls.header(template.headers, b"content-type")
    if plan.format is Format.JSONP or not media_type:
        media_type = plan.format.media_type.encode("ascii")
    length = (b"Content-Length", b"%d" % len(body))
    return Composed([(b"Content-Type", media_type), *_kept(template.headers), length], body)


def _kept(raw: calls.Headers) -> list[tuple[bytes, bytes]]:
    kept = [
        (name, value)
        for name, value in headers.response_headers(raw)
        if name.lower() not in _NOT_OURS
    ]
    return [*kept, *((name, value) for name, value in raw if name.lower() == b"date")]
