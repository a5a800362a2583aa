"""Words to a profile of tags: "sad dreamy late night" becomes weights on labels.

A phrase or word is looked up in `ranker.lexicon`, else it is matched with the labels themselves.
"not" and "no" turn the next one's weights round; "less" turns them round by half, "very" and "more"
double them. A song must answer by tag, and what sounds like those that answer best is lifted.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

import numpy as np

from catalog.snapshot import Snapshot
from catalog.tracks import Float32
from ranker import labels
from ranker.errors import WordsError
from ranker.lexicon import LEXICON, LONGEST
from ranker.picks import Context, Pick, Reason
from ranker.settings import RankingSettings
from ranker.terms import own_tags

_TURNS: Final[Mapping[str, float]] = {
    "not": -1.0, "no": -1.0, "without": -1.0, "less": -0.5, "more": 2.0, "very": 2.0,
    "slightly": 0.5,
}  # fmt: skip
#: So many of the best answers by tag tell how the words sound, and so much they lift what is alike.
ANCHORS: Final = 10
BY_SOUND: Final = 1.0

_LOOK_AHEAD: Final = 50
_FILLERS: Final = frozenset(("a", "and", "the", "for", "with", "to", "of", "music", "songs", "in"))


def profile(words: str, snapshot: Snapshot) -> dict[str, Float32]:
    """Weights (n_labels,) float32 per tag group, for the labels that the words stand for.

    Raises:
        WordsError: the snapshot has no tags, or no word is known.
    """
    if not snapshot.tag_groups:
        raise WordsError(
            f"the model {snapshot.model.name} gives no tags to match words with: embed with"
            " efficientat-mn04 (`segue models pull`, extra `torch`)"
        )
    wanted: dict[str, float] = defaultdict(float)
    unknown: list[str] = []
    turn = 1.0
    labels = {label.lower() for group in snapshot.tag_groups.values() for label in group.labels}
    for word in _phrases(words):
        if word in _TURNS:
            turn *= _TURNS[word]
            continue
        if word in _FILLERS:
            continue
        entries = _entries(word, labels)
        if not entries:
            unknown.append(word)
        for label, weight in entries.items():
            wanted[label] += turn * weight
        turn = 1.0
    weights = {
        name: np.array([wanted.get(label.lower(), 0.0) for label in group.labels], np.float32)
        for name, group in snapshot.tag_groups.items()
    }
    if not any(np.any(w) for w in weights.values()):
        shown = ", ".join(unknown) or words.strip() or "nothing"
        raise WordsError(
            f"none of these words says how music sounds: {shown}; try words such as"
            f" {', '.join(sorted(LEXICON)[::9])}"
        )
    return weights


def understood(words: str, snapshot: Snapshot) -> tuple[list[str], list[str]]:
    """Which words and phrases say how music sounds, with what turns them, and which are not known.

    As `profile` takes them: a word whose labels this snapshot has none of is not known.
    """
    labels_there = {
        label.lower() for group in snapshot.tag_groups.values() for label in group.labels
    }
    known: list[str] = []
    unknown: list[str] = []
    turns: list[str] = []
    for word in _phrases(words):
        if word in _TURNS:
            turns.append(word)
        elif word not in _FILLERS:
            there = labels_there.intersection(_entries(word, labels_there))
            (known if there else unknown).append(" ".join([*turns, word]) if there else word)
            turns = []
    return known, unknown


def rank_words(
    words: str,
    snapshot: Snapshot,
    context: Context,
    settings: RankingSettings,
    count: int,
) -> list[Pick]:
    """The `count` rows that answer the words best, one per recording, artists spaced.

    A row's score is the weighted mean of its normal scores on the labels meant, clipped at ±3 each,
    so that one freak score does not win; times up to `1 + BY_SOUND` for what sounds like the best.
    """
    weights = profile(words, snapshot)
    score = np.zeros(snapshot.n, np.float32)
    total = sum(float(np.abs(w).sum()) for w in weights.values())
    for name, w in weights.items():
        z = np.clip(np.asarray(snapshot.tag_groups[name].scores, np.float32), -3, 3)
        score += (z @ w) / np.float32(total)  # (n, t) @ (t,) -> (n,)
    score = _lifted_by_sound(snapshot, score)
    allowed = np.ones(snapshot.n, np.bool_) if context.eligible is None else context.eligible.copy()
    allowed[list(context.excluded)] = False
    order = np.lexsort((np.arange(snapshot.n), -score))
    left = [int(row) for row in order if allowed[row]]
    picks: list[Pick] = []
    recordings: set[int] = set()
    artists: dict[int, int] = defaultdict(int)

    def value(row: int) -> float:
        return float(score[row]) - settings.artist_repetition * artists[int(snapshot.artist[row])]

    while left and len(picks) < count:
        # A further song of an artist gives way to a near equal among the next few.
        row = max(left[:_LOOK_AHEAD], key=value)
        left.remove(row)
        recording, artist = int(snapshot.recording[row]), int(snapshot.artist[row])
        if recording in recordings:
            continue
        if recording >= 0:
            recordings.add(recording)
        penalty = float(score[row]) - value(row)
        if artist >= 0:
            artists[artist] += 1
        picks.append(_word_pick(snapshot, weights, row, float(score[row]), penalty))
    return picks


def _lifted_by_sound(snapshot: Snapshot, score: Float32) -> Float32:
    """Scores (n,) above 0 times 1…1 + `BY_SOUND` by the likeness to the best answers by tag."""
    if snapshot.n <= ANCHORS:
        return score
    anchors = np.argpartition(-score, ANCHORS)[:ANCHORS]
    sound = np.asarray(snapshot.vectors)[anchors].mean(0)
    like = snapshot.vectors @ (sound / max(float(np.linalg.norm(sound)), 1e-6))  # (n,)
    lift = 1 + BY_SOUND * np.maximum(like, 0)
    return np.asarray(np.where(score > 0, score * lift, score), np.float32)


def _word_pick(
    snapshot: Snapshot, weights: Mapping[str, Float32], row: int, score: float, penalty: float
) -> Pick:
    meant = {
        label: z
        for name, group in snapshot.tag_groups.items()
        for label, z in own_tags(group, row).items()
        if weights[name][group.labels.index(label)] > 0
    }
    best = labels.told(sorted(meant, key=lambda label: -meant[label]))
    text = ", ".join(best) if best else "nearest to the words, none of them strongly"
    reasons = [Reason("words", score, text)]
    if penalty:
        reasons.append(Reason("artist_repetition", -penalty, "artist came just before"))
    return Pick(row, sum(reason.value for reason in reasons), tuple(reasons))


def _phrases(words: str) -> list[str]:
    """The longest phrases of the lexicon in order, and the words between them."""
    left = re.findall(r"[\w'&-]+", words.lower())
    found: list[str] = []
    while left:
        size = next(
            (n for n in range(min(LONGEST, len(left)), 1, -1) if " ".join(left[:n]) in LEXICON), 1
        )
        found.append(" ".join(left[:size]))
        left = left[size:]
    return found


def _entries(word: str, labels: set[str]) -> dict[str, float]:
    text = LEXICON.get(word)
    if text is None:
        # "violin" → the labels that have it as a word, as "Violin, fiddle".
        own = [label for label in labels if word in re.findall(r"[\w'&-]+", label)]
        return dict.fromkeys(own, 1.0)
    entries: dict[str, float] = {}
    for item in _split(text, labels):
        label, _, weight = item.partition("*")
        entries[label.strip().lower()] = float(weight or 1)
    return entries


def _split(text: str, labels: set[str]) -> list[str]:
    # Some labels have a comma of their own ("Violin, fiddle"): join what only together is one.
    parts = [part.strip() for part in text.split(",")]
    joined: list[str] = []
    while parts:
        part = parts.pop(0)
        if parts and f"{part}, {parts[0].partition('*')[0]}".lower() in labels:
            part = f"{part}, {parts.pop(0)}"
        joined.append(part)
    return joined
