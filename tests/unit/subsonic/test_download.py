"""Reading pieces of songs from servers that break off, are busy, know no ranges, or transcode."""

from __future__ import annotations

import errno
import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from subsonic import client, download
from subsonic.client import Client
from subsonic.download import Downloads
from subsonic.errors import AnswerError
from subsonic.settings import UpstreamSettings

CONTENT = bytes(range(256)) * 40


class Server(ThreadingHTTPServer):
    """A server of one song. `mood` says what goes wrong; `asked` is how it was called."""

    daemon_threads = True
    mood = ""
    busy = 2
    told = 0
    asked: list[tuple[str, str, dict[str, list[str]]]]
    at_once = 0
    most_at_once = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    lock: ClassVar = threading.Lock()

    def do_GET(self) -> None:
        self._answer("GET", parse_qs(urlsplit(self.path).query))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._answer("POST", parse_qs(body))

    def _answer(self, method: str, form: dict[str, list[str]]) -> None:
        server, mood = self.server, self.server.mood
        server.asked.append((method, self.headers["Range"], form))
        with self.lock:
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            self._give(method, form, mood)
        finally:
            with self.lock:
                server.at_once -= 1

    def _give(self, method: str, form: dict[str, list[str]], mood: str) -> None:
        if mood == "clear" and "p" not in form:
            self._fail(41)
        elif mood in {"40", "70", "50"}:
            self._fail(int(mood))
        elif mood == "busy" and self.server.busy:
            self.server.busy -= 1
            self._send(503, b"", {"Retry-After": "7"})
        elif mood == "talks":
            self._go_on("application/json")
        elif mood == "drips":
            self._go_on("audio/flac", b"x", 0.02, {"Content-Range": f"bytes 0-4999/{len(CONTENT)}"})
        elif mood == "pages":
            songs = [{"id": str(len(self.server.asked)), "path": "a.mp3", "size": 9, "title": "a"}]
            answer = {"status": "ok", "version": "1.16.1", "searchResult3": {"song": songs}}
            told = json.dumps({"subsonic-response": answer}).encode()
            self._send(200, told, {"Content-Type": "application/json"})
        elif mood == "digits":
            self._send(206, b"", {"Content-Range": f"bytes 0-4999/{'9' * 6000}"})
        elif mood == "superscripts":
            self._send(206, b"", {"Content-Range": "bytes \u00b2-\u00b2/\u00b2"})
        elif mood == "patience" and self.server.busy:
            self.server.busy -= 1
            self._send(503, b"", {"Retry-After": "9" * 400 if self.server.busy else "\u00b2"})
        elif mood == "down":
            self.close_connection = True
        elif (mood == "get" and method == "POST") or mood == "whole":
            self._send(200, CONTENT)
        else:
            first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
            total = len(CONTENT) + (1000 if mood == "transcodes" else 0)
            piece = CONTENT[first : last + 1]
            head = {"Content-Range": f"bytes {first}-{first + len(piece) - 1}/{total}"}
            if mood == "breaks" and len(piece) > 1000:
                self._send(206, piece[:1000], head, length=len(piece))
                self.close_connection = True
            else:
                self._send(206, piece, head)

    def _fail(self, code: int) -> None:
        text = '{"subsonic-response": {"status": "failed", "version": "1.16.1", "error": {"code": '
        self._send(
            200,
            f'{text}{code}, "message": "no"}}}}}}'.encode(),
            {"Content-Type": "application/json"},
        )

    def _send(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, length: int = -1
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "audio/flac", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length if length >= 0 else len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _go_on(
        self,
        kind: str,
        piece: bytes = b" " * 65_536,
        every_s: float = 0.0,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Answer without end, or until nobody listens."""
        self.send_response(206 if headers else 200)
        for name, value in {"Content-Type": kind, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        with suppress(OSError):
            while True:
                self.wfile.write(piece)
                self.server.told += len(piece)
                time.sleep(every_s)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def downloads(server: Server, slept: list[float]) -> Iterator[Downloads]:
    settings = UpstreamSettings(f"http://127.0.0.1:{server.server_port}", "me", "secret")
    with Downloads(settings, connections=2, timeout_s=5, sleep=slept.append) as downloads:
        yield downloads


def read(downloads: Downloads, offset: int = 0, size: int = 5000) -> bytes:
    return downloads.read("song 1", offset, size, len(CONTENT))


def test_a_piece_is_one_call_and_the_login_is_in_no_address(
    server: Server, downloads: Downloads
) -> None:
    assert read(downloads, 300, 4000) == CONTENT[300:4300]
    assert read(downloads, len(CONTENT) - 10, 4000) == CONTENT[-10:]
    (method, span, form), _ = server.asked
    assert (method, span) == ("POST", "bytes=300-4299")
    assert (form["id"], form["format"]) == (["song 1"], ["raw"])
    assert "p" not in form


def test_what_breaks_off_is_taken_up_where_it_broke(server: Server, downloads: Downloads) -> None:
    server.mood = "breaks"
    assert read(downloads, 100, 4500) == CONTENT[100:4600]
    assert [span for _, span, _ in server.asked] == [
        f"bytes={start}-4599" for start in range(100, 4600, 1000)
    ]


def test_a_busy_server_is_left_alone_for_as_long_as_it_says(
    server: Server, downloads: Downloads, slept: list[float]
) -> None:
    server.mood = "busy"
    assert read(downloads) == CONTENT[:5000]
    assert slept == [7.0, 7.0]


@pytest.mark.parametrize(("mood", "methods"), [("get", ["POST", "GET", "GET"]), ("clear", None)])
def test_servers_that_want_it_otherwise(
    server: Server, downloads: Downloads, mood: str, methods: list[str] | None
) -> None:
    server.mood = mood
    assert read(downloads) == CONTENT[:5000]
    assert read(downloads, 5000) == CONTENT[5000:10000]
    if methods:
        assert [method for method, *_ in server.asked] == methods
    else:
        assert [("p" in form) for *_, form in server.asked] == [False, True, True]


def test_a_server_without_ranges_still_serves(server: Server, downloads: Downloads) -> None:
    server.mood = "whole"
    assert read(downloads, 4000, 100) == CONTENT[4000:4100]


@pytest.mark.parametrize(
    ("mood", "number", "words"),
    [
        ("transcodes", errno.EIO, "transcodes"),
        ("40", errno.EACCES, "refused"),
        ("50", errno.EACCES, "refused"),
        ("70", errno.ENOENT, "refused"),
        ("down", errno.ECONNRESET, "breaks off"),
    ],
)
def test_what_cannot_be_read_is_said_as_a_mount_would(
    server: Server, downloads: Downloads, mood: str, number: int, words: str
) -> None:
    server.mood = mood
    with pytest.raises(OSError, match=words) as caught:
        read(downloads)
    assert caught.value.errno == number


def test_no_more_at_once_and_no_faster_than_allowed(server: Server) -> None:
    settings = UpstreamSettings(f"http://127.0.0.1:{server.server_port}", "me", "secret")
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    with Downloads(
        settings, connections=2, bytes_per_s=10_000, sleep=sleep, clock=lambda: now[0]
    ) as downloads:
        threads = [
            threading.Thread(target=downloads.read, args=("x", 0, 10_000, len(CONTENT)))
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert 1 <= server.most_at_once <= 2
    assert now[0] >= 5.0  # 60,000 bytes, the first second's worth at once


def test_a_refusal_without_end_is_read_no_further(server: Server, downloads: Downloads) -> None:
    server.mood = "talks"
    with pytest.raises(OSError, match="refused the download") as caught:
        read(downloads)
    assert caught.value.errno == errno.EACCES
    assert server.told < 64 * 2**20


def test_a_byte_now_and_then_is_no_answer(
    server: Server, downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.mood = "drips"
    monkeypatch.setattr(download, "_SLOW_START_S", 0.3)
    with pytest.raises(OSError, match=r"gave \d+ bytes in") as caught:
        read(downloads)
    assert caught.value.errno == errno.ETIMEDOUT


@pytest.mark.parametrize("mood", ["digits", "superscripts"])
def test_a_range_that_is_no_number_is_one_clear_error(
    mood: str, server: Server, downloads: Downloads
) -> None:
    server.mood = mood
    with pytest.raises(OSError, match="answered a range with status 206") as caught:
        read(downloads)
    assert caught.value.errno == errno.EIO
    server.mood = ""
    assert read(downloads) == CONTENT[:5000]  # the next song


def test_a_wait_that_is_no_number_counts_as_none(
    server: Server, downloads: Downloads, slept: list[float]
) -> None:
    server.mood = "patience"
    assert read(downloads) == CONTENT[:5000]
    assert slept == [0.5, 1.0]


@pytest.mark.anyio
async def test_a_listing_without_end_is_one_clear_error(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.mood = "talks"
    monkeypatch.setattr(client, "_MOST_ANSWER_BYTES", 2**20)
    settings = UpstreamSettings(f"http://127.0.0.1:{server.server_port}", "me", "secret")
    async with Client(settings) as asking:
        with pytest.raises(AnswerError, match="with more than 1 MiB"):
            await asking.native_songs()
    assert server.told < 64 * 2**20


@pytest.mark.anyio
async def test_a_list_that_always_has_another_page_ends(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.mood = "pages"
    monkeypatch.setattr(client, "_MOST_SONGS", 5)
    settings = UpstreamSettings(f"http://127.0.0.1:{server.server_port}", "me", "secret")
    async with Client(settings) as asking:
        with pytest.raises(AnswerError, match="more than 5 songs"):
            [song async for song in asking.songs()]
