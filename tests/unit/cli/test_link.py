"""`segue link` against a server that speaks Subsonic over a real socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.unit.cli.conftest import TRACKS, Segue


class Server(BaseHTTPRequestHandler):
    """Lists the tracks of the library and one song more; knows ann with the password "right"."""

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if not self.path.startswith("/rest/"):
            self._answer({}, 404)
            return
        answer: dict[str, Any] = {"status": "ok", "version": "1.16.1"}
        if form.get("p") != ["enc:" + b"right".hex()]:
            answer |= {"status": "failed", "error": {"code": 40, "message": "Wrong username"}}
        elif "search3" in self.path:
            songs = [
                {"id": f"s{row}", "path": f"{artist}/{album}/{row + 1:02} - {title}.flac",
                 "size": 1000 + row, "duration": 200, "title": title, "artist": artist,
                 "album": album}
                for row, (artist, title, album, _) in enumerate(TRACKS)
            ]  # fmt: skip
            songs.append({"id": "new", "path": "New/Song.flac", "size": 5, "title": "Song"})
            answer["searchResult3"] = {"song": songs if form["songOffset"] == ["0"] else []}
        self._answer({"subsonic-response": answer}, 200)

    def _answer(self, document: object, status: int) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, data: Path) -> Iterator[str]:
    """The address of a `Server`, with the configuration that leads there."""
    with HTTPServer(("127.0.0.1", 0), Server) as running:
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        monkeypatch.setenv("SEGUE_UPSTREAM__USERNAME", "ann")
        monkeypatch.setenv("SEGUE_UPSTREAM__PASSWORD", "right")
        monkeypatch.setenv("SEGUE_LIBRARY__DATA", str(data))
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_every_song_is_linked_or_listed(segue: Segue, server: str) -> None:
    result = segue("link", "--upstream", server)
    assert result.code == 0, result.err
    assert result.out.startswith("7 of 8 songs are linked")
    assert "has no track: New/Song.flac (new)" in result.out
    facts = json.loads(segue("link", "--upstream", server, "--json").out)
    assert (facts["songs"], facts["linked"], facts["ambiguous"]) == (8, 7, [])
    assert json.loads(segue("info", "--json").out)["linked"] == 7


def test_a_wrong_password_is_one_line(
    segue: Segue, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGUE_UPSTREAM__PASSWORD", "hunter2")
    result = segue("link", "--upstream", server)
    assert result.code == 1
    assert len(result.err.splitlines()) == 1
    assert "Wrong username" in result.err
    assert "hunter2" not in result.err
    assert json.loads(segue("info", "--json").out)["linked"] == 5


def test_no_account_is_bad_configuration(segue: Segue) -> None:
    result = segue("link")
    assert result.code == 2
    assert "upstream.username" in result.err


def test_a_password_file_that_is_missing_is_one_line(
    segue: Segue, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEGUE_UPSTREAM__PASSWORD")
    monkeypatch.setenv("SEGUE_UPSTREAM__PASSWORD_FILE", "nowhere")
    result = segue("link", "--upstream", server)
    assert result.code == 1
    assert "nowhere" in result.err
    assert len(result.err.splitlines()) == 1
