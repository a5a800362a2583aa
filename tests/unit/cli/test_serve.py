"""`segue serve` as a process of its own: starts, says where, forwards, ends as it is told to."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]


class Upstream(BaseHTTPRequestHandler):
    """Answers everything with its path."""

    def do_GET(self) -> None:
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


@pytest.fixture
def upstream() -> Iterator[str]:
    """The address of an `Upstream`."""
    with HTTPServer(("127.0.0.1", 0), Upstream) as running:
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port


def command(upstream: str, port: int, data: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "cli.main", "serve", "--upstream", upstream),
        *("--host", "127.0.0.1", "--port", str(port), "--data", str(data)),
    ]


@contextmanager
def serving(upstream: str, data: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running `segue serve` that answers, and its address."""
    port = free_port()
    process = subprocess.Popen(
        command(upstream, port, data),
        cwd=CHECKOUT,
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                get(f"{url}/segue/health")
                break
            except OSError:
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield process, url
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        content = answer.read()
        assert isinstance(content, bytes)
        return content


@pytest.mark.parametrize(("kind", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_serves_and_ends_as_told(
    upstream: str, tmp_path: Path, kind: signal.Signals, code: int
) -> None:
    with serving(upstream, tmp_path) as (process, url):
        assert get(f"{url}/rest/ping.view?u=ann&p=hunter2") == b"/rest/ping.view?u=ann&p=hunter2"
        health = json.loads(get(f"{url}/segue/health"))
        assert health["status"] == "forwarding"
        assert health["snapshot"] is None
        process.send_signal(kind)
        out, err = process.communicate(timeout=20)
        assert process.returncode == code, err
        assert out == ""
        assert f"listening on {url}" in err
        assert "Traceback" not in err
        assert "hunter2" not in err


def test_a_snapshot_is_told_of(upstream: str, data: Path) -> None:
    with serving(upstream, data) as (_, url):
        health = json.loads(get(f"{url}/segue/health"))
        assert (health["status"], health["tracks"], health["linked"]) == ("ok", 7, 5)


def test_a_port_in_use_is_one_line_and_exit_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = subprocess.run(
            command("http://127.0.0.1:1", port, tmp_path),
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert f"port {port}" in line
    assert "in use" in line
