"""nginx/segue.conf with a real nginx, where there is one: headers, fall-back to Navidrome."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

CONF = Path(__file__).resolve().parents[3] / "nginx" / "segue.conf"


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


@pytest.fixture
def front(tmp_path: Path, servers: tuple[Echo, Echo]) -> Iterator[str]:
    """The address of an nginx with our configuration in front of both."""
    program = shutil.which("nginx", path="/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin")
    if program is None:
        pytest.skip("needs nginx")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    segue, navidrome = servers
    text = CONF.read_text("utf-8")
    for old, new in (
        ("127.0.0.1:4040", f"127.0.0.1:{segue.server_port}"),
        ("127.0.0.1:4533", f"127.0.0.1:{navidrome.server_port}"),
        ("    listen 80;\n", f"    listen 127.0.0.1:{port};\n"),
        ("    listen [::]:80;\n", ""),
    ):
        assert old in text
        text = text.replace(old, new)
    places = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {tmp_path}/pid;\nerror_log {tmp_path}/error.log;\n"
        f"events {{}}\nhttp {{\n{places}{text}}}\n"
    )
    process = subprocess.Popen(
        [program, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()[0]
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=10)


def ask(url: str, body: bytes | None = None, **headers: str) -> dict[str, Any]:
    request = urllib.request.Request(
        url, body, {name.replace("_", "-"): value for name, value in headers.items()}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        told = json.load(answer)
        assert isinstance(told, dict)
        return told


def test_segue_is_told_who_calls_and_nobody_is_logged_in_by_a_header(front: str) -> None:
    told = ask(
        f"{front}/rest/ping.view?u=ann", Remote_User="admin", Cookie="nd-player-1=x",
        X_Forwarded_For="203.0.113.9",
    )  # fmt: skip
    headers = told["headers"]
    assert told["name"] == "segue"
    assert told["path"] == "/rest/ping.view?u=ann"
    assert "remote-user" not in headers
    assert headers["x-forwarded-for"] == "203.0.113.9, 127.0.0.1"
    assert headers["x-forwarded-host"] == headers["host"] == front.removeprefix("http://")
    assert headers["x-forwarded-proto"] == "http"
    assert headers["cookie"] == "nd-player-1=x"


def test_navidrome_answers_when_segue_is_down(front: str, servers: tuple[Echo, Echo]) -> None:
    assert ask(f"{front}/rest/ping.view")["name"] == "segue"
    servers[0].stop()
    assert ask(f"{front}/rest/ping.view")["name"] == "navidrome"
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
