"""How an answer begins on the wire, and how its end is told: read, and written anew."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from proxy.headers import Header

#: Copying less than this is cheaper than another entry in a vectored write.
JOIN_BYTES: Final = 4096

_STATUS_LINES: Final = {status: line[:-2] for status, line in STATUS_LINE.items()}


class Framing(NamedTuple):
    """How an answer's end is told."""

    until_close: bool
    #: The connection ends with the answer.
    closes: bool
    #: It never ends: server-sent events.
    endless: bool


def read_framing(headers: Iterable[Header]) -> Framing:
    """What an upstream's headers, in any case, say of its answer's end.

    Raises:
        ValueError: a transfer coding that nobody asked for.
    """
    framed = closes = endless = False
    for name, value in headers:
        lower = name.lower()
        if lower == b"content-length":
            framed = True
        elif lower == b"transfer-encoding":
            if value.lower() != b"chunked":
                raise ValueError("a transfer coding that nobody asked for")
            framed = True
        elif lower == b"connection":
            closes = closes or b"close" in value.lower()
        elif lower == b"content-type" and value[:17].lower() == b"text/event-stream":
            endless = True
    return Framing(not framed, closes, endless)


class Head(NamedTuple):
    """The bytes of an answer's head, and what follows from it."""

    wire: bytes
    #: What `Content-Length` says; None where there is none.
    length: int | None
    #: The body goes in chunks.
    chunked: bool
    #: There is no body, whatever `length` says: HEAD, 204, 304.
    bare: bool
    keep_alive: bool
    #: It never ends (server-sent events), so a stop need not wait for it.
    endless: bool


def write_head(
    status: int,
    headers: Iterable[Header],
    *,
    method: str,
    version: str = "1.1",
    keep_alive: bool = True,
) -> Head:
    """An answer's head as it is: case, order and duplicates kept, 304 with a length.

    Args:
        headers: `Connection: close` ends the connection; it and `Transfer-Encoding` are set anew.
        method: the request's.
        version: the request's; HTTP/1.0 has no chunks, the end of the connection ends the body.
        keep_alive: whether the connection is to stay open.

    Raises:
        ValueError: a line break in a header, or a length that is no number.
    """
    lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status]
    length: int | None = None
    endless = False
    for header in headers:
        name = header[0].lower()
        if name == b"content-length":
            length = int(header[1])
        elif name == b"content-type":
            endless = header[1][:17].lower() == b"text/event-stream"
        elif name == b"connection":
            keep_alive = keep_alive and b"close" not in header[1].lower()
            continue
        elif name == b"transfer-encoding":
            continue
        lines.append(b": ".join(header))
    bare = method == "HEAD" or status == 304 or status == 204
    chunked = not bare and length is None and version == "1.1"
    if chunked:
        lines.append(b"transfer-encoding: chunked")
    if not keep_alive:
        lines.append(b"connection: close")
    wire = b"\r\n".join(lines) + b"\r\n\r\n"
    if wire.count(b"\n") != len(lines) + 1 or wire.count(b"\r") != len(lines) + 1:
        raise ValueError("a line break in a header")
    return Head(wire, length, chunked, bare, keep_alive, endless)


def one_chunk(body: bytes) -> bytes:
    """A whole body in the chunked coding."""
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
