"""Following the music folders: real changes of real folders, and polling where none are told."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from embedder.watching import changes, mount_kind, why_not_watch


def watch(folders: list[Path], said: list[str], **options: float) -> Iterator[None]:
    values = {"quiet_s": 0.15, "poll_s": 60.0, **options}
    return changes(folders, say=said.append, **values)  # type: ignore[arg-type]


def test_a_song_that_comes_is_told_once_it_has_come_to_rest(tmp_path: Path) -> None:
    pytest.importorskip("watchfiles")
    (tmp_path / "Album").mkdir()
    said: list[str] = []
    looks = watch([tmp_path], said)
    next(looks)  # the first look is at once
    next(looks)  # and once more for what came before it was watched
    written: list[float] = []

    def write() -> None:
        time.sleep(0.3)
        (tmp_path / "cover.jpg").write_bytes(b"x")
        with (tmp_path / "Album" / "...And 1.mp3").open("wb") as file:
            for _ in range(6):
                file.write(b"x" * 1000)
                file.flush()
                written.append(time.monotonic())
                time.sleep(0.05)

    thread = threading.Thread(target=write)
    thread.start()
    next(looks)
    told = time.monotonic()
    thread.join()
    assert len(written) == 6
    assert told >= written[-1]
    assert said == [f"watching {tmp_path}"]


def test_a_folder_that_was_away_is_watched_again(tmp_path: Path) -> None:
    pytest.importorskip("watchfiles")
    music, away = tmp_path / "music", tmp_path / "away"
    music.mkdir()
    looks = watch([music], [])
    next(looks)
    next(looks)
    music.rename(away)
    next(looks)
    threading.Timer(0.3, away.rename, [music]).start()
    next(looks)  # it is back
    assert music.is_dir()
    threading.Timer(0.3, (music / "1.mp3").write_bytes, [b"x"]).start()
    next(looks)
    assert (music / "1.mp3").exists()


def test_a_network_mount_and_a_server_are_polled() -> None:
    said: list[str] = []
    slept: list[float] = []
    looks = changes([], quiet_s=1, poll_s=900, say=said.append, sleep=slept.append)
    assert len(list(islice(looks, 4))) == 4
    assert slept == [900.0] * 3
    assert said == ["the music is on a server: looking every 900 s"]


def test_the_kind_of_a_mount_is_that_of_the_innermost(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "20 1 8:1 / / rw - ext4 /dev/sda rw\n"
        "21 20 0:40 / /mnt rw,relatime shared:1 - tmpfs tmpfs rw\n"
        "22 21 0:41 / /mnt/my\\040music rw - fuse.rclone remote: rw\n"
        "23 21 0:42 / /mnt/nas rw - nfs4 nas:/music rw\n"
    )
    assert mount_kind(Path("/mnt/my music/Album"), mounts) == "fuse.rclone"
    assert mount_kind(Path("/mnt/nas"), mounts) == "nfs4"
    assert mount_kind(Path("/mnt/nasty"), mounts) == "tmpfs"
    assert mount_kind(Path("/home"), mounts) == "ext4"
    assert mount_kind(Path("/home"), tmp_path / "none") == ""


def test_a_network_mount_that_hangs_is_not_asked_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("23 21 0:42 / /mnt/nas rw - nfs4 nas:/music rw\n")
    asked: list[str] = []
    readlink = os.readlink
    monkeypatch.setattr(os, "readlink", lambda path: asked.append(path) or readlink(path))
    (tmp_path / "music").symlink_to("nas")
    (tmp_path / "nas").symlink_to("/mnt/nas/Music")
    (tmp_path / "loop").symlink_to("loop")
    assert mount_kind(Path("/mnt/nas/Album"), mounts) == "nfs4"
    assert mount_kind(tmp_path / "music" / "Album", mounts) == "nfs4"
    assert mount_kind(tmp_path / "loop", mounts) == ""
    assert not [path for path in asked if path.startswith("/mnt/nas")]


def test_network_mounts_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedder.watching.mount_kind", lambda folder: "fuse.blobfuse2")
    assert why_not_watch([tmp_path]) == f"{tmp_path} is a network mount (fuse.blobfuse2)"
