"""`segue rollback`: an older snapshot in force again."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from catalog.snapshots import kept_snapshots, roll_back
from cli.console import count_text, moment_text, show, show_json, show_table, size_text
from cli.flags import add_data, add_json

if TYPE_CHECKING:
    from cli.main import Compose


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags."""
    parser.description = (
        "Puts the snapshot before the one in force in force again, or the one that is named; a"
        "\nrunning `segue serve` takes it within seconds. It stays so until `segue embed` has"
        "\nsomething new to publish. embedding.keep says how many are kept."
    )
    parser.add_argument("version", nargs="?", default="", help="a version, or how it begins")
    parser.add_argument("--list", action="store_true", help="only list the snapshots that are kept")
    add_data(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, compose: Compose) -> int:
    """Swap the pointer, unless only a list was asked for."""
    data = compose("library").data
    if arguments.list:
        kept = kept_snapshots(data)
        if arguments.json:
            show_json([asdict(one) for one in kept])
        else:
            show_table(
                (
                    f"{'>' if one.current else ' '} {one.version}",
                    moment_text(one.published_s),
                    count_text(one.tracks, "track"),
                    one.model,
                    size_text(one.size_bytes),
                )
                for one in kept
            )
        return 0
    chosen = roll_back(data, arguments.version)
    if arguments.json:
        show_json({**asdict(chosen), "current": True})
    else:
        show(
            f"snapshot {chosen.version} of {moment_text(chosen.published_s)} is in force:"
            f" {count_text(chosen.tracks, 'track')} by {chosen.model}"
        )
    return 0
