"""A report of faults: what was killed, unmounted and broken, and what was lost by it.

python -m bench faults    (ten times as much: SEGUE_SOAK_SHARE=10)
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from catalog.library import Library
from catalog.settings import LibrarySettings
from catalog.snapshot import open_snapshot
from embedder.job import embed
from embedder.settings import EmbeddingSettings
from tests.faults.killing import disturb
from tests.unit.embedder.odd_files import make_corpus
from tests.unit.embedder.sounds import music, rate_of, write

Rows = Sequence[Mapping[str, object]]

TRIALS = {"embed": 40, "mount": 20, "merge": 100, "publish": 100, "rollback": 100}
WHAT = {
    "embed": "the job killed (kill -9)",
    "mount": "the music folder taken away, or left empty, under the job",
    "merge": "segue merge killed",
    "publish": "publishing killed",
    "rollback": "segue rollback killed",
}
DAMAGED_FILES = 400


def run() -> Rows:
    """Each kind of fault in turn; `lost`: tracks, snapshots or files that were nowhere after it."""
    share = float(os.environ.get("SEGUE_SOAK_SHARE", "1"))
    rows: list[Mapping[str, object]] = []
    for kind, trials in TRIALS.items():
        with tempfile.TemporaryDirectory() as folder:
            told = disturb(kind, round(trials * share), 2, Path(folder))
        rows.append({"fault": WHAT[kind], "times": told["hits"], "lost": told["lost"]})
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus(Path(folder) / "music")
        rows.append(_listed("odd files", Path(folder), set(corpus)))
    with tempfile.TemporaryDirectory() as folder:
        names = _damage(Path(folder) / "music", round(DAMAGED_FILES * share))
        rows.append(_listed("files with flipped bits", Path(folder), names))
    return rows


def _damage(folder: Path, count: int) -> set[str]:
    """Files of each format with up to 200 bits flipped, half of them in the headers."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    originals = []
    for suffix in (".mp3", ".flac", ".m4a", ".opus", ".ogg", ".wav", ".wv", ".aiff"):
        rate = rate_of(suffix)
        path = write(folder.parent / f"x{suffix}", music(4, 20.0, rate), rate)
        originals.append((suffix, np.frombuffer(path.read_bytes(), np.uint8)))
    names = set()
    for number in range(count):
        suffix, content = originals[number % len(originals)]
        broken = content.copy()
        most = broken.size if number % 2 else min(broken.size, 4096)
        places = random.integers(0, most, random.integers(1, 200))
        broken[places] ^= (1 << random.integers(0, 8, places.size)).astype(np.uint8)
        names.add(f"{number}{suffix}")
        (folder / f"{number}{suffix}").write_bytes(broken.tobytes())
    return names


def _listed(what: str, folder: Path, names: set[str]) -> Mapping[str, object]:
    """Let the job hear a folder: each file has to be a track, or a failure with a reason."""
    data = folder / "data"
    report = embed(
        LibrarySettings(music=(str(folder / "music"),), data=str(data)),
        EmbeddingSettings(model="timbre"),
    ).report
    with Library.open(data, read_only=True) as library:
        heard = {track.file.path for track in library.tracks()}
        failed = {failure.path for failure in library.failures() if failure.reason}
    snapshot = open_snapshot(data, verify=True)
    lost = len(names - heard - failed) + (0 if snapshot and snapshot.n == len(heard) else 1)
    return {
        "fault": what,
        "times": len(names),
        "lost": lost,
        "heard": len(heard),
        "listed with a reason": report.skipped,
    }
