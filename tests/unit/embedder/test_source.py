import errno
import os
from pathlib import Path

import pytest

from embedder.errors import SourceError
from embedder.folders import Why
from embedder.source import Folders, guard, walk
from tests.unit.embedder.conftest import list_here
from tests.unit.embedder.test_job import Shelf


def test_audio_is_found_sorted_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b/2.MP3", "b/1.flac", "a.ogg", "b/cover.jpg", "b/.hidden.mp3", ".trash/x.mp3"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"12345")
    os.mkfifo(tmp_path / "pipe.mp3")
    (tmp_path / "gone.mp3").symlink_to("nowhere")
    (tmp_path / "self.mp3").symlink_to("self.mp3")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "device.mp3").symlink_to("/dev/zero")
    (tmp_path / "folder.mp3").mkdir()
    denied: dict[str, Why] = {}
    found = walk(tmp_path, denied)
    assert denied == {
        "pipe.mp3": ("not-a-file", "it is a pipe"),
        "device.mp3": ("not-a-file", "it is a device"),
        "self.mp3": ("unreadable", "Too many levels of symbolic links"),
    }
    assert [facts.path for facts in found] == ["a.ogg", "b/1.flac", "b/2.MP3"]
    assert found[0].size_bytes == 5
    assert found[0].mtime_ns == (tmp_path / "a.ogg").stat().st_mtime_ns


def test_names_that_begin_with_dots_are_music(tmp_path: Path) -> None:
    """As Navidrome has it: one dot hides, more do not."""
    names = {
        "...And Justice for All/...And Justice for All.mp3",
        "..and more.mp3",
        "...Baby One More Time.mp3",
    }
    for name in (*names, ".hidden.mp3", "._...Baby One More Time.mp3", ".trash/x.mp3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert {facts.path for facts in walk(tmp_path)} == names


def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    music = tmp_path / "music"
    elsewhere = tmp_path / "elsewhere"
    for folder in (music / "album", elsewhere):
        folder.mkdir(parents=True)
        (folder / "song.mp3").write_bytes(b"x")
    (music / "album" / "loop").symlink_to(music)
    (music / "linked").symlink_to(elsewhere)
    assert [facts.path for facts in walk(music)] == ["album/song.mp3", "linked/song.mp3"]


def test_names_that_are_not_utf8_come_through(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp3")
    (tmp_path / name).write_bytes(b"x")
    (facts,) = walk(tmp_path)
    assert facts.path == name
    assert os.fsencode(facts.path) == b"caf\xe9.mp3"


def test_a_process_of_its_own_lists_the_same(tmp_path: Path) -> None:
    for number in range(2500):  # more than are told at once
        (tmp_path / f"{number}.mp3").write_bytes(b"x" * (number % 7))
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / os.fsdecode(b"caf\xe9.flac")).write_bytes(b"x")
    (tmp_path / "through.mp3").symlink_to("0.mp3/b.mp3")
    folders = Folders([tmp_path, tmp_path / "album" / ".."])
    assert folders.listings() == list_here(folders)


def test_the_process_that_lists_tells_of_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is not there: is it mounted"):
        Folders([tmp_path / "none"]).listings()
    with pytest.raises(SourceError, match="has no audio files"):
        Folders([tmp_path]).listings()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SourceError, match="is not there"):
        Folders([tmp_path / "loop"]).listings()


def test_a_missing_root_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is not there: is it mounted") as caught:
        walk(tmp_path / "none")
    assert "\n" not in str(caught.value)


def test_an_empty_root_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SourceError, match="has no audio files"):
        walk(tmp_path)


@pytest.mark.parametrize(("known", "gone"), [(20, 11), (1000, 501), (20, 20)])
def test_losing_most_tracks_at_once_stops(known: int, gone: int) -> None:
    with pytest.raises(SourceError, match="nothing was forgotten"):
        guard(Path("/music"), known, gone)


@pytest.mark.parametrize(("known", "gone"), [(19, 19), (20, 10), (0, 0), (1000, 500)])
def test_losing_fewer_is_life(known: int, gone: int) -> None:
    guard(Path("/music"), known, gone)


def test_an_entry_that_cannot_be_looked_at_is_told_and_the_rest_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.mp3", "lost+found/x.mp3", "z.mp3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "through.mp3").symlink_to("a.mp3/b.mp3")
    (tmp_path / "long.mp3").symlink_to("n" * 300)
    (tmp_path / "long").symlink_to("n" * 300)
    fail_in(tmp_path / "lost+found", errno.EACCES, monkeypatch)
    (listing,) = list_here(Folders([tmp_path]))
    assert [facts.path for facts in listing.files] == ["a.mp3", "z.mp3"]
    assert set(listing.denied) == {"lost+found", "through.mp3", "long.mp3", "long"}
    assert listing.denied["lost+found"] == ("unreadable", "Permission denied")
    assert listing.hides("lost+found/deep/y.mp3")
    assert listing.hides("through.mp3")
    assert not listing.hides("lost.mp3")


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN])
def test_a_mount_in_trouble_below_the_root_stops(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "album").mkdir()
    (tmp_path / "a.mp3").write_bytes(b"x")
    fail_in(tmp_path / "album", number, monkeypatch)
    with pytest.raises(SourceError, match="nothing was changed"):
        walk(tmp_path)


def test_a_root_without_permission_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp3").write_bytes(b"x")
    fail_in(tmp_path, errno.EACCES, monkeypatch)
    with pytest.raises(SourceError, match="nothing was changed"):
        walk(tmp_path)


def test_what_lies_below_a_denied_folder_is_kept_and_told(
    tmp_path: Path, shared_workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(tmp_path)
    for number in range(3):
        shelf.add(f"closed/{number}.wav", number, seconds=0.6)
    shelf.add("open.wav", 3, seconds=0.6)
    shelf.run()
    with monkeypatch.context() as broken:
        fail_in(shelf.music / "closed", errno.EACCES, broken)
        for _ in range(4):  # more runs than it takes to forget what is gone
            assert shelf.run().report.skipped == 1
        shelf.run(prune=True)
        failures = [(one.path, one.reason, one.detail) for one in shelf.failures()]
        assert failures == [("closed", "unreadable", "Permission denied")]
    assert len(shelf.tracks()) == 4
    assert shelf.run().report.unchanged == 4
    assert shelf.failures() == []


def fail_in(folder: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let listing a folder fail, which root could by permissions not bring about."""
    real = os.scandir

    def scandir(path: Path) -> "os._ScandirIterator[str]":
        if Path(path) == folder:
            raise OSError(number, os.strerror(number), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
