"""`segue embed`: the offline job, with its progress."""

from __future__ import annotations

import argparse
import signal
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from catalog.library import Library
from cli.console import duration_text, say, show, show_json, size_text
from cli.flags import add_data, add_json, add_setting, positive
from cli.progress import ProgressBar

if TYPE_CHECKING:
    from pathlib import Path

    from cli.main import Compose
    from embedder.job import Outcome
    from embedder.progress import Result, Standing

_EXIT_SKIPPED = 3
_EXIT_INTERRUPTED = 130


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags."""
    parser.description = (
        "Analyses the tracks of the music folders that are new or changed, then publishes a"
        "\nsnapshot, which a running `segue serve` takes by itself. Says which model it uses and"
        "\nwhy. Ctrl-C stops it at any time: what is finished is kept, and the next run goes on"
        "\nfrom there. Exit code 3: done, but some files could not be analysed; they are listed."
    )
    add_setting(
        parser,
        "--music",
        "library.music",
        metavar="DIR",
        many=True,
        text="a music folder; may be repeated",
    )
    add_data(parser)
    add_setting(
        parser, "--model", "embedding.model", metavar="NAME", text='a model, or "auto" for the best'
    )
    add_setting(
        parser, "--device", "embedding.device", metavar="auto|cpu|cuda", text="where networks run"
    )
    add_setting(
        parser, "--workers", "embedding.workers", metavar="N", text="how many tracks at once"
    )
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="analyse at most so many files in this run"
    )
    parser.add_argument("--full", action="store_true", help="analyse everything anew")
    parser.add_argument(
        "--prune",
        action="store_true",
        help="forget tracks whose files are gone now, not after several runs",
    )
    add_json(parser)


def run(arguments: argparse.Namespace, compose: Compose) -> int:
    """Run the job; 0, 3 where files were skipped, 130 where it was stopped."""
    from embedder.job import Task, embed
    from embedder.priority import lower_priority

    configuration = compose("library", "embedding")
    if configuration.embedding.priority == "low":
        lower_priority()
    # A service manager's stop is as gentle as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ProgressBar("embedding") as bar:
        outcome = embed(
            configuration.library,
            configuration.embedding,
            Task(limit=arguments.limit, full=arguments.full, prune=arguments.prune),
            progress=_Drawn(bar),
        )
    failures = _failures(configuration.data)
    if arguments.json:
        show_json(
            {
                **asdict(outcome.report),
                "reason": outcome.reason,
                "snapshot": outcome.snapshot or None,
                "interrupted": outcome.interrupted,
                "failures": failures,
            }
        )
    else:
        _show(outcome, failures)
    if outcome.interrupted:
        return _EXIT_INTERRUPTED
    return _EXIT_SKIPPED if outcome.report.skipped else 0


class _Drawn:
    """Draws what the job tells."""

    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar
        self._todo = 0
        self._done = 0

    def chosen(self, reason: str) -> None:
        self._bar.say(reason)

    def planned(self, files: int, todo: int) -> None:
        self._todo = todo
        self._bar.say(f"{files} audio files, {todo} to analyse")
        self._bar.update(0, todo)

    def advanced(self, path: str, result: Result, detail: str) -> None:
        self._done += 1
        self._bar.update(self._done, self._todo, path)

    def standing(self, standing: Standing) -> None:
        pass

    def stopping(self, in_hand: int) -> None:
        self._bar.say(f"stopping: {in_hand} files in hand are finished first")

    def publishing(self, tracks: int) -> None:
        self._bar.update(self._done, self._todo, f"publishing {tracks} tracks")


def _failures(data: Path) -> list[dict[str, Any]]:
    with Library.open(data, read_only=True) as library:
        roots = library.roots()
        return [
            {
                "folder": roots.get(failure.root_id, ""),
                "path": failure.path,
                "reason": failure.reason,
                "detail": failure.detail,
            }
            for failure in library.failures()
        ]


def _show(outcome: Outcome, failures: list[dict[str, Any]]) -> None:
    report = outcome.report
    show(
        f"{report.embedded} embedded, {report.copied} copies, {report.moved} moved,"
        f" {report.unchanged} unchanged,"
        f" {report.skipped} skipped in {duration_text(report.seconds)}"
        f" ({size_text(report.bytes_read)} read in {report.reads} pieces)"
    )
    for failure in failures if report.skipped else ():
        show(f"skipped {failure['path']}: {failure['detail'] or failure['reason']}")
    show(f"snapshot {outcome.snapshot}" if outcome.snapshot else "no snapshot was published")
    if outcome.interrupted:
        say("interrupted; what is finished is kept, `segue embed` goes on from there")
