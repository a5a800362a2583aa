"""Words to a wish: "sad dreamy late night" becomes weights on labels, "audiobook" asks for a kind.

A phrase or word is looked up in `ranker.lexicon`, else it is matched with the labels themselves.
"not" and "no" turn the next one's weights round; "less" turns them round by half, "very" and "more"
double them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from catalog.snapshot import Snapshot
from catalog.tracks import Float32
from ranker.errors import WordsError
from ranker.lexicon import KINDS, LEXICON, LONGEST

_TURNS: Final[Mapping[str, float]] = {
    "not": -1.0, "no": -1.0, "without": -1.0, "less": -0.5, "more": 2.0, "very": 2.0,
    "slightly": 0.5,
}  # fmt: skip

_FILLERS: Final = frozenset(("a", "and", "the", "for", "with", "to", "of", "music", "songs", "in"))


@dataclass(frozen=True, slots=True)
class Wish:
    """What words ask for.

    Attributes:
        weights: (n_labels,) float32 per tag group: above 0 for labels to have, below 0 for labels
            to lack.
        kinds: flags of `catalog.kinds` that are asked for.
        closed: flags that are not wanted, whatever the season.
        known: words and phrases that say how music sounds, with what turns them.
        unknown: words that are not known.
    """

    weights: Mapping[str, Float32]
    kinds: int
    closed: int
    known: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def wants(self) -> bool:
        """Whether anything is to be had, not only lacked."""
        return bool(self.kinds) or any(bool(np.any(w > 0)) for w in self.weights.values())

    @property
    def total(self) -> float:
        """The sum of all weights, whatever their sign."""
        return sum(float(np.abs(w).sum()) for w in self.weights.values())


def wish(words: str, snapshot: Snapshot) -> Wish:
    """What the words ask for of this library. A word whose labels it has none of is not known.

    Raises:
        WordsError: the snapshot has no tags, or no word is known.
    """
    if not snapshot.tag_groups:
        raise WordsError(
            f"the model {snapshot.model.name} gives no tags to match words with: embed with"
            " efficientat-mn04 (`segue models pull`, extra `torch`)"
        )
    labels = {label.lower() for group in snapshot.tag_groups.values() for label in group.labels}
    kinds_there = 0 if snapshot.kind is None else int(np.bitwise_or.reduce(snapshot.kind))
    wanted: dict[str, float] = defaultdict(float)
    kinds = closed = 0
    known: list[str] = []
    unknown: list[str] = []
    turns: list[str] = []
    for word in _phrases(words):
        if word in _TURNS:
            turns.append(word)
        elif word not in _FILLERS:
            entries = _entries(word, labels)
            kind = KINDS.get(word, 0) & kinds_there
            turn = float(np.prod([_TURNS[turn] for turn in turns]))
            for label in labels.intersection(entries):
                wanted[label] += turn * entries[label]
            if turn > 0:
                kinds |= kind
            else:
                closed |= kind
            is_known = bool(kind) or not labels.isdisjoint(entries)
            (known if is_known else unknown).append(" ".join([*turns, word]) if is_known else word)
            turns = []
    weights = {
        name: np.array([wanted.get(label.lower(), 0.0) for label in group.labels], np.float32)
        for name, group in snapshot.tag_groups.items()
    }
    if not kinds and not any(np.any(w) for w in weights.values()):
        shown = ", ".join(unknown) or words.strip() or "nothing"
        raise WordsError(
            f"none of these words says how music sounds: {shown}; try words such as"
            f" {', '.join(sorted(LEXICON)[::9])}"
        )
    return Wish(weights, kinds & ~closed, closed, tuple(known), tuple(unknown))


def _phrases(words: str) -> list[str]:
    """The longest phrases of the lexicon in order, and the words between them."""
    left = re.findall(r"[\w'&-]+", words.lower())
    found: list[str] = []
    while left:
        sizes = range(min(LONGEST, len(left)), 1, -1)
        size = next((n for n in sizes if _is_phrase(left[:n])), 1)
        found.append(" ".join(left[:size]))
        left = left[size:]
    return found


def _is_phrase(words: Iterable[str]) -> bool:
    phrase = " ".join(words)
    return phrase in LEXICON or phrase in KINDS


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
