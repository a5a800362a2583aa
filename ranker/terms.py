"""The terms of a score for some rows: (r,) float32 each, range and meaning stated, unweighted.

`rows` ascend everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.snapshot import Snapshot, TagGroup
from catalog.tracks import Float32
from ranker import labels
from ranker.gates import is_one_of
from ranker.picks import Context, Seed
from ranker.query import Likeness, Query, faded, unit
from ranker.taste import Taste

Rows = NDArray[np.intp]

#: What tells the seeds' mean scores (t,) for each tag group, when they are asked for.
Tagged = Callable[[], Sequence[Float32]]

#: A tag counts as a track's own from one standard deviation above the library's mean.
OWN_TAG_Z: Final = 1.0

#: How hard several seeds must all be met: small is the least near seed alone, large is the mean.
THROUGHLINE: Final = 0.3

#: Two tracks this alike are of one kind: a skip counts in full; half as alike, a quarter. These are
#: three deviations of the likeness of real music; .5 left too much of a kind (docs/quality.md).
KIN: Final = 0.35

HEARD_HALF_LIFE_S: Final = 2 * 3600.0

#: Of many seeds so many genres count.
MOST_GENRES: Final = 12

_MASK: Final = 2**64 - 1


def audio(near: Likeness, query: Query) -> Float32:
    """Likeness to the seeds, -1…1: 1 is the same sound, 0 is unrelated.

    Of one seed it is the cosine. Of several it is a soft minimum of the cosines (weighted), so
    that a song near all of them comes before one that is very near one only.
    """
    cosines = near.wanted
    if cosines.shape[1] == 1:
        return cosines[:, 0]
    low = cosines.min(1, keepdims=True)
    parts = np.exp((low - cosines) / THROUGHLINE) @ query.weights  # (r, s) @ (s,) -> (r,)
    return np.asarray(low[:, 0] - THROUGHLINE * np.log(np.maximum(parts, 1e-12)), np.float32)


def hub(snapshot: Snapshot, rows: Rows) -> Float32:
    """How much nearer a row is to its neighbours than tracks of the library are on average.

    About -0.3…0.3; 0 where the snapshot does not tell. Taking half of it off a cosine is CSLS
    (Lample et al. 2018).
    """
    if snapshot.hub is None:
        return np.zeros(len(rows), np.float32)
    return np.asarray(snapshot.hub.take(rows), np.float32)


def tags(snapshot: Snapshot, rows: Rows, query: Query, tagged: Tagged) -> Float32:
    """Cosine of tag profiles: -1…1; 0 where there are no tags.

    A profile is what a track has more or less of than other tracks of the library, over all tags.
    tagged: the seeds' tags, for snapshots from before there were profiles.
    """
    if query.profile is not None and snapshot.profile is not None:
        # (r, p) · (p,) -> (r,)
        found = np.vecdot(snapshot.profile.take(rows, axis=0), query.profile)
        return np.asarray(found, np.float32)
    total = np.zeros(len(rows), np.float32)
    for group, wanted in zip(snapshot.tag_groups.values(), tagged(), strict=True):
        whole = np.asarray(group.scores[rows], np.float32)  # (r, t)
        with np.errstate(invalid="ignore"):  # some BLAS flag what lies beside the few columns
            found = whole @ unit(wanted)  # (r, t) @ (t,) -> (r,)
        total += found / np.maximum(np.linalg.norm(whole, axis=1), 1e-6)
    return np.asarray(total / max(len(snapshot.tag_groups), 1), np.float32)


def rarities(snapshot: Snapshot, seeds: Sequence[Seed]) -> list[tuple[int, float]]:
    """The genres (code, rarity in 0…1) that the files of wanted seeds name, the rarest last.

    1 is a genre that hardly any track has, 0 is one that all have.
    """
    if snapshot.genres is None or not snapshot.genres.shape[1]:
        return []
    wanted = {seed.row for seed in seeds if seed.weight > 0}
    codes = sorted({code for row in wanted for code in snapshot.genres[row].tolist()} - {-1})
    found = [(code, 1 - snapshot.genre_shares.get(code, 0.0)) for code in codes[:MOST_GENRES]]
    return sorted(found, key=lambda pair: (pair[1], pair[0]))


def genres(snapshot: Snapshot, rows: Rows, wanted: Sequence[tuple[int, float]]) -> Float32:
    """The rarity of the rarest of the genres `wanted` (see `rarities`) that a row names: 0…1.

    0 is none in common, or one that all tracks have.
    """
    found = np.zeros(len(rows), np.float32)
    if snapshot.genres is not None and wanted:
        theirs = snapshot.genres.take(rows, axis=0)  # (r, g)
        for code, rarity in wanted:
            found[(theirs == code).ravel().nonzero()[0] // theirs.shape[1]] = rarity
    return found


def shared_genres(snapshot: Snapshot, row: int, seeds: Sequence[Seed], most: int = 2) -> list[str]:
    """The names of the genres that the files of a row and of a wanted seed both name, if known."""
    if snapshot.genres is None:
        return []
    rows = [seed.row for seed in seeds if seed.weight > 0]
    wanted = set(snapshot.genres[rows].ravel().tolist())
    codes = [code for code in snapshot.genres[row].tolist() if code >= 0 and code in wanted]
    names = snapshot.genre_names
    return [names[code] for code in codes if code < len(names)][:most]


def flow(near: Likeness) -> Float32:
    """Cosine to the decayed songs of the session before the seeds: -1…1; 0 where there are none."""
    return np.zeros(len(near.wanted), np.float32) if near.flow is None else near.flow


def unlike(near: Likeness, query: Query) -> Float32:
    """Likeness to the nearest unwanted seed, 0…1, by its weight."""
    if not len(query.unwanted):
        return np.zeros(len(near.wanted), np.float32)
    found = np.maximum(near.unwanted, 0) * query.unwanted_weights  # (r, u)
    return np.asarray(found.max(1), np.float32)


def skipped(near: Likeness, query: Query) -> Float32:
    """How much a row is of the kind that was skipped lately, 0…1; 1 is the song itself just now.

    Rises with the square of the likeness up to `KIN`: a skip is about its kind, not about music.
    """
    if not len(query.skipped):
        return np.zeros(len(near.wanted), np.float32)
    found = np.clip(near.skipped / KIN, 0, 1) ** 2  # (r, k)
    return np.asarray(np.minimum(found @ query.skipped_weights, 1), np.float32)


def heard_lately(rows: Rows, context: Context) -> Float32:
    """1 for a song just heard, half of it after two hours; 0 for one that was not."""
    ages: dict[int, float] = {}
    for row, age_s in zip(context.heard, context.heard_ages_s, strict=False):
        ages.setdefault(row, faded(age_s, HEARD_HALF_LIFE_S))
    return _placed(rows, ages)


def held_back(rows: Rows, context: Context) -> Float32:
    """1 for a song that was offered not long ago, else 0."""
    held = np.fromiter(context.held_back, np.int32, len(context.held_back))  # thousands
    return is_one_of(rows, held).astype(np.float32)


def familiar(snapshot: Snapshot, rows: Rows, context: Context) -> Float32:
    """0…1: 1 for an artist listened to in this session; else how well the listener knows the song.

    `explore` tells whether that is for a song (below .5) or against it.
    """
    heard = [row for row in context.followed if 0 <= row < snapshot.n]
    artists = np.unique(snapshot.artist[heard])
    found = np.isin(snapshot.artist[rows], artists[artists >= 0]).astype(np.float32)
    if context.taste is not None and len(context.taste.rows):
        np.maximum(found, _aligned(rows, context.taste.rows, context.taste.known), out=found)
    return found


def taste(rows: Rows, known: Taste) -> Float32:
    """How near a row is to what the listener returns to, 0…1; 0 where that is not known."""
    return np.zeros(len(rows), np.float32) if known.near is None else known.near[rows]


def favourite(rows: Rows, known: Taste) -> Float32:
    """0…1: 1 for a favourite not heard for long, 0 for one just heard and for all others."""
    return _aligned(rows, known.rows, known.due)


def house(rows: Rows, known: Taste) -> Float32:
    """How many others return to a row, 0…1; 0 below three of them. In no reason, ever."""
    if known.house is None:
        return np.zeros(len(rows), np.float32)
    return _aligned(rows, *known.house)


def by_chance(rows: Rows, chance: int) -> Float32:
    """-1…1, evenly spread, the same for the same row and `chance`.

    SplitMix64 (Steele, Lea & Flood 2014).
    """
    with np.errstate(over="ignore"):
        x = rows.astype(np.uint64) + np.uint64(chance & _MASK) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return np.asarray(x.astype(np.float64) / 2**63 - 1, np.float32)


def _placed(rows: Rows, values: Mapping[int, float]) -> Float32:
    """(r,) the values of those of `rows` (ascending) that have one, else 0."""
    ordered = sorted(values)
    theirs = np.array([values[row] for row in ordered], np.float32)
    return _aligned(rows, np.array(ordered, np.intp), theirs)


def _aligned(rows: Rows, known: Rows, values: Float32) -> Float32:
    """(r,) from `values` (k,) of `known` rows; both kinds of rows ascend."""
    found = np.zeros(len(rows), np.float32)
    if len(rows) and len(known):
        at = np.minimum(np.searchsorted(rows, known), len(rows) - 1)
        there = rows[at] == known
        found[at[there]] = values[there]
    return found


def mean_tags(snapshot: Snapshot, seeds: Sequence[Seed]) -> list[Float32]:
    """The weighted mean (t,) of the wanted seeds' scores, for each tag group."""
    wanted = [seed for seed in seeds if seed.weight > 0]
    rows = [seed.row for seed in wanted]
    weights = np.array([seed.weight for seed in wanted], np.float32)
    weights /= max(float(weights.sum()), 1e-6)
    groups = snapshot.tag_groups.values()
    return [weights @ group.scores[rows].astype(np.float32) for group in groups]


def shared_tags(snapshot: Snapshot, tagged: Sequence[Float32], row: int) -> list[str]:
    """Up to three musical labels that a row has most in common with the seeds, strongest first."""
    found: list[tuple[float, str]] = []
    for (name, group), theirs in zip(snapshot.tag_groups.items(), tagged, strict=True):
        both = np.minimum(group.scores[row], theirs)
        found += [
            (float(both[i]), group.labels[i])
            for i in np.flatnonzero(both > OWN_TAG_Z).tolist()
            if labels.tellable(name, group.labels[i])
        ]
    return labels.told(label for _, label in sorted(found, key=lambda pair: (-pair[0], pair[1])))


def own_tags(group: TagGroup, row: int) -> dict[str, float]:
    """A row's labels above `OWN_TAG_Z`, with their normal scores."""
    scores = np.asarray(group.scores[row], np.float32)
    return {group.labels[i]: float(scores[i]) for i in np.flatnonzero(scores > OWN_TAG_Z).tolist()}
