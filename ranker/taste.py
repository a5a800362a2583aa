"""What a listener returns to, as places in the space of sounds: made off the request path.

One mean of all that somebody likes lies between everything and near nothing. So a handful of their
own songs stand for the rest: greedy facility location (Nemhauser, Wolsey & Fisher 1978) takes, one
after the other, the song that adds most to how well all are represented. What each row of the
library then gets is one number, so that ranking costs one addition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.snapshot import Snapshot
from catalog.tracks import Float32

#: So many songs at most stand for a taste; fewer where another adds less than this part.
MOST_ANCHORS: Final = 8
LEAST_GAIN: Final = 0.04

#: Anchors are sought among so many of the best-loved songs.
MOST_CANDIDATES: Final = 400

#: Two tracks this alike are of one kind; half as alike, a quarter. (A skip reaches further: see
#: `ranker.terms.KIN`.)
KIN: Final = 0.5

#: A favourite is fully due again after so many half-lives of being unheard.
DUE_HALF_LIFE_S: Final = 21 * 86_400.0

#: From so many users on, that they return to a song counts for everybody.
HOUSE_LEAST: Final = 3

_BLOCK: Final = 16_384


@dataclass(frozen=True, slots=True)
class Liking:
    """How a listener stands to a row.

    `weight` is above 0 (some decayed sum of listens, stars and ratings); `unheard_s` is the time
    since they heard it last, infinite where that is not known.
    """

    row: int
    weight: float
    unheard_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Taste:
    """A taste against one snapshot of n rows.

    Attributes:
        near: (n,) float32 in 0…1; 1 sounds as what the listener returns to most.
        rows: (k,) rows that the listener knows, ascending.
        known: (k,) float32 in 0…1, how well.
        due: (k,) float32 in 0…1; 1 is a favourite that was not heard for long.
        house: (rows, values in 0…1) what at least `HOUSE_LEAST` users return to.
        gated: rows that the listener never wants to hear (one star).
    """

    near: Float32 | None
    rows: NDArray[np.intp]
    known: Float32
    due: Float32
    house: tuple[NDArray[np.intp], Float32] | None = None
    gated: frozenset[int] = frozenset()


def taste_of(
    snapshot: Snapshot,
    likings: Sequence[Liking],
    *,
    gated: frozenset[int] = frozenset(),
    house: tuple[NDArray[np.intp], Float32] | None = None,
) -> Taste:
    """A taste from likings, in any order. Rows that the snapshot lacks are left out."""
    usable = {
        one.row: one
        for one in likings
        if 0 <= one.row < snapshot.n and math.isfinite(one.weight) and one.weight > 0
    }
    rows = np.array(sorted(usable), np.intp)
    weights = np.array([usable[row].weight for row in rows.tolist()], np.float32)
    top = max(float(weights.max()), 1e-6) if len(weights) else 1.0
    unheard = np.array([max(usable[row].unheard_s, 0.0) for row in rows.tolist()])
    due = (1 - np.exp2(-unheard / DUE_HALF_LIFE_S)) * (weights / top)
    return Taste(
        near=nearness(snapshot, anchors(snapshot, rows, weights)),
        rows=rows,
        known=np.asarray(1 - np.exp2(-weights), np.float32),
        due=np.asarray(due, np.float32),
        house=house,
        gated=gated,
    )


def anchors(
    snapshot: Snapshot, rows: NDArray[np.intp], weights: Float32
) -> list[tuple[int, float]]:
    """(row, share in 0…1] of up to `MOST_ANCHORS` of `rows` (k,) that represent them best.

    `weights` (k,) float32 above 0. The largest share is 1. Ties go to the lower row.
    """
    if not len(rows):
        return []
    order = np.lexsort((rows, -weights))[:MOST_CANDIDATES]
    rows, weights = rows[order], weights[order]
    vectors = snapshot.vectors[rows]
    alike = _kin(vectors @ vectors.T)  # (k, d) @ (d, k) -> (k, k)
    served = np.zeros(len(rows), np.float32)
    chosen: list[int] = []
    while len(chosen) < min(MOST_ANCHORS, len(rows)):
        gain = weights @ np.maximum(alike - served[:, np.newaxis], 0)  # (k,) @ (k, k) -> (k,)
        best = int(np.argmax(gain))
        if gain[best] < LEAST_GAIN * float(weights.sum()):
            break
        chosen.append(best)
        np.maximum(served, alike[:, best], out=served)
    if not chosen:  # many songs that have nothing in common: the best loved stand for themselves
        chosen = list(range(min(MOST_ANCHORS, len(rows))))
    whose = np.argmax(alike[:, chosen], axis=1)  # (k,) the anchor that stands for each
    shares = np.bincount(whose, weights=weights, minlength=len(chosen))
    shares = np.sqrt(shares / max(float(shares.max()), 1e-6))
    return [(int(rows[at]), float(share)) for at, share in zip(chosen, shares, strict=True)]


def nearness(snapshot: Snapshot, places: Sequence[tuple[int, float]]) -> Float32 | None:
    """(n,) in 0…1: the share of the nearest place, by how alike it sounds; None without places.

    By the coarse copy where there is one: it is an eighth of the vectors, and read as a whole.
    """
    if not places:
        return None
    matrix = snapshot.vectors if snapshot.coarse is None else snapshot.coarse
    at = np.array([row for row, _ in places], np.intp)
    shares = np.array([share for _, share in places], np.float32)
    wanted = _unit(matrix[at])
    found = np.empty(snapshot.n, np.float32)
    for start in range(0, snapshot.n, _BLOCK):
        block = _unit(matrix[start : start + _BLOCK])
        found[start : start + _BLOCK] = (_kin(block @ wanted.T) * shares).max(1)
    return found


def house_of(returning: Mapping[int, int]) -> tuple[NDArray[np.intp], Float32] | None:
    """From how many users return to each row: rows ascending, and 0.5, 0.75, … from 3 users up."""
    counted = {row: users for row, users in returning.items() if users >= HOUSE_LEAST}
    if not counted:
        return None
    rows = np.array(sorted(counted), np.intp)
    users = np.array([counted[row] for row in rows.tolist()])
    return rows, np.asarray(1 - np.exp2(-(users - HOUSE_LEAST + 1.0)), np.float32)


def _kin(cosines: Float32) -> Float32:
    return np.asarray(np.clip(cosines / KIN, 0, 1) ** 2, np.float32)


def _unit(rows: Float32) -> Float32:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-6), np.float32)
