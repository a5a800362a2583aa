"""Words to a wish: "sad dreamy late night" becomes weights on labels, "audiobook" asks for a kind.

A phrase or word is looked up in `ranker.lexicon`, else it is matched with the labels themselves.
How words turn each other round is told in `ranker.phrasing`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

import numpy as np

from catalog.snapshot import Snapshot
from catalog.tracks import Float32
from ranker.errors import WordsError
from ranker.labels import is_said_of_music, told
from ranker.lexicon import KINDS, LEXICON
from ranker.phrasing import parse

#: To those who used words that say nothing, before others.
_WORDS_TO_TRY: Final = (
    "sad", "happy", "calm", "energetic", "dreamy", "dark", "epic", "late night", "study", "party",
    "piano", "jazz", "80s", "romantic", "acoustic", "workout", "chill", "dance", "ambient",
    "guitar", "rock", "electronic", "fast", "slow",
)  # fmt: skip
_MOST_SUGGESTED: Final = 12

#: From here on a word is told as what another was meant to be (`difflib`'s ratio).
_LIKE: Final = 0.72


@dataclass(frozen=True, slots=True)
class Wish:
    """What words ask for.

    Attributes:
        weights: (n_labels,) float32 per tag group: above 0 for labels to have, below 0 for labels
            to lack.
        kinds: flags of `catalog.kinds` that are asked for.
        closed: flags that are not wanted, whatever the season.
        kinds_missing: flags that are asked for by words that stand for labels too ("christmas"),
            where nothing in this library is of that kind: what has the labels comes.
        doubtful: those labels, in lower case: to have one makes nothing a track of that kind.
        known: words and phrases that are understood, with what turns them ("not", "less", …).
        unknown: words that are not known.
        absent: words, or the labels they stand for, that nothing in this library has. Where they
            are not wanted, all of it fulfils that ("no banjo"), and they are among `known` too.
    """

    weights: Mapping[str, Float32]
    kinds: int
    closed: int
    kinds_missing: int
    doubtful: frozenset[str]
    known: tuple[str, ...]
    unknown: tuple[str, ...]
    absent: tuple[str, ...]

    @property
    def wants(self) -> bool:
        """Whether anything is to be had, not only lacked."""
        return bool(self.kinds) or any(bool(np.any(w > 0)) for w in self.weights.values())

    @property
    def is_void(self) -> bool:
        """Whether every song fulfils it, because nothing has what is not wanted."""
        return not self.kinds and not self.closed and not self.total

    @property
    def total(self) -> float:
        """The sum of all weights, whatever their sign."""
        return sum(float(np.abs(w).sum()) for w in self.weights.values())


def wish(words: str, snapshot: Snapshot) -> Wish:
    """What the words ask for of this library.

    Raises:
        WordsError: the snapshot has no tags, no word is known, or nothing has what is wanted.
    """
    if not snapshot.tag_groups:
        raise WordsError(
            f"the model {snapshot.model.name} gives no tags to match words with: embed with segue-1"
            " (pip install -r requirements/embed.txt)"
        )
    labels = {label.lower() for group in snapshot.tag_groups.values() for label in group.labels}
    kinds_there = 0 if snapshot.kind is None else int(np.bitwise_or.reduce(snapshot.kind))
    wanted: dict[str, float] = defaultdict(float)
    kinds = closed = kinds_missing = 0
    doubtful: set[str] = set()
    certain: set[str] = set()
    own = {word for label in labels for word in _words_of(label)}
    items, unknown = parse(words, lambda word: word in own or is_said_of_music(word), own)
    known: list[str] = []
    absent: list[str] = []
    lacked = 0
    for item in items:
        entries, of_kind = _entries(item.word, labels), KINDS.get(item.word, 0)
        there, kind = labels.intersection(entries), of_kind & kinds_there
        if not there and not kind:
            if _asks_to_lack(item.turn, entries):
                known.append(item.told)
                lacked += 1
            absent += _named(item.word, entries)
            continue
        known.append(item.told)
        if item.turn > 0 and of_kind & ~kinds_there:
            kinds_missing |= of_kind & ~kinds_there
            doubtful |= there
        else:
            certain |= there
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
    asked = Wish(
        weights, kinds, closed, kinds_missing, frozenset(doubtful - certain),
        tuple(known), tuple(unknown), tuple(absent),
    )  # fmt: skip
    if asked.is_void and not (lacked and lacked == len(items)):
        if len(known) > lacked:  # what is there is wanted, and as much not wanted
            raise WordsError(
                f"these words cancel each other: {', '.join(known)}; leave one of them out"
            )
        raise WordsError(_why_none(words, absent, unknown, labels))
    return asked


def _asks_to_lack(turn: float, entries: Mapping[str, float]) -> bool:
    """Whether all that a word asks for is not to have something: "no banjo", "instrumental"."""
    return all(turn * weight < 0 for weight in entries.values()) if entries else turn < 0


def _named(word: str, entries: Mapping[str, float]) -> list[str]:
    """What a word is about: itself, or what it says is lacking ("instrumental")."""
    if entries and all(weight < 0 for weight in entries.values()):
        return told(label.capitalize() for label in entries)
    return [word]


def _why_none(words: str, absent: list[str], unknown: list[str], labels: set[str]) -> str:
    if absent:
        more = f"; not known: {', '.join(unknown)}" if unknown else ""
        return f"not heard in this library: {', '.join(dict.fromkeys(absent))}{more}"
    shown = ", ".join(unknown) or words.strip() or "nothing"
    return (
        f"none of these words says how music sounds: {shown}; try words such as"
        f" {', '.join(_suggested(unknown, labels))}"
    )


def _suggested(unknown: Iterable[str], labels: set[str]) -> list[str]:
    """Words that this library can answer: those spelled nearly so, then others."""
    can = {word for word in LEXICON if labels.intersection(_entries(word, labels))}
    near = [word for one in unknown for word in get_close_matches(one, can, 3, _LIKE)]
    others = (*(word for word in _WORDS_TO_TRY if word in can), *sorted(can))
    return list(dict.fromkeys((*near, *others)))[:_MOST_SUGGESTED]


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
