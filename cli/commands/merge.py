"""`segue merge`: what several machines analysed becomes one library."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from cli.console import count_text, show, show_json
from cli.flags import add_data, add_json
from cli.progress import ProgressBar

if TYPE_CHECKING:
    from cli.main import Compose


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags."""
    parser.description = (
        "Takes what the libraries in other data folders know into this one (library.data), and"
        "\npublishes a snapshot of it all. Files meet by music folder and path; of a file that"
        "\nchanged in between, the later state wins. Order does not matter, doing it again changes"
        "\nnothing, and a merge that was broken off is finished by doing it again. Everything is"
        "\nchecked before anything is written. A track that was forgotten here comes back from a"
        "\npart that still knows it: leave parts out that are out of date."
    )
    parser.add_argument("sources", nargs="+", metavar="DIR", help="a data folder to take in")
    add_data(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, compose: Compose) -> int:
    """Merge and publish."""
    from embedder.joining import join
    from embedder.progress import Silent

    configuration = compose("library", "embedding")
    sources = [Path(source) for source in arguments.sources]
    with ProgressBar("merging") as bar:

        class Drawn(Silent):
            def publishing(self, tracks: int) -> None:
                bar.say(f"publishing {tracks} tracks")

        joined = join(
            configuration.data,
            sources,
            configuration.embedding,
            progress=Drawn(),
            advance=lambda source, results: bar.update(results, None, str(source)),
        )
    if arguments.json:
        facts = {**asdict(joined.merged), "tracks": joined.tracks}
        facts |= {"model": joined.model or None, "unheard": joined.unheard}
        show_json({**facts, "snapshot": joined.snapshot or None})
        return 0
    merged = joined.merged
    show(
        f"{count_text(merged.added, 'track')} new, {merged.replaced} replaced by a later state,"
        f" {merged.known} known, {count_text(merged.results, 'result')} of models;"
        f" {count_text(joined.tracks, 'track')} in all"
    )
    for folder in merged.folders:
        show(f"new music folder {folder}")
    if joined.model and joined.unheard:
        show(
            f"{count_text(joined.unheard, 'track')} of {joined.tracks} cannot be published: not"
            f" {joined.model}, which most were analysed with, but other models heard them; run"
            f" `segue embed --model {joined.model}` on them, then merge again"
        )
    show(f"snapshot {joined.snapshot}" if joined.snapshot else "no snapshot was published")
    return 0
