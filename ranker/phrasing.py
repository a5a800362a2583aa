"""Words to items: which of them are known, and which turn others round.

A negation, in whatever words, turns the next one round, or the word before where none follows in
its clause; "less" turns it round by half, "very" doubles it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ranker.lexicon import KINDS, LEXICON, LONGEST

#: What turns the next word, or the one before where none follows.
_TURNS: Final[Mapping[str, float]] = {
    word.strip(): factor
    for words, factor in (
        ("not, no, non, never, nothing, none, neither, nor, without, cannot, avoid, exclude,"
         " excluding, except, minus, skip, hate, dislike, hardly, barely, scarcely, rarely, seldom,"
         " no more, no longer, anything but, everything but, all but, instead of,"
         " rather than, other than, apart from, far from, free of, free from", -1.0),
        ("dont, doesnt, isnt, arent, wasnt, cant, wont, aint, shouldnt, mustnt", -1.0),
        ("less, fewer", -0.5),
        ("slightly, somewhat, mildly, a little, a bit, kind of, sort of", 0.5),
        ("nothing but, not only, not just", 1.0),
        ("more, very, really, extremely, super, so, too, overly, especially, particularly, much",
         2.0),
    )
    for word in words.split(",")
}  # fmt: skip

_LONGEST: Final = max(LONGEST, *(len(phrase.split()) for phrase in _TURNS))

#: "80's" is the 80s.
_DECADE: Final = re.compile(r"\b((?:19|20)?\d0)'s\b")

#: Here a clause ends, and with it what its turns are about.
_BREAKS: Final = frozenset((",", ";", ".", ":", "!", "?", "but"))

_FILLERS: Final = frozenset(
    word
    for line in (
        "a an and any anything are as at all be bit can could do does either every everything",
        "exactly feel feeling feels for from give have hear hearing i im i'm if in into is it it's",
        "its just kind like listen let let's lot lots make me mood music my need of on one ones",
        "other our out play playing please put quite rather sort some something song songs sound",
        "sounding sounds stand stuff tend than that the them there these they this those though to",
        "track tracks tune tunes us vibe vibes want we what which will wish with would you your",
    )
    for word in line.split()
)


@dataclass(slots=True)
class Item:
    """A word that is known, and how it is turned: -1 is not, 2 is very."""

    word: str
    turn: float

    @property
    def is_turned(self) -> bool:
        """Whether it is not wanted, or says so itself ("no vocals")."""
        return self.turn < 0 or self.word.startswith("no ")

    @property
    def told(self) -> str:
        """Such as "not sad"."""
        if self.turn < 0:
            return f"{'not' if self.turn <= -1 else 'less'} {self.word}"
        if self.turn == 1:
            return self.word
        return f"{'very' if self.turn > 1 else 'slightly'} {self.word}"


def parse(
    words: str, is_known: Callable[[str], bool], whole: Collection[str] = ()
) -> tuple[list[Item], list[str]]:
    """The words that are known with their turns, in order, and those that are not known.

    whole: words not to be taken apart at their hyphens, beside those of the lexicon.
    """
    items: list[Item] = []
    unknown: list[str] = []
    turns: list[str] = []
    turn, last = 1.0, None  # the last item of this clause
    for word in (*_phrases(words, whole), ","):
        if word in _BREAKS:
            if turns and last is not None:  # "sad not"
                last.turn = _turned(last.turn, turn)
            else:
                unknown += turns
            turn, turns, last = 1.0, [], None
        elif word in _TURNS or word.endswith("n't"):
            turn = _turned(turn, _TURNS.get(word, -1.0))
            turns.append(word)
        elif word == "or":
            if last is not None and not turns and last.is_turned:
                turn = min(last.turn, -last.turn)
        elif word in LEXICON or word in KINDS or (word not in _FILLERS and is_known(word)):
            last = Item(word, turn)
            items.append(last)
            turn, turns = 1.0, []
        elif word not in _FILLERS:
            unknown.append(word)
            if not word.endswith("ly"):  # "not terribly sad"
                turn, turns = 1.0, []
    return items, unknown


def _turned(turn: float, factor: float) -> float:
    """What "not very sad" keeps away is less than what "not sad" does."""
    return turn / factor if turn < 0 and factor > 1 else turn * factor


def _phrases(words: str, whole: Collection[str] = ()) -> list[str]:
    """The longest phrases that are known in order, the words between them, and punctuation."""
    left: list[str] = []
    plain = _DECADE.sub(r"\1s", words.lower().replace("’", "'"))
    for word in re.findall(r"[\w'&-]+|[,;.:!?]", plain):
        left += _taken_apart(word.strip("'"), whole)
    found: list[str] = []
    while left:
        sizes = range(min(_LONGEST, len(left)), 1, -1)
        size = next((n for n in sizes if _is_phrase(left[:n])), 1)
        found.append(" ".join(left[:size]))
        left = left[size:]
    return found


def _taken_apart(word: str, whole: Collection[str]) -> list[str]:
    """The parts of a word with hyphens, unless it is known as a whole: "non-vocal", "drum-free"."""
    if word.startswith("-"):
        return ["not", *_taken_apart(word.strip("-"), whole)] if word.strip("-") else []
    if "-" not in word or word in LEXICON or word in KINDS or word in whole:
        return [word] if word else []
    *parts, end = [part for part in word.split("-") if part]
    return ["no", *parts] if end == "free" and parts else [*parts, end]


def _is_phrase(words: Iterable[str]) -> bool:
    phrase = " ".join(words)
    return phrase in LEXICON or phrase in KINDS or phrase in _TURNS
