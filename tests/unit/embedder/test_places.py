"""Music and data that move between machines, and disks that are full."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.library import Library
from catalog.snapshot import open_snapshot
from tests.unit.embedder.test_job import Shelf

#: A run whose files may not grow beyond so many bytes: what a full disk does, for this process.
_SHORT_OF_SPACE = """
import resource, signal, sys
from catalog.settings import LibrarySettings
from embedder.errors import EmbedderError
from catalog.errors import CatalogError
from embedder.job import embed
from embedder.settings import EmbeddingSettings
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    embed(LibrarySettings(music=(sys.argv[1],), data=sys.argv[2]),
          EmbeddingSettings(model="timbre", workers=1))
except (EmbedderError, CatalogError, OSError) as error:
    print(f"{type(error).__name__}: {error}")
    sys.exit(1)
"""


@pytest.fixture
def shelf(tmp_path: Path, shared_workers: None) -> Shelf:
    shelf = Shelf(tmp_path / "pc")
    for number in range(6):
        shelf.add(f"Album/{number}.wav", number, seconds=0.5)
    return shelf


def test_embedded_on_one_machine_and_served_where_the_music_lies_elsewhere(
    shelf: Shelf, tmp_path: Path
) -> None:
    """The data folder is copied to a server; later runs there, and here, go on from it."""
    first = shelf.run()
    server = Shelf(tmp_path / "server" / "mnt")
    shutil.copytree(shelf.music, server.music)  # times are kept, as rsync -a does
    shutil.copytree(shelf.data, server.data)
    snapshot = open_snapshot(server.data, verify=True)
    assert snapshot is not None
    assert snapshot.version == first.snapshot
    assert snapshot.text("path", 0) == "Album/0.wav"  # below whatever root
    shelf.music.rename(shelf.music.with_name("unplugged"))
    report = server.run().report
    assert (report.embedded, report.moved, report.unchanged, report.reads) == (0, 0, 6, 0)
    with Library.open(server.data, read_only=True) as library:
        assert list(library.roots().values()) == [str(server.music)]
    server.add("Album/new.wav", 9, seconds=0.5)
    assert server.run().report.embedded == 1


def test_a_copy_with_other_times_is_known_by_content_and_read_little(
    shelf: Shelf, tmp_path: Path
) -> None:
    shelf.run()
    server = Shelf(tmp_path / "server")
    shutil.copytree(shelf.music, server.music, copy_function=shutil.copyfile)
    shutil.copytree(shelf.data, server.data)
    shelf.music.rename(shelf.music.with_name("unplugged"))
    for number, path in enumerate(sorted(server.music.rglob("*.wav"))):
        path.rename(server.music / "Album" / f"renamed {number}.wav")
    (server.music / "Album/0.wav").write_bytes(b"")  # so that the folder is known by something
    report = server.run().report
    assert (report.embedded, report.moved + report.copied) == (0, 6)


@pytest.mark.parametrize("limit", ["library", "snapshot"])
def test_a_full_disk_ends_the_run_and_harms_nothing(shelf: Shelf, limit: str) -> None:
    """Once the library cannot grow, once the snapshot cannot."""
    before = shelf.run().snapshot
    size = (shelf.data / "library.db").stat().st_size
    # The log alone outgrows the first, the library with what is new the second.
    most = size // 3 if limit == "library" else size + 40_000
    for number in range(6, 24):
        shelf.add(f"Album/{number}.wav", number, seconds=0.5)
    done = subprocess.run(
        [sys.executable, "-c", _SHORT_OF_SPACE, str(shelf.music), str(shelf.data), str(most)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    snapshot = open_snapshot(shelf.data, verify=True)
    assert snapshot is not None
    assert snapshot.version == before
    with Library.open(shelf.data, read_only=True) as library:
        assert library.check() == []
        kept = library.count_tracks()
    assert kept >= 6
    report = shelf.run().report
    assert report.embedded + report.unchanged == 24
    assert report.unchanged >= kept - 1
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


@pytest.mark.parametrize("old_place", ["gone", "empty", "there"])
def test_under_another_name_nothing_is_heard_again(
    old_place: str, shelf: Shelf, tmp_path: Path
) -> None:
    shelf.run()
    moved = Shelf(tmp_path / "server")
    moved.music, moved.data = tmp_path / "server" / "Songs", shelf.data
    shutil.copytree(shelf.music, moved.music)
    if old_place != "there":
        shutil.rmtree(shelf.music)
    if old_place == "empty":
        shelf.music.mkdir()
    outcome = moved.run(all_listed=True)
    assert outcome.report.embedded == 0
    with Library.open(shelf.data, read_only=True) as library:
        assert library.count_tracks() == (12 if old_place == "there" else 6)
    assert dict(outcome.unlisted) == ({str(shelf.music): 6} if old_place == "there" else {})
    outcome = moved.run(prune=True)
    assert (outcome.report.forgotten, len(outcome.unlisted)) == (0, 0)
    outcome = moved.run(prune=True, all_listed=True)
    assert outcome.report.forgotten == (6 if old_place == "there" else 0)
    snapshot = open_snapshot(shelf.data)
    assert snapshot is not None
    assert snapshot.n == 6
    assert not outcome.unlisted


def test_music_that_went_from_a_folder_that_is_not_listed_any_more_is_known(
    shelf: Shelf, tmp_path: Path
) -> None:
    """As when the source was a server, whose paths are its own."""
    shelf.run()
    moved = Shelf(tmp_path / "server")
    moved.data = shelf.data
    (moved.music / "Other").mkdir(parents=True)
    for number, path in enumerate(sorted(shelf.music.rglob("*.wav"))):
        shutil.copyfile(path, moved.music / "Other" / f"renamed {number}.wav")
    shutil.rmtree(shelf.music)
    report = moved.run().report
    assert (report.embedded, report.moved) == (0, 6)
    assert len(moved.tracks()) == 6
