"""What there is to train on: excerpts, the sources they come from, and the split between them.

A folder holds one folder a source (a game, an album, an artist). `CREDITS.csv` beside them, where
there is one, names each file's artist. The split keeps a source on one side, and with it every
source that shares an artist with it: a composer's habits must not be known from training.
"""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from training.errors import CorpusError

SUFFIXES: Final = frozenset(
    {".aac", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma"}
)
#: Two excerpts of one track end so.
_PARTS: Final = ("-a", "-b")


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A file to hear: its path below the folder, and whose it is."""

    path: str
    source: str
    artist: str

    @property
    def track(self) -> str:
        """Equal for two excerpts of one track."""
        stem = self.path.rsplit(".", 1)[0]
        return stem[:-2] if stem.endswith(_PARTS) else stem

    @property
    def slug(self) -> str:
        """A file name of its own."""
        return hashlib.blake2b(self.path.encode(), digest_size=8).hexdigest()


def find_excerpts(folder: Path) -> list[Excerpt]:
    """Every music file below a folder, ordered by path.

    Raises:
        CorpusError: when there are fewer than two sources: nothing could be validated on.
    """
    artists = _credited(folder / "CREDITS.csv")
    found = []
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        if path.suffix.lower() in SUFFIXES and len(below.parts) > 1:
            name = below.as_posix()
            found.append(Excerpt(name, below.parts[0], artists.get(name, "")))
    if len({excerpt.source for excerpt in found}) < 2:
        raise CorpusError(f"{folder} needs music in two folders or more, one a source: found none")
    return found


def _credited(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["file"]: row.get("artist", "").strip() for row in csv.DictReader(file)}


def split(
    excerpts: Sequence[Excerpt], share: float, seed: int
) -> tuple[list[Excerpt], list[Excerpt]]:
    """(to train on, to validate on): about `share` of the sources are for validation.

    Sources that share an artist stay together; which side a group falls on is a hash of its
    smallest name and the seed, so that a new source moves no other.
    """
    groups = _groups(excerpts)
    order = sorted(groups, key=lambda group: _hash(f"{seed}/{min(group)}"))
    wanted = share * sum(len(group) for group in groups)
    held: set[str] = set()
    for group in order:
        if len(held) + len(group) <= wanted + 0.5:
            held |= group
    return (
        [excerpt for excerpt in excerpts if excerpt.source not in held],
        [excerpt for excerpt in excerpts if excerpt.source in held],
    )


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _groups(excerpts: Iterable[Excerpt]) -> list[frozenset[str]]:
    """Sources joined by a common artist."""
    by_artist: dict[str, set[str]] = defaultdict(set)
    sources: set[str] = set()
    for excerpt in excerpts:
        sources.add(excerpt.source)
        if excerpt.artist:
            by_artist[excerpt.artist.casefold()].add(excerpt.source)
    groups = [{source} for source in sorted(sources)]
    for shared in by_artist.values():
        joined = set().union(*(group for group in groups if group & shared))
        groups = [group for group in groups if not group & shared] + [joined]
    return [frozenset(group) for group in groups]
