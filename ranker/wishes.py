"""Words to a wish: "sad dreamy late night" becomes weights on labels, "audiobook" asks for a kind.

A phrase or word is looked up in `ranker.lexicon`, else it is matched with the labels themselves.
How words turn each other round is told in `ranker.phrasing`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from catalog.snapshot import Snapshot
from catalog.tracks import Float32
from ranker.errors import WordsError
from ranker.labels import is_said_of_music
from ranker.lexicon import KINDS, LEXICON
from ranker.phrasing import parse


@dataclass(frozen=True, slots=True)
class Wish:
    """What words ask for.

    Attributes:
        weights: (n_labels,) float32 per tag group: above 0 for labels to have, below 0 for labels
            to lack.
        kinds: flags of `catalog.kinds` that are asked for.
        closed: flags that are not wanted, whatever the season.
        known: words and phrases that count, with what turns them ("not", "less", …).
        unknown: words that are not known.
        absent: words that are known, but nothing in this library has the labels they stand for.
    """

    weights: Mapping[str, Float32]
    kinds: int
    closed: int
    known: tuple[str, ...]
    unknown: tuple[str, ...]
    absent: tuple[str, ...]

    @property
    def wants(self) -> bool:
        """Whether anything is to be had, not only lacked."""
        return bool(self.kinds) or any(bool(np.any(w > 0)) for w in self.weights.values())

    @property
    def total(self) -> float:
        """The sum of all weights, whatever their sign."""
        return sum(float(np.abs(w).sum()) for w in self.weights.values())


def wish(words: str, snapshot: Snapshot) -> Wish:
    """What the words ask for of this library.

    Raises:
        WordsError: the snapshot has no tags, or no word is known.
    """
    if not snapshot.tag_groups:
        raise WordsError(
            f"the model {snapshot.model.name} gives no tags to match words with: embed with segue-1"
            " (pip install -r requirements/embed.txt)"
        )
    labels = {label.lower() for group in snapshot.tag_groups.values() for label in group.labels}
    kinds_there = 0 if snapshot.kind is None else int(np.bitwise_or.reduce(snapshot.kind))
    wanted: dict[str, float] = defaultdict(float)
    kinds = closed = 0
    own = {word for label in labels for word in _words_of(label)}
    items, unknown = parse(words, lambda word: word in own or is_said_of_music(word), own)
    known: list[str] = []
    absent: list[str] = []
    for item in items:
        entries, kind = _entries(item.word, labels), KINDS.get(item.word, 0) & kinds_there
        there = labels.intersection(entries)
        if not there and not kind:
            absent.append(item.word)
            continue
        known.append(item.told)
        for label in there:
            wanted[label] += item.turn * entries[label]
        if item.turn > 0:
            kinds |= kind
        else:
            closed |= kind
    weights = {
        name: np.array([wanted.get(label.lower(), 0.0) for label in group.labels], np.float32)
        for name, group in snapshot.tag_groups.items()
    }
    if kinds & closed:
        kinds = closed = 0  # both: neither
    if not kinds and not closed and not any(np.any(w) for w in weights.values()):
        raise WordsError(_why_none(words, known, absent, unknown))
    return Wish(weights, kinds, closed, tuple(known), tuple(unknown), tuple(absent))


def _why_none(words: str, known: list[str], absent: list[str], unknown: list[str]) -> str:
    if absent:
        more = f"; not known: {', '.join(unknown)}" if unknown else ""
        return f"not heard in this library: {', '.join(absent)}{more}"
    shown = ", ".join([*known, *unknown]) or words.strip() or "nothing"
    return (
        f"none of these words says how music sounds: {shown}; try words such as"
        f" {', '.join(sorted(LEXICON)[::9])}"
    )


def _words_of(label: str) -> list[str]:
    return re.findall(r"[\w'&-]+", label)


def _entries(word: str, labels: set[str]) -> dict[str, float]:
    text = LEXICON.get(word)
    if text is None:
        # "violin" → the labels that have it as a word, as "Violin, fiddle".
        own = [label for label in labels if word in _words_of(label)]
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
