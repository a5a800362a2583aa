"""Pieces of a server's own files, by `download` with ranges: never transcoded, never in a hurry.

For who needs a few hundred kilobytes of each song and would rather not fetch them all. Blocking,
for use from several threads.
"""

from __future__ import annotations

import errno
import re
import threading
import time
from collections.abc import Callable
from typing import Final, Self
from urllib.parse import unquote, urlsplit

import httpx2

from subsonic.client import read_password
from subsonic.envelope import parse
from subsonic.errors import (
    MISSING_PARAMETER,
    NOT_FOUND,
    TOKEN_UNSUPPORTED,
    WRONG_LOGIN,
    AnswerError,
)
from subsonic.login import CLIENT_NAME, login_parameters
from subsonic.settings import UpstreamSettings

_TIMEOUT_S: Final = 30.0

#: A piece is asked for so often before the server is taken for gone, each wait twice the last.
_ATTEMPTS: Final = 5
_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 60.0

#: More digits than the length of any file has are nobody's honest answer.
_RANGE: Final = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")
_NUMBER: Final = re.compile(r"[0-9]{1,19}")
#: A refusal is a few hundred bytes; what is longer is none.
_MOST_REFUSAL_BYTES: Final = 64 * 1024
#: A server may be slow, but one that gives a byte now and then would keep a job for days.
_SLOW_START_S: Final = 60.0
_SLOWEST_BYTES_PER_S: Final = 1000.0

_REFUSED: Final = (MISSING_PARAMETER, WRONG_LOGIN, TOKEN_UNSUPPORTED)


class Downloads:
    """One account's reading of songs. Use as a context manager.

    At most `connections` requests at once and `bytes_per_s` bytes a second in all (0: no limit), so
    that somebody's music goes on playing.
    """

    def __init__(
        self,
        settings: UpstreamSettings,
        *,
        connections: int,
        bytes_per_s: float = 0.0,
        timeout_s: float = _TIMEOUT_S,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(settings.url)
        transport = None
        self._base = settings.url.rstrip("/")
        if parts.scheme == "http+unix":
            transport = httpx2.HTTPTransport(uds=unquote(parts.netloc))
            self._base = f"http://localhost{parts.path.rstrip('/')}"
        self._http = httpx2.Client(
            timeout=timeout_s,
            transport=transport,
            headers={"User-Agent": CLIENT_NAME, "Accept-Encoding": "identity"},
            trust_env=False,
        )
        self._username = settings.username
        self._password = read_password(settings)
        self._in_clear = False
        # A form keeps the login out of the server's log; some servers know ranges of GET only.
        self._method = "POST"
        self._slots = threading.BoundedSemaphore(connections)
        self._bytes_per_s = bytes_per_s
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        self._free_s = 0.0
        self.requests = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def read(self, song_id: str, offset: int, size: int, total: int) -> bytes:
        """`size` bytes of a song's file from `offset` on; `total` is how long the file is.

        What breaks off is taken up where it broke.

        Raises:
            OSError: ENOENT, EACCES for this song; ETIMEDOUT, ECONNRESET, EHOSTUNREACH when the
                server is not there; EIO when it gives another file than it listed.
        """
        size = min(size, total - offset)
        content = bytearray()
        attempts = 0
        with self._slots:
            pace = _Pace(self._clock, self._base)
            while len(content) < size:
                before = len(content)
                try:
                    wait_s = self._read_some(song_id, offset, size, total, content, pace)
                except httpx2.HTTPError as error:
                    broke: httpx2.HTTPError | None = error
                    wait_s = 0.0
                else:
                    broke = None
                if len(content) >= size:
                    break
                attempts = 1 if len(content) > before else attempts + 1
                if attempts >= _ATTEMPTS:
                    raise _lost(broke, self._base)
                backoff_s = _FIRST_WAIT_S * 2 ** (attempts - 1)
                pause_s = min(max(wait_s, backoff_s), _LONGEST_WAIT_S)
                self._sleep(pause_s)
                pace.paused_s += pause_s
        return bytes(content)

    def _read_some(
        self,
        song_id: str,
        offset: int,
        size: int,
        total: int,
        content: bytearray,
        pace: _Pace,
    ) -> float:
        """Append what one request gives; returns how long the server wants to be left alone."""
        start = offset + len(content)
        with self._lock:
            method, in_clear = self._method, self._in_clear
            self.requests += 1
        # Navidrome may be set to transcode downloads; "raw" is the file.
        form = {
            **login_parameters(self._username, self._password, in_clear=in_clear),
            "id": song_id,
            "format": "raw",
        }
        headers = {"Range": f"bytes={start}-{offset + size - 1}"}
        url = f"{self._base}/rest/download.view"
        options = {"data": form} if method == "POST" else {"params": form}
        with self._http.stream(method, url, headers=headers, **options) as response:  # type: ignore[arg-type]
            status = response.status_code
            if status in {429, 502, 503, 504}:
                return _seconds(response.headers.get("Retry-After", ""))
            kind = response.headers.get("Content-Type", "")
            if "json" in kind or "xml" in kind or status >= 400:
                self._explain(response, in_clear)
                return 0.0
            if status == 200 and method == "POST":
                with self._lock:  # the whole file: it does not know ranges of forms
                    self._method = "GET"
                return 0.0
            skip = 0
            if status == 200:
                length = response.headers.get("Content-Length", "")
                found, skip = (int(length) if _NUMBER.fullmatch(length) else total), start
            else:
                match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
                if status != 206 or not match or int(match[1]) != start:
                    raise OSError(errno.EIO, f"{self._base} answered a range with status {status}")
                found = int(match[3])
            if found != total:
                raise OSError(
                    errno.EIO,
                    f"{self._base} gives {found} bytes instead of {total}: it transcodes, or the"
                    " file has changed since it was scanned",
                )
            for chunk in response.iter_raw():
                pace.paused_s += self._spend(len(chunk))
                pace.check(len(chunk))
                content += chunk[skip:] if skip < len(chunk) else b""
                skip = max(0, skip - len(chunk))
                if len(content) >= size:
                    del content[size:]
                    break
        return 0.0

    def _explain(self, response: httpx2.Response, in_clear: bool) -> None:
        """A refusal: log in otherwise, or raise what it means."""
        try:
            answer = parse(_start_of(response), is_xml="xml" in response.headers["Content-Type"])
            code, message = (0, "") if answer.ok else answer.error
        except (AnswerError, KeyError):
            code, message = 0, f"status {response.status_code}"
        if code in _REFUSED and not in_clear:
            with self._lock:
                self._in_clear = True
            return
        what = f"{self._base} refused the download: {message or response.status_code}"
        if code == NOT_FOUND or response.status_code == 404:
            raise OSError(errno.ENOENT, what)
        if response.status_code >= 500:
            raise OSError(errno.EIO, what)
        raise OSError(errno.EACCES, what)

    def _spend(self, size: int) -> float:
        """Wait until so many bytes are within the rate; returns how long that was, in seconds."""
        if not self._bytes_per_s:
            return 0.0
        with self._lock:
            now = self._clock()
            # After a pause a second's worth may come at once, and no more.
            self._free_s = max(self._free_s, now - 1.0) + size / self._bytes_per_s
            wait_s = self._free_s - now
        if wait_s > 0:
            self._sleep(wait_s)
        return max(wait_s, 0.0)


class _Pace:
    """How fast a piece comes, but for the pauses that we make."""

    def __init__(self, clock: Callable[[], float], base: str) -> None:
        self._clock = clock
        self._base = base
        self._begun_s = clock()
        self._received = 0
        self.paused_s = 0.0

    def check(self, size: int) -> None:
        """Count bytes; raise ETIMEDOUT where they are too few."""
        self._received += size
        taken_s = self._clock() - self._begun_s - self.paused_s
        if taken_s > _SLOW_START_S + self._received / _SLOWEST_BYTES_PER_S:
            what = f"{self._base} gave {self._received} bytes in {taken_s:.0f} s"
            raise OSError(errno.ETIMEDOUT, what)


def _start_of(response: httpx2.Response) -> bytes:
    """As much of an answer as a refusal can have: some never end."""
    content = bytearray()
    for chunk in response.iter_raw():
        content += chunk
        if len(content) >= _MOST_REFUSAL_BYTES:
            break
    return bytes(content)


def _seconds(text: str) -> float:
    """`Retry-After` in seconds; dates are rare here and count as none."""
    return float(text) if _NUMBER.fullmatch(text) else 0.0


def _lost(error: httpx2.HTTPError | None, base: str) -> OSError:
    """What the system would say if the server were a mount."""
    for kind, number in (
        (httpx2.TimeoutException, errno.ETIMEDOUT),
        (httpx2.ConnectError, errno.EHOSTUNREACH),
    ):
        if isinstance(error, kind):
            return OSError(number, f"no answer from {base}")
    return OSError(errno.ECONNRESET, f"{base} breaks off again and again")
