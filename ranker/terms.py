"""The terms of a score, each over all rows at once: (n,) float32, range and meaning stated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catalog.snapshot import Snapshot, TagGroup
from catalog.tracks import Float32
from ranker.picks import Seed

#: A tag counts as a track's own from one standard deviation above the library's mean.
OWN_TAG_Z: Final = 1.0


def audio(snapshot: Snapshot, seeds: Sequence[Seed]) -> Float32:
    """Cosine to the seeds' weighted mean: -1…1; 1 is the same sound, 0 is unrelated.

    Rows are centred on the library, so that what all of it has in common counts for nothing.
    """
    query = _mean(snapshot.vectors, seeds)
    return _unit(query) @ snapshot.vectors.T  # (d,) @ (d, n) -> (n,)


def tags(snapshot: Snapshot, seeds: Sequence[Seed]) -> Float32:
    """Cosine of tag profiles, averaged over the groups: -1…1; 0 where there are no tags.

    A profile is how much more or less of each tag a track has than the library's mean.
    """
    total = np.zeros(snapshot.n, np.float32)
    for group in snapshot.tag_groups.values():
        profiles = np.asarray(group.scores, np.float32)  # (n, t)
        query = _unit(_mean(profiles, seeds))
        lengths = np.maximum(np.linalg.norm(profiles, axis=1), 1e-6)
        total += (profiles @ query) / lengths  # (n, t) @ (t,) -> (n,)
    return np.asarray(total / max(len(snapshot.tag_groups), 1), np.float32)


def shared_tags(snapshot: Snapshot, seeds: Sequence[Seed], row: int, most: int = 3) -> list[str]:
    """The labels that a row has most in common with the seeds, strongest first."""
    found: list[tuple[float, str]] = []
    for group in snapshot.tag_groups.values():
        ours = np.asarray(group.scores[row], np.float32)
        theirs = _mean(group.scores, seeds)
        both = np.minimum(ours, theirs)
        found += [
            (float(both[i]), group.labels[i]) for i in np.flatnonzero(both > OWN_TAG_Z).tolist()
        ]
    return [label for _, label in sorted(found, key=lambda pair: (-pair[0], pair[1]))[:most]]


def own_tags(group: TagGroup, row: int) -> dict[str, float]:
    """A row's labels above `OWN_TAG_Z`, with their z-scores."""
    scores = np.asarray(group.scores[row], np.float32)
    return {group.labels[i]: float(scores[i]) for i in np.flatnonzero(scores > OWN_TAG_Z).tolist()}


def _mean(matrix: NDArray[Any], seeds: Sequence[Seed]) -> Float32:
    rows = np.asarray(matrix[[seed.row for seed in seeds]], np.float32)
    weights = np.array([seed.weight for seed in seeds], np.float32)
    return np.asarray((weights @ rows) / max(float(weights.sum()), 1e-6), np.float32)


def _unit(vector: Float32) -> Float32:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-6), np.float32)
