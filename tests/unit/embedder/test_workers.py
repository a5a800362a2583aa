"""What the job survives: decoders that die, reads that hang, mounts that go away."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from catalog.library import Library
from catalog.settings import LibrarySettings
from embedder import listening, workers
from embedder.errors import SourceError
from embedder.job import Outcome, Task, embed
from embedder.settings import EmbeddingSettings
from tests.unit.embedder.test_job import Heard, Shelf


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr(
        workers, "COMMAND", [sys.executable, "-m", "tests.unit.embedder.unruly_worker"]
    )
    shelf = Shelf(tmp_path)
    for number in range(4):
        shelf.add(f"{number}.wav", number, seconds=1)
    return shelf


def run(shelf: Shelf, heard: Heard | None = None, *, workers: int = 1) -> Outcome:
    library = LibrarySettings(music=(str(shelf.music),), data=str(shelf.data))
    settings = EmbeddingSettings(model="timbre", workers=workers, timeout_s=1)
    return embed(library, settings, progress=heard or Heard())


def copy(shelf: Shelf, name: str) -> None:
    (shelf.music / name).write_bytes((shelf.music / "0.wav").read_bytes() + name.encode())


def reasons(shelf: Shelf) -> dict[str, str]:
    return {failure.path: failure.reason for failure in shelf.failures()}


def test_a_decoder_that_dies_costs_only_its_file_and_once(shelf: Shelf) -> None:
    copy(shelf, "1-crash.wav")
    report = run(shelf, workers=2).report
    assert (report.embedded, report.skipped) == (4, 1)
    assert reasons(shelf) == {"1-crash.wav": "crashed"}
    assert "SIGABRT" in shelf.failures()[0].detail
    again = Heard()
    assert run(shelf, again).report.skipped == 1
    assert again.files == {}  # it is not tried again
    os.utime(shelf.music / "1-crash.wav")
    run(shelf, again)
    assert again.files == {"1-crash.wav": "skipped"}  # until it changes


def test_what_is_read_of_a_file_in_vain_is_counted(shelf: Shelf) -> None:
    before = run(shelf).report
    assert before.bytes_read == sum(path.stat().st_size for path in shelf.music.iterdir())
    (shelf.music / "noise.mp3").write_bytes(bytes(range(256)) * 400)
    found = run(shelf).report
    assert (found.skipped, found.bytes_read) == (1, 256 * 400)
    assert found.reads > 0


def test_a_hung_read_is_given_up_and_tried_again_in_the_next_run(shelf: Shelf) -> None:
    copy(shelf, "1-hang.wav")
    report = run(shelf).report
    assert (report.embedded, report.skipped) == (4, 1)
    assert reasons(shelf) == {"1-hang.wav": "timed-out"}
    again = Heard()
    run(shelf, again)
    assert again.files == {"1-hang.wav": "skipped"}


def test_one_bad_sector_is_a_failure_and_three_in_a_row_are_a_bad_disk(shelf: Shelf) -> None:
    copy(shelf, "1-EIO.wav")
    assert run(shelf).report.skipped == 1
    assert reasons(shelf) == {"1-EIO.wav": "read-error"}
    for number in (2, 3):
        copy(shelf, f"1-EIO-{number}.wav")
    with pytest.raises(SourceError, match="3 files in a row"):
        run(shelf)
    assert len(shelf.tracks()) == 4


def test_remote_errors_in_a_row_are_a_bad_mount(shelf: Shelf) -> None:
    for number in range(3):
        copy(shelf, f"1-EREMOTEIO-{number}.wav")
    with pytest.raises(SourceError, match="3 files in a row"):
        run(shelf)


def test_a_read_that_fails_is_never_the_files_fault(shelf: Shelf) -> None:
    """Whatever the decoder makes of what it did get: it is tried again in the next run."""
    names = [f"1-{name}.wav" for name in ("EACCES", "ENOLINK", "ECONNREFUSED")]
    for name in names:
        copy(shelf, name)
    run(shelf)
    assert reasons(shelf) == dict.fromkeys(names, "unreadable")
    again = Heard()
    run(shelf, again)
    assert again.files == dict.fromkeys(names, "skipped")


def test_an_album_without_permission_stops_nothing(shelf: Shelf) -> None:
    for number in range(6):
        copy(shelf, f"0-closed-{number}.wav")
        copy(shelf, f"9-closed-{number}.wav")
    report = run(shelf).report
    assert (report.embedded, report.skipped) == (4, 12)
    assert set(reasons(shelf).values()) == {"unreadable"}


@pytest.mark.parametrize("name", ["ENOTCONN", "ESTALE", "ETIMEDOUT", "ECONNRESET"])
def test_a_mount_that_goes_away_stops_the_run_and_forgets_nothing(shelf: Shelf, name: str) -> None:
    run(shelf)
    (shelf.music / "3.wav").unlink()
    copy(shelf, f"2-{name}.wav")
    for _ in range(2):
        with pytest.raises(SourceError, match="in trouble") as caught:
            run(shelf)
        assert "\n" not in str(caught.value)
    assert set(shelf.tracks()) == {"0.wav", "1.wav", "2.wav", "3.wav"}
    assert reasons(shelf) == {}
    with Library.open(shelf.data, read_only=True) as library:
        last = library.last_run()
    assert last is not None
    assert "in trouble" in last.error


def test_prune_forgets_at_once_what_is_gone(shelf: Shelf) -> None:
    for number in range(4, 20):
        shelf.add(f"{number}.wav", number, seconds=0.6)
    run(shelf, workers=2)
    for path in sorted(shelf.music.iterdir())[:15]:
        path.unlink()
    with pytest.raises(SourceError, match="--prune"):
        run(shelf)
    library = LibrarySettings(music=(str(shelf.music),), data=str(shelf.data))
    embed(library, EmbeddingSettings(model="timbre"), Task(prune=True))
    assert len(shelf.tracks()) == 5


def test_a_stop_does_not_wait_for_a_file_without_end(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy(shelf, "9-hang.wav")
    monkeypatch.setattr(listening, "_MOST_STOPPING_S", 0.3)
    outcome, took_s = interrupted(shelf, times=1)
    assert outcome is not None
    assert outcome.interrupted
    assert outcome.report.embedded == 4
    assert outcome.snapshot
    assert reasons(shelf) == {}  # it was not at fault: the next run hears it
    assert took_s < 10.0


def test_asked_twice_it_stops_at_once(shelf: Shelf) -> None:
    copy(shelf, "9-hang.wav")
    outcome, took_s = interrupted(shelf, times=2)
    assert outcome is None
    assert took_s < listening._MOST_STOPPING_S
    assert len(shelf.tracks()) == 4
    assert reasons(shelf) == {}


def test_a_file_that_goes_on_and_on_is_given_up(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_MOST_TIMES", 2)
    copy(shelf, "1-endless.wav")
    assert run(shelf).report.embedded == 4
    assert reasons(shelf) == {"1-endless.wav": "timed-out"}
    assert "not done after 2 s" in shelf.failures()[0].detail


def test_decoders_that_nothing_ends_do_not_pile_up(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy(shelf, "1-hang.wav")
    left: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr(workers, "_END_S", 0.1)
    monkeypatch.setattr(workers, "_MOST_LEFT_BEHIND", 1)
    monkeypatch.setattr(workers, "_left_behind", left)
    with monkeypatch.context() as hanging:
        hanging.setattr(subprocess.Popen, "kill", lambda process: None)
        with pytest.raises(SourceError, match="1 decoding processes hang"):
            run(shelf)
    assert len(left) == 1
    left[0].kill()
    left[0].wait()
    (shelf.music / "1-hang.wav").unlink()
    run(shelf)
    assert len(shelf.tracks()) == 4


def interrupted(shelf: Shelf, times: int) -> tuple[Outcome | None, float]:
    """A run that is asked to stop when all but what hangs is heard: what it gave, and when."""
    asked_s = time.monotonic()

    class Impatient(Heard):
        def advanced(self, path: str, result: str, detail: str) -> None:
            nonlocal asked_s
            super().advanced(path, result, detail)
            if len(self.files) == 4:
                asked_s = time.monotonic()
                for number in range(times):
                    delay = threading.Timer(0.5 * number, os.kill, (os.getpid(), signal.SIGINT))
                    delay.start()

    library = LibrarySettings(music=(str(shelf.music),), data=str(shelf.data))
    settings = EmbeddingSettings(model="timbre", workers=1, timeout_s=60)
    try:
        outcome = embed(library, settings, progress=Impatient())
    except KeyboardInterrupt:
        outcome = None
    return outcome, time.monotonic() - asked_s


#: A worker that is told to stop before it has done anything.
_TOLD_TO_STOP = """
import os, runpy, signal
for number in (signal.SIGINT, signal.SIGTERM):
    os.kill(os.getpid(), number)
runpy.run_module("embedder.worker", run_name="__main__")
"""


def test_a_wish_to_stop_while_a_worker_starts_is_the_jobs_alone(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "COMMAND", [sys.executable, "-c", _TOLD_TO_STOP])
    assert run(shelf).report.embedded == 4


def test_a_job_that_is_killed_leaves_no_worker_behind() -> None:
    job = (
        "import os, signal; from embedder.workers import _Process;"
        "print(_Process(5)._process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    told = subprocess.run([sys.executable, "-c", job], stdout=subprocess.PIPE, check=False)
    worker = Path("/proc") / told.stdout.decode().strip()
    end_s = time.monotonic() + 5.0
    # A zombie until whoever has inherited it looks.
    while worker.exists() and "\nState:\tZ" not in (worker / "status").read_text():
        assert time.monotonic() < end_s
        time.sleep(0.02)
