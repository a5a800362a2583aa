"""All that decides a run: with the same recipe and data it gives the same weights."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

#: Teachers' weights in the geometry, by space: those whose weights came from no metadata with terms
#: of its own. ("jamendo" and "musicnn", where they were asked, were tried with .6 each.)
FREE_TEACHERS: Final = {"mn04": 1.0, "mn04 low": 0.7}

#: Damaged versions of each excerpt.
COPIES: Final = 4


@dataclass(frozen=True, slots=True)
class Recipe:
    """One student: which candidate, who teaches it, on what, and what counts how much.

    As it stands it is the recipe of the segue-1 that comes with Segue.
    """

    candidate: str = "mn04"
    teachers: Mapping[str, float] = field(default_factory=lambda: dict(FREE_TEACHERS))
    #: May the mood head change the trunk? Not where its teacher's terms are to stay out of it.
    moods_teach: bool = False
    #: Are the axes along which damage moves a teacher weakened?
    forgiving: bool = False
    #: A checkpoint of an earlier run to start from.
    start: str = ""

    seed: int = 1
    copies: int = COPIES
    steps: int = 1600
    learning_rate: float = 8e-4
    weight_decay: float = 0.02
    warm_up: float = 0.05
    #: Of the running mean of weights.
    decay: float = 0.995

    #: Sources a step, excerpts of each, windows of each excerpt.
    sources: int = 10
    excerpts: int = 2
    windows: int = 2
    window_s: float = 5.0
    #: Share of windows that are mixed with another, heard by all.
    mixed: float = 0.15
    #: Share of windows read from a damaged copy.
    copied: float = 0.6
    #: Windows a step of sounds that are no music (`strangers`).
    odd: int = 1
    #: Targets of earlier steps that the vectors are compared with.
    memory: int = 768

    relational: float = 1.0
    direct: float = 1.0
    contrast: float = 0.2
    kin: float = 0.3
    tags: float = 0.5
    moods: float = 0.5
    strangers: float = 0.0

    def __post_init__(self) -> None:
        for one in fields(self):
            known = self.teachers if one.name == "teachers" else {one.name: getattr(self, one.name)}
            if not isinstance(known, Mapping) or not known:
                raise ValueError('teachers is a table, as in {"teachers": {"mn04": 1.0}}')
            kind = "float" if one.name == "teachers" else str(one.type)
            for name, value in known.items():
                _check(name, value, kind)
        if min(self.sources, self.windows) < 2 or min(self.steps, self.excerpts, self.odd) < 1:
            raise ValueError("a step needs two windows of an excerpt of two sources, or more")
        if not 0 < self.window_s <= 10:
            raise ValueError(f"window_s is {self.window_s:g}: more than 0, 10 s at most")
        for name in ("warm_up", "decay", "mixed", "copied", "kin"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} is {getattr(self, name):g}: a share, 0 to 1")
        if self.learning_rate == 0:
            raise ValueError("learning_rate is 0: nothing would be learnt")


def _check(name: str, value: object, kind: str) -> None:
    """That a value is of a field's kind (its annotation), and no number below zero."""
    kinds = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}[kind]
    if not isinstance(value, kinds) or (isinstance(value, bool) and kind != "bool"):
        raise ValueError(f"{name} is {value!r}: it takes a {kind}")
    if isinstance(value, float | int) and not 0 <= value < float("inf"):
        raise ValueError(f"{name} is {value!r}: 0 or more")


def recipe_of(text: str, **defaults: Any) -> Recipe:
    """A recipe out of a JSON object of some of its fields.

    Raises:
        ValueError: when it is no such object; the message names the value.
    """
    try:
        asked = json.loads(text)
    except ValueError as error:
        raise ValueError(f"the recipe is no JSON ({error}): {text}") from error
    if not isinstance(asked, dict):
        raise ValueError(f'the recipe is a JSON object, as in {{"steps": 400}}, not {text}')
    names = [one.name for one in fields(Recipe)]
    for name in asked.keys() - set(names):
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(names)}"
        raise ValueError(f"a recipe has no {name}: {hint}")
    return Recipe(**(defaults | asked))
