"""nginx/*.conf with a real nginx, where there is one: who is asked what, headers, fall-back."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from proxy.observation import OBSERVED
from proxy.steering import STEERED as STEERED_BY_SEGUE
from tests.unit.nginx.front import (
    CONFIGURATIONS,
    FOLDER,
    free_port,
    nginx_in_front,
    nginx_program,
    write_configuration,
)

STEERED = ("getSimilarSongs", "getSimilarSongs2.view", "getRandomSongs")
REPORTS = ("scrobble.view", "reportPlayback", "star", "unstar", "setRating", "savePlayQueue.view",
           "savePlayQueueByIndex", "getTranscodeDecision", "createBookmark",
           "deleteBookmark.view")  # fmt: skip
OTHERS = ("/rest/ping.view", "/rest/getSong", "/rest/stream?id=1", "/app/", "/api/song",
          "/api/song/1/x", "/rest/getSimilarSongs3", "/rest/scrobbles", "/api/events")  # fmt: skip


class Echo(HTTPServer):
    """Says its name and what it was asked, in HTTP/1.0: one connection for each answer."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(("127.0.0.1", 0), EchoHandler)
        self._thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        """End, so that its port refuses connections."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
            self.server_close()


class EchoHandler(BaseHTTPRequestHandler):
    """Answers GET and POST."""

    def do_GET(self) -> None:
        assert isinstance(self.server, Echo)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        told = {"name": self.server.name, "path": self.path, "body": body,
                "headers": {k.lower(): v for k, v in self.headers.items()}}  # fmt: skip
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())

    do_POST = do_GET  # noqa: N815 - http.server's own name

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


@pytest.fixture
def servers() -> Iterator[tuple[Echo, Echo]]:
    """A Segue and a Navidrome."""
    segue, navidrome = Echo("segue"), Echo("navidrome")
    yield segue, navidrome
    segue.stop()
    navidrome.stop()


@pytest.fixture(params=CONFIGURATIONS)
def front(
    request: pytest.FixtureRequest, tmp_path: Path, servers: tuple[Echo, Echo]
) -> Iterator[str]:
    """The address of an nginx with our configuration in front of both."""
    segue, navidrome = servers
    with nginx_in_front(
        tmp_path, request.param, segue.server_port, navidrome.server_port
    ) as address:
        yield address


def ask(url: str, body: bytes | None = None, **headers: str) -> dict[str, Any]:
    request = urllib.request.Request(
        url, body, {name.replace("_", "-"): value for name, value in headers.items()}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        told = json.load(answer)
        assert isinstance(told, dict)
        return told


def test_every_call_that_segue_answers_or_observes_is_sent_to_it() -> None:
    """Read from the file, with and without an nginx: a call that is added here goes there too."""
    text = (FOLDER / "segue-intercept.conf").read_text("utf-8")
    locations = re.findall(r"location ~ (\^/rest/\S+) \{(.*?)\n    \}", text, re.DOTALL)
    sent = [re.compile(path) for path, inside in locations if "//segue_or_navidrome" in inside]
    repeated = [re.compile(path) for path, inside in locations if "non_idempotent" in inside]
    known = STEERED_BY_SEGUE | OBSERVED
    for endpoint in known:
        for path in (f"/rest/{endpoint}", f"/rest/{endpoint}.view"):
            assert [one.search(path) is not None for one in sent].count(True) == 1, path
            once = endpoint in ("scrobble", "reportPlayback")
            assert any(one.search(path) for one in repeated) is not once, path
    named = {name for path in sent for name in re.findall(r"[a-zA-Z]{4,}\d?", path.pattern)}
    assert named - {"rest", "view"} == (known | {"getSimilarSongs2"}) - {"getSimilarSongs"}
    assert {one.removesuffix(".view") for one in (*STEERED, *REPORTS)} == known


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_who_is_asked_what(tmp_path: Path, servers: tuple[Echo, Echo], name: str) -> None:
    segue, navidrome = servers
    with nginx_in_front(tmp_path, name, segue.server_port, navidrome.server_port) as front:
        for endpoint in (*STEERED, *REPORTS):
            target = f"/rest/{endpoint}?u=a&id=%2F%c3%bc;x"
            told = ask(front + target)
            assert (told["name"], told["path"]) == ("segue", target)
            told = ask(front + target, b"id=1")
            assert (told["name"], told["body"]) == ("segue", "id=1")
        assert ask(f"{front}/api/song/4Fa")["name"] == "segue"
        for target in OTHERS:
            told = ask(front + target)
            expected = "segue" if name == "segue.conf" else "navidrome"
            assert (told["name"], told["path"]) == (expected, target)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_lines_that_are_commented_out_are_right_too(tmp_path: Path, name: str) -> None:
    """TLS, HTTP/2 and the real address behind another proxy."""
    certificate, key = tmp_path / "fullchain.pem", tmp_path / "privkey.pem"
    program = nginx_program()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=music",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    port = free_port()
    path = write_configuration(tmp_path, name, 4040, 4533, {
        "    listen 80;\n": "",
        "# listen 443 ssl http2;": f"listen 127.0.0.1:{port} ssl http2;",
        "# ssl_certificate": "ssl_certificate",
        "/etc/letsencrypt/live/music.example.org": str(tmp_path),
        "# set_real_ip_from": "set_real_ip_from", "# real_ip_header": "real_ip_header",
    })  # fmt: skip
    done = subprocess.run(
        [program, "-t", "-e", str(tmp_path / "error.log"), "-p", str(tmp_path), "-c", str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


def test_segue_is_told_who_calls_and_nobody_is_logged_in_by_a_header(front: str) -> None:
    told = ask(
        f"{front}/rest/getRandomSongs.view?u=ann", Remote_User="admin", Cookie="nd-player-1=x",
        X_Forwarded_For="203.0.113.9",
    )  # fmt: skip
    headers = told["headers"]
    assert told["name"] == "segue"
    assert told["path"] == "/rest/getRandomSongs.view?u=ann"
    assert "remote-user" not in headers
    assert headers["x-forwarded-for"] == "203.0.113.9, 127.0.0.1"
    assert headers["x-forwarded-host"] == headers["host"] == front.removeprefix("http://")
    assert headers["x-forwarded-proto"] == "http"
    assert headers["cookie"] == "nd-player-1=x"


def test_navidrome_answers_when_segue_is_down(front: str, servers: tuple[Echo, Echo]) -> None:
    targets = [f"{front}/rest/{endpoint}?u=a&n=1" for endpoint in (*STEERED, *REPORTS)]
    assert all(ask(target)["name"] == "segue" for target in targets)
    servers[0].stop()
    for target in (*targets, f"{front}/api/song/1"):
        assert ask(target)["name"] == "navidrome"
    told = ask(f"{front}/rest/getSimilarSongs", b"id=1&count=5")
    assert (told["name"], told["body"]) == ("navidrome", "id=1&count=5")


@pytest.mark.parametrize("page", ["/segue/health", "/segue/metrics"])
def test_segues_own_pages_have_no_stand_in(
    front: str, servers: tuple[Echo, Echo], page: str
) -> None:
    assert ask(front + page)["name"] == "segue"
    servers[0].stop()
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(front + page)
    assert caught.value.code == 502
    caught.value.close()
