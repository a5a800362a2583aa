"""The snapshots that are kept: the one in force, and those to go back to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from catalog.draft import point_to
from catalog.errors import SnapshotError
from catalog.layout import FOLDER, FORMAT, MANIFEST
from catalog.snapshot import MOST_MANIFEST_BYTES, current_version, read_plain


@dataclass(frozen=True, slots=True)
class Kept:
    """A snapshot on disk. `published_s` is seconds since 1970, `size_bytes` of all its files."""

    version: str
    published_s: float
    tracks: int
    model: str
    model_version: str
    size_bytes: int
    current: bool


def kept_snapshots(data: Path) -> list[Kept]:
    """All that are there and whole by their sizes, the newest first."""
    folder = data / FOLDER
    try:
        current = current_version(data)
    except SnapshotError:  # none of these; going back to one mends it
        current = None
    found = []
    for manifest in folder.glob(f"*/{MANIFEST}") if folder.is_dir() else ():
        if manifest.parent.name.startswith("."):
            continue
        try:
            facts = json.loads(read_plain(manifest, MOST_MANIFEST_BYTES))
            files = facts["files"]
            whole = facts["format"] <= FORMAT and all(
                Path(name).name == name and (manifest.parent / name).stat().st_size == one["bytes"]
                for name, one in files.items()
            )
            kept = Kept(
                version=manifest.parent.name,
                published_s=manifest.parent.stat().st_mtime,
                tracks=int(facts["tracks"]),
                model=str(facts["model"]["name"]),
                model_version=str(facts["model"]["version"]),
                size_bytes=manifest.stat().st_size + sum(one["bytes"] for one in files.values()),
                current=manifest.parent.name == current,
            )
        except (OSError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError,
                RecursionError):  # fmt: skip
            continue  # damaged: `segue doctor` tells of the one in force, no other is used
        if whole:
            found.append(kept)
    return sorted(found, key=lambda one: (one.published_s, one.version), reverse=True)


def newer_snapshot(data: Path, published: str) -> str:
    """The version that was published last, where an older one was put in force; else "".

    `published` is what the library says was published (`Library.published`), its version last.
    """
    newest = published.rpartition(" ")[2]
    kept = {one.version: one.current for one in kept_snapshots(data)}
    return newest if kept.get(newest) is False and any(kept.values()) else ""


def roll_back(data: Path, version: str = "") -> Kept:
    """Put a kept snapshot in force again: `version` (or how it begins), or the one before.

    It stays so until `segue embed` has something new to publish.

    Raises:
        SnapshotError: there is none such.
        OSError: the folder cannot be written.
    """
    kept = kept_snapshots(data)
    names = ", ".join(one.version for one in kept) or "none"
    if version:
        fitting = [one for one in kept if one.version.startswith(version)]
    else:
        at = next((place for place, one in enumerate(kept) if one.current), -1)
        fitting = kept[at + 1 : at + 2]
    if len(fitting) != 1:
        what = f"no snapshot {version!r}" if version else "no snapshot before the one in force"
        raise SnapshotError(f"there is {what} in {data / FOLDER}; kept are: {names}")
    point_to(data / FOLDER, fitting[0].version)
    return fitting[0]
