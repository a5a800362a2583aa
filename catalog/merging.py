"""Joins libraries that several machines made: `segue merge`.

Tracks meet by music folder and path. Where two libraries know the same file, its content key
decides: equal content, and each keeps what the other's models said; different content, and the
file's later state wins whole. So the order of the sources changes nothing, doing it again changes
nothing, and what was broken off is brought to its end by doing it again.

A source is only read. Its failures come along where nobody has heard the file; its runs, songs and
links do not.
"""

from __future__ import annotations

import heapq
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

from catalog.analyses import count_change
from catalog.errors import MergeError
from catalog.library import FILE_NAME, Library

#: Results are copied so many at a time: each batch a transaction of some tens of megabytes.
_BATCH: Final = 5000

#: What is taken over of a track as it is, the facts that order its states first.
_FACTS: Final = (
    "mtime_ns", "size_bytes", "content_key", "duration_s", "title", "artist", "album",
    "album_artist", "genres", "year", "track_number", "disc_number", "musicbrainz_recording_id",
    "missing_runs",
)  # fmt: skip
_CONTENT: Final = _FACTS.index("content_key")
_MISSING: Final = _FACTS.index("missing_runs")

_INSERT: Final = (
    f"INSERT INTO tracks ({', '.join(_FACTS)}, root_id, path)"
    f" VALUES ({', '.join('?' * (len(_FACTS) + 2))})"
)
_UPDATE: Final = f"UPDATE tracks SET {', '.join(f'{fact} = ?' for fact in _FACTS)}"

#: Of two results of one model the greater bytes stay, so that the order of sources does not count.
_RESULTS: Final = {
    table: (
        f"SELECT model_id, root_id, path, content_key, {column} FROM {table}"
        " JOIN tracks USING (track_id) ORDER BY model_id, track_id",
        f"INSERT INTO {table} (model_id, track_id, {column}) SELECT ?, track_id, ? FROM tracks"
        " WHERE root_id = ? AND path = ? AND content_key = ?"
        f" ON CONFLICT DO UPDATE SET {column} = excluded.{column}"
        f" WHERE excluded.{column} > {column}",
    )
    for table, column in (("vectors", "vector"), ("scores", "scores"))
}


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge did: tracks that were new, that replaced an older state of their file, that were
    known alike; results of models that came along; music folders that were new."""

    added: int
    replaced: int
    known: int
    results: int
    folders: tuple[str, ...]


def merge(
    target: Library,
    sources: Sequence[Path],
    *,
    advance: Callable[[Path, int], None] = lambda source, results: None,
) -> Merged:
    """Take all that the libraries in these data folders know into `target`.

    All of them are checked before anything is written. `advance` is told how many results of each
    source were looked at.

    Raises:
        MergeError: a source is no library, damaged, the target itself, or holds a model under the
            same name and version but of another shape.
        LibraryError: the target cannot be written, or a source is older or newer than this Segue.
    """
    with ExitStack() as opened:
        parts = [opened.enter_context(_open(target, source)) for source in sources]
        _check_models([target, *parts])
        plans = _plan_folders(target, parts)
        before = set(target.roots().values())
        for folder in sorted({folder for plan in plans for folder in plan.values()}):
            target.root_id(Path(folder), remote=True)
        folders = [
            {root: target.root_id(Path(folder), remote=True) for root, folder in plan.items()}
            for plan in plans
        ]
        counts = _take_tracks(target, parts, folders)
        results = 0
        for source, part, roots in zip(sources, parts, folders, strict=True):
            _take_failures(target, part, roots)
            results += _take_results(target, part, roots, partial(advance, source))
        target.forget_set_aside()  # of a part whose job was killed
        return Merged(
            counts["added"],
            counts["replaced"],
            counts["known"],
            results,
            tuple(sorted(set(target.roots().values()) - before)),
        )


def _open(target: Library, source: Path) -> Library:
    path = source / FILE_NAME
    if not path.is_file():
        raise MergeError(f"{source} is no data folder of Segue: it has no {FILE_NAME}")
    if path.samefile(target.path):
        raise MergeError(f"{source} is the data folder that is merged into: leave it out")
    part = Library.open(source, read_only=True)
    try:
        found = part.check()
    except sqlite3.Error as error:
        found = [str(error)]
    if found:
        part.close()
        raise MergeError(f"the library in {source} is damaged ({found[0]}): nothing was merged")
    return part


def _check_models(libraries: Sequence[Library]) -> None:
    """A name and version stand for one space everywhere, or else nothing is merged."""
    shapes: dict[tuple[str, str], tuple[int, tuple[str, ...], Path]] = {}
    for library in libraries:
        for model in library.models():
            shape = (model.dim, model.labels, library.path)
            other = shapes.setdefault((model.name, model.version), shape)
            if other[:2] != shape[:2]:
                raise MergeError(
                    f"the model {model.name} ({model.version}) is not the same in {other[2]} and"
                    f" {library.path} ({other[0]} and {model.dim} numbers, {len(other[1])} and"
                    f" {len(model.labels)} labels): nothing was merged"
                )


def _plan_folders(target: Library, parts: Sequence[Library]) -> list[dict[int, str]]:
    """For each source its folders' numbers → the folder in the target that each one is.

    The same path, or else the same name (mounted elsewhere), or else a new one.
    """
    there = list(target.roots().values())
    plans = []
    for part in parts:
        roots = part.roots()
        names = Counter(Path(folder).name for folder in roots.values())
        plan = {}
        for root, folder in roots.items():
            name = Path(folder).name
            alike = [one for one in there if Path(one).name == name]
            if folder in there or names[name] > 1 or not alike:
                plan[root] = folder
            elif len(alike) == 1:
                plan[root] = alike[0]
            else:
                raise MergeError(
                    f"the music folder {folder} of {part.path} may be {' or '.join(alike)}:"
                    " mount it there under one of these paths, run `segue embed`, merge again"
                )
        there += [folder for folder in plan.values() if folder not in there]
        plans.append(plan)
    return plans


def _take_tracks(
    target: Library, parts: Sequence[Library], folders: Sequence[Mapping[int, int]]
) -> Counter[str]:
    """All sources' tracks in order of folder and path: they get the same numbers as if one machine
    had heard them all. One transaction."""
    streams = [_tracks(part, roots) for part, roots in zip(parts, folders, strict=True)]
    counts: Counter[str] = Counter(added=0, replaced=0, known=0)
    find = f"SELECT track_id, {', '.join(_FACTS)} FROM tracks WHERE root_id = ? AND path = ?"
    with target.writing() as db:
        for root, path, facts in heapq.merge(*streams, key=lambda track: track[:2]):
            row = db.execute(find, (root, path)).fetchone()
            if row is None:
                db.execute(_INSERT, (*facts, root, path))
                counts["added"] += 1
                continue
            track_id, *ours = row
            later = _later(facts, ours)
            kept = facts if later else tuple(ours)
            missing = min(facts[_MISSING], ours[_MISSING])
            if later and facts[_CONTENT] != ours[_CONTENT]:
                counts["replaced"] += 1
                for table in _RESULTS:
                    db.execute(f"DELETE FROM {table} WHERE track_id = ?", (track_id,))
            else:
                counts["known"] += 1
            if later or missing != ours[_MISSING]:
                db.execute(f"{_UPDATE} WHERE track_id = ?", (*kept[:_MISSING], missing, track_id))
    return counts


def _tracks(
    part: Library, roots: Mapping[int, int]
) -> Iterator[tuple[int, bytes, tuple[Any, ...]]]:
    for source, target in sorted(roots.items(), key=lambda pair: pair[1]):
        for path, *facts in part.rows(
            f"SELECT path, {', '.join(_FACTS)} FROM tracks WHERE root_id = ? ORDER BY path",
            (source,),
        ):
            yield target, bytes(path), tuple(facts)


def _later(facts: Sequence[Any], than: Sequence[Any]) -> bool:
    """Whether this is a file's later state; the same answer on every machine."""
    ours, theirs = (
        (*one[: _CONTENT + 1], [str(fact) for fact in one[_CONTENT + 1 : _MISSING]])
        for one in (facts, than)
    )
    return ours > theirs


def _take_failures(target: Library, part: Library, roots: Mapping[int, int]) -> None:
    with target.writing() as db:
        for one in part.failures():
            db.execute(
                "INSERT INTO failures SELECT ?, ?, ?, ?, ?, ?, ? WHERE NOT EXISTS"
                " (SELECT 1 FROM tracks WHERE root_id = ?1 AND path = ?2 AND mtime_ns >= ?4)"
                " ON CONFLICT DO UPDATE SET size_bytes = excluded.size_bytes,"
                " mtime_ns = excluded.mtime_ns, reason = excluded.reason,"
                " detail = excluded.detail, at_s = excluded.at_s"
                " WHERE (excluded.mtime_ns, excluded.at_s) > (mtime_ns, at_s)",
                (roots[one.root_id], os.fsencode(one.path), one.size_bytes, one.mtime_ns,
                 one.reason, one.detail, one.at_s),
            )  # fmt: skip
        db.execute(
            "DELETE FROM failures WHERE EXISTS (SELECT 1 FROM tracks WHERE"
            " tracks.root_id = failures.root_id AND tracks.path = failures.path"
            " AND tracks.mtime_ns >= failures.mtime_ns)"
        )


def _take_results(
    target: Library, part: Library, roots: Mapping[int, int], advance: Callable[[int], None]
) -> int:
    """The results of a source's tracks whose content is that of ours. A transaction a batch."""
    taken = looked_at = 0
    models = {
        int(model_id): (name, version, int(dim), labels)
        for model_id, name, version, dim, labels in part.rows(
            "SELECT model_id, name, version, dim, labels FROM models"
        )
    }
    with target.writing() as db:
        for name, version, dim, labels in models.values():
            db.execute(
                "INSERT INTO models (name, version, dim, labels) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (name, version, dim, json.dumps(json.loads(labels))),
            )
        ours = {
            model_id: int(
                db.execute(
                    "SELECT model_id FROM models WHERE name = ? AND version = ?", (name, version)
                ).fetchone()[0]
            )
            for model_id, (name, version, _, _) in models.items()
        }
    for read, write in _RESULTS.values():
        rows = iter(part.rows(read))
        while batch := list(islice(rows, _BATCH)):
            with target.writing() as db:
                cursor = db.executemany(
                    write,
                    (
                        (ours[model_id], values, roots[root], path, key)
                        for model_id, root, path, key, values in batch
                    ),
                )
                if cursor.rowcount > 0:
                    taken += cursor.rowcount
                    count_change(db)
            looked_at += len(batch)
            advance(looked_at)
    return taken
