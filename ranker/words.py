"""Words instead of a seed: what answers a wish by tag, and what sounds like that.

A label that is wanted counts by as much as a song has of it. One that is not wanted counts only as
far below the library's mean as its weight says: a song without drums is not the better for being no
song at all, and "less" asks for less than "not". To lack a thing is to the credit of music only
(see `_MUSIC`). The gates are those of a ranking (`ranker.gates`): a kind comes
when words ask for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.kinds import NAMES
from catalog.snapshot import Snapshot
from catalog.tracks import Float32
from ranker import gates, labels
from ranker.picks import Context, Pick, Reason
from ranker.settings import RankingSettings
from ranker.terms import own_tags
from ranker.wishes import Wish, wish

#: So many of the best answers by tag tell how the words sound, and so much they lift what is alike.
ANCHORS: Final = 10
BY_SOUND: Final = 1.0

#: A score counts so many deviations at most, so that one freak score does not win.
MOST_Z: Final = 3.0

#: A label that is not wanted counts down to so many deviations below the mean, times its weight.
#: At 1, "not" keeps less away; from 2 on what is least of everything, music or not, comes nearer.
DEPTH: Final = 1.5

#: What is of a kind that is asked for counts as a label of this weight, at `MOST_Z`.
BY_KIND: Final = 3.0

#: AudioSet's class of all music, and from where below the library's mean a track lacks it: of 238
#: tracks wind, rain, a forest, two chapters and a test tone were the six last, all below -1.9.
_MUSIC: Final = "Music"
_UNLIKE_MUSIC_Z: Final = -1.0

#: Of what lacks as much, what is nearer to the library's mean on all labels comes first.
_TYPICAL: Final = 0.1

_BLOCK: Final = 8192
_LOOK_AHEAD: Final = 50


def rank_words(
    words: str,
    snapshot: Snapshot,
    context: Context,
    settings: RankingSettings,
    count: int,
) -> list[Pick]:
    """The `count` rows that answer the words best, one per recording, artists spaced.

    A row's score is the weighted mean of its normal scores on the labels meant; times up to
    `1 + BY_SOUND` for what sounds like the best. `artist_repetition` is taken off a further song of
    an artist, in the same normal scores. Gated kinds only where nothing else is left.

    Raises:
        WordsError: see `ranker.wishes.wish`.
    """
    asked = wish(words, snapshot)
    kinds = (context.open_kinds | asked.kinds) & ~asked.closed
    allowed = gates.allowed(snapshot, (), context)
    allowed &= gates.other_recordings(snapshot, np.arange(snapshot.n), (), context)
    meant = _of_kinds(snapshot, asked.kinds)
    if asked.kinds and not asked.total:
        allowed &= meant
    of_open_kind = gates.of_open_kind(snapshot, (), replace(context, open_kinds=kinds))
    tiers = [allowed]
    if of_open_kind is not None:
        tiers = [allowed & of_open_kind, allowed & ~of_open_kind]
    score = _scores(snapshot, asked)
    if asked.wants:
        score = _lifted_by_sound(snapshot, score, tiers[0])
    picks: list[Pick] = []
    recordings: set[int] = set()
    artists: dict[int, int] = defaultdict(int)

    def value(row: int) -> float:
        return float(score[row]) - settings.artist_repetition * artists[int(snapshot.artist[row])]

    for mask in tiers:
        rows = np.flatnonzero(mask)
        left = rows[np.lexsort((rows, -score[rows]))].tolist()
        while left and len(picks) < count:
            # A further song of an artist gives way to a near equal among the next few.
            near = left[:_LOOK_AHEAD]
            row = max((row for row in near if meant[row] == meant[near[0]]), key=value)
            left.remove(row)
            recording, artist = int(snapshot.recording[row]), int(snapshot.artist[row])
            if recording in recordings:
                continue
            if recording >= 0:
                recordings.add(recording)
            penalty = float(score[row]) - value(row)
            if artist >= 0:
                artists[artist] += 1
            picks.append(_word_pick(snapshot, asked, row, float(score[row]), penalty))
    return picks


def _scores(snapshot: Snapshot, asked: Wish) -> Float32:
    """(n,) how well each row answers."""
    score = np.zeros(snapshot.n, np.float32)
    less = 0.0
    for name, weights in asked.weights.items():
        at = np.flatnonzero(weights)
        w = weights[at]
        least = np.where(w > 0, -MOST_Z, np.maximum(DEPTH * w, -MOST_Z))
        z = np.asarray(snapshot.tag_groups[name].scores[:, at], np.float32)
        score += np.clip(z, least, MOST_Z) @ w  # (n, k) @ (k,) -> (n,)
        less -= float(w[w < 0].sum())
    total = asked.total
    if less:
        score -= np.float32(less) * _unlike_music(snapshot)
    if asked.kinds:
        score += np.float32(BY_KIND * MOST_Z) * _of_kinds(snapshot, asked.kinds)
        total += BY_KIND
    score /= np.float32(max(total, 1e-6))
    if not asked.wants:
        score -= np.float32(_TYPICAL) * _oddness(snapshot)
    return score


def _of_kinds(snapshot: Snapshot, kinds: int) -> NDArray[np.bool_]:
    """(n,) whether a row is of one of the kinds (flags)."""
    if snapshot.kind is None:
        return np.zeros(snapshot.n, np.bool_)
    return np.asarray((snapshot.kind & np.uint8(kinds)) != 0)


def _unlike_music(snapshot: Snapshot) -> Float32:
    """(n,) by how many deviations a row is less like music than nearly all others; else 0."""
    for group in snapshot.tag_groups.values():
        if _MUSIC in group.labels:
            z = np.asarray(group.scores[:, group.labels.index(_MUSIC)], np.float32)
            return np.asarray(np.maximum(_UNLIKE_MUSIC_Z - z, 0), np.float32)
    return np.zeros(snapshot.n, np.float32)


def _oddness(snapshot: Snapshot) -> Float32:
    """(n,) the mean square of all scores of a row: about 1, 0 in the middle of everything."""
    found = np.zeros(snapshot.n, np.float32)
    for start in range(0, snapshot.n, _BLOCK):
        block = slice(start, start + _BLOCK)
        for group in snapshot.tag_groups.values():
            found[block] += np.square(np.asarray(group.scores[block], np.float32)).sum(1)
    return found / np.float32(max(sum(len(g.labels) for g in snapshot.tag_groups.values()), 1))


def _lifted_by_sound(
    snapshot: Snapshot, score: Float32, mask: NDArray[np.bool_] | None = None
) -> Float32:
    """Scores (n,) above 0 times 1…1 + `BY_SOUND` by the likeness to the best answers by tag.

    mask: (n,) which rows may be among those.
    """
    rows = np.arange(snapshot.n) if mask is None else np.flatnonzero(mask)
    if len(rows) <= ANCHORS:
        return score
    anchors = rows[np.argpartition(-score[rows], ANCHORS)[:ANCHORS]]
    sound = np.asarray(snapshot.vectors)[anchors].mean(0)
    like = snapshot.vectors @ (sound / max(float(np.linalg.norm(sound)), 1e-6))  # (n,)
    lift = 1 + BY_SOUND * np.maximum(like, 0)
    return np.asarray(np.where(score > 0, score * lift, score), np.float32)


def _word_pick(snapshot: Snapshot, asked: Wish, row: int, score: float, penalty: float) -> Pick:
    reasons = [Reason("words", score, _because(snapshot, asked, row))]
    if penalty:
        reasons.append(Reason("artist_repetition", -penalty, "same artist before"))
    return Pick(row, sum(reason.value for reason in reasons), tuple(reasons))


def _because(snapshot: Snapshot, asked: Wish, row: int) -> str:
    """Which kinds and labels of those asked for a row has, else which of the others it lacks."""
    kind = 0 if snapshot.kind is None else int(snapshot.kind[row])
    kinds = [name for flag, name in NAMES.items() if kind & asked.kinds & flag]
    has: dict[str, float] = {}
    lacks: dict[str, float] = {}
    for name, group in snapshot.tag_groups.items():
        weights = dict(zip(group.labels, asked.weights[name].tolist(), strict=True))
        has |= {
            label: z
            for label, z in own_tags(group, row).items()
            if weights[label] > 0 and label.lower() not in asked.doubtful
        }
        lacks |= {
            label: -float(group.scores[row, at])
            for at, label in enumerate(group.labels)
            if weights[label] < 0 and group.scores[row, at] < 0
        }
    if kinds or has:
        return ", ".join([*kinds, *_most(has)])
    if lacks:
        return f"little of {', '.join(_most(lacks))}"
    return (
        "nearest to the words, none of them strongly" if asked.total else "typical of this library"
    )


def _most(found: Mapping[str, float]) -> list[str]:
    return labels.told(sorted(found, key=lambda label: -found[label]))
