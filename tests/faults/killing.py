"""Kills and lost mounts at random points of the job, of merging, publishing and going back.

A process of its own, that has everything loaded, forks a child for each trial: hundreds take
minutes. After each the library must be sound and complete, every snapshot whole, the lock free; and
at the end the work must come to the very snapshot that an undisturbed run makes.

python -m tests.faults.killing KIND TRIALS SEED FOLDER  prints {"trials", "hits", "lost"}
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from catalog.errors import CatalogError
from catalog.library import Library
from catalog.settings import LibrarySettings
from catalog.snapshot import open_snapshot
from catalog.snapshots import kept_snapshots, roll_back
from catalog.tracks import Analysis, FileFacts, Tags
from embedder.errors import EmbedderError
from embedder.facts import FACTS
from embedder.fingerprint import FINGERPRINT
from embedder.job import embed
from embedder.joining import join
from embedder.lock import only_job
from embedder.models.registry import TIMBRE
from embedder.progress import SILENT
from embedder.publication import Publication
from embedder.settings import EmbeddingSettings
from tests.unit.embedder.sounds import music, write

SETTINGS = EmbeddingSettings(model="timbre", workers=1, keep=3)
CHECKOUT = Path(__file__).resolve().parents[2]

#: What is disturbed.
KINDS = ("embed", "mount", "merge", "publish", "rollback")


def disturb(kind: str, trials: int, seed: int, folder: Path) -> dict[str, int]:
    """Run trials of a kind in a process of their own: how many, how many hit, what was lost."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, kind, str(trials), str(seed), str(folder)],
        cwd=CHECKOUT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    told: dict[str, int] = json.loads(done.stdout)
    return told


class House:
    """A data folder whose work is disturbed, and what was known there at its best."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = np.random.default_rng(seed)
        self.hits = 0
        self.lost = 0
        self.known: set[str] = set()
        self.published = False

    def trial(
        self, work: Callable[[], Any], span_s: float, hurt: Callable[[int], None] | None = None
    ) -> bool:
        """Do some work in a child, and kill (or hurt) it within `span_s`. False: it had ended."""
        child = os.fork()
        if child == 0:
            code = 70
            try:
                work()
                code = 0
            except (EmbedderError, CatalogError):
                code = 1
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        time.sleep(float(self.random.uniform(0, span_s)))
        ended, status = os.waitpid(child, os.WNOHANG)
        if not ended:
            self.hits += 1
            (hurt or _kill)(child)
            _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 70:
            raise AssertionError("it failed in a way of its own")
        return not ended

    def check(self, data: Path) -> None:
        """What must hold after each trial."""
        with only_job(data):
            pass
        if (data / "library.db").exists():
            with Library.open(data) as library:
                assert library.check() == []
                now = {track.file.path for track in library.tracks()}
                heard = library.count_analysed(TIMBRE.model)
                assert heard <= len(now)
            self.lost += len(self.known - now)
            self.known |= now
        snapshot = open_snapshot(data, verify=True)
        self.lost += self.published and snapshot is None
        self.published = self.published or snapshot is not None
        for kept in kept_snapshots(data):
            assert kept.tracks > 0

    def begin_anew(self) -> None:
        """The next trials are of a fresh data folder."""
        self.known, self.published = set(), False


def _kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)


def _sounds(folder: Path, count: int) -> Path:
    for number in range(count):
        path = folder / f"Album {number % 3}" / f"{number:02}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, music(number, 0.6, 22_050), 22_050)
    return folder


def _fill(data: Path, numbers: range, seed: int = 0) -> Path:
    """A library that knows some tracks, with all that is published of them."""
    with Library.open(data) as library:
        root = library.root_id(Path("/mnt/music"), remote=True)
        for number in numbers:
            random = np.random.default_rng(number)
            library.store(
                root,
                FileFacts(f"{number}.mp3", 1, 1),
                f"key{number}",
                100.0 + number,
                Tags(f"Title {number}", f"Artist {number % 9}", "Album"),
                [
                    Analysis(TIMBRE.model, random.standard_normal(TIMBRE.dim).astype(np.float32)),
                    Analysis(FACTS, scores=np.ones(len(FACTS.labels), np.float32)),
                    Analysis(FINGERPRINT, np.ones(FINGERPRINT.dim, np.float32)),
                ],
            )
    return data


def _publish(data: Path) -> str:
    with only_job(data), Library.open(data) as library:
        publication = Publication(library, data, SILENT, keep=SETTINGS.keep)
        return publication.settle([TIMBRE.model], complete=False)


def _embed(music_folder: Path, data: Path) -> str:
    return embed(LibrarySettings(music=(str(music_folder),), data=str(data)), SETTINGS).snapshot


def _embedding(house: House, trials: int) -> None:
    """Kill the job, again and again, until it has heard all; then begin anew."""
    folder = _sounds(house.folder / "music", 24)
    started = time.monotonic()
    whole = _embed(folder, house.folder / "undisturbed")
    span_s = time.monotonic() - started
    data = house.folder / "0"
    for number in range(trials):
        if not house.trial(lambda data=data: _embed(folder, data), span_s):  # type: ignore[misc]
            assert _embed(folder, data) == whole
            house.check(data)
            house.begin_anew()
            data = house.folder / str(number + 1)
        house.check(data)
    assert _embed(folder, data) == whole


def _mounting(house: House, trials: int) -> None:
    """Take the music folder away from a job at work, and bring it back."""
    folder = _sounds(house.folder / "music", 40)
    away = folder.with_name("away")
    whole = _embed(folder, house.folder / "undisturbed")
    data = house.folder / "0"

    def unmount(child: int) -> None:
        folder.rename(away)
        if house.random.random() < 0.5:
            folder.mkdir()  # an empty mount point

    def remount() -> None:
        if away.exists():
            if folder.exists():
                folder.rmdir()
            away.rename(folder)

    for number in range(trials):
        if not house.trial(lambda data=data: _embed(folder, data), 1.5, unmount):  # type: ignore[misc]
            house.begin_anew()
            data = house.folder / str(number + 1)
        remount()
        house.check(data)
    assert _embed(folder, data) == whole


def _merging(house: House, trials: int) -> None:
    """Kill a merge of three libraries that overlap."""
    parts = [_fill(house.folder / f"part{i}", range(i * 30, i * 30 + 45)) for i in range(3)]
    started = time.monotonic()
    whole = join(house.folder / "undisturbed", parts, SETTINGS).snapshot
    span_s = time.monotonic() - started
    before = [(part / "library.db").read_bytes() for part in parts]
    data = house.folder / "0"
    for number in range(trials):
        if not house.trial(lambda data=data: join(data, parts, SETTINGS), span_s):  # type: ignore[misc]
            assert join(data, parts, SETTINGS).snapshot == whole
            house.check(data)
            house.begin_anew()
            data = house.folder / str(number + 1)
        house.check(data)
    assert join(data, parts, SETTINGS).snapshot == whole
    assert [(part / "library.db").read_bytes() for part in parts] == before


def _publishing(house: House, trials: int) -> None:
    """Kill a job that retags and publishes without end."""
    data = _fill(house.folder / "0", range(60))
    _publish(data)

    def go_on() -> None:
        number = 0
        while True:
            number += 1
            with Library.open(data) as library:
                track = library.track(number % 60 + 1)
                assert track is not None
                tags = replace(track.tags, title=f"{time.monotonic_ns()}")
                library.move(track.track_id, track.root_id, track.file, tags)
            _publish(data)

    house.check(data)
    for _ in range(trials):
        house.trial(go_on, 0.3)
        house.check(data)
        assert len(kept_snapshots(data)) <= SETTINGS.keep + 1
    version = _publish(data)
    fresh = house.folder / "fresh"
    fresh.mkdir()
    (fresh / "library.db").write_bytes((data / "library.db").read_bytes())
    with Library.open(fresh) as library:
        library.note_published("")
    assert _publish(fresh) == version
    assert not [path for path in (data / "snapshots").iterdir() if path.name.startswith(".")]


def _going_back(house: House, trials: int) -> None:
    """Kill a process that goes back and forth between two snapshots."""
    data = _fill(house.folder / "0", range(30))
    versions = {_publish(data)}
    _fill(data, range(30, 40))
    versions.add(_publish(data))

    def go_on() -> None:
        while True:
            for version in sorted(versions):
                roll_back(data, version)

    house.check(data)
    for _ in range(trials):
        house.trial(go_on, 0.05)
        house.check(data)
        snapshot = open_snapshot(data, verify=True)
        assert snapshot is not None
        assert snapshot.version in versions
        assert {one.version for one in kept_snapshots(data)} == versions


def main() -> None:
    """Disturb what is named."""
    kind, trials, seed, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    works = {
        "embed": _embedding, "mount": _mounting, "merge": _merging, "publish": _publishing,
        "rollback": _going_back,
    }  # fmt: skip
    house = House(folder, seed)
    works[kind](house, trials)
    print(json.dumps({"trials": trials, "hits": house.hits, "lost": int(house.lost)}))


if __name__ == "__main__":
    main()
