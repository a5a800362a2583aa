"""A synthetic snapshot with known structure: styles as directions, artists and versions given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from catalog.snapshot import Snapshot, SnapshotArrays, TagGroup, open_snapshot, write_snapshot
from catalog.tracks import Model

LABELS = ("sad", "calm", "Heavy metal", "Angry music", "Violin, fiddle")


def styled(
    folder: Path, styles: list[int], *, artists: list[int] | None = None,
    recordings: list[int] | None = None, albums: list[int] | None = None, tags: bool = True,
    noise: float = 0.3, dim: int = 16, profiled: bool = False, kind: list[int] | None = None,
    genres: list[list[int]] | None = None, genre_names: Sequence[str] = (),
) -> Snapshot:  # fmt: skip
    """One track for each entry of `styles`; equal style, near vectors and equal tags."""
    random = np.random.default_rng(7)
    n = len(styles)
    centres = np.eye(dim, dtype=np.float32)
    vectors = centres[styles] + noise * random.normal(size=(n, dim)).astype(np.float32) / 4
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    if profiled:
        tagged = np.eye(4, dtype=np.float32)[np.array(styles, np.intp) % 4]
        joined = np.concatenate([vectors[:, :8], tagged], axis=1)
        optional = {"profile": tagged, "coarse": joined, "hub": np.zeros(n, np.float32)}
    else:
        optional = {}
    scores = np.zeros((n, len(LABELS)), np.float16)
    for row, style in enumerate(styles):
        scores[row, style % len(LABELS)] = 2.0
    names = [f"track {i}" for i in range(n)]
    write_snapshot(
        folder,
        SnapshotArrays(
            model=Model("ears", "1", dim),
            vectors=vectors.astype(np.float32),
            track_ids=np.arange(n, dtype=np.int64),
            artist=np.array(artists or range(n), np.int32),
            album=np.arange(n, dtype=np.int32) if albums is None else np.array(albums, np.int32),
            recording=np.array(recordings or range(n), np.int32),
            duration_s=np.full(n, 100, np.float32),
            year=np.zeros(n, np.int16),
            text=dict.fromkeys(("path", "title", "artist", "album"), names),
            tag_groups={"moods": TagGroup(LABELS, scores)} if tags else {},
            kind=None if kind is None else np.array(kind, np.uint8),
            genres=None if genres is None else np.array(genres, np.int32),
            genre_names=genre_names,
            **optional,
        ),
    )
    snapshot = open_snapshot(folder)
    assert snapshot is not None
    return snapshot
