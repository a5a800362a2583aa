"""`segue similar`: what AutoDJ would choose after these songs."""

from __future__ import annotations

import argparse
from time import localtime
from typing import TYPE_CHECKING

from catalog.library import Library
from cli.console import say, show, show_json
from cli.flags import add_data, add_json, positive
from cli.picks import name, pick_json, published, show_picks
from cli.seeds import Finder
from ranker.gates import in_season
from ranker.picks import Context, Seed
from ranker.rank import rank

if TYPE_CHECKING:
    from cli.main import Compose


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags."""
    parser.description = (
        "Prints what AutoDJ would choose after these songs, best first, with the terms that made"
        "\neach score. A seed is a song id of the server, a path (of this machine, or below the"
        '\nmusic folder, or its end), or words of "artist title"; where words fit several tracks,'
        "\nthey are listed. Several seeds count alike; the last is taken as the one playing."
    )
    parser.add_argument("seeds", metavar="SEED", nargs="+", help="a song id, a path, or words")
    parser.add_argument(
        "-n", "--count", type=positive, default=10, metavar="N", help="how many (default 10)"
    )
    parser.add_argument(
        "--unlike",
        metavar="SEED",
        action="append",
        default=[],
        help="a song not to sound like; may be given again",
    )
    parser.add_argument(
        "--plain",
        action="store_true",
        help="by score alone: no spacing of artists, no gates, no diversity",
    )
    parser.add_argument(
        "--why", action="store_true", help="a table of the terms that made each score"
    )
    add_data(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, compose: Compose) -> int:
    """Resolve the seeds, rank, print."""
    configuration = compose("library", "ranking")
    with Library.open(configuration.data, read_only=True) as library:
        snapshot = published(configuration.data)
        finder = Finder(library, snapshot)
        rows = [finder.row(seed) for seed in arguments.seeds]
        unwanted = [finder.row(seed) for seed in arguments.unlike]
        song_ids = finder.song_ids()
    picks = rank(
        snapshot,
        [*(Seed(row) for row in rows), *(Seed(row, -1.0) for row in unwanted)],
        Context()
        if arguments.plain
        else Context(heard=tuple(reversed(rows)), open_kinds=in_season(localtime().tm_mon)),
        configuration.ranking,
        arguments.count,
        plain=arguments.plain,
    )
    if arguments.json:
        show_json([pick_json(pick, snapshot, song_ids) for pick in picks])
        return 0
    for row in rows:
        say(f"after {name(snapshot, row)}")
    if arguments.why:
        like = f"like {'; '.join(name(snapshot, row) for row in rows)}"
        unlike = "; ".join(name(snapshot, row) for row in unwanted)
        show(like + (f"; unlike {unlike}" if unlike else ""))
    show_picks(picks, snapshot, why=arguments.why)
    return 0
