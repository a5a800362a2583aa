"""How well sound alone finds what belongs together: P@5 of "same album" on a folder of real music.

For each track, the share of its five nearest other tracks (cosine of the published vectors) that
come from the same album, averaged over all tracks; and beside it what chance gives.

    python -m bench.quality --audio DIR --models DIR
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catalog.settings import LibrarySettings
from catalog.snapshot import Snapshot, open_snapshot
from catalog.tracks import Float32
from embedder.job import embed
from embedder.models.registry import ENTRIES, why_not
from embedder.settings import EmbeddingSettings

#: What issue 3 asks of each model, on the 165 excerpts of the development library.
GOALS = {"efficientat-mn04": 0.25, "timbre": 0.17}

NEIGHBOURS = 5


def precision(vectors: Float32, labels: NDArray[np.int32], k: int = NEIGHBOURS) -> float:
    """Mean share of a row's `k` nearest other rows that bear its label; rows of length 1."""
    scores = vectors @ vectors.T  # (n, d) @ (d, n) -> (n, n)
    np.fill_diagonal(scores, -np.inf)
    nearest = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float((labels[nearest] == labels[:, np.newaxis]).mean())


def chance(labels: NDArray[np.int32]) -> float:
    """The same for neighbours drawn at random."""
    same = labels[:, np.newaxis] == labels
    return float((same.sum(1) - 1).mean() / (len(labels) - 1))


def album_codes(snapshot: Snapshot) -> NDArray[np.int32]:
    """Equal for equal album names, whoever the artist: in a game's soundtrack there are many."""
    names = [snapshot.text("album", row).casefold() for row in range(snapshot.n)]
    return np.unique(names, return_inverse=True)[1].astype(np.int32)


def run(audio: Path, models: Path) -> list[dict[str, object]]:
    """A row for each model that can run: P@5, chance, the goal, and how long it took."""
    rows: list[dict[str, object]] = []
    for entry in ENTRIES:
        if entry.beside:
            continue
        reason = why_not(entry, models)
        if reason:
            rows.append({"model": entry.name, "skipped": reason})
            continue
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            embed(
                LibrarySettings(music=(str(audio),), data=folder),
                EmbeddingSettings(model=entry.name, models_dir=str(models)),
            )
            snapshot = open_snapshot(Path(folder))
            assert snapshot is not None
            labels = album_codes(snapshot)
            rows.append(
                {
                    "model": entry.name,
                    "tracks": snapshot.n,
                    "P@5 same album": round(precision(np.asarray(snapshot.vectors), labels), 3),
                    "by chance": round(chance(labels), 3),
                    "goal": GOALS.get(entry.name),
                    "seconds": round(time.monotonic() - started, 1),
                }
            )
    return rows


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    given = parser.parse_args()
    for row in run(given.audio, given.models):
        print("  ".join(f"{key}: {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
