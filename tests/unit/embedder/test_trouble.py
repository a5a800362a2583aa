"""A mount that goes away, or no longer answers, under the job: one line, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.library import Library
from catalog.settings import LibrarySettings
from catalog.snapshot import open_snapshot
from embedder import scouts
from embedder.errors import SourceError
from embedder.job import embed
from embedder.lock import only_job
from embedder.server import ServerMusic
from embedder.settings import EmbeddingSettings
from embedder.source import Folders
from subsonic.settings import UpstreamSettings
from subsonic.songs import ServerSong
from tests.unit.embedder.test_job import Heard, Shelf
from tests.unit.subsonic.test_download import CONTENT, Handler
from tests.unit.subsonic.test_download import Server as SongServer


class Once(Heard):
    """Does something when the first file was heard."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self._act = act

    def advanced(self, path: str, result: str, detail: str) -> None:
        super().advanced(path, result, detail)
        if len(self.files) == 1:
            self._act()


#: Looks at a folder as one does that hangs: for ever, and deaf to all but SIGKILL.
HANGING = [
    sys.executable,
    "-c",
    "import signal, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    'print(\'{"kind": "ready"}\', flush=True)\n'
    "time.sleep(60)\n",
]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = Shelf(tmp_path)
    for number in range(16):
        shelf.add(f"{number:02}.wav", number, seconds=0.6)
    return shelf


def unmount(shelf: Shelf) -> None:
    """What is below the mount point when nothing is mounted: an empty folder."""
    shelf.music.rename(shelf.music.with_name("away"))
    shelf.music.mkdir()


def empty(shelf: Shelf) -> None:
    """All files gone, but a folder that has something in it."""
    for path in shelf.music.iterdir():
        path.unlink()
    (shelf.music / "notes.txt").write_text("back soon")


def remove(shelf: Shelf) -> None:
    shelf.music.rename(shelf.music.with_name("away"))


@pytest.mark.parametrize(
    ("leave", "why"),
    [(unmount, "it is empty"), (empty, "others of its files"), (remove, "No such file")],
)
@pytest.mark.usefixtures("shared_workers")
def test_a_mount_that_goes_away_in_mid_run_is_no_complete_run(
    shelf: Shelf, leave: Callable[[Shelf], None], why: str
) -> None:
    before = shelf.run(limit=12).snapshot
    with pytest.raises(SourceError, match=why) as caught:
        shelf.run(Once(lambda: leave(shelf)), full=True)
    assert "nothing was forgotten" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert shelf.failures() == []
    assert len(shelf.tracks()) >= 12
    snapshot = open_snapshot(shelf.data)
    assert snapshot is not None
    assert snapshot.version == before


@pytest.mark.usefixtures("shared_workers")
def test_a_file_that_vanishes_before_it_is_read_is_only_itself(shelf: Shelf) -> None:
    """Also one of the last, after which nothing is read any more."""
    last = shelf.music / "15.wav"
    report = shelf.run(Once(last.unlink)).report
    assert (report.embedded, report.skipped) == (15, 1)
    assert [(one.path, one.reason) for one in shelf.failures()] == [("15.wav", "unreadable")]
    shelf.run()
    assert shelf.failures() == []


def test_a_mount_that_hangs_while_it_is_listed_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = LibrarySettings(music=(str(tmp_path),), data=str(tmp_path / "data"))
    settings = EmbeddingSettings(model="timbre", timeout_s=1)
    monkeypatch.setattr(scouts, "COMMAND", HANGING)
    with pytest.raises(SourceError, match="nothing came from it for 1 s"):
        embed(library, settings)
    with only_job(tmp_path / "data"):  # whatever hangs still
        pass


def test_looks_at_a_mount_that_hangs_do_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with --watch, where nothing ends a process that hangs in the kernel."""
    started: list[subprocess.Popen[bytes]] = []
    start = scouts._start
    monkeypatch.setattr(scouts, "COMMAND", HANGING)
    monkeypatch.setattr(scouts, "_start", lambda wish: started.append(start(wish)) or started[-1])
    folders = Folders([tmp_path], timeout_s=0.3)
    with monkeypatch.context() as hanging:
        hanging.setattr(subprocess.Popen, "kill", lambda process: None)
        for _ in range(3):
            with pytest.raises(SourceError, match="nothing came from it"):
                folders.listings()
    assert len(started) == 1
    started[0].kill()
    started[0].wait()
    monkeypatch.undo()
    (tmp_path / "1.mp3").write_bytes(b"x")
    assert len(folders.listings()) == 1  # it answers again


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_does_not_wait_for_a_mount_that_hangs(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scouts, "COMMAND", HANGING)
    before = signal.signal(number, signal.default_int_handler)  # as the command does
    timer = threading.Timer(0.3, os.kill, (os.getpid(), number))
    timer.start()
    began_s = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            Folders([tmp_path]).listings()
    finally:
        signal.signal(number, before)
        timer.join()
    assert time.monotonic() - began_s < 5.0


@pytest.mark.usefixtures("shared_workers")
def test_a_folder_of_before_that_hangs_hangs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no music folder any more, but what is known of it is."""
    shelf = Shelf(tmp_path)
    for number in range(3):
        shelf.add(f"{number}.wav", number, seconds=0.5)
    shelf.run()
    new = shelf.music.rename(tmp_path / "elsewhere")
    monkeypatch.setattr(scouts, "COMMAND", HANGING)
    settings = EmbeddingSettings(model="timbre", timeout_s=1)
    report = embed(LibrarySettings(music=(str(new),), data=str(shelf.data)), settings).report
    assert (report.moved, report.copied, report.forgotten) == (0, 3, 0)
    with Library.open(shelf.data, read_only=True) as library:
        assert library.count_tracks() == 6


def test_a_server_is_in_trouble_when_it_gives_none_of_several_songs() -> None:
    folder, paths = Path("server:1"), ["1.mp3", "2.mp3", "3.mp3"]
    with SongServer(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        settings = UpstreamSettings(f"http://127.0.0.1:{server.server_port}", "me", "secret")
        with ServerMusic(settings) as music:
            for path in paths:
                music._songs[folder, path] = ServerSong(path, size_bytes=len(CONTENT))
            assert music.trouble(folder, paths, threading.Event()) == ""
            server.mood = "50"  # the account may not any more
            assert "refused" in music.trouble(folder, paths, threading.Event())
            assert music.trouble(folder, paths[:1], threading.Event()) == ""
        server.shutdown()
        thread.join()
