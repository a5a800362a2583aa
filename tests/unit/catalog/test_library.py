from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from catalog.errors import LibraryError
from catalog.library import Library, is_set_aside
from catalog.schema import MIGRATIONS
from catalog.tracks import Analysis, FileFacts, Model, RunReport, Song, Tags

MODEL = Model("ears", "ears-1", 4, ("sad", "loud"))


def analysis(value: float = 1.0) -> Analysis:
    return Analysis(MODEL, np.full(4, value, np.float32), np.array([0.25, 0.5], np.float32))


def file(path: str, size: int = 10) -> FileFacts:
    return FileFacts(path, size, 123)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library.open(tmp_path)


def test_a_track_comes_back_as_it_was_stored(library: Library, tmp_path: Path) -> None:
    tags = Tags("T", "A", "B", "AA", ("Rock", "Pop"), 1999, 3, 1, "mbid")
    root = library.root_id(tmp_path)
    track_id = library.store(root, file("a/b.mp3"), "key", 12.5, tags, [analysis()])
    (track,) = library.tracks()
    assert (track.track_id, track.root_id, track.file) == (track_id, root, file("a/b.mp3"))
    assert (track.content_key, track.duration_s, track.tags) == ("key", 12.5, tags)
    ids, vectors = library.vectors(MODEL)
    assert ids.tolist() == [track_id]
    assert vectors.tolist() == [[1, 1, 1, 1]]
    assert library.scores(MODEL)[1].tolist() == [[0.25, 0.5]]
    assert library.models() == [MODEL]
    assert library.analysed(MODEL) == {track_id}


def test_a_model_that_changed_without_a_version_is_refused(
    library: Library, tmp_path: Path
) -> None:
    root = library.root_id(tmp_path)
    library.store(root, file("a"), "k", 1.0, Tags(), [analysis()])
    other = Model("ears", "ears-1", 4, ("sad", "loud", "late"))
    said = Analysis(other, np.ones(4, np.float32), np.ones(3, np.float32))
    with pytest.raises(LibraryError, match="another version"):
        library.store(root, file("b"), "l", 1.0, Tags(), [said])
    assert library.scores(MODEL)[1].shape == (1, 2)


_WRITER = """
import sys
from pathlib import Path
from catalog.library import Library
from catalog.tracks import FileFacts, Tags
with Library.open(Path(sys.argv[1])) as library:
    root = library.root_id(Path("/m"))
    for i in range(600):
        library.store(root, FileFacts(f"t{i}", 1, 1), f"k{i}", 60.0, Tags(f"t{i}" * 20), [])
        if i % 200 == 199:
            library.sync()
            print(flush=True)
            sys.stdin.readline()
"""

_LINKER = """
import sys
from pathlib import Path
from catalog.library import Library
from catalog.tracks import Song
count = int(sys.argv[2])
with Library.open(Path(sys.argv[1])) as library:
    library.replace_songs([Song(f"s{i}", title="a title" * 20) for i in range(count)], {})
"""


def test_another_process_may_write_while_one_has_the_disk_hold_it(tmp_path: Path) -> None:
    """As `segue serve` links while `segue embed` goes on."""
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdin is not None
    assert writer.stdout is not None
    for count in (300, 600, 900):
        assert writer.stdout.readline()
        subprocess.run([sys.executable, "-c", _LINKER, str(tmp_path), str(count)], check=True)
        writer.stdin.write("\n")
        writer.stdin.flush()
    writer.communicate()
    assert writer.returncode == 0
    with Library.open(tmp_path) as library:
        assert library.check() == []
        assert library.count_tracks() == 600
        assert library.count_songs()[0] == 900


def test_names_that_are_no_text_survive(library: Library, tmp_path: Path) -> None:
    root = library.root_id(tmp_path)
    path = b"caf\xe9/\xff.mp3".decode("utf-8", "surrogateescape")
    library.store(root, file(path), "k", 1.0, Tags(title="bad \ud800 tag"), [])
    assert list(library.files(root)) == [path]
    assert next(library.tracks()).tags.title == "bad ? tag"


def test_changed_content_drops_what_was_computed_from_the_old(
    library: Library, tmp_path: Path
) -> None:
    root = library.root_id(tmp_path)
    first = library.store(root, file("a"), "old", 1.0, Tags(), [analysis()])
    again = library.store(root, file("a", 11), "new", 1.0, Tags(), [])
    assert again == first
    assert library.analysed(MODEL) == set()


def test_results_of_two_versions_never_mix(library: Library, tmp_path: Path) -> None:
    root = library.root_id(tmp_path)
    library.store(root, file("a"), "k", 1.0, Tags(), [analysis()])
    other = Model("ears", "ears-2", 4, ())
    assert library.analysed(other) == set()
    assert library.vectors(other)[1].shape == (0, 4)


@pytest.mark.parametrize("vector", [np.full(4, np.nan, np.float32), np.ones(3, np.float32)])
def test_a_vector_that_is_no_vector_is_refused_and_nothing_is_stored(
    library: Library, tmp_path: Path, vector: np.ndarray[tuple[int], np.dtype[np.float32]]
) -> None:
    root = library.root_id(tmp_path)
    with pytest.raises(ValueError, match="finite numbers"):
        library.store(root, file("a"), "k", 1.0, Tags(), [Analysis(MODEL, vector)])
    assert library.count_tracks() == 0


def test_a_moved_folder_is_known_again_by_its_name(library: Library, tmp_path: Path) -> None:
    (tmp_path / "one" / "music").mkdir(parents=True)
    (tmp_path / "two" / "music").mkdir(parents=True)
    first = library.root_id(tmp_path / "one" / "music")
    library.store(first, file("1.mp3"), "k", 1.0, Tags(), [])
    for folder in ("one", "two", "three"):
        (tmp_path / folder / "music").mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "music" / "1.mp3").touch()
    assert library.root_id(tmp_path / "two" / "music") != first  # both are there: two folders
    (tmp_path / "one" / "music" / "1.mp3").unlink()  # as without the mount
    assert library.root_id(tmp_path / "three" / "music") == first


def test_a_folder_of_the_same_name_does_not_take_over_one_that_is_not_mounted(
    library: Library, tmp_path: Path
) -> None:
    (tmp_path / "one" / "music").mkdir(parents=True)
    first = library.root_id(tmp_path / "one" / "music")
    library.store(first, file("A/1.mp3"), "k", 1.0, Tags(), [])
    (tmp_path / "one" / "music").rmdir()
    other = tmp_path / "two" / "music"
    other.mkdir(parents=True)
    assert library.root_id(other) != first
    moved = tmp_path / "three" / "music"
    (moved / "A").mkdir(parents=True)
    (moved / "A" / "1.mp3").touch()
    assert library.root_id(moved) == first


def test_a_folder_under_another_name_is_known_by_half_of_its_files(
    library: Library, tmp_path: Path
) -> None:
    old, new = tmp_path / "Music", tmp_path / "mnt"
    for number in range(4):
        for folder in (old, new):
            (folder / f"{number}").mkdir(parents=True)
            (folder / f"{number}" / "1.mp3").write_bytes(bytes(10 + number))
    first = library.root_id(old)
    for number in range(4):
        library.store(first, file(f"{number}/1.mp3", 10 + number), f"k{number}", 1.0, Tags(), [])
    assert library.root_id(new) != first  # both are there
    for path in list(old.rglob("*.mp3")):
        path.unlink()
        path.parent.rmdir()
    with library._transaction() as db:
        db.execute("DELETE FROM roots WHERE root_id != ?", (first,))
    (new / "0" / "1.mp3").write_bytes(bytes(99))
    (new / "1" / "1.mp3").unlink()
    assert library.root_id(new, listed=[old]) != first  # an empty mount point that is still ours
    with library._transaction() as db:
        db.execute("DELETE FROM roots WHERE root_id != ?", (first,))
    assert library.root_id(new, listed=[new]) == first
    (tmp_path / "other" / "1").mkdir(parents=True)
    (tmp_path / "other" / "1" / "1.mp3").write_bytes(bytes(11))
    new.rename(tmp_path / "away")
    assert library.root_id(tmp_path / "other") != first  # one file of four is alike


def test_a_track_is_forgotten_only_after_three_complete_runs(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = 0.0
    monkeypatch.setattr(time, "time", lambda: 1e9 + 3600 * hours)

    def missing(*after_hours: float) -> list[int]:
        nonlocal hours
        forgotten = []
        for after in after_hours:
            hours += after
            forgotten.append(library.mark_missing(root, ["a"]))
        return forgotten

    root = library.root_id(tmp_path)
    library.store(root, file("a"), "k", 1.0, Tags(), [analysis()])
    assert missing(0, 24, 1, 1) == [0, 0, 0, 0]
    assert list(library.missing().values()) == [2]
    library.mark_seen(root, ["a"])
    assert missing(*[0.01] * 100) == [0] * 100  # looks of one evening are one
    assert list(library.missing().values()) == [1]
    assert missing(6, -9, 1) == [0, 1, 0]  # also where the clock was put back
    assert library.count_tracks() == 0
    assert library.analysed(MODEL) == set()


def test_failures_are_kept_until_the_file_works(library: Library, tmp_path: Path) -> None:
    root = library.root_id(tmp_path)
    library.record_failure(root, file("a"), "does-not-decode", "moov atom not found")
    assert [(f.path, f.reason) for f in library.failures()] == [("a", "does-not-decode")]
    library.store(root, file("a"), "k", 1.0, Tags(), [])
    assert library.failures() == []


def test_moving_keeps_the_analysis_and_replaces_what_was_there(
    library: Library, tmp_path: Path
) -> None:
    root = library.root_id(tmp_path)
    moved = library.store(root, file("a"), "k", 1.0, Tags("x"), [analysis()])
    library.store(root, file("b"), "other", 1.0, Tags(), [])
    library.move(moved, root, file("b"), None)
    assert [(t.track_id, t.file.path, t.tags.title) for t in library.tracks()] == [
        (moved, "b", "x")
    ]
    assert library.analysed(MODEL) == {moved}


def test_songs_links_and_runs(library: Library, tmp_path: Path) -> None:
    root = library.root_id(tmp_path)
    track = library.store(root, file("a"), "k", 1.0, Tags(), [])
    song = Song("s1", "a", True, "/m", "1", 10, 1.0, "T", "A", "B", "al", ("ar1", "ar2"), ("G",), 7)
    assert library.links_revision() == 0
    library.replace_songs([song, Song("s2")], {"s1": track})
    assert library.links_revision() == 1
    assert library.count_songs() == (2, 1)
    assert list(library.linked_songs()) == [(song, track)]
    run = library.start_run()
    assert library.last_run() is None
    library.finish_run(run, RunReport(embedded=3, model="ears"))
    assert library.last_run() == RunReport(embedded=3, model="ears")


def test_two_processes_read_while_one_writes(library: Library, tmp_path: Path) -> None:
    root = library.root_id(tmp_path)
    with Library.open(tmp_path, read_only=True) as reader:
        library.store(root, file("a"), "k", 1.0, Tags(), [])
        assert reader.count_tracks() == 1


def test_reading_where_nothing_is_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="segue embed"):
        Library.open(tmp_path, read_only=True)


def test_a_damaged_foreign_or_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    path.write_bytes(b"this is no database, it is a text of some length" * 40)
    before = path.read_bytes()
    with pytest.raises(LibraryError, match="cannot use the library"):
        Library.open(tmp_path)
    assert path.read_bytes() == before
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 3")
    connection.close()
    with pytest.raises(LibraryError, match="another program"):
        Library.open(tmp_path)
    path.unlink()
    Library.open(tmp_path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(LibraryError, match="newer Segue"):
        Library.open(tmp_path)


def test_what_was_set_aside_is_known_by_its_content_until_it_is_forgotten(tmp_path: Path) -> None:
    with Library.open(tmp_path) as library:
        root = library.root_id(tmp_path)
        track = library.store(root, file("a"), "old", 1.0, Tags("old"), [analysis()])
        library.set_aside(root, "a")
        library.set_aside(root, "none")
        assert library.store(root, file("a", 11), "new", 2.0, Tags("new"), []) == track
        aside = [path for path in library.files(root) if is_set_aside(path)]
        assert len(aside) == 1
        copied = library.copy("old", root, file("b"), Tags("moved"))
        assert library.analysed(MODEL) >= {copied}
        assert track not in library.analysed(MODEL)
        library.forget_set_aside()
        assert set(library.files(root)) == {"a", "b"}
        assert library.analysed(MODEL) == {copied}
        assert library.check() == []
