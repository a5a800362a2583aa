"""Many small calls of a server at once by the least client there can be: what they cost at best."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit


class Bare:
    """Kept connections to one server; answers are read to their end and thrown away.

    Args:
        most: connections, one for each call that may be under way.
    """

    def __init__(self, url: str, most: int) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "", parts.port or 80
        self._sockets = [self._connect() for _ in range(most)]

    def _connect(self) -> socket.socket:
        one = socket.create_connection(self._address, timeout=30)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return one

    def _look_after(self) -> None:
        """Servers close what is not used."""
        with selectors.DefaultSelector() as selector:
            for number, one in enumerate(self._sockets):
                selector.register(one, selectors.EVENT_READ, number)
            closed = [key.data for key, _ in selector.select(0)]
        for number in closed:
            self._sockets[number].close()
            self._sockets[number] = self._connect()

    def fetch(self, targets: Sequence[str], at_once: int) -> float:
        """Milliseconds for all of these, so many at once. Raises ValueError for an odd answer."""
        self._look_after()
        host = f"{self._address[0]}:{self._address[1]}"
        waiting = deque(
            f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() for target in targets
        )
        left = len(waiting)
        started = time.perf_counter()
        with selectors.DefaultSelector() as selector:
            for one in self._sockets[: min(at_once, left)]:
                selector.register(one, selectors.EVENT_READ, bytearray())
                one.sendall(waiting.popleft())
            while left:
                for key, _ in selector.select():
                    one, came = key.fileobj, key.data
                    assert isinstance(one, socket.socket)
                    if not (piece := one.recv(65536)):
                        raise ValueError("the server closed a connection in use")
                    came += piece
                    if not _is_whole(came):
                        continue
                    came.clear()
                    left -= 1
                    if waiting:
                        one.sendall(waiting.popleft())
        return (time.perf_counter() - started) * 1000

    def close(self) -> None:
        """Close all connections."""
        for one in self._sockets:
            one.close()


@contextlib.contextmanager
def connected(url: str, most: int) -> Iterator[Bare]:
    """A client, closed at the end."""
    bare = Bare(url, most)
    try:
        yield bare
    finally:
        bare.close()


def _is_whole(answer: bytearray) -> bool:
    head, end, body = bytes(answer).partition(b"\r\n\r\n")
    if not end:
        return False
    if not head.startswith(b"HTTP/1.1 200"):
        raise ValueError(f"an odd answer: {head[:80]!r}")
    _, _, length = head.lower().partition(b"\r\ncontent-length:")
    return len(body) >= int(length.split(b"\r\n", 1)[0])
