"""The job: find what is new or changed, hear it, keep it, publish.

Tracks are heard side by side in threads, each with a process of its own that reads and decodes
(`embedder.listening`). One thread, the caller's, owns the library and stores track by track, so a
stop at any instant loses at most the tracks in flight.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from catalog.errors import advice
from catalog.library import Library
from catalog.settings import LibrarySettings
from catalog.tracks import FileFacts, RunReport
from embedder.errors import EmbedderError, SourceError
from embedder.facts import Measuring
from embedder.listening import Listening, Loaded
from embedder.lock import only_job
from embedder.models.registry import Choice, choose_models, load_chosen
from embedder.plan import Plan, make_plan
from embedder.progress import SILENT, Progress
from embedder.publication import Publication
from embedder.scouts import is_away
from embedder.settings import EmbeddingSettings
from embedder.sharding import ALL, Shard
from embedder.source import Folders, MusicSource


@dataclass(frozen=True, slots=True)
class Task:
    """What a run is asked for, beside what is configured.

    At most `limit` files are heard; `full` hears all of them anew; `prune` forgets tracks whose
    files are gone now, instead of after several runs, however many they are. `all_listed`: what is
    known of folders that this run does not name is of no music folder any more; `prune` forgets it
    then, and no change of model waits for it. Of several machines' work a run does its `shard`, and
    publishes nothing. `partial` publishes a new model's space though it does not hold all
    tracks yet.
    """

    limit: int | None = None
    full: bool = False
    prune: bool = False
    all_listed: bool = False
    partial: bool = False
    shard: Shard = ALL


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run went. `snapshot` is the version in force, "" for none; a shard's is "" always.

    `unlisted`: folders that are no music folders any more, and how many tracks of each are kept.
    `waiting`: how many tracks keep a change of model from coming into force.
    """

    report: RunReport
    reason: str
    snapshot: str
    interrupted: bool = False
    unlisted: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0


def embed(
    library: LibrarySettings,
    settings: EmbeddingSettings,
    task: Task | None = None,
    *,
    source: MusicSource | None = None,
    progress: Progress = SILENT,
) -> Outcome:
    """Analyse what is new or changed in the music, then publish a snapshot.

    `source` is where the music is, by default the folders that are configured. Ctrl-C ends the run
    early: what is finished is kept and published, and the outcome says `interrupted`.

    Raises:
        SourceError: a music folder is missing, empty, lost most of its tracks, or goes away.
        ModelError, WeightsError: the model cannot run.
        EmbedderError: another job runs on this data folder.
        catalog.errors.CatalogError: the library cannot be used.
    """
    if source is None:
        if not library.music:
            raise SourceError("no music folder is set: use --music DIR, or set library.music")
        folders = [Path(folder) for folder in library.music]
        source = Folders(folders, timeout_s=settings.timeout_s)
    data = Path(library.data)
    choice = choose_models(settings, data)
    progress.chosen(choice.reason)
    try:
        with only_job(data), Library.open(data) as opened:
            job = _Job(opened, data, settings, choice, progress)
            return job.run(source, task or Task())
    except OSError as error:
        todo = advice(error, "")
        raise EmbedderError(
            f"cannot work in {data}: {error.strerror or error}{todo and '; ' + todo}"
        ) from error


class _Job:
    def __init__(
        self,
        library: Library,
        data: Path,
        settings: EmbeddingSettings,
        choice: Choice,
        progress: Progress,
    ) -> None:
        self._library = library
        self._data = data
        self._settings = settings
        self._choice = choice
        self._progress = progress
        self._models = [entry.model for entry in choice.entries]
        self._publication = Publication(library, data, progress, keep=settings.keep)
        self._report = RunReport(model=choice.main.name, model_version=choice.main.version)

    def run(self, source: MusicSource, task: Task) -> Outcome:
        started = time.monotonic()
        run_id = self._library.start_run()
        try:
            plan = make_plan(
                self._library,
                source.listings(),
                [*self._models, *Measuring.models],
                full=task.full,
                most_gone=1.0 if task.prune else self._settings.most_gone,
                shard=task.shard,
                away=partial(is_away, timeout_s=self._settings.timeout_s),
            )
            todo = plan.todo if task.limit is None else plan.todo[: task.limit]
            self._report = replace(
                self._report,
                unchanged=plan.unchanged,
                skipped=plan.known_failures + len(plan.denied),
            )
            for (root_id, path), (reason, why) in plan.denied.items():
                self._library.record_failure(root_id, FileFacts(path, 0, 0), reason, why)
            self._library.note_shard("" if task.shard.whole else str(task.shard))
            self._progress.planned(plan.files, len(todo))
            stop = threading.Event()
            with _stop_on_signals(stop):
                if todo:
                    self._listen(source, plan, todo, stop)
                broken_off = stop.is_set()
                complete = not broken_off and len(todo) == len(plan.todo)
                self._library.forget_set_aside()
                if complete:
                    forgotten = plan.settle_missing(
                        self._library,
                        prune=task.prune,
                        prune_unlisted=task.prune and task.all_listed,
                    )
                    self._report = replace(self._report, forgotten=forgotten)
                self._report = replace(self._report, gone=len(self._library.missing()))
                version = ""
                self._library.sync()  # what is published must not outlive what it was made of
                if task.shard.whole:
                    version = self._publication.settle(
                        self._models,
                        complete=complete,
                        partial=task.partial,
                        left=plan.unlisted if task.all_listed else (),
                    )
        except BaseException as error:
            self._finish(run_id, started, error=str(error) or type(error).__name__)
            raise
        self._finish(run_id, started, error="interrupted" if broken_off else "")
        # Also where the wish came while it published: whoever runs it again and again has to stop.
        return Outcome(
            self._report,
            self._choice.reason,
            version,
            stop.is_set(),
            self._unlisted(plan) if task.all_listed else {},
            self._publication.waiting,
        )

    def _unlisted(self, plan: Plan) -> dict[str, int]:
        roots = self._library.roots()
        counts = {roots[one]: len(self._library.files(one)) for one in plan.unlisted}
        return {folder: count for folder, count in counts.items() if count}

    def _listen(
        self,
        source: MusicSource,
        plan: Plan,
        todo: Sequence[tuple[int, FileFacts]],
        stop: threading.Event,
    ) -> None:
        listening = Listening(
            self._library, source, plan, self._load(), self._settings, self._progress, self._report
        )
        try:
            listening.hear(todo, stop)
        finally:
            self._report = listening.report

    def _load(self) -> list[Loaded]:
        loaded = load_chosen(self._choice, self._settings, self._data)
        mains = [one for one in self._choice.entries if not one.within]
        return [
            Loaded(
                frozenset(
                    one.model
                    for one in self._choice.entries
                    if one is main or one.within == main.name
                ),
                analyser,
            )
            for main, analyser in zip(mains, loaded, strict=True)
        ] + [Loaded(Measuring.models, Measuring())]

    def _finish(self, run_id: int, started: float, error: str) -> None:
        seconds = round(time.monotonic() - started, 3)
        self._report = replace(self._report, seconds=seconds, error=error)
        self._library.finish_run(run_id, self._report)


@contextmanager
def _stop_on_signals(stop: threading.Event) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) sets the event; a second one acts as it always does.

    A handler instead of the exception: a track being stored is stored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[signal.Signals, Any] = {}

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.getsignal(number)
        signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
