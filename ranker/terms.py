"""The terms of a score for some rows: (r,) float32 each, range and meaning stated, unweighted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.snapshot import Snapshot, TagGroup
from catalog.tracks import Float32
from ranker.picks import Context, Seed
from ranker.query import Query, faded, unit

Rows = NDArray[np.intp]

#: A tag counts as a track's own from one standard deviation above the library's mean.
OWN_TAG_Z: Final = 1.0

#: How hard several seeds must all be met: small is the least near seed alone, large is the mean.
THROUGHLINE: Final = 0.3

#: Two tracks this alike are of one kind: a skip counts in full; half as alike, hardly.
KIN: Final = 0.5

HEARD_HALF_LIFE_S: Final = 2 * 3600.0


def audio(vectors: Float32, query: Query) -> Float32:
    """Likeness to the seeds, -1…1: 1 is the same sound, 0 is unrelated.

    Of one seed it is the cosine. Of several it is a soft minimum of the cosines (weighted), so
    that a song near all of them comes before one that is very near one only.
    """
    cosines = vectors @ query.wanted.T  # (r, d) @ (d, s) -> (r, s)
    if cosines.shape[1] == 1:
        return np.asarray(cosines[:, 0], np.float32)
    low = cosines.min(1, keepdims=True)
    parts = np.exp((low - cosines) / THROUGHLINE) @ query.weights  # (r, s) @ (s,) -> (r,)
    return np.asarray(low[:, 0] - THROUGHLINE * np.log(np.maximum(parts, 1e-12)), np.float32)


def hub(snapshot: Snapshot, rows: Rows) -> Float32:
    """How much nearer a row is to its neighbours than tracks of the library are on average.

    About -0.3…0.3; 0 where the snapshot does not tell. Taking half of it off a cosine is CSLS.
    """
    if snapshot.hub is None:
        return np.zeros(len(rows), np.float32)
    return np.asarray(snapshot.hub[rows], np.float32)


def tags(snapshot: Snapshot, rows: Rows, query: Query, tagged: Sequence[Float32]) -> Float32:
    """Cosine of tag profiles: -1…1; 0 where there are no tags.

    A profile is what a track has more or less of than other tracks of the library, over all tags.
    tagged: the seeds' tags, for snapshots from before there were profiles.
    """
    if query.profile is not None and snapshot.profile is not None:
        found = np.asarray(snapshot.profile)[rows] @ query.profile  # (r, p) @ (p,) -> (r,)
        return np.asarray(found, np.float32)
    total = np.zeros(len(rows), np.float32)
    for group, wanted in zip(snapshot.tag_groups.values(), tagged, strict=True):
        whole = np.asarray(group.scores[rows], np.float32)  # (r, t)
        total += (whole @ unit(wanted)) / np.maximum(np.linalg.norm(whole, axis=1), 1e-6)
    return np.asarray(total / max(len(snapshot.tag_groups), 1), np.float32)


def flow(vectors: Float32, query: Query) -> Float32:
    """Cosine to the decayed songs of the session: -1…1; 0 where nothing was heard."""
    if query.flow is None:
        return np.zeros(len(vectors), np.float32)
    return np.asarray(vectors @ query.flow, np.float32)


def unlike(vectors: Float32, query: Query) -> Float32:
    """Likeness to the nearest unwanted seed, 0…1, by its weight."""
    return nearest(vectors, query.unwanted, query.unwanted_weights)


def skipped(vectors: Float32, query: Query) -> Float32:
    """How much a row is of the kind that was skipped lately, 0…1; 1 is the song itself just now.

    Rises with the square of the likeness up to `KIN`: a skip is about its kind, not about music.
    """
    return kin(vectors, query.skipped, query.skipped_weights)


def heard_lately(rows: Rows, context: Context) -> Float32:
    """1 for a song just heard, half of it after two hours; 0 for one that was not."""
    if not context.heard_ages_s:
        return np.zeros(len(rows), np.float32)
    ages: dict[int, float] = {}
    for row, age_s in zip(context.heard, context.heard_ages_s, strict=False):
        ages.setdefault(row, age_s)
    found = [faded(ages[row], HEARD_HALF_LIFE_S) if row in ages else 0.0 for row in rows.tolist()]
    return np.array(found, np.float32)


def held_back(rows: Rows, context: Context) -> Float32:
    """1 for a song that was offered not long ago, else 0."""
    return np.array([row in context.held_back for row in rows.tolist()], np.float32)


def familiar(snapshot: Snapshot, rows: Rows, context: Context) -> Float32:
    """1 for an artist heard in this session, else 0."""
    artists = np.unique(snapshot.artist[[row for row in context.heard if 0 <= row < snapshot.n]])
    known = np.isin(snapshot.artist[rows], artists[artists >= 0])
    return known.astype(np.float32)


def mean_tags(snapshot: Snapshot, seeds: Sequence[Seed]) -> list[Float32]:
    """The weighted mean (t,) of the wanted seeds' scores, for each tag group."""
    wanted = [seed for seed in seeds if seed.weight > 0]
    rows = [seed.row for seed in wanted]
    weights = np.array([seed.weight for seed in wanted], np.float32)
    weights /= max(float(weights.sum()), 1e-6)
    groups = snapshot.tag_groups.values()
    return [weights @ np.asarray(group.scores[rows], np.float32) for group in groups]


def shared_tags(
    snapshot: Snapshot, tagged: Sequence[Float32], row: int, most: int = 3
) -> list[str]:
    """The labels that a row has most in common with the seeds, strongest first."""
    found: list[tuple[float, str]] = []
    for group, theirs in zip(snapshot.tag_groups.values(), tagged, strict=True):
        both = np.minimum(np.asarray(group.scores)[row], theirs)
        found += [
            (float(both[i]), group.labels[i]) for i in np.flatnonzero(both > OWN_TAG_Z).tolist()
        ]
    return [label for _, label in sorted(found, key=lambda pair: (-pair[0], pair[1]))[:most]]


def own_tags(group: TagGroup, row: int) -> dict[str, float]:
    """A row's labels above `OWN_TAG_Z`, with their normal scores."""
    scores = np.asarray(group.scores[row], np.float32)
    return {group.labels[i]: float(scores[i]) for i in np.flatnonzero(scores > OWN_TAG_Z).tolist()}


def nearest(vectors: Float32, others: Float32, weights: Float32) -> Float32:
    """(r,) the largest weighted cosine to any of `others` (u, d), at least 0."""
    if not len(others):
        return np.zeros(len(vectors), np.float32)
    near = np.maximum(vectors @ others.T, 0) * weights  # (r, d) @ (d, u) -> (r, u)
    return np.asarray(near.max(1), np.float32)


def kin(vectors: Float32, others: Float32, weights: Float32) -> Float32:
    """(r,) in 0…1: how far a row is of the kind of `others` (k, d), weighted."""
    if not len(others):
        return np.zeros(len(vectors), np.float32)
    near = np.clip((vectors @ others.T) / KIN, 0, 1) ** 2  # (r, d) @ (d, k) -> (r, k)
    return np.asarray(np.minimum(near @ weights, 1), np.float32)
