"""What there is to train on: excerpts, the sources they come from, and the split between them.

A folder holds one folder a source (a game, an album, an artist). `CREDITS.csv` beside them, where
there is one, names each file's artist. The split keeps a source on one side, and with it every
source that shares an artist with it: a composer's habits must not be known from training.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from embedder.folders import AUDIO_SUFFIXES, is_hidden
from training.errors import CorpusError

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
        return hashlib.blake2b(os.fsencode(self.path), digest_size=8).hexdigest()


def find_excerpts(folder: Path) -> list[Excerpt]:
    """Every music file below a folder, ordered by path; hidden ones are none.

    Raises:
        CorpusError: when there are fewer than two sources: nothing could be validated on. Or when
            the credits cannot be read, or are of other files.
    """
    if not folder.is_dir():
        raise CorpusError(f"{folder} is no folder")
    artists = _credited(folder / "CREDITS.csv")
    found = []
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        if path.suffix.lower() not in AUDIO_SUFFIXES or any(map(is_hidden, below.parts)):
            continue
        if len(below.parts) > 1:
            name = below.as_posix()
            found.append(Excerpt(name, below.parts[0], artists.get(name, "")))
    sources = sorted({excerpt.source for excerpt in found})
    if len(sources) < 2:
        there = f"only {sources[0]}" if sources else "none"
        raise CorpusError(
            f"{folder} needs music in two folders or more, one a source: found {there}"
        )
    if artists and artists.keys().isdisjoint(excerpt.path for excerpt in found):
        raise CorpusError(
            f"{folder / 'CREDITS.csv'} names no file of {folder}, for example"
            f" {next(iter(artists))!r}: paths are relative to that folder, as in {found[0].path!r}"
        )
    return found


def _credited(path: Path) -> dict[str, str]:
    """Artists by path. Composers keep sources together: what cannot be understood is an error."""
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if "file" not in (rows.fieldnames or ()):
                named = ", ".join(rows.fieldnames or ()) or "nothing"
                raise CorpusError(
                    f"{path} has no column called file: its first line says {named} (commas divide"
                    " columns)"
                )
            return {
                (row["file"] or "").replace("\\", "/").removeprefix("./"): (
                    row.get("artist") or ""
                ).strip()
                for row in rows
            }
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path} is no CSV in UTF-8 ({error})") from error


def split(
    excerpts: Sequence[Excerpt], share: float, seed: int
) -> tuple[list[Excerpt], list[Excerpt]]:
    """(to train on, to validate on): about `share` of the sources are for validation.

    Sources that share an artist stay together; which side a group falls on is a hash of its
    smallest name and the seed, so that a new source moves no other. Where the share is less than
    the smallest group, that is held out whole.

    Raises:
        CorpusError: when artists join all sources into one group.
    """
    groups = _groups(excerpts)
    order = sorted(groups, key=lambda group: _hash(f"{seed}/{min(group)}"))
    wanted = share * sum(len(group) for group in groups)
    held: set[str] = set()
    for group in order:
        if len(held) + len(group) <= wanted + 0.5:
            held |= group
    if len(groups) < 2:
        raise CorpusError(
            "artists in CREDITS.csv join all sources: nothing that is not learnt from could be"
            " validated on"
        )
    smallest: frozenset[str] = min(order, key=len)
    held = held or set(smallest)
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
