"""What is derived from raw vectors and scores at publishing, so that ranking is cheap and fair.

Figures on 165 excerpts of game music (P@5 "same game"; hub skew of the 10-occurrence): centred
vectors .268 and .24, half-whitened .287, with a quarter of the hub scalar .285 and -.28, with the
tag profile .297 and .02. Full whitening hurts (.276). `python -m bench quality` measures them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.layout import COARSE_COLUMNS, TagGroup
from catalog.matrices import Matrix, blocks
from catalog.tracks import Float32

#: 0 leaves the spectrum as it is, 1 makes every direction equal. Half is best by measurement for
#: features of networks (mn04: P@5 .269, .287 and .292 at 0, a quarter and half) and of signals
#: (timbre: .224, .241, .245); what learnt to be compared as it is says so in its entry (segue-1:
#: .321, .322, .315).
WHITENING: Final = 0.5

#: Added to each direction's variance, as a part of all variance, so that small directions, which
#: are many and tell little, stay small: P@5 .286 -> .284, and the coarse copy holds .76 of a vector
#: instead of .66.
VARIANCE_FLOOR: Final = 0.002

#: Directions with less than this part of the largest variance are rounding errors.
_LEAST_VARIANCE: Final = 1e-9

#: A hub's scalar is its mean cosine to so many nearest tracks (Conneau et al. 2018, CSLS).
HUB_NEIGHBOURS: Final = 20

#: In a large library the neighbours are sought among so many tracks, evenly spread over it; fewer
#: where that makes more than so many pairs, as in 100,000 tracks, but never fewer than half of it.
HUB_REFERENCES: Final = 4096
_MOST_PAIRS: Final = HUB_REFERENCES * 100_000

#: A sample's nearest stand for more tracks each. Correlation with the exact scalar of 16,000 tracks
#: in 300 clusters: 4096 references .875 with 20 neighbours and .991 with 5, 2048 .748 and .927.
_SAMPLED_NEIGHBOURS: Final = 5

#: And among so many of the widest axes, which hold nearly all of a vector.
_SAMPLED_AXES: Final = 256

#: The tag profile has so many directions; more find nothing more.
PROFILE_DIM: Final = 32

#: Scores that differ by less than this part of themselves are equal: 12 bits of a float's 23.
_RANK_SHIFT: Final = 11

_SIGN: Final = np.uint32(1 << 31)


def mean_of(rows: Matrix) -> NDArray[np.float64]:
    """The mean of rows (n, d), (d,) float64; 0 where there are none."""
    n, d = rows.shape
    total = np.zeros(d)
    for part in blocks(n, d):
        total += rows[part].sum(0, dtype=np.float64)
    return total / max(n, 1)


def origin(rows: Matrix) -> Float32:
    """What is taken off raw vectors (n, d): the library's mean, (d,) float32.

    The mean is shrunk by (n - 1) / n: one track is no library, and two must not become opposites.
    """
    n = rows.shape[0]
    shrunk: Float32 = (mean_of(rows) * ((n - 1) / max(n, 1))).astype(np.float32)
    return shrunk


def centre(raw: Float32) -> Float32:
    """Raw vectors (n, d) less `origin`."""
    centred: Float32 = (raw - origin(raw)).astype(np.float32)
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
    whitened = centred.astype(np.float32)
    whiten_rows(whitened, np.zeros(centred.shape[1], np.float32), strength)
    return whitened


def whiten_rows(rows: Matrix, centre: Float32, strength: float = WHITENING) -> None:
    """`whiten` of rows (n, d) less `centre`, in place and block by block."""
    n, d = rows.shape
    turn = turn_of(covariance(rows, centre), strength)
    for part in blocks(n, d):
        centred: Float32 = rows[part] - centre
        rows[part] = unit(centred @ turn)  # (b, d) @ (d, d)


def covariance(rows: Matrix, centre: Float32) -> NDArray[np.float64]:
    """The covariance of rows (n, d) about `centre`, (d, d) float64."""
    n, d = rows.shape
    total = np.zeros((d, d))
    for part in blocks(n, d):
        block = np.asarray(rows[part] - centre, np.float32)  # a block's sums: precise enough
        total += block.T @ block  # (d, b) @ (b, d)
    return total / max(n, 1)


def turn_of(covariance: NDArray[np.float64], strength: float = WHITENING) -> Float32:
    """What `whiten` multiplies rows with, (d, d) float32: the axes, widest first, and scaled."""
    d = len(covariance)
    variance, axes = np.linalg.eigh(covariance)
    variance, axes = variance[::-1], axes[:, ::-1]
    # An axis has no direction of its own: its largest entry is made positive.
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(d)] + 0.0)
    kept = variance > _LEAST_VARIANCE * max(float(variance.max(initial=0.0)), 1e-30)
    floored = np.where(kept, variance + VARIANCE_FLOOR * variance[kept].sum(), 1.0)
    scale = np.where(kept, floored ** (-strength / 2), 0.0)
    turn: Float32 = (axes * scale).astype(np.float32)
    return turn


def hubness(vectors: Matrix) -> Float32:
    """How near a track is to its nearest others, less the library's mean, (n,) float32 in -2…2.

    High for hubs; taking half of it off a cosine is CSLS. Exact up to `HUB_REFERENCES` tracks,
    beyond that along the first axes against an even sample of so many, which orders tracks alike at
    a cost that grows with n and not with its square.
    """
    n, d = vectors.shape
    near = np.zeros(n, np.float32)
    if n < 2:
        return near
    most = min(HUB_REFERENCES, max(HUB_REFERENCES // 2, _MOST_PAIRS // n))
    chosen = np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.intp))
    axes = d if len(chosen) == n else _SAMPLED_AXES
    references = np.concatenate([vectors[row : row + 1][:, :axes] for row in chosen.tolist()])
    k = min(HUB_NEIGHBOURS if len(chosen) == n else _SAMPLED_NEIGHBOURS, len(chosen) - 1)
    for part in blocks(n, max(d, len(chosen))):
        block = vectors[part][:, :axes] @ references.T  # (b, a) @ (a, m) -> (b, m)
        own = np.flatnonzero((chosen >= part.start) & (chosen < part.stop))
        block[chosen[own] - part.start, own] = -np.inf
        near[part] = np.partition(block, -k, axis=1)[:, -k:].mean(1)
    return np.asarray(near - near.mean(dtype=np.float64), np.float32)


def normal_scores(values: Float32) -> Float32:
    """Each column of (n, d) by its ranks, as if it were normal: mean 0, deviation near 1.

    Scores are not calibrated and their distributions differ: only the order within the library
    counts. Equal values get equal scores, and so do values closer than 1/4096 of themselves.
    """
    below = quantiles_below(len(values))
    scores = np.empty(values.shape, np.float32)
    for column in range(values.shape[1]):
        scores[:, column] = normal_column(values[:, column], below)
    return scores


def quantiles_below(n: int) -> NDArray[np.float64]:
    """The sums of the first 0…n of n normal quantiles, (n + 1,) float64."""
    normal = NormalDist()
    half = np.array([normal.inv_cdf((i + 0.5) / n) for i in range(n // 2)])
    return np.concatenate([[0.0], np.cumsum(np.concatenate([half, [0.0] * (n % 2), -half[::-1]]))])


def normal_column(values: Float32, below: NDArray[np.float64]) -> Float32:
    """One column of `normal_scores`, (n,) float32; `below` is `quantiles_below(n)`.

    Counted instead of sorted: the leading bits of a float, read as a number, keep its order.
    """
    if not len(values):
        return np.zeros(0, np.float32)
    bits = (np.ascontiguousarray(values, np.float32) + np.float32(0.0)).view(np.uint32)
    if (bits & _SIGN).any():
        bits = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    keys = (bits >> _RANK_SHIFT).astype(np.intp)
    keys -= keys.min()
    counts = np.bincount(keys)
    ends = np.cumsum(counts)
    means = (below[ends] - below[ends - counts]) / np.maximum(counts, 1)
    scores: Float32 = means.astype(np.float32)[keys]
    return scores


def profiles(groups: Sequence[TagGroup], n: int) -> Float32:
    """What the tags say of each track, (n, up to 32) float32 rows of length 1 (0: not judged).

    Each group counts alike; directions half-whitened as the vectors are.
    """
    profile = np.zeros((n, profile_width([group.scores.shape[1] for group in groups])), np.float32)
    profile_rows([group.scores for group in groups], profile)
    return profile


def profile_width(widths: Sequence[int]) -> int:
    """How many columns the profile of groups with so many labels has."""
    return min(PROFILE_DIM, sum(widths))


def profile_rows(groups: Sequence[Matrix], profile: Matrix) -> None:
    """`profiles` of normal scores (n, labels), block by block into `profile`."""
    n, width = profile.shape
    d = sum(group.shape[1] for group in groups)

    def judged() -> Iterator[tuple[slice, NDArray[np.bool_], Float32]]:
        for part in blocks(n, d):
            scores = [unit(np.asarray(group[part], np.float32)) for group in groups]
            joined: Float32 = np.concatenate(scores, axis=1)
            there: NDArray[np.bool_] = np.asarray(joined.any(1))
            yield part, there, joined[there]

    if not d:
        return
    count, total = 0, np.zeros(d)
    for _, _, rows in judged():
        count += len(rows)
        total += rows.sum(0, dtype=np.float64)
    if not count:
        return
    centre: Float32 = (total / count * ((count - 1) / count)).astype(np.float32)
    spread = np.zeros((d, d))
    for _, _, rows in judged():
        away = np.asarray(rows - centre, np.float32)
        spread += away.T @ away  # (d, b) @ (b, d)
    turn = turn_of(spread / count)
    for part, there, rows in judged():
        found = np.zeros((len(there), width), np.float32)
        # Whole rows are of length 1 before they are cut, as the vectors are.
        centred: Float32 = rows - centre
        found[there] = unit(unit(centred @ turn)[:, :width])
        profile[part] = found


def coarse_rows(vectors: Matrix, profile: Matrix, copy: Matrix) -> None:
    """`coarse`, block by block into `copy`."""
    for part in blocks(copy.shape[0], vectors.shape[1]):
        copy[part] = coarse(vectors[part], profile[part])


def coarse_width(vectors: int, profile: int) -> int:
    """How many columns `coarse` has of so many."""
    return min(vectors, COARSE_COLUMNS[0]) + min(profile, COARSE_COLUMNS[1])


def coarse(vectors: Float32, profile: Float32) -> NDArray[np.float32]:
    """The copy that is searched first, (n, 60 + 4) float32 (fewer where there are fewer)."""
    of_vectors, of_profile = COARSE_COLUMNS
    parts = (vectors[:, :of_vectors], profile[:, :of_profile])
    return np.ascontiguousarray(np.concatenate(parts, axis=1), np.float32)
