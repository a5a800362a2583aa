"""What `segue embed` and `segue info` both say of how a data folder stands."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from catalog.library import (
    HOURS_BETWEEN_MISSING_RUNS,
    MISSING_RUNS_BEFORE_FORGOTTEN,
    Library,
)
from catalog.snapshots import newer_snapshot
from cli.console import count_text


def standing(library: Library, data: Path) -> dict[str, Any]:
    """The facts, in the shape that `--json` promises.

    `missing`: how many tracks' files are gone or give no audio any more, by how many more runs they
    are kept without them.
    `newer_snapshot`: the one published last, where `segue rollback` put an older one in force.
    `shard`: which part of the music the folder has, null for all of it.
    """
    left = Counter(MISSING_RUNS_BEFORE_FORGOTTEN - runs for runs in library.missing().values())
    return {
        "missing": [{"tracks": left[runs], "runs_left": runs} for runs in sorted(left)],
        "newer_snapshot": newer_snapshot(data, library.published()) or None,
        "shard": library.shard() or None,
    }


def missing_text(facts: dict[str, Any]) -> str:
    """For example "3 gone or broken (forgotten after 2 more runs …)", "" where none is."""
    missing = facts["missing"]
    if not missing:
        return ""
    runs = sorted({one["runs_left"] for one in missing})
    when = count_text(runs[-1], "more run")
    if len(runs) > 1:
        when = f"{runs[0]} to {when}"
    gone = sum(one["tracks"] for one in missing)
    apart = f"{HOURS_BETWEEN_MISSING_RUNS:g} hours apart"
    return f"{gone} gone or broken (forgotten after {when} without them, {apart})"


def merge_text(shard: str, data: Path) -> str:
    """What to do with a part of the music."""
    return f"this is shard {shard}; next: segue merge {data} … --data DIR, with all the other parts"


def newer_text(version: str) -> str:
    """That an older snapshot is in force."""
    return (
        f"an older snapshot is in force since `segue rollback`; `segue rollback {version}` puts"
        " the newest in force"
    )
