from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

import pytest

from demo.errors import ServerError
from demo.servers import LOOPBACK, free_port, last_lines, start_server


def start(tmp_path: Path, script: str, *, timeout_s: float = 10.0, port: int = 0) -> object:
    return start_server(
        "trial",
        [sys.executable, "-c", script],
        url=f"http://{LOOPBACK}:{port or free_port()}",
        ready_path="/",
        log=tmp_path / "trial.log",
        folder=tmp_path,
        timeout_s=timeout_s,
    )


def test_a_server_is_awaited_and_stopped_by_its_own_process_id(tmp_path: Path) -> None:
    port = free_port()
    server = start_server(
        "trial",
        [sys.executable, "-m", "http.server", "--bind", LOOPBACK, str(port)],
        url=f"http://{LOOPBACK}:{port}",
        ready_path="/",
        log=tmp_path / "trial.log",
        folder=tmp_path,
    )
    with server:
        assert server.running
        socket.create_connection((LOOPBACK, port), timeout=5).close()
    assert not server.running
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((LOOPBACK, port), timeout=5)
    assert "GET /" in server.log.read_text()
    assert server.stop() == server.stop()


def test_a_server_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"trial ended at once with status 3;.*no such thing"):
        start(tmp_path, "import sys; print('no such thing', file=sys.stderr); sys.exit(3)")


def test_a_server_that_never_answers_is_ended(tmp_path: Path) -> None:
    script = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    with pytest.raises(ServerError, match="did not answer"):
        start(tmp_path, script, timeout_s=1.0)
    pid = int((tmp_path / "trial.log").read_text())
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()


def test_the_end_of_a_log_in_one_line(tmp_path: Path) -> None:
    log = tmp_path / "some.log"
    assert last_lines(log) == "(no log)"
    log.write_text("one\ntwo\n\nthree\nfour\n")
    assert last_lines(log, 2) == "three | four"
    log.write_text("")
    assert last_lines(log) == "(empty log)"
