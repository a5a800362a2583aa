"""Where things are, where Segue's base path and the upstream's differ: redirects and cookies."""

from __future__ import annotations

from collections.abc import Iterable

Header = tuple[bytes, bytes]


def relocate(headers: Iterable[Header], inner: bytes, outer: bytes, host: bytes) -> list[Header]:
    """An answer's headers with the upstream's base path replaced by Segue's.

    Args:
        headers: the answer's.
        inner: the upstream's base path, b"" or without a slash at its end.
        outer: Segue's.
        host: what the client calls this server; absolute redirects to others stay as they are.

    Returns:
        The same with `Location`, `Content-Location` and the `Path` of cookies as the client needs
        them; whatever lies outside the upstream's base path stays as it is.
    """
    moved = []
    for name, value in headers:
        lower = name.lower()
        if lower in (b"location", b"content-location"):
            moved.append((name, _relocate_url(value, inner, outer, host)))
        elif lower == b"set-cookie":
            moved.append((name, _relocate_cookie(value, inner, outer)))
        else:
            moved.append((name, value))
    return moved


def _relocate_url(url: bytes, inner: bytes, outer: bytes, host: bytes) -> bytes:
    if url.startswith(b"/") and not url.startswith(b"//"):
        return _relocate_path(url, inner, outer)
    scheme, separator, rest = url.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        return url
    authority, slash, path = rest.partition(b"/")
    if not slash or authority.lower() != host.lower():
        return url
    return scheme + separator + authority + _relocate_path(slash + path, inner, outer)


def _relocate_cookie(cookie: bytes, inner: bytes, outer: bytes) -> bytes:
    parts = cookie.split(b";")
    for at, part in enumerate(parts[1:], 1):
        name, _, path = part.partition(b"=")
        if name.strip().lower() == b"path" and path.strip().startswith(b"/"):
            moved = _relocate_path(path.strip(), inner, outer)
            parts[at] = name + b"=" + moved
    return b";".join(parts)


def _relocate_path(path: bytes, inner: bytes, outer: bytes) -> bytes:
    if not path.startswith(inner) or path[len(inner) : len(inner) + 1] not in (
        b"/",
        b"?",
        b"#",
        b"",
    ):
        return path
    return outer + path[len(inner) :] or b"/"
