"""`segue embed`: the offline job, with its progress."""

from __future__ import annotations

import argparse
import os
import signal
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.library import Library
from cli.console import count_text, duration_text, say, show, show_json, size_text
from cli.errors import UsageError
from cli.flags import add_data, add_json, add_setting, positive
from cli.standing import failure_text, merge_text, missing_text, newer_text, standing
from cli.telling import Drawn, Events

if TYPE_CHECKING:
    from cli.configuration import Configuration
    from cli.main import Compose
    from embedder.job import Outcome, Task
    from embedder.source import MusicSource

_EXIT_SKIPPED = 3
_EXIT_INTERRUPTED = 130


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags."""
    parser.description = (
        "Analyses the tracks of the music folders that are new or changed, then publishes a"
        "\nsnapshot, which a running `segue serve` takes by itself. Says which model it uses and"
        "\nwhy. Ctrl-C stops it at any time: what is finished is kept, and the next run goes on"
        "\nfrom there. Exit code 3: done, but some files could not be analysed; they are listed."
        "\n\nAfter a change of model the old one's snapshot stays in force until the new one has"
        "\nheard all of its tracks that are not forgotten. With --json each step is told on stderr"
        "\nas a JSON object a line."
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
        parser, "--source", "library.source", metavar="folder|server", text="where the music is"
    )
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
        help="forget tracks whose files are gone now, not after several runs, and those of folders"
        " that are not in library.music any more",
    )
    parser.add_argument(
        "--shard",
        metavar="I/N",
        help="analyse part I of N only, into a data folder of its own; `segue merge` joins them",
    )
    parser.add_argument(
        "--publish-partial",
        action="store_true",
        help="publish a new model's vectors though it has not heard all tracks yet",
    )
    parser.add_argument(
        "--watch", action="store_true", help="go on, and analyse what is new when it comes"
    )
    add_json(parser)


def run(arguments: argparse.Namespace, compose: Compose) -> int:
    """Run the job; 0, 3 where files were skipped, 130 where it was stopped."""
    from embedder.job import Task
    from embedder.priority import lower_priority

    task = Task(
        limit=arguments.limit,
        full=arguments.full,
        prune=arguments.prune,
        all_listed=_all_listed(arguments),
        partial=arguments.publish_partial,
        shard=_shard(arguments.shard),
    )
    configuration = compose("library", "embedding")
    _check_model(configuration.embedding.model)
    if configuration.library.source == "server":
        configuration = compose("library", "embedding", "upstream")
        if not configuration.upstream.username:
            raise UsageError(
                'library.source is "server", but upstream.username is not set: an ordinary account'
                " that may download is needed"
            )
    elif not configuration.library.music:
        raise UsageError("no music folder is set: use --music DIR, or set library.music")
    if configuration.embedding.priority == "low":
        lower_priority()
    # A service manager's stop is as gentle as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if arguments.watch:
        return _watch(configuration, task, as_json=arguments.json)
    outcome = _embed(configuration, task, arguments.json)
    return _tell(outcome, configuration.data, arguments.json, full=task.full)


def _all_listed(arguments: argparse.Namespace) -> bool:
    """Whether a folder that this run does not name is no music folder any more: not where others
    are configured, and some are named for one run."""
    from cli.configuration import load

    music = ("library", "music")
    if music not in arguments.settings:
        return True
    others = {key: value for key, value in arguments.settings.items() if key != music}
    return not load(arguments.config, others, os.environ).library.music


def _shard(text: str | None) -> Any:
    from embedder.sharding import ALL, Shard

    try:
        return ALL if text is None else Shard.parse(text)
    except ValueError as error:
        raise UsageError(f"--shard: {error}") from None


def _check_model(name: str) -> None:
    """A model that does not exist, or gives no vectors, is a wrong configuration: exit code 2."""
    from embedder.errors import ModelError
    from embedder.models.registry import ENTRIES, entry

    if name == "auto":
        return
    try:
        found = entry(name)
    except ModelError as error:
        raise UsageError(str(error)) from None
    if found.beside:
        others = ", ".join(one.name for one in ENTRIES if not one.beside)
        raise UsageError(
            f"{name} gives no vectors, it runs beside another model: set embedding.model to"
            f" {others}, or auto"
        )


def _embed(configuration: Configuration, task: Task, as_json: bool) -> Outcome:
    from embedder.job import embed

    with Events() if as_json else Drawn() as told, ExitStack() as opened:
        source: MusicSource | None = None  # the folders
        if configuration.library.source == "server":
            from embedder.server import ServerMusic

            source = opened.enter_context(
                ServerMusic(
                    configuration.upstream,
                    connections=configuration.library.server_connections,
                    bytes_per_s=configuration.library.server_mb_per_s * 1e6,
                )
            )
        return embed(
            configuration.library, configuration.embedding, task, source=source, progress=told
        )


def _watch(configuration: Configuration, task: Task, *, as_json: bool) -> int:
    """Run whenever the music changed, until it is stopped."""
    from embedder.errors import SourceError
    from embedder.watching import changes

    settings = configuration.embedding
    server = configuration.library.source == "server"
    folders = [] if server else [Path(folder).absolute() for folder in configuration.library.music]
    trouble = ""
    for _ in changes(folders, quiet_s=settings.quiet_s, poll_s=settings.poll_s, say=say):
        try:
            outcome = _embed(configuration, task, as_json)
        except SourceError as error:
            # A mount that is away comes back.
            if str(error) != trouble:  # once, however often it is looked at
                say(f"segue: {error}")
            trouble = str(error)
            continue
        if trouble:
            say("segue: the music is there again")
            trouble = ""
        _tell(outcome, configuration.data, as_json, full=task.full)
        # All anew, and what is gone now: once, not whenever a file comes.
        task = replace(task, full=False, prune=False)
        if outcome.interrupted:
            return _EXIT_INTERRUPTED
    return 0


def _tell(outcome: Outcome, data: Path, as_json: bool, *, full: bool) -> int:
    failures = _failures(data)
    with Library.open(data, read_only=True) as library:
        facts = standing(library, data)
    if as_json:
        show_json(
            {
                **asdict(outcome.report),
                **facts,
                "reason": outcome.reason,
                "snapshot": outcome.snapshot or None,
                "interrupted": outcome.interrupted,
                "unlisted": outcome.unlisted,
                "waiting": outcome.waiting,
                "failures": failures,
            }
        )
    else:
        _show(outcome, failures, facts, data)
        if outcome.interrupted:
            further = (
                "`segue embed --full` begins anew" if full else "`segue embed` goes on from there"
            )
            say(f"interrupted; what is finished is kept, {further}")
    if outcome.interrupted:
        return _EXIT_INTERRUPTED
    return _EXIT_SKIPPED if outcome.report.skipped else 0


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


def _show(
    outcome: Outcome, failures: list[dict[str, Any]], facts: dict[str, Any], data: Path
) -> None:
    report = outcome.report
    copies = count_text(report.copied, "copy", "copies")
    show(
        f"{report.embedded} embedded, {copies}, {report.moved} moved,"
        f" {report.unchanged} unchanged,"
        f" {report.skipped} skipped in {duration_text(report.seconds)}"
        f" ({size_text(report.bytes_read)} read in {count_text(report.reads, 'piece')})"
    )
    forgotten = f"{report.forgotten} forgotten" if report.forgotten else ""
    if gone := ", ".join(filter(None, (missing_text(facts), forgotten))):
        show(gone)
    for folder, tracks in outcome.unlisted.items():
        show(
            f"{folder} is no music folder any more; what is known of it"
            f" ({count_text(tracks, 'track')}) is kept: `segue embed --prune` forgets it"
        )
    for failure in failures if report.skipped else ():
        show(f"skipped {failure['path']}: {failure_text(failure['reason'], failure['detail'])}")
    if facts["shard"]:
        show(merge_text(facts["shard"], data))
    else:
        show(f"snapshot {outcome.snapshot}" if outcome.snapshot else "no snapshot was published")
    if outcome.waiting:
        show(
            f"the model before stays in force: {report.model} has not heard"
            f" {count_text(outcome.waiting, 'track')} of it yet, and waits until they are back,"
            " can be read, or are forgotten; --publish-partial does not wait"
        )
    if facts["newer_snapshot"]:
        show(newer_text(facts["newer_snapshot"]))
