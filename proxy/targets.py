"""What a request line asks for, as an origin server is asked (RFC 9112 §3.2)."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes


class TargetError(Exception):
    """The target is none that a server is asked for; `status` is the answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"no target for a server ({status})")
        self.status = status


def origin_form(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """(target below the host, host that an absolute form names or b"").

    Raises:
        TargetError: neither a path, nor `*` with OPTIONS, nor an http(s) URL.
    """
    if method == b"CONNECT":  # whatever it names: we tunnel for nobody
        raise TargetError(405)
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target, b""
    scheme, colon, rest = target.partition(b"://")
    if not colon or scheme.lower() not in (b"http", b"https"):
        raise TargetError(400)
    cut = min((at for at in map(rest.find, (b"/", b"?", b"#")) if at >= 0), default=len(rest))
    authority, below = rest[:cut], rest[cut:]
    if not authority or b"@" in authority:
        raise TargetError(400)
    return below if below.startswith(b"/") else b"/" + below, authority


def climbs(target: bytes) -> bool:
    """Whether a path holds `..`, in any way that some server takes for it.

    Below a base path this may lead out of it; without one there is nothing to be led out of.
    """
    path = target.partition(b"?")[0]
    if b"%" in path:
        path = unquote_to_bytes(path)
    if b".." not in path:
        return False
    segments = path.replace(b"\\", b"/").split(b"/")
    return any(segment.partition(b";")[0].rstrip(b"\0 \t") == b".." for segment in segments)
