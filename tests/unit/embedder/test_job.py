"""The whole job over real folders of real files, with the model that needs no weights."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import pytest

from catalog.library import MISSING_RUNS_BEFORE_FORGOTTEN, Library
from catalog.settings import LibrarySettings
from catalog.snapshot import open_snapshot
from catalog.tracks import Failure, FileFacts, Float32
from embedder.errors import CRASHED, DOES_NOT_DECODE, DecodingError, EmbedderError, SourceError
from embedder.facts import FACTS, column
from embedder.job import Outcome, Task, embed
from embedder.models.registry import TIMBRE
from embedder.progress import Silent
from embedder.settings import EmbeddingSettings
from embedder.workers import Workers
from tests.unit.embedder.sounds import music, write


class Heard(Silent):
    """A progress that remembers."""

    def __init__(self) -> None:
        self.plan = (0, 0)
        self.files: dict[str, str] = {}
        self.reason = ""
        self.published = 0

    def chosen(self, reason: str) -> None:
        self.reason = reason

    def planned(self, files: int, todo: int) -> None:
        self.plan = (files, todo)

    def advanced(self, path: str, result: str, detail: str) -> None:
        self.files[path] = result

    def publishing(self, tracks: int) -> None:
        self.published = tracks


class Shelf:
    """A music folder and a data folder."""

    def __init__(self, folder: Path) -> None:
        self.music = folder / "music"
        self.data = folder / "data"

    def add(self, name: str, seed: int, seconds: float = 4.0) -> Path:
        path = self.music / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rate = 22_050
        write(path, music(seed, seconds, rate), rate)
        return path

    def run(self, heard: Heard | None = None, **options: object) -> Outcome:
        library = LibrarySettings(music=(str(self.music),), data=str(self.data))
        settings = EmbeddingSettings(model="timbre", workers=2)
        return embed(library, settings, Task(**options), progress=heard or Heard())  # type: ignore[arg-type]

    def tracks(self) -> dict[str, int]:
        with Library.open(self.data, read_only=True) as library:
            return {track.file.path: track.track_id for track in library.tracks()}

    def failures(self) -> list[Failure]:
        with Library.open(self.data, read_only=True) as library:
            return library.failures()


@pytest.fixture
def shelf(tmp_path: Path, shared_workers: None) -> Shelf:
    shelf = Shelf(tmp_path)
    for number, suffix in enumerate([".flac", ".mp3", ".m4a", ".wav", ".flac", ".flac"], start=1):
        shelf.add(f"Artist/Album/{number:02} - Song{suffix}", number)
    return shelf


def test_a_folder_becomes_a_snapshot_and_a_rerun_does_nothing(shelf: Shelf) -> None:
    heard = Heard()
    outcome = shelf.run(heard)
    assert outcome.report.embedded == 6
    assert outcome.report.model == "timbre"
    assert outcome.report.bytes_read > 10_000
    assert "timbre" in outcome.reason
    assert heard.reason == outcome.reason
    assert heard.plan == (6, 6)
    assert set(heard.files.values()) == {"embedded"}
    assert heard.published == 6
    snapshot = open_snapshot(shelf.data, verify=True)
    assert snapshot is not None
    assert snapshot.version == outcome.snapshot
    assert snapshot.n == 6
    assert snapshot.vectors.shape == (6, TIMBRE.dim)
    assert snapshot.text("title", 0) == "01 - Song"

    again = shelf.run()
    assert (again.report.embedded, again.report.unchanged) == (0, 6)
    assert again.report.bytes_read == 0
    assert again.snapshot == outcome.snapshot
    with Library.open(shelf.data, read_only=True) as library:
        assert library.last_run() == again.report


def test_facts_are_measured_and_kept(shelf: Shelf) -> None:
    shelf.run()
    with Library.open(shelf.data) as library:
        track_ids, rows = library.scores(FACTS)
        assert len(track_ids) == 6
        loudness = column("loudness_lufs", rows)
        assert ((loudness > -40) & (loudness < 0)).all()
        assert (column("key_confidence", rows) >= 0).all()
        # What lacks them is measured, and no model hears it again.
        with sqlite3.connect(library.path) as db:
            db.execute("UPDATE models SET version = 'older' WHERE name = 'facts'")
    snapshot = open_snapshot(shelf.data)
    assert snapshot is not None
    assert snapshot.loudness_lufs is not None
    np.testing.assert_array_equal(snapshot.loudness_lufs, loudness)
    assert snapshot.key is not None
    assert ((snapshot.key >= -1) & (snapshot.key < 24)).all()
    vectors = stored_vectors(shelf)
    assert shelf.run().report.embedded == 6
    np.testing.assert_array_equal(stored_vectors(shelf), vectors)


def stored_vectors(shelf: Shelf) -> Float32:
    with Library.open(shelf.data, read_only=True) as library:
        return library.vectors(TIMBRE.model)[1]


def test_the_same_music_gives_the_same_snapshot(shelf: Shelf) -> None:
    first = shelf.run().snapshot
    shelf.data = shelf.data.with_name("other")
    assert shelf.run().snapshot == first


def test_new_and_changed_files_are_heard_and_keep_their_numbers(shelf: Shelf) -> None:
    shelf.run()
    before = shelf.tracks()
    shelf.add("Artist/Album/01 - Song.flac", 99)
    shelf.add("Artist/New/01 - Song.flac", 100)
    heard = Heard()
    report = shelf.run(heard).report
    assert (report.embedded, report.moved, report.unchanged) == (2, 0, 5)
    assert set(heard.files) == {"Artist/Album/01 - Song.flac", "Artist/New/01 - Song.flac"}
    after = shelf.tracks()
    assert {path: after[path] for path in before} == before
    snapshot = open_snapshot(shelf.data)
    assert snapshot is not None
    assert snapshot.n == 7


def test_moved_renamed_and_retagged_files_are_known_again(shelf: Shelf) -> None:
    shelf.run()
    before = shelf.tracks()
    (shelf.music / "Elsewhere").mkdir()
    (shelf.music / "Artist/Album/01 - Song.flac").rename(shelf.music / "Elsewhere/renamed.flac")
    (shelf.music / "Artist/Album/02 - Song.mp3").rename(shelf.music / "Artist/Album/x.mp3")
    file = mutagen.File(shelf.music / "Artist/Album/05 - Song.flac")
    file["title"] = "A new title" * 500
    file.save()
    heard = Heard()
    report = shelf.run(heard).report
    assert (report.embedded, report.moved, report.unchanged) == (0, 3, 3)
    assert set(heard.files.values()) == {"moved"}
    after = shelf.tracks()
    assert len(after) == 6
    assert after["Elsewhere/renamed.flac"] == before["Artist/Album/01 - Song.flac"]
    assert after["Artist/Album/x.mp3"] == before["Artist/Album/02 - Song.mp3"]
    with Library.open(shelf.data, read_only=True) as library:
        retagged = library.track(after["Artist/Album/05 - Song.flac"])
    assert retagged is not None
    assert retagged.tags.title.startswith("A new title")
    assert shelf.run().report.unchanged == 6


def knowledge(data: Path) -> dict[str, tuple[str, float, bytes]]:
    """Content, duration and vector of each path."""
    with Library.open(data, read_only=True) as library:
        vectors = dict(zip(*library.vectors(TIMBRE.model), strict=True))
        return {
            one.file.path: (one.content_key, one.duration_s, vectors[one.track_id].tobytes())
            for one in library.tracks()
        }


@pytest.mark.parametrize(
    ("renames", "new", "embedded"),
    [
        ({"1": "2", "2": "1"}, {}, 0),
        ({"1": "2", "2": "3", "3": "1"}, {}, 0),
        ({"1": "2", "2": "3", "3": "4", "4": "5"}, {"1": 9}, 1),
        ({"2": "3", "3": "4", "4": "5"}, {}, 0),
        ({"1": "1 old"}, {"1": 9}, 1),
        ({"3": "0", "4": "3"}, {"4": 9}, 1),
        ({"1": "4"}, {}, 0),
    ],
    ids=[
        "swapped",
        "turned",
        "one between",
        "shifted",
        "new rip",
        "back and forth",
        "over another",
    ],
)
def test_files_that_change_places_keep_what_was_heard_of_each(
    renames: dict[str, str],
    new: dict[str, int],
    embedded: int,
    tmp_path: Path,
    shared_workers: None,
) -> None:
    shelf = Shelf(tmp_path)
    for number in range(1, 5):
        shelf.add(f"{number}.wav", number, 2.0 + number / 4)
    shelf.run()
    names = {old: shelf.music / f"{old}.wav" for old in renames}
    for old, path in names.items():
        path.rename(shelf.music / f"{old}.aside")
    for old, name in renames.items():
        (shelf.music / f"{old}.aside").rename(shelf.music / f"{name}.wav")
    for name, seed in new.items():
        shelf.add(f"{name}.wav", seed, 3.9)
    report = shelf.run().report
    assert (report.embedded, report.skipped) == (embedded, 0)
    after = knowledge(shelf.data)
    shelf.run()
    afresh = Shelf(tmp_path)
    afresh.data = tmp_path / "afresh"
    afresh.run()
    assert {path: after[path] for path in knowledge(afresh.data)} == knowledge(afresh.data)
    assert set(after) - set(knowledge(afresh.data)) <= {f"{old}.wav" for old in renames}


def test_a_copy_is_another_track_of_the_same_recording(shelf: Shelf) -> None:
    original = shelf.music / "Artist/Album/01 - Song.flac"
    (shelf.music / "copy.flac").write_bytes(original.read_bytes())
    report = shelf.run().report
    assert (report.embedded, report.copied) == (6, 1)  # heard once
    (shelf.music / "later.flac").write_bytes(original.read_bytes())
    report = shelf.run().report
    assert (report.embedded, report.copied) == (0, 1)
    (shelf.music / "later.flac").unlink()
    shelf.run()
    snapshot = open_snapshot(shelf.data)
    assert snapshot is not None
    names = ("copy.flac", "01 - Song.flac")
    rows = [r for r in range(snapshot.n) if snapshot.text("path", r).endswith(names)]
    assert snapshot.recording[rows[0]] == snapshot.recording[rows[1]]
    np.testing.assert_allclose(snapshot.vectors[rows[0]], snapshot.vectors[rows[1]], atol=1e-5)


def test_twins_of_what_breaks_off_are_heard_themselves(
    tmp_path: Path, shared_workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alike in the middle, by which files are told, but of several some cannot be heard."""
    shelf = Shelf(tmp_path)
    whole = shelf.add("0.wav", 1).read_bytes()
    for number in range(1, 12):
        (shelf.music / f"{number:02}.wav").write_bytes(whole)
    fail = {"00.wav", "01.wav", "02.wav", "04.wav", "11.wav"}
    (shelf.music / "0.wav").rename(shelf.music / "00.wav")
    listen = Workers.listen

    def listen_badly(self: Workers, root: Path, file: FileFacts, *rest: Any, **more: Any) -> Any:
        heard = listen(self, root, file, *rest, **more)
        if heard.analyses and file.path in fail:
            raise DecodingError(DOES_NOT_DECODE, "further on")
        return heard

    monkeypatch.setattr(Workers, "listen", listen_badly)
    report = shelf.run().report
    paths = set(shelf.tracks()) | {one.path for one in shelf.failures()}
    assert paths == {f"{number:02}.wav" for number in range(12)}
    assert report.embedded == 1
    assert report.embedded + report.copied + report.skipped == 12


def test_bad_files_are_listed_skipped_and_not_tried_again(shelf: Shelf) -> None:
    album = shelf.music / "Artist/Album"
    (album / "empty.mp3").write_bytes(b"")
    (album / "text.flac").write_bytes(b"not music " * 100)
    whole = (album / "03 - Song.m4a").read_bytes()
    (album / "cut.m4a").write_bytes(whole[: len(whole) // 2])
    heard = Heard()
    report = shelf.run(heard).report
    assert (report.embedded, report.skipped) == (6, 3)
    assert {failure.path.rpartition("/")[2]: failure.reason for failure in shelf.failures()} == {
        "cut.m4a": "not-audio",
        "empty.mp3": "empty-file",
        "text.flac": "not-audio",
    }
    assert all(failure.detail for failure in shelf.failures())
    again = Heard()
    report = shelf.run(again).report
    assert (report.embedded, report.skipped, report.unchanged) == (0, 3, 6)
    assert again.files == {}
    (album / "cut.m4a").write_bytes(whole)
    (album / "empty.mp3").unlink()
    report = shelf.run().report
    assert (report.copied, report.skipped) == (1, 1)  # it is song 3 again
    assert [failure.path for failure in shelf.failures()] == ["Artist/Album/text.flac"]


def test_absent_tracks_are_forgotten_only_after_several_complete_runs(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.run()
    (shelf.music / "Artist/Album/04 - Song.wav").unlink()
    for _ in range(MISSING_RUNS_BEFORE_FORGOTTEN):  # as with --watch, a look after the other
        assert shelf.run().report.gone == 1
    assert len(shelf.tracks()) == 6
    monkeypatch.setattr("catalog.library.HOURS_BETWEEN_MISSING_RUNS", 0.0)
    for run in range(2, MISSING_RUNS_BEFORE_FORGOTTEN + 1):
        shelf.run()
        assert len(shelf.tracks()) == (6 if run < MISSING_RUNS_BEFORE_FORGOTTEN else 5)
    snapshot = open_snapshot(shelf.data)
    assert snapshot is not None
    assert snapshot.n == 5


def test_a_known_track_whose_file_is_broken_goes_as_one_that_is_gone(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.run()
    path = shelf.music / "Artist/Album/04 - Song.wav"
    whole, facts = path.read_bytes(), path.stat()
    monkeypatch.setattr("catalog.library.HOURS_BETWEEN_MISSING_RUNS", 0.0)
    path.write_bytes(whole[:20])  # half copied
    for _ in range(2):
        report = shelf.run().report
        assert (report.gone, report.skipped) == (1, 1)
    assert len(shelf.tracks()) == 6
    path.write_bytes(whole)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    report = shelf.run().report
    assert (report.gone, report.skipped, report.unchanged) == (0, 0, 6)
    assert shelf.failures() == []
    path.write_bytes(b"")
    for _ in range(MISSING_RUNS_BEFORE_FORGOTTEN):
        shelf.run()
    assert len(shelf.tracks()) == 5
    assert [one.reason for one in shelf.failures()] == ["empty-file"]  # it is listed still
    snapshot = open_snapshot(shelf.data)
    assert snapshot is not None
    assert snapshot.n == 5


def test_a_decoder_that_died_of_a_file_as_it_was_makes_nothing_forgotten(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of too little memory, while all was heard anew."""
    shelf.run()
    monkeypatch.setattr("catalog.library.HOURS_BETWEEN_MISSING_RUNS", 0.0)
    listen = Workers.listen

    def listen_badly(self: Workers, root: Path, file: FileFacts, *rest: Any, **more: Any) -> Any:
        if file.path.endswith("04 - Song.wav"):
            raise DecodingError(CRASHED, "killed")
        return listen(self, root, file, *rest, **more)

    with monkeypatch.context() as broken:
        broken.setattr(Workers, "listen", listen_badly)
        assert shelf.run(full=True).report.skipped == 1
    for _ in range(MISSING_RUNS_BEFORE_FORGOTTEN + 1):
        shelf.run()
    assert len(shelf.tracks()) == 6


def test_a_mount_that_gives_garbage_makes_nothing_forgotten(
    tmp_path: Path, shared_workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.library.HOURS_BETWEEN_MISSING_RUNS", 0.0)
    shelf = Shelf(tmp_path)
    for number in range(20):
        shelf.add(f"{number:02}.wav", number, seconds=0.5)
    first = shelf.run().snapshot
    for path in sorted(shelf.music.iterdir())[:11]:
        path.write_bytes(os.urandom(500))
    for _ in range(MISSING_RUNS_BEFORE_FORGOTTEN + 1):
        outcome = shelf.run()
        assert (outcome.report.gone, outcome.report.skipped) == (0, 11)
    assert len(shelf.tracks()) == 20
    assert outcome.snapshot == first


def test_a_lost_mount_empties_nothing(shelf: Shelf) -> None:
    published = shelf.run().snapshot
    moved = shelf.music.rename(shelf.music.with_name("unmounted"))
    with pytest.raises(SourceError, match="is it mounted"):
        shelf.run()
    shelf.music.mkdir()
    with pytest.raises(SourceError, match="no audio files"):
        shelf.run()
    with Library.open(shelf.data, read_only=True) as library:
        last = library.last_run()
    assert last is not None
    assert "no audio files" in last.error
    assert len(shelf.tracks()) == 6
    snapshot = open_snapshot(shelf.data)
    assert snapshot is not None
    assert snapshot.version == published
    shelf.music.rmdir()
    moved.rename(shelf.music)
    assert shelf.run().report.unchanged == 6


def test_losing_most_of_many_tracks_stops_the_run(tmp_path: Path, shared_workers: None) -> None:
    shelf = Shelf(tmp_path)
    for number in range(20):
        shelf.add(f"{number:02}.wav", number, seconds=0.6)
    shelf.run()
    for path in sorted(shelf.music.iterdir())[:11]:
        path.unlink()
    for _ in range(MISSING_RUNS_BEFORE_FORGOTTEN):
        with pytest.raises(SourceError, match="11 of the 20 known tracks"):
            shelf.run()
    assert len(shelf.tracks()) == 20


def test_limit_takes_a_part_and_the_next_run_goes_on(shelf: Shelf) -> None:
    first = shelf.run(limit=2)
    assert first.report.embedded == 2
    assert first.snapshot
    assert shelf.run(limit=2).report.embedded == 2
    rest = shelf.run()
    assert (rest.report.embedded, rest.report.unchanged) == (2, 4)


def test_full_hears_everything_anew_and_keeps_the_numbers(shelf: Shelf) -> None:
    first = shelf.run()
    before = shelf.tracks()
    (shelf.music / "Artist/Album/01 - Song.flac").rename(shelf.music / "moved.flac")
    again = shelf.run(full=True)
    assert (again.report.embedded, again.report.unchanged) == (6, 0)
    assert shelf.tracks()["moved.flac"] == before["Artist/Album/01 - Song.flac"]
    assert sorted(shelf.tracks().values()) == sorted(before.values())
    assert again.snapshot != first.snapshot  # it tells the new path


def test_several_music_folders_share_one_library(shelf: Shelf, tmp_path: Path) -> None:
    other = Shelf(tmp_path / "second")
    other.add("Artist/Album/01 - Song.flac", 50)
    library = LibrarySettings(music=(str(shelf.music), str(other.music)), data=str(shelf.data))
    outcome = embed(library, EmbeddingSettings(model="timbre"))
    assert outcome.report.embedded == 7
    with Library.open(shelf.data, read_only=True) as opened:
        assert len(opened.roots()) == 2
        assert opened.count_tracks() == 7


def test_names_that_are_not_utf8_are_heard(shelf: Shelf) -> None:
    name = os.fsdecode(b"caf\xe9.flac")
    (shelf.music / "Artist/Album/06 - Song.flac").rename(shelf.music / name)
    assert shelf.run().report.embedded == 6
    assert name in shelf.tracks()
    snapshot = open_snapshot(shelf.data)
    assert snapshot is not None
    assert name in {snapshot.text("path", row) for row in range(snapshot.n)}


def test_no_music_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no music folder is set"):
        embed(LibrarySettings(data=str(tmp_path)), EmbeddingSettings())


def test_only_one_job_works_on_a_data_folder(shelf: Shelf) -> None:
    holder = (
        "import fcntl, sys, time\n"
        "file = open(sys.argv[1], 'a'); fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True); time.sleep(60)\n"
    )
    shelf.data.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(shelf.data / "embed.lock")],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(EmbedderError, match="another `segue embed`"):
            shelf.run()
        process.kill()
    assert shelf.run().report.embedded == 6  # a dead job holds nothing


def test_ctrl_c_keeps_and_publishes_what_is_finished(tmp_path: Path, shared_workers: None) -> None:
    shelf = Shelf(tmp_path)
    for number in range(24):
        shelf.add(f"{number:02}.wav", number, seconds=2)

    class Impatient(Heard):
        def advanced(self, path: str, result: str, detail: str) -> None:
            super().advanced(path, result, detail)
            if len(self.files) == 3:
                os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    outcome = shelf.run(Impatient())
    assert signal.getsignal(signal.SIGINT) is before
    assert outcome.interrupted
    assert 3 <= outcome.report.embedded < 24
    assert outcome.report.error == "interrupted"
    assert len(shelf.tracks()) == outcome.report.embedded
    snapshot = open_snapshot(shelf.data)
    assert snapshot is not None
    assert snapshot.n == outcome.report.embedded
    rest = shelf.run()
    assert not rest.interrupted
    assert rest.report.embedded == 24 - outcome.report.embedded


def test_a_killed_job_loses_at_most_what_was_in_flight(
    tmp_path: Path, shared_workers: None
) -> None:
    shelf = Shelf(tmp_path)
    for number in range(24):
        shelf.add(f"{number:02}.wav", number, seconds=2)
    program = (
        "import sys\n"
        "from catalog.settings import LibrarySettings\n"
        "from embedder.job import embed\n"
        "from embedder.progress import Silent\n"
        "from embedder.settings import EmbeddingSettings\n"
        "class Loud(Silent):\n"
        "    def advanced(self, path, result, detail):\n"
        "        print(path, flush=True)\n"
        "embed(LibrarySettings(music=(sys.argv[1],), data=sys.argv[2]),\n"
        "      EmbeddingSettings(model='timbre'), progress=Loud())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(shelf.music), str(shelf.data)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in range(5)]
        process.kill()
    kept = shelf.tracks()
    assert set(told) <= set(kept)
    assert open_snapshot(shelf.data) is None
    report = shelf.run().report
    assert (report.embedded, report.unchanged) == (24 - len(kept), len(kept))


def test_a_part_of_a_new_space_does_not_replace_a_whole_snapshot(shelf: Shelf) -> None:
    first = shelf.run().snapshot
    library = LibrarySettings(music=(str(shelf.music),), data=str(shelf.data))
    settings = EmbeddingSettings(model="segue-1")
    part = embed(library, settings, Task(limit=2))
    assert part.report.embedded == 2
    assert part.snapshot == first  # the old space stays in force
    snapshot = open_snapshot(shelf.data)
    assert snapshot is not None
    assert snapshot.version == first
    whole = embed(library, settings)
    assert whole.report.embedded == 4
    snapshot = open_snapshot(shelf.data)
    assert snapshot is not None
    assert snapshot.model.name == "segue-1"
    assert set(snapshot.tag_groups) == {"audioset", "moods"}


def test_it_runs_in_a_thread_too(shelf: Shelf) -> None:
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(shelf.run()))
    thread.start()
    thread.join(60)
    assert outcomes[0].report.embedded == 6


def test_ctrl_c_while_it_publishes_is_not_lost(shelf: Shelf) -> None:
    class Late(Heard):
        def publishing(self, tracks: int) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    outcome = shelf.run(Late())
    assert outcome.interrupted
    assert (outcome.report.embedded, outcome.report.error) == (6, "")
    assert outcome.snapshot
    assert not shelf.run().interrupted


def test_the_disk_holds_the_library_before_what_is_made_of_it(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut nothing is published that the library does not know."""
    synced: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr("embedder.listening._SYNC_EVERY_S", 0.0)
    shelf.run()
    log = "library.db-wal"
    assert synced.count(log) >= 6  # each track, as no time may pass
    assert synced.index("manifest.json") > max(i for i, name in enumerate(synced) if name == log)
