"""The job over odd files: what can be heard is heard, the rest is listed, nothing dies."""

import os
import signal
import subprocess
import sys
import threading
import time
import wave
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from catalog.kinds import LONG
from catalog.library import Library
from catalog.snapshot import open_snapshot
from catalog.tracks import FileFacts
from embedder.errors import REASONS, DecodingError
from embedder.facts import Measuring
from embedder.workers import Workers
from tests.fidelity.conftest import SOAK_SHARE
from tests.unit.embedder.odd_files import make_corpus
from tests.unit.embedder.sounds import music, rate_of, write
from tests.unit.embedder.test_job import Shelf

FUZZED_FILES = 4000


def test_a_folder_of_odd_files(tmp_path: Path, shared_workers: None) -> None:
    shelf = Shelf(tmp_path)
    corpus = make_corpus(shelf.music)
    assert len(corpus) >= 40
    corpus |= dict.fromkeys(("pipe.mp3", "self.mp3", "device.mp3"), False)
    os.mkfifo(shelf.music / "pipe.mp3")
    (shelf.music / "loop").symlink_to(shelf.music)
    (shelf.music / "self.mp3").symlink_to(shelf.music / "self.mp3")
    (shelf.music / "device.mp3").symlink_to("/dev/zero")
    outcome = shelf.run()
    heard, failed = set(shelf.tracks()), {one.path: one.reason for one in shelf.failures()}
    wrong = {
        name: failed.get(name, "heard" if name in heard else "neither")
        for name, may in corpus.items()
        if (name in heard) != may or (name in failed) == may
    }
    assert wrong == {}
    assert heard | set(failed) == set(corpus)
    with Library.open(shelf.data, read_only=True) as library:
        long = next(one for one in library.tracks() if one.file.path == "twelve hours.mp3")
        assert long.duration_s == pytest.approx(12 * 3600, rel=0.01)
        covered = next(one for one in library.tracks() if one.file.path == "huge cover.mp3")
        assert covered.tags.title == "Big"
    assert outcome.report.bytes_read < 30 * 2**20  # of 110 MB, of which 50 are a cover
    assert set(failed.values()) <= set(REASONS)
    assert "crashed" not in failed.values()
    assert outcome.report.skipped == len(failed)
    snapshot = open_snapshot(shelf.data, verify=True)
    assert snapshot is not None
    assert snapshot.n == len(heard)
    # As an album in one file, whatever its cue sheet says: a long mix, kept out from between songs.
    assert snapshot.kind is not None
    mixes = [row for row in range(snapshot.n) if snapshot.kind[row] & LONG]
    assert [snapshot.text("path", row) for row in mixes] == ["twelve hours.mp3"]
    assert "album in one.flac" in heard
    assert np.isfinite(np.asarray(snapshot.vectors)).all()


def test_a_file_that_grows_while_it_is_read_ends_where_it_ended(
    tmp_path: Path, shared_workers: None
) -> None:
    shelf = Shelf(tmp_path)
    path = shelf.add("growing.flac", 1, seconds=30)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    done = threading.Event()

    def grow() -> None:
        with path.open("ab") as file:
            for start in range(len(whole) // 2, len(whole), 4096):
                if done.wait(0.001):
                    return
                file.write(whole[start : start + 4096])

    thread = threading.Thread(target=grow)
    thread.start()
    report = shelf.run().report
    done.set()
    thread.join()
    assert report.embedded + report.skipped == 1
    path.write_bytes(whole)
    report = shelf.run().report  # its time changed, so it is looked at again
    assert report.embedded + report.moved == 1


_PROGRAM = (
    "import sys\n"
    "from catalog.settings import LibrarySettings\n"
    "from embedder.job import embed\n"
    "from embedder.settings import EmbeddingSettings\n"
    "embed(LibrarySettings(music=(sys.argv[1],), data=sys.argv[2]),\n"
    "      EmbeddingSettings(model='timbre', workers=2))\n"
)


def kill_at_random(shelf: Shelf, times: int, seed: int) -> int:
    """Start the job and kill it after a random time, again and again. Returns the kills that hit.

    After each the library has to open, to be sound, and to have lost no track.
    """
    random = np.random.default_rng(seed)
    kept: set[str] = set()
    hits = 0
    for _ in range(times):
        arguments = [sys.executable, "-c", _PROGRAM, str(shelf.music), str(shelf.data)]
        with subprocess.Popen(arguments) as process:
            time.sleep(float(random.uniform(0.2, 2.5)))
            hits += process.poll() is None
            process.send_signal(signal.SIGKILL)
        if not (shelf.data / "library.db").exists():
            continue
        with Library.open(shelf.data) as library:
            assert library.check() == []
            now = {track.file.path for track in library.tracks()}
        assert kept <= now
        kept = now
        open_snapshot(shelf.data, verify=True)
    return hits


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_thousands_of_files_with_flipped_bits(tmp_path: Path) -> None:
    """Each is heard, or is a failure with a reason; no decoder dies, hangs or says nonsense."""
    random = np.random.default_rng(0)
    originals = []
    for suffix in (".mp3", ".flac", ".m4a", ".opus", ".ogg", ".wav", ".wv", ".aiff"):
        rate = rate_of(suffix)
        path = write(tmp_path / f"x{suffix}", music(4, 40.0, rate), rate)
        originals.append((path, np.frombuffer(path.read_bytes(), np.uint8)))
    reasons: Counter[str] = Counter()
    with Workers(timeout_s=30) as workers:
        for number in range(round(FUZZED_FILES * SOAK_SHARE)):
            path, content = originals[number % len(originals)]
            broken = content.copy()
            # Half of them in the headers, where most is made of a bit.
            most = broken.size if number % 2 else min(broken.size, 4096)
            places = random.integers(0, most, random.integers(1, 200))
            broken[places] ^= (1 << random.integers(0, 8, places.size)).astype(np.uint8)
            path.write_bytes(broken.tobytes())
            try:
                heard = workers.listen(
                    tmp_path, FileFacts(path.name, broken.size, number), lambda key: [Measuring()]
                )
            except DecodingError as error:
                reasons[error.reason] += 1
                continue
            reasons["heard"] += 1
            for one in heard.analyses:
                values = one.scores if one.vector is None else one.vector
                assert values is not None
                assert np.isfinite(values).all()
    assert set(reasons) <= {"heard", *REASONS}
    assert not reasons["crashed"], reasons
    assert not reasons["timed-out"], reasons


def _shelf_to_kill(folder: Path, files: int) -> Shelf:
    shelf = Shelf(folder)
    for number in range(files):
        shelf.add(f"{number:03}.wav", number, seconds=1)
    return shelf


def test_killed_at_random_points_nothing_is_lost(tmp_path: Path, shared_workers: None) -> None:
    shelf = _shelf_to_kill(tmp_path, 40)
    assert kill_at_random(shelf, 3, seed=0)
    shelf.run()
    assert len(shelf.tracks()) == 40


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_killed_hundreds_of_times_nothing_is_lost(tmp_path: Path) -> None:
    hits = 0
    for seed in range(20):
        shelf = _shelf_to_kill(tmp_path / str(seed), 60)
        hits += kill_at_random(shelf, 15, seed)
        shelf.run()
        assert len(shelf.tracks()) == 60
    assert hits > 100


def test_a_rate_of_one_hertz_ends_no_run(tmp_path: Path, shared_workers: None) -> None:
    shelf = Shelf(tmp_path)
    shelf.add("good.flac", 1, seconds=5)
    with wave.open(str(shelf.music / "slow.wav"), "wb") as slow:
        slow.setnchannels(1)
        slow.setsampwidth(2)
        slow.setframerate(1)
        slow.writeframes(bytes(range(80)))
    shelf.run()
    assert set(shelf.tracks()) == {"good.flac"}
    assert [one.path for one in shelf.failures()] == ["slow.wav"]
    assert open_snapshot(shelf.data) is not None
