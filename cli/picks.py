"""Picks for people and for programs, and the snapshot they come from.

The JSON shape is a promise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog.snapshot import Snapshot, open_snapshot
from cli.console import show, show_table
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


def show_picks(picks: Sequence[Pick], snapshot: Snapshot, *, why: bool = False) -> None:
    """Print picks, best first, each with what made its score; with `why`, a table of all terms."""
    width = len(str(len(picks)))
    for number, pick in enumerate(picks, 1):
        show(f"{number:>{width}}. {name(snapshot, pick.row)}  [{pick.score:.2f}]")
        if not why:
            show(f"{'':{width}}  {why_text(pick)}")
    if why and picks:
        show()
        show_table(terms_table(picks))


def why_text(pick: Pick) -> str:
    """For example "0.81 sounds alike · +0.12 both dreamy, mellow · -0.20 heard 40 minutes ago".

    What would read as 0.00 is left out.
    """
    first, *others = pick.reasons
    told = [f"{first.value:.2f} {first.text}"]
    told += [f"{r.value:+.2f} {r.text}" for r in others if abs(r.value) >= 0.005]
    return " · ".join(told)


def terms_table(picks: Sequence[Pick]) -> list[list[str]]:
    """A row a pick and a column a term, in the order in which terms first appear; then the texts.

    A term that says nothing of a pick leaves its place empty.
    """
    terms = list(dict.fromkeys(reason.term for pick in picks for reason in pick.reasons))
    rows = [["", "score", *(term.replace("_", " ") for term in terms), "because"]]
    for number, pick in enumerate(picks, 1):
        values = {reason.term: f"{reason.value:+.2f}" for reason in pick.reasons}
        texts = " · ".join(r.text for r in pick.reasons if abs(r.value) >= 0.005)
        because = texts or pick.reasons[0].text
        shown = (values.get(term, "") for term in terms)
        rows.append([f"{number}.", f"{pick.score:.2f}", *shown, because])
    return rows


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
