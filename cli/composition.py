"""Filling a section's settings class from what was given, value by value.

TOML has types and is held to them; flags and the environment are text and are read as what the
key wants. Every problem is one line that begins with the place where the value was written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from cli.sections import OWNERS, Key, keys, nearest
from cli.sources import Given, environment_name

MASK: Final = "********"

#: What pydantic says, in the words of somebody who wrote a file or a flag.
_EXPECTED: Final = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "tuple": 'a list such as ["a", "b"]',
    "frozen_set": 'a list such as ["a", "b"]',
    "dict": "a table",
    "none": "nothing",
}

T = TypeVar("T")

#: What was given below one table, by path from there; () is the table itself.
Relative = Mapping[tuple[str, ...], Given]


def fill(settings: type[T], at: tuple[str, ...], given: Relative, problems: list[str]) -> T | None:
    """A settings object, or None after adding to `problems` what keeps it from being one.

    Args:
        settings: the class to fill.
        at: the full name of its table.
        given: what was given below that table; later sources have replaced earlier ones.
        problems: one line for each is added.
    """
    known = keys(settings)
    values: dict[str, Any] = {}
    before = len(problems)
    for name, inner in _grouped(given).items():
        first = next(iter(inner.values()))
        key = known.get(name)
        if key is None:
            problems.append(
                f"{where(first)}: unknown key {'.'.join((*at, name))}; {nearest(name, known)}"
            )
        elif key.item is not None:
            values[name] = _fill_table(key.item, (*at, name), inner, problems)
        elif () in inner:
            values[name] = _checked(key, inner[()], problems)
        elif key.is_table:
            table = {".".join(path): g.value for path, g in inner.items()}
            values[name] = _checked(key, Given(first.path, table, first.origin), problems)
        else:
            problems.append(f"{where(first)}: {'.'.join((*at, name))} is a value, not a table")
    if len(problems) > before:
        return None
    try:
        return settings(**values)
    except ValueError as error:
        problems.append(f"{_blamed(at, given, str(error))}: {' '.join(str(error).split())}")
        return None


def _fill_table(
    item: type, at: tuple[str, ...], given: Relative, problems: list[str]
) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, inner in _grouped(given).items():
        if not name or (() in inner and inner[()].value != {}):
            first = next(iter(inner.values()))
            problems.append(f"{where(first)}: {'.'.join(at)} holds tables: [{'.'.join(at)}.NAME]")
        else:
            entry = {path: g for path, g in inner.items() if path}
            table[name] = fill(item, (*at, name), entry, problems)
    return table


def _grouped(given: Relative) -> dict[str, dict[tuple[str, ...], Given]]:
    groups: dict[str, dict[tuple[str, ...], Given]] = {}
    for path, one in given.items():
        name = path[0] if path else ""
        groups.setdefault(name, {})[path[1:]] = one
    return groups


def _checked(key: Key, given: Given, problems: list[str]) -> Any:
    """The value as its annotation wants it; TOML has types and is held to them, text has none."""
    adapter = _adapter(key.annotation)
    value = given.value
    try:
        if given.origin.kind == "file":
            return adapter.validate_json(json.dumps(value, default=str), strict=True)
        if isinstance(value, str) and (key.is_list or key.is_table):
            value = _split(value)
        return adapter.validate_python(value)
    except (ValidationError, json.JSONDecodeError) as error:
        shown = MASK if key.secret else json.dumps(given.value, default=str, ensure_ascii=False)
        problems.append(f"{where(given)}: {_wanted(key, error)}, got {shown}")
        return None


def _split(text: str) -> Any:
    """A list from the environment: JSON, or separated by commas."""
    if text.lstrip().startswith(("[", "{")):
        return json.loads(text)
    return [part.strip() for part in text.split(",") if part.strip()]


def _wanted(key: Key, error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return f"{key.name} must be a list: a,b or JSON"
    first = error.errors(include_url=False, include_input=False)[0]
    kind = first["type"]
    if kind == "literal_error":
        return f"{key.name} must be {first['ctx']['expected']}"
    for prefix, words in _EXPECTED.items():
        if kind.startswith(prefix):
            return f"{key.name} must be {words}"
    return f"{key.name}: {first['msg']}"


def where(given: Given) -> str:
    """Where a value was written, for the start of a line."""
    return str(given.origin) if given.origin.name else environment_name(given.path)


def _blamed(at: tuple[str, ...], given: Relative, message: str) -> str:
    """Where the value was written that a class's own check names first."""
    found = {
        mention.start(): where(one)
        for path, one in given.items()
        if (mention := re.search(rf"\b{re.escape(path[0])}\b", message))
    }
    return found[min(found)] if found else f"[{'.'.join(at)}]"


def unknown_section(given: Given) -> str:
    """The line for a section that does not exist."""
    if given.origin.kind == "environment":
        known: list[str] = [environment_name((name,)) + "__…" for name in OWNERS]
        return f"{given.origin}: unknown section; {nearest(given.origin.name, known)}"
    return f"{where(given)}: unknown section [{given.path[0]}]; {nearest(given.path[0], OWNERS)}"


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


def unique(problems: Iterable[str]) -> list[str]:
    """The problems in order, each told once."""
    return list(dict.fromkeys(problems))
