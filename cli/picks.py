"""Picks for people and for programs, and the snapshot they come from.

The JSON shape is a promise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog.snapshot import Snapshot, open_snapshot
from cli.console import show
from cli.errors import CliError
from ranker.picks import Pick


def pick_json(pick: Pick, snapshot: Snapshot, song_ids: Mapping[int, str]) -> dict[str, Any]:
    """One pick as `--json` gives it; `id` is None where the track is linked to no song."""
    return {
        "path": snapshot.text("path", pick.row),
        "id": song_ids.get(int(snapshot.track_ids[pick.row])),
        "title": snapshot.text("title", pick.row),
        "artist": snapshot.text("artist", pick.row),
        "album": snapshot.text("album", pick.row),
        "score": round(pick.score, 6),
        "why": [
            {"term": reason.term, "value": round(reason.value, 6), "text": reason.text}
            for reason in pick.reasons
        ],
    }


def show_picks(picks: Sequence[Pick], snapshot: Snapshot) -> None:
    """Print picks, best first, each with the terms that made its score."""
    width = len(str(len(picks)))
    for number, pick in enumerate(picks, 1):
        show(f"{number:>{width}}. {name(snapshot, pick.row)}  [{pick.score:.2f}]")
        reasons = ", ".join(f"{r.text} ({r.value:+.2f})" for r in pick.reasons)
        show(f"{'':{width}}  {reasons}")


def name(snapshot: Snapshot, row: int) -> str:
    """A track for people: "Artist – Title (Album)", or its path where it has no title."""
    artist, title, album = (snapshot.text(kind, row) for kind in ("artist", "title", "album"))
    if not title:
        return snapshot.text("path", row)
    return f"{artist or 'unknown artist'} – {title}" + (f" ({album})" if album else "")


def published(data: Path) -> Snapshot:
    """The snapshot that counts.

    Raises:
        CliError: nothing was published.
        SnapshotError: it is damaged.
    """
    snapshot = open_snapshot(data)
    if snapshot is None:
        raise CliError(f"nothing is published in {data}: run `segue embed` first")
    return snapshot
