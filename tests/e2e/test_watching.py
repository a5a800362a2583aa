"""`segue embed --watch` as a process: music that comes, moves and goes, watched or polled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from catalog.errors import CatalogError
from catalog.library import Library
from catalog.snapshot import open_snapshot
from tests.unit.cli.test_embed import CHECKOUT, write_tone

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]


@contextmanager
def watching(
    music: Path, data: Path, *, polled: bool, folder: Path
) -> Iterator[subprocess.Popen[str]]:
    """The command at work. `polled`: without watchfiles, as a network mount is looked at."""
    hidden = folder / "hidden"
    hidden.mkdir()
    if polled:
        (hidden / "watchfiles.py").write_text("raise ModuleNotFoundError('watchfiles')\n")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(hidden), str(CHECKOUT)]),
        "OMP_NUM_THREADS": "1",
        "SEGUE_EMBEDDING__QUIET_S": "0.3",
        "SEGUE_EMBEDDING__POLL_S": "1",
        "SEGUE_EMBEDDING__WORKERS": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "cli.main", "embed", "--watch", "--model", "timbre", "--music",
         str(music), "--data", str(data)],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def published(data: Path) -> set[str]:
    """The paths that are published."""
    try:
        snapshot = open_snapshot(data)
    except CatalogError:
        return set()
    return set() if snapshot is None else {snapshot.text("path", i) for i in range(snapshot.n)}


def wait_for(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 40
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.mark.parametrize("polled", [False, True], ids=["watched", "polled"])
def test_music_that_comes_moves_and_goes(polled: bool, tmp_path: Path) -> None:
    if not polled:
        pytest.importorskip("watchfiles")
    music, data = tmp_path / "music", tmp_path / "data"
    for number in (1, 2, 3):
        write_tone(music / f"{number}.wav", 150.0 * number, seconds=1)
    with watching(music, data, polled=polled, folder=tmp_path) as process:
        wait_for(lambda: published(data) == {"1.wav", "2.wav", "3.wav"}, "the first look")
        write_tone(music / "Album/4.wav", 777.0, seconds=1)
        wait_for(lambda: "Album/4.wav" in published(data), "a file that came")
        (music / "1.wav").rename(music / "Album/moved.wav")
        wait_for(lambda: {"Album/moved.wav"} < published(data), "a file that moved")
        assert "1.wav" not in published(data)
        with Library.open(data, read_only=True) as library:
            assert library.count_tracks() == 4
        (music / "2.wav").unlink()
        time.sleep(2.5 if polled else 0.2)  # looks that follow each other count as one
        assert "2.wav" in published(data)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    said = "watchfiles is not installed" if polled else f"watching {music}"
    assert said in err
    assert ("looking every 1 s" in err) == polled
    assert out.count("1 embedded") == 1
    assert "0 embedded, 0 copies, 1 moved" in out


def test_a_folder_that_goes_away_is_told_once_and_when_it_is_back(
    tmp_path: Path,
) -> None:
    pytest.importorskip("watchfiles")
    music, data = tmp_path / "music", tmp_path / "data"
    write_tone(music / "1.wav", 150.0, seconds=1)
    with watching(music, data, polled=False, folder=tmp_path) as process:
        assert process.stderr is not None
        heard: list[str] = []
        Thread(target=heard.extend, args=[process.stderr], daemon=True).start()
        wait_for(lambda: published(data) == {"1.wav"}, "the first look")
        wait_for(lambda: "watching " in "".join(heard), "watching")
        music.rename(tmp_path / "away")
        gone = f"segue: the music folder {music} is not there: is it mounted?"
        wait_for(lambda: gone in "".join(heard), "a folder that went")
        write_tone(tmp_path / "away/2.wav", 450.0, seconds=1)
        (tmp_path / "away").rename(music)
        wait_for(lambda: published(data) == {"1.wav", "2.wav"}, "a folder that came back")
        wait_for(lambda: "segue: the music is there again" in "".join(heard), "it is said")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
    told = "".join(heard)
    assert (told.count(gone), told.count("is there again")) == (1, 1)
