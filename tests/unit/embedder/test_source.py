import os
from pathlib import Path

import pytest

from embedder.errors import SourceError
from embedder.source import guard, walk


def test_audio_is_found_sorted_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b/2.MP3", "b/1.flac", "a.ogg", "b/cover.jpg", "b/.hidden.mp3", ".trash/x.mp3"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"12345")
    os.mkfifo(tmp_path / "pipe.mp3")
    (tmp_path / "gone.mp3").symlink_to("nowhere")
    (tmp_path / "self.mp3").symlink_to("self.mp3")
    (tmp_path / "folder.mp3").mkdir()
    found = walk(tmp_path)
    assert [facts.path for facts in found] == ["a.ogg", "b/1.flac", "b/2.MP3"]
    assert found[0].size_bytes == 5
    assert found[0].mtime_ns == (tmp_path / "a.ogg").stat().st_mtime_ns


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
