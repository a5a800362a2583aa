"""How well each model groups the demo's own music: P@5 of "same manner" (the genre tag)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from bench.quality import chance, precision
from catalog.library import Library
from catalog.settings import LibrarySettings
from catalog.snapshot import open_snapshot
from demo.library import compose_library
from embedder.job import embed
from embedder.models.registry import ENTRIES, why_not
from embedder.settings import EmbeddingSettings

GOAL = 0.8


def run(models: Path) -> list[dict[str, object]]:
    """A row per model that can run here."""
    music = compose_library(Path(".demo").resolve())
    rows: list[dict[str, object]] = []
    for entry in ENTRIES:
        if entry.beside or why_not(entry, models):
            continue
        with tempfile.TemporaryDirectory() as name:
            data = Path(name)
            embed(
                LibrarySettings(music=(str(music),), data=name),
                EmbeddingSettings(model=entry.name, models_dir=str(models)),
            )
            snapshot = open_snapshot(data)
            if snapshot is None:
                raise RuntimeError("nothing was published")
            with Library.open(data, read_only=True) as library:
                genres = [track.tags.genres for track in library.tracks()]
            names = sorted(set(genres))
            labels = np.array([names.index(genre) for genre in genres], np.int32)
            rows.append(
                {
                    "model": entry.name,
                    "pieces": snapshot.n,
                    "P@5": round(precision(np.array(snapshot.vectors), labels), 3),
                    "goal": GOAL,
                    "chance": round(chance(labels), 3),
                }
            )
    return rows
