"""`segue info`: what is known of the music."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.library import Library
from catalog.snapshot import FOLDER, MANIFEST, Snapshot, open_snapshot
from catalog.snapshots import kept_snapshots
from cli.console import (
    count_text,
    duration_text,
    moment_text,
    show,
    show_json,
    show_table,
    size_text,
)
from cli.flags import add_data, add_json
from cli.standing import (
    failure_text,
    merge_text,
    missing_text,
    newer_text,
    standing,
    switching,
    unlisted,
)

if TYPE_CHECKING:
    from cli.main import Compose


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags."""
    parser.description = (
        "Prints how many tracks are known and linked to songs of the server, which model heard"
        "\nthem, the published snapshot, sizes on disk, how the last run of `segue embed` ended,"
        "\nand the files that could not be analysed, counted by reason."
    )
    parser.add_argument(
        "--failures",
        action="store_true",
        help="list every file that could not be analysed, in JSON as `failed_files`",
    )
    add_data(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, compose: Compose) -> int:
    """Read the library and the snapshot, changing neither."""
    configuration = compose("library")
    data = configuration.data
    with Library.open(data, read_only=True) as library:
        left = unlisted(library, configuration.library)
        facts = gather(library, open_snapshot(data), data, left)
        if arguments.failures:
            roots = library.roots()
            facts["failed_files"] = [
                {
                    "folder": roots.get(failure.root_id, ""),
                    "path": failure.path,
                    "reason": failure.reason,
                    "detail": failure.detail,
                }
                for failure in library.failures()
            ]
    if arguments.json:
        show_json(facts)
    else:
        _show(facts, data)
    return 0


def gather(
    library: Library, snapshot: Snapshot | None, data: Path, left: Mapping[int, str]
) -> dict[str, Any]:
    """Everything known, in the shape that `--json` promises. left: see `cli.standing.unlisted`."""
    counts = library.count_by_root()
    known = counts.keys() | {failure.root_id for failure in library.failures()}
    change = switching(library, snapshot, data, left)
    songs, linked = library.count_songs()
    retired = library.retired()
    run, attempt = library.last_complete_run(), library.last_run()
    return {
        "tracks": library.count_tracks(),
        "songs": songs,
        "linked": linked,
        "model": None if snapshot is None else snapshot.model.name,
        "models": [
            {
                "name": m.name,
                "version": m.version,
                "tracks": library.count_analysed(m),
                # Published no more: kept as long as this snapshot is, to go back to.
                "kept_for": retired.get(m.identity),
            }
            for m in library.models()
        ],
        "snapshot": None
        if snapshot is None
        else {
            "version": snapshot.version,
            "tracks": snapshot.n,
            "model_version": snapshot.model.version,
            "tags": {name: len(group.labels) for name, group in snapshot.tag_groups.items()},
            "published_s": (data / FOLDER / snapshot.version / MANIFEST).stat().st_mtime,
            "bytes": _size(data / FOLDER / snapshot.version),
        },
        "library_bytes": sum(f.stat().st_size for f in data.glob(library.path.name + "*")),
        # One that was pruned is known by its number alone.
        "folders": [folder for root, folder in library.roots().items() if root in known],
        "unlisted": {folder: counts[root] for root, folder in left.items()},
        "failures": dict(Counter(failure.reason for failure in library.failures()).most_common()),
        "last_run": None if run is None else asdict(run),
        # What came of the latest run, where it was stopped or failed.
        "last_attempt": None if attempt is None or attempt == run else asdict(attempt),
        "snapshots": [asdict(one) for one in kept_snapshots(data)],
        "switching": change.as_json() if change is not None else None,
        **standing(library, data),
    }


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def _analysed_text(model: dict[str, Any]) -> str:
    text = f"{count_text(model['tracks'], 'track')} by {model['name']}"
    if model["kept_for"]:
        text += f" {model['version']}, kept as long as snapshot {model['kept_for']}"
    return text


def _show(facts: dict[str, Any], data: Path) -> None:
    snapshot, run = facts["snapshot"], facts["last_run"]
    linked = f"{facts['linked']} of {facts['songs']} songs of the server"
    rows = [
        ("tracks", str(facts["tracks"])),
        *((("", missing_text(facts)),) if facts["missing"] else ()),
        ("linked", linked if facts["songs"] else "nothing yet: run `segue link`"),
        ("model", facts["model"] or "none: nothing is published"),
        *(("analysed", _analysed_text(m)) for m in facts["models"]),
    ]
    if facts["shard"]:
        rows.append(("shard", merge_text(facts["shard"], data)))
    if snapshot is None and facts["shard"]:
        rows.append(("snapshot", "none: a shard publishes nothing"))
    elif snapshot is None:
        rows.append(("snapshot", "none: run `segue embed`"))
    else:
        tags = ", ".join(f"{count} {name}" for name, count in snapshot["tags"].items())
        rows.append(
            ("snapshot", f"{snapshot['version']}, {count_text(snapshot['tracks'], 'track')}")
        )
        rows.append(("", f"{size_text(snapshot['bytes'])}" + (f", tags: {tags}" if tags else "")))
    if facts["newer_snapshot"]:
        rows.append(("", newer_text(facts["newer_snapshot"])))
    rows.append(("library", f"{data / 'library.db'}, {size_text(facts['library_bytes'])}"))
    for folder in facts["folders"]:
        kept = facts["unlisted"].get(folder)
        more = f" (not in library.music any more: {count_text(kept, 'track')} kept)" if kept else ""
        rows.append(("folder", folder + more))
    for older in facts["snapshots"]:
        if snapshot is None or older["version"] != snapshot["version"]:
            when = moment_text(older["published_s"])
            tracks = count_text(older["tracks"], "track")
            rows.append(("kept", f"{older['version']}, {tracks}, {when}"))
    if change := facts["switching"]:
        told = ", ".join(f"{count} {why}" for why, count in change["lacking"].items())
        more = f"; waits for {told}" if told else ""
        rows.append(
            ("switching", f"to {change['to']}: {change['heard']} of {change['of']} tracks{more}")
        )
    if run is not None:
        rows.append(
            (
                "last run",
                f"{run['embedded']} embedded, {count_text(run['copied'], 'copy', 'copies')},"
                f" {run['moved']} moved,"
                f" {run['skipped']} skipped, {run['unchanged']} unchanged in"
                f" {duration_text(run['seconds'])}, {size_text(run['bytes_read'])} read in"
                f" {count_text(run['reads'], 'piece')}"
                + (f", {run['forgotten']} forgotten" if run["forgotten"] else ""),
            )
        )
    if attempt := facts["last_attempt"]:
        # Of a first run there is nothing to be since.
        since = "last run" if run is None else "since then"
        rows.append((since, f"{attempt['embedded']} embedded, then: {attempt['error']}"))
    rows += [("failed", f"{count}: {reason}") for reason, count in facts["failures"].items()]
    show_table(rows)
    for failure in facts.get("failed_files", ()):
        show(f"{failure['path']}: {failure_text(failure['reason'], failure['detail'])}")
