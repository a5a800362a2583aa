"""`segue doctor`: every check on real folders, sockets and files."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from catalog.library import Library
from catalog.settings import LibrarySettings
from catalog.tracks import Analysis, FileFacts, Model, RunReport, Tags
from cli import checks
from cli.configuration import load
from embedder.errors import CANNOT_ANALYSE
from proxy.settings import ServerSettings
from subsonic.settings import UpstreamSettings
from tests.unit.cli.conftest import Segue


class Server(BaseHTTPRequestHandler):
    """A Subsonic server that knows ann with the password "right", and Segue's health page."""

    def do_GET(self) -> None:
        self._answer({"status": "ok"} if self.path == "/segue/health" else {})

    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        answer: dict[str, Any] = {"status": "ok", "version": "1.16.1", "type": "navidrome",
                                  "serverVersion": "0.58.0", "openSubsonic": True}  # fmt: skip
        if "u=&" in form:
            answer |= {"status": "failed", "error": {"code": 10, "message": "missing u"}}
        elif f"p=enc%3A{b'right'.hex()}" not in form:
            answer |= {"status": "failed", "error": {"code": 40, "message": "Wrong username"}}
        elif "getMusicFolders" in self.path:
            answer["musicFolders"] = {"musicFolder": [{"id": 1, "name": "Music Library"}]}
        self._answer({"subsonic-response": answer})

    def _answer(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a `Server`."""
    with HTTPServer(("127.0.0.1", 0), Server) as running:
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def statuses(found: list[checks.Check]) -> dict[str, str]:
    return {check.name: check.status for check in found}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("username", "password", "expected"),
    [("ann", "right", "ok"), ("ann", "wrong", "fail"), ("", "", "warn")],
)
async def test_upstream_and_login(server: str, username: str, password: str, expected: str) -> None:
    settings = UpstreamSettings(url=server, username=username, password=password)
    found = await checks.check_upstream(settings)
    assert statuses(found) == {"upstream": "ok", "login": expected}
    if expected == "ok":
        assert "navidrome 0.58.0" in found[0].text
        assert "Music Library" in found[1].text
    else:
        assert found[1].todo
        assert (
            found[1].text
            == {
                "ann": "the account 'ann' is refused: Wrong username",
                "": "no account is set, so nothing can be linked",
            }[username]
        )


@pytest.mark.anyio
async def test_upstream_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (check,) = await checks.check_upstream(UpstreamSettings(url=f"http://127.0.0.1:{port}"))
    assert check.status == "fail"
    assert "upstream.url" in check.text


def test_music_folders(tmp_path: Path) -> None:
    full, empty = tmp_path / "full", tmp_path / "empty"
    full.mkdir()
    empty.mkdir()
    (full / "a.flac").touch()
    settings = LibrarySettings(music=(str(full), str(empty), str(tmp_path / "gone")))
    found = [check for check in checks.check_paths(settings) if check.name == "music"]
    assert [check.status for check in found] == ["ok", "fail", "fail"]
    assert "No such file" in found[2].text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("file/data", "cannot be made: {}/file is no folder"),
        ("file", "cannot be made: {}/file is no folder"),
        ("/proc/segue", "cannot be"),  # made there, or by somebody else than root: written
    ],
)
def test_a_data_folder_that_cannot_be_made(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "file").touch()
    found = list(checks.check_paths(LibrarySettings(data=str(tmp_path / name))))
    (check,) = [one for one in found if one.name == "data"]
    assert check.status == "fail"
    assert said.format(tmp_path) in check.text
    assert "make room" not in check.todo


def test_a_data_folder_that_may_not_be_searched_ends_nothing(
    closed: Callable[[Path], Segue], data: Path
) -> None:
    run = closed(data)
    done = run("doctor", "--json")
    assert (done.code, done.err) == (1, "")
    found = {one["name"]: one for one in json.loads(done.out)}
    assert found["data"]["status"] == "fail"
    assert found["library"]["status"] == "fail"
    assert "does the folder belong" in found["library"]["todo"]
    assert "front" in found  # the last one


@pytest.mark.parametrize("command", ["vibe sad", "rollback"])
def test_a_data_folder_of_somebody_else_is_told_as_such(
    closed: Callable[[Path], Segue], data: Path, command: str
) -> None:
    done = closed(data)(*command.split())
    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1
    assert "Permission denied" in done.err
    assert "does the folder belong to the user that runs Segue?" in done.err
    assert "segue embed" not in done.err


def test_catalog_before_anything(tmp_path: Path) -> None:
    assert statuses(list(checks.check_catalog(tmp_path, LibrarySettings()))) == {"library": "warn"}


def test_catalog_says_which_part_is_wrong(data: Path) -> None:
    found = list(checks.check_catalog(data, LibrarySettings()))
    assert statuses(found) == {"library": "warn", "snapshot": "ok", "links": "warn"}
    assert found[2].text == "5 of 7 songs are linked"
    version = (data / "snapshots" / "current").read_text().strip()
    vectors = data / "snapshots" / version / "vectors.npy"
    content = bytearray(vectors.read_bytes())
    content[-1] ^= 1
    vectors.write_bytes(content)
    found = list(checks.check_catalog(data, LibrarySettings()))
    assert found[1].status == "fail"
    assert "sha256" in found[1].text


def test_a_part_of_the_music_is_to_be_merged(tmp_path: Path) -> None:
    with Library.open(tmp_path) as library:
        library.note_shard("1/2")
    (todo,) = [
        one.todo
        for one in checks.check_catalog(tmp_path, LibrarySettings())
        if one.name == "snapshot"
    ]
    assert "next: segue merge" in todo


def named(data: Path, name: str, *music: Path) -> list[checks.Check]:
    settings = LibrarySettings(music=tuple(map(str, music)))
    return [check for check in checks.check_catalog(data, settings) if check.name == name]


def test_folders_that_are_music_folders_no_more(data: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    with Library.open(data) as library:
        root = library.root_id(old)
        library.store(root, FileFacts("a.flac", 1, 1), "old a", 9.0, Tags(), ())
    assert named(data, "music", tmp_path / "music", old) == []
    assert named(data, "music", tmp_path / "elsewhere") == []  # it was all heard elsewhere
    (check,) = named(data, "music", tmp_path / "music")
    assert check.status == "warn"
    assert check.text == f"{old} is not in library.music any more; 1 track kept"
    with Library.open(data) as library:
        library.forget(root, ["a.flac"])  # as `segue embed --prune` does
    assert named(data, "music", tmp_path / "music") == []


def test_a_snapshot_that_was_rolled_back_is_told(data: Path) -> None:
    snapshots = data / "snapshots"
    version = (snapshots / "current").read_text().strip()
    shutil.copytree(snapshots / version, snapshots / "newer")
    with Library.open(data) as library:
        library.note_published("1 code timbre=1 newer")
        library.finish_run(library.start_run(), RunReport(model="other", model_version="2"))
    right, older = named(data, "snapshot")
    assert (right.status, older.status) == ("ok", "warn")
    assert f"{version} is in force since `segue rollback`" in older.text
    assert "segue rollback newer" in older.todo
    assert named(data, "model") == []  # that is no change of model under way


def test_what_holds_up_a_change_of_model_is_told(data: Path, tmp_path: Path) -> None:
    new = Model("other", "2", dim=2)
    heard = [Analysis(new, np.ones(2, np.float32))]
    with Library.open(data) as library:
        tracks = list(library.tracks())
        root = tracks[0].root_id
        library.finish_run(library.start_run(), RunReport(model="other", model_version="2"))
        for track in tracks[4:]:
            library.add_analyses(track.track_id, heard)
    (check,) = named(data, "model")
    assert check.status == "warn"
    assert check.text == "timbre 1 stays until other 2 has heard all (3 of 7 tracks)"
    assert check.todo == "`segue embed` goes on (4 not heard yet)"
    gone, broken, hopeless = (track.file for track in tracks[:3])
    with Library.open(data) as library:
        library.mark_missing(root, [gone.path])
        library.record_failure(root, broken, "does-not-decode", "no audio")
        library.record_failure(root, hopeless, CANNOT_ANALYSE, "no model can")  # nothing waits
        library.add_analyses(tracks[3].track_id, heard)
    (check,) = named(data, "model")
    assert check.todo.startswith(f"held up by {gone.path}, {broken.path} (")
    assert "1 gone" in check.todo
    assert "1 does-not-decode" in check.todo
    assert "not heard yet" not in check.todo
    with Library.open(data) as library:
        for track in tracks[:2]:
            library.add_analyses(track.track_id, heard)
    (check,) = named(data, "model")
    assert check.todo == "let `segue embed` run to its end"


def test_port_free_taken_or_ours(server: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (free,) = checks.check_port(ServerSettings(host="127.0.0.1", port=port))
    assert free.status == "ok"
    (ours,) = checks.check_port(
        ServerSettings(host="127.0.0.1", port=int(server.rpartition(":")[2]))
    )
    assert ours.status == "ok"
    assert "running" in ours.text


def test_port_taken_by_another() -> None:
    class Other(Server):
        def do_GET(self) -> None:
            self._answer(["not Segue"])

    with HTTPServer(("127.0.0.1", 0), Other) as other:
        thread = Thread(target=other.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        (check,) = checks.check_port(ServerSettings(host="127.0.0.1", port=other.server_port))
        other.shutdown()
        thread.join()
    assert check.status == "fail"
    assert check.todo


@pytest.mark.parametrize(
    ("shown", "host", "status"),
    [
        ({"status": "ok"}, "music.example", "ok"),
        ({"status": "ok", "version": "1"}, "music.example", "warn"),  # a proxy that hides who asks
        ({"status": "ok", "version": "1"}, "127.0.0.1", "ok"),
        ({}, "music.example", "fail"),
    ],
)
def test_the_public_address(
    shown: dict[str, str], host: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Front(Server):
        def do_GET(self) -> None:
            self._answer(shown)

    resolve = socket.getaddrinfo

    def here(name: str, *rest: object, **more: object) -> object:
        return resolve("127.0.0.1", *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", here)
    with HTTPServer(("127.0.0.1", 0), Front) as front:
        thread = Thread(target=front.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        (check,) = checks.check_public(f"http://{host}:{front.server_port}")
        front.shutdown()
        thread.join()
    assert check.status == status
    assert check.todo or status == "ok"


GOOD = "proxy_pass http://127.0.0.1:4040; proxy_set_header X-Forwarded-For $x; proxy_buffering off;"
TRUSTED = ServerSettings(trusted_proxies=("127.0.0.1",))


@pytest.mark.parametrize(
    ("text", "settings", "status"),
    [
        (None, ServerSettings(), "ok"),
        ("proxy_pass http://127.0.0.1:4533;", TRUSTED, "warn"),
        ("# " + GOOD, TRUSTED, "warn"),
        ("proxy_pass http://127.0.0.1:4040;", TRUSTED, "fail"),
        (GOOD, ServerSettings(), "fail"),
        (GOOD.replace("proxy_buffering off;", ""), TRUSTED, "warn"),
        (GOOD, TRUSTED, "ok"),
    ],
)
def test_nginx_in_front(
    tmp_path: Path, text: str | None, settings: ServerSettings, status: str
) -> None:
    if text is not None:
        (tmp_path / "conf.d").mkdir()
        (tmp_path / "conf.d" / "music.conf").write_text(text)
    (check,) = checks.check_front(settings, tmp_path)
    assert check.status == status
    assert check.todo or status == "ok"


def test_our_own_nginx_configuration_passes(tmp_path: Path) -> None:
    (tmp_path / "sites-enabled").mkdir()
    ours = Path(__file__).resolve().parents[3] / "nginx" / "segue.conf"
    (tmp_path / "sites-enabled" / "segue").write_text(ours.read_text())
    (check,) = checks.check_front(TRUSTED, tmp_path)
    assert check.status == "ok"


def test_the_command_lists_everything(
    segue: Segue, data: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGUE_UPSTREAM__URL", server)
    monkeypatch.setenv("SEGUE_UPSTREAM__USERNAME", "ann")
    monkeypatch.setenv("SEGUE_UPSTREAM__PASSWORD", "right")
    monkeypatch.setenv("SEGUE_LIBRARY__DATA", str(data))
    monkeypatch.setenv("SEGUE_SERVER__HOST", "127.0.0.1")
    monkeypatch.setenv("SEGUE_SERVER__PORT", "0")
    result = segue("doctor", "--url", server, "--json")
    found = json.loads(result.out)
    names = [check["name"] for check in found]
    assert list(dict.fromkeys(names)) == [
        "config", "music", "data", "upstream", "login", "models", "library", "snapshot", "links",
        "port", "front", "public",
    ]  # fmt: skip
    assert all(set(check) == {"name", "status", "text", "todo"} for check in found)
    assert result.code == (1 if any(check["status"] == "fail" for check in found) else 0)
    text = segue("doctor")
    assert "ok    login     ann sees Music Library" in text.out
    assert "right" not in text.out.replace("sha256 right", "")


def test_a_model_that_would_not_load_is_a_finding(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # so that what comes now is undone, too
    monkeypatch.delitem(sys.modules, "onnxruntime")
    (clean / "onnxruntime.py").write_text("raise ImportError('libfoo.so.1: cannot open')\n")
    monkeypatch.syspath_prepend(clean)
    settings = {"SEGUE_EMBEDDING__ENGINE": "onnx", "SEGUE_EMBEDDING__DEVICE": "cpu"}
    (check,) = checks.check_models(load(None, {}, settings))
    assert (check.status, check.name) == ("fail", "models")
    assert "onnxruntime does not load (libfoo.so.1: cannot open)" in check.text


def test_a_broken_configuration_is_a_finding(segue: Segue, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[log]\nlevle = 1\n")
    result = segue("doctor", "--json")
    assert result.code == 2
    (check,) = json.loads(result.out)
    assert check["status"] == "fail"
    assert "level" in check["text"]
