"""Which sections the configuration has, who owns each, and what keys it knows.

A room's settings class is loaded only when its section is asked for: `serve` never loads the
embedder to compose its configuration.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from importlib import import_module
from typing import Any, Final

#: Section name -> "module:class" of the room that owns it, in the order of the documentation.
OWNERS: Final[Mapping[str, str]] = {
    "upstream": "subsonic.settings:UpstreamSettings",
    "server": "proxy.settings:ServerSettings",
    "library": "catalog.settings:LibrarySettings",
    "embedding": "embedder.settings:EmbeddingSettings",
    "steering": "proxy.settings:SteeringSettings",
    "ranking": "ranker.settings:RankingSettings",
    "log": "cli.settings:LogSettings",
}

#: Keys whose values are shown to nobody, beside those marked `metadata={"secret": True}`.
SECRET_KEYS: Final = frozenset({"password"})

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a section: its name, its annotation, its default, and one line on it."""

    name: str
    annotation: Any
    default: Any
    doc: str
    secret: bool

    @property
    def item(self) -> type | None:
        """The settings class of each entry, where the key is a table of named tables."""
        if not self.is_table:
            return None
        inner = typing.get_args(self.annotation)[1]
        return inner if isinstance(inner, type) and is_dataclass(inner) else None

    @property
    def is_table(self) -> bool:
        """Whether the value is a table."""
        return self._is_a(Mapping)

    @property
    def is_list(self) -> bool:
        """Whether the value is a list: `SEGUE_…` takes it separated by commas."""
        return self._is_a(tuple, list, frozenset)

    def _is_a(self, *kinds: type) -> bool:
        origin: Any = typing.get_origin(self.annotation)
        return isinstance(origin, type) and issubclass(origin, kinds)


def settings_class(section: str) -> type[Any]:
    """The settings class of a section, loading the room that owns it."""
    module, _, name = OWNERS[section].partition(":")
    found: type[Any] = getattr(import_module(module), name)
    return found


def keys(settings: Any) -> Mapping[str, Key]:
    """The keys of a settings class by name, in the order of the class."""
    hints = typing.get_type_hints(settings)
    return {
        field.name: Key(
            name=field.name,
            annotation=hints[field.name],
            default=_default(field),
            doc=str(field.metadata.get("doc", "")),
            secret=bool(field.metadata.get("secret", field.name in SECRET_KEYS)),
        )
        for field in fields(settings)
    }


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default


def nearest(wrong: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known name, or all of them when none is near."""
    names = list(known)
    lowered = {name.lower(): name for name in names}
    found = difflib.get_close_matches(wrong.lower(), lowered, n=1, cutoff=0.55)
    if found:
        return f"did you mean {lowered[found[0]]!r}?"
    return f"known are {', '.join(names)}"
