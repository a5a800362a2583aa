"""What is derived from raw vectors and scores at publishing, so that ranking is cheap and fair.

Figures on 165 excerpts of game music (P@5 "same game"; hub skew of the 10-occurrence): centred
vectors .268 and .24, half-whitened .287, with a quarter of the hub scalar .285 and -.28, with the
tag profile .297 and .02. Full whitening hurts (.276). `python -m bench quality` measures them.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.snapshot import COARSE_COLUMNS, TagGroup
from catalog.tracks import Float32

#: 0 leaves the spectrum as it is, 1 makes every direction equal. Half is best by measurement.
WHITENING: Final = 0.5

#: Added to each direction's variance, as a part of all variance, so that small directions, which
#: are many and tell little, stay small: P@5 .286 -> .284, and the coarse copy holds .76 of a vector
#: instead of .66.
VARIANCE_FLOOR: Final = 0.002

#: Directions with less than this part of the largest variance are rounding errors.
_LEAST_VARIANCE: Final = 1e-9

#: A hub's scalar is its mean cosine to so many nearest tracks (Conneau et al. 2018, CSLS).
HUB_NEIGHBOURS: Final = 20

#: In a large library the neighbours are sought among so many tracks, evenly spread over it.
HUB_REFERENCES: Final = 4096

#: The tag profile has so many directions; more find nothing more.
PROFILE_DIM: Final = 32

_BLOCK: Final = 4096


def centre(raw: Float32) -> Float32:
    """Raw vectors (n, d) less the library's mean.

    The mean is shrunk by (n - 1) / n: one track is no library, and two must not become opposites.
    """
    n = len(raw)
    if n == 0:
        return raw.astype(np.float32)
    centred: Float32 = (raw - raw.mean(0, dtype=np.float64) * ((n - 1) / n)).astype(np.float32)
    return centred


def unit(rows: Float32) -> Float32:
    """Rows (n, d) scaled to length 1; rows of nothing stay 0."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Float32 = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 1e-9)
    return scaled.astype(np.float32)


def whiten(centred: Float32, strength: float = WHITENING) -> Float32:
    """Rows (n, d) turned to their principal axes, widest first, each axis divided by its deviation
    to the power of `strength`; then rows of length 1. (n, d) float32.

    What all tracks differ in (loudness, brightness, codec) counts for less, what tells few apart
    for more.
    """
    n, d = centred.shape
    if n == 0:
        return centred.astype(np.float32)
    covariance = np.zeros((d, d))
    for start in range(0, n, _BLOCK):
        block = centred[start : start + _BLOCK].astype(np.float64)
        covariance += block.T @ block  # (d, b) @ (b, d)
    variance, axes = np.linalg.eigh(covariance / n)
    variance, axes = variance[::-1], axes[:, ::-1]
    # An axis has no direction of its own: its largest entry is made positive.
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(d)] + 0.0)
    kept = variance > _LEAST_VARIANCE * max(float(variance[0]), 1e-30)
    floored = np.where(kept, variance + VARIANCE_FLOOR * variance[kept].sum(), 1.0)
    scale = np.where(kept, floored ** (-strength / 2), 0.0)
    turned = np.empty((n, d), np.float32)
    turn = (axes * scale).astype(np.float32)
    for start in range(0, n, _BLOCK):
        turned[start : start + _BLOCK] = centred[start : start + _BLOCK] @ turn
    return unit(turned)


def hubness(vectors: Float32) -> Float32:
    """How near a track is to its nearest others, less the library's mean, (n,) float32 in -2…2.

    High for hubs; taking half of it off a cosine is CSLS. Exact up to `HUB_REFERENCES` tracks,
    beyond that against an even sample of so many, which orders tracks alike at a cost that grows
    with n and not with its square.
    """
    n = len(vectors)
    near = np.zeros(n, np.float32)
    if n < 2:
        return near
    chosen = np.unique(np.linspace(0, n - 1, min(n, HUB_REFERENCES)).astype(np.intp))
    references = vectors[chosen]
    k = min(HUB_NEIGHBOURS, len(chosen) - 1)
    for start in range(0, n, _BLOCK):
        block = vectors[start : start + _BLOCK] @ references.T  # (b, d) @ (d, m) -> (b, m)
        own = np.flatnonzero((chosen >= start) & (chosen < start + _BLOCK))
        block[chosen[own] - start, own] = -np.inf
        top = np.partition(block, -k, axis=1)[:, -k:]
        near[start : start + _BLOCK] = top.mean(1)
    return np.asarray(near - near.mean(), np.float32)


def normal_scores(values: Float32) -> Float32:
    """Each column of (n, d) by its ranks, as if it were normal: mean 0, deviation near 1.

    Scores are not calibrated and their distributions differ: only the order within the library
    counts. Equal values get equal scores.
    """
    n = len(values)
    quantiles = np.array([NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)])
    below = np.concatenate([[0.0], np.cumsum(quantiles)])
    scores = np.empty(values.shape, np.float32)
    for column in range(values.shape[1]):
        _, group, counts = np.unique(values[:, column], return_inverse=True, return_counts=True)
        ends = np.cumsum(counts)
        mean = (below[ends] - below[ends - counts]) / counts
        scores[:, column] = mean[group.reshape(-1)]
    return scores


def profiles(groups: Sequence[TagGroup], n: int) -> Float32:
    """What the tags say of each track, (n, up to 32) float32 rows of length 1 (0: not judged).

    Each group counts alike; directions half-whitened as the vectors are.
    """
    if not groups:
        return np.zeros((n, 0), np.float32)
    joined = np.concatenate([unit(np.asarray(g.scores, np.float32)) for g in groups], axis=1)
    judged = joined.any(1)
    found = np.zeros((n, min(PROFILE_DIM, joined.shape[1])), np.float32)
    if judged.any():
        turned = whiten(centre(joined[judged]))[:, : found.shape[1]]
        found[judged] = unit(np.ascontiguousarray(turned))
    return found


def coarse(vectors: Float32, profile: Float32) -> NDArray[np.float32]:
    """The copy that is searched first, (n, 48 + 16) float32 (fewer where there are fewer)."""
    of_vectors, of_profile = COARSE_COLUMNS
    parts = (vectors[:, :of_vectors], profile[:, :of_profile])
    return np.ascontiguousarray(np.concatenate(parts, axis=1), np.float32)
