"""`segue vibe`: what fits these words."""

from __future__ import annotations

import argparse
from time import localtime
from typing import TYPE_CHECKING

from catalog.kinds import NAMES
from catalog.library import Library
from cli.console import say, show_json
from cli.errors import UsageError
from cli.flags import add_data, add_json, positive
from cli.picks import pick_json, published, show_picks
from cli.seeds import Finder
from ranker.gates import in_season
from ranker.picks import Context
from ranker.wishes import Wish, wish
from ranker.words import rank_words

if TYPE_CHECKING:
    from cli.main import Compose


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags."""
    parser.description = (
        'Prints what fits words such as "sad dreamy late night", best first. Words are'
        "\ncompared with the tags and moods that a model heard in each track, so a model that gives"
        "\ntags must have analysed the library (see `segue models list`). Words are weighed by"
        "\nnot, less, more and very before them."
    )
    parser.add_argument("words", metavar="WORDS", nargs="+", help="how it should sound")
    parser.add_argument(
        "-n", "--count", type=positive, default=10, metavar="N", help="how many (default 10)"
    )
    parser.add_argument(
        "--why", action="store_true", help="a table of the terms that made each score"
    )
    add_data(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, compose: Compose) -> int:
    """Rank by the words, print."""
    words = " ".join(arguments.words)
    if not words.strip():
        raise UsageError('how should it sound? WORDS is empty; for example "sad dreamy late night"')
    configuration = compose("library", "ranking")
    snapshot = published(configuration.data)
    season = Context(open_kinds=in_season(localtime().tm_mon))
    picks = rank_words(words, snapshot, season, configuration.ranking, arguments.count)
    say(_understood(wish(words, snapshot)))
    if arguments.json:
        with Library.open(configuration.data, read_only=True) as library:
            song_ids = Finder(library, snapshot).song_ids()
        show_json([pick_json(pick, snapshot, song_ids) for pick in picks])
    else:
        show_picks(picks, snapshot, why=arguments.why)
    return 0


def _understood(asked: Wish) -> str:
    """What the words were taken for, and what of them this library cannot answer."""
    told = [f"understood: {', '.join(asked.known)}"]
    missing = [name for flag, name in NAMES.items() if asked.kinds_missing & flag]
    if missing:
        told.append(f"nothing here is known as {' or '.join(missing)}, so the nearest comes")
    if asked.absent:
        told.append(f"not heard in this library: {', '.join(asked.absent)}")
    if asked.is_void:
        told.append("so any song will do, and what is typical of the library comes")
    if asked.unknown:
        told.append(f"not known: {', '.join(asked.unknown)}")
    return "; ".join(told)
