"""The job: find what is new or changed, hear it, keep it, publish.

Tracks are heard side by side in threads, each with a process of its own that reads and decodes
(`embedder.workers`); FFTs and networks run outside of Python's lock. One thread, the caller's, owns
the library and stores track by track, so a stop at any instant loses at most the tracks in flight.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

import catalog.draft
import catalog.layout
import catalog.matrices
import embedder.derivation
import embedder.families
import embedder.kinds
import embedder.names
import embedder.publish
from catalog.errors import SnapshotError
from catalog.library import Library
from catalog.settings import LibrarySettings
from catalog.snapshot import open_snapshot
from catalog.tracks import FileFacts, Model, RunReport
from embedder.errors import TROUBLE, DecodingError, EmbedderError, SourceError
from embedder.models.analysers import Analyser
from embedder.models.registry import Choice, choose_models, load_chosen
from embedder.plan import Place, Plan, make_plan
from embedder.progress import SILENT, Progress, Result
from embedder.publish import publish
from embedder.settings import EmbeddingSettings
from embedder.workers import Heard, Workers

#: Tracks being heard, waiting, or heard and not yet stored, for each worker. Only those being heard
#: hold audio; the others let the workers go on while a long track is waited for.
_IN_FLIGHT_PER_WORKER: Final = 8

#: One bad sector is a bad sector; so many files that fail to be read in a row are a bad mount.
_MOST_TROUBLES: Final = 3

LOCK_FILE: Final = "embed.lock"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run went. `snapshot` is "" when none was published."""

    report: RunReport
    reason: str
    snapshot: str
    interrupted: bool = False


def embed(
    library: LibrarySettings,
    settings: EmbeddingSettings,
    *,
    limit: int | None = None,
    full: bool = False,
    prune: bool = False,
    progress: Progress = SILENT,
) -> Outcome:
    """Analyse what is new or changed in the music folders, then publish a snapshot.

    At most `limit` files are heard; `full` hears all of them anew; `prune` forgets tracks whose
    files are gone now, instead of after several runs, however many they are. Ctrl-C ends the run
    early: what is finished is kept and published, and the outcome says `interrupted`.

    Raises:
        SourceError: a music folder is missing, empty, or lost most of its tracks.
        ModelError, WeightsError: the model cannot run.
        EmbedderError: another job runs on this data folder.
        catalog.errors.CatalogError: the library cannot be used.
    """
    if library.source != "folder":
        raise EmbedderError(
            f'library.source is "{library.source}", but `segue embed` reads music folders only:'
            ' set it to "folder", and library.music'
        )
    if not library.music:
        raise SourceError("no music folder is set: use --music DIR, or set library.music")
    data = Path(library.data)
    choice = choose_models(settings, data)
    progress.chosen(choice.reason)
    try:
        with _only_job(data), Library.open(data) as opened:
            job = _Job(opened, data, settings, choice, progress)
            return job.run(
                [Path(folder) for folder in library.music], limit=limit, full=full, prune=prune
            )
    except OSError as error:
        raise EmbedderError(f"cannot work in {data}: {error.strerror or error}") from error


@contextmanager
def _only_job(data: Path) -> Iterator[None]:
    """Hold the data folder's lock; the system lets go of it when a job dies."""
    data.mkdir(parents=True, exist_ok=True)
    with (data / LOCK_FILE).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EmbedderError(
                f"another `segue embed` is at work in {data}: let it end"
            ) from error
        yield


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
        self._models: list[Model] = [entry.model for entry in choice.entries]
        self._report = RunReport(model=choice.main.name)
        self._troubles = 0
        #: What is being heard, for files with the same content whose turn comes earlier.
        self._futures: dict[Place, Future[Heard]] = {}

    def run(
        self, folders: Sequence[Path], *, limit: int | None, full: bool, prune: bool
    ) -> Outcome:
        started = time.monotonic()
        run_id = self._library.start_run()
        try:
            plan = make_plan(
                self._library,
                folders,
                self._models,
                full=full,
                most_gone=1.0 if prune else self._settings.most_gone,
            )
            todo = plan.todo if limit is None else plan.todo[:limit]
            self._report = replace(
                self._report, unchanged=plan.unchanged, skipped=plan.known_failures
            )
            self._progress.planned(plan.files, len(todo))
            with _stop_on_signals() as stop:
                if todo:
                    self._hear(plan, todo, stop)
                interrupted = stop.is_set()
                complete = not interrupted and len(todo) == len(plan.todo)
                if complete:
                    plan.settle_missing(self._library, prune=prune)
                version = self._publish(complete)
        except BaseException as error:
            self._finish(run_id, started, error=str(error) or type(error).__name__)
            raise
        self._finish(run_id, started, error="interrupted" if interrupted else "")
        return Outcome(self._report, self._choice.reason, version, interrupted)

    def _finish(self, run_id: int, started: float, error: str) -> None:
        seconds = round(time.monotonic() - started, 3)
        self._report = replace(self._report, seconds=seconds, error=error)
        self._library.finish_run(run_id, self._report)

    def _load(self) -> list[Analyser]:
        return load_chosen(self._choice, self._settings, self._data)

    def _hear(
        self, plan: Plan, todo: Sequence[tuple[int, FileFacts]], stop: threading.Event
    ) -> None:
        """Hear files in the workers and keep each result, until all are done or `stop` is set."""
        analysers = self._load()
        workers = min(self._settings.workers or len(os.sched_getaffinity(0)), len(todo))
        waiting = deque(todo)
        running: deque[tuple[int, FileFacts, Future[Heard]]] = deque()
        self._futures.clear()
        with (
            Workers(self._settings.timeout_s) as processes,
            ThreadPoolExecutor(workers, thread_name_prefix="listen") as pool,
        ):
            try:
                while running or (waiting and not stop.is_set()):
                    while waiting and len(running) < workers * _IN_FLIGHT_PER_WORKER:
                        root_id, file = waiting.popleft()
                        recognise = partial(plan.recognition.recognise, (root_id, file.path))
                        future = pool.submit(
                            processes.listen, plan.folders[root_id], file, analysers, recognise
                        )
                        running.append((root_id, file, future))
                        self._futures[root_id, file.path] = future
                    # In order, so that the same music always gets the same track numbers.
                    self._settle(plan, *running.popleft())
                    if stop.is_set():
                        waiting.clear()
                        running = deque(one for one in running if not one[2].cancel())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _settle(self, plan: Plan, root_id: int, file: FileFacts, future: Future[Heard]) -> None:
        """Keep what became of one file."""
        report = self._report
        place = (root_id, file.path)
        self._futures.pop(place, None)
        twin = None
        try:
            heard = future.result()
            twin = plan.recognition.twins.get(place)
            if twin in self._futures:  # its turn to be stored comes after ours
                heard = replace(heard, analyses=self._futures[twin].result().analyses)
        except DecodingError as error:
            self._library.record_failure(root_id, file, error.reason, error.detail)
            self._check_trouble(error, plan.folders[root_id])
            self._report = replace(report, skipped=report.skipped + 1)
            self._progress.advanced(file.path, "skipped", str(error))
            return
        self._troubles = 0
        track_id = plan.recognition.claims.get(place)
        if track_id is not None:
            self._library.move(track_id, root_id, file, heard.tags)
        result: Result
        original = plan.recognition.copies.get(place)
        if twin is not None and not heard.analyses:
            original = next(
                (one.track_id for one in self._library.by_content(heard.content_key)), None
            )
        if original is not None:
            self._library.copy(original, root_id, file, heard.tags)
            report, result = replace(report, copied=report.copied + 1), "copied"
        elif heard.analyses:
            self._library.store(
                root_id, file, heard.content_key, heard.duration_s, heard.tags, heard.analyses
            )
            if twin is None:
                report, result = replace(report, embedded=report.embedded + 1), "embedded"
            else:
                report, result = replace(report, copied=report.copied + 1), "copied"
        else:
            report, result = replace(report, moved=report.moved + 1), "moved"
        self._report = replace(
            report,
            bytes_read=report.bytes_read + heard.bytes_read,
            reads=report.reads + heard.reads,
        )
        self._progress.advanced(file.path, result, "")

    def _check_trouble(self, error: DecodingError, folder: Path) -> None:
        """Stop where file after file cannot be read: that is no file's fault.

        Raises:
            SourceError: at the third in a row.
        """
        if error.reason not in TROUBLE:
            self._troubles = 0
            return
        self._troubles += 1
        if self._troubles >= _MOST_TROUBLES:
            raise SourceError(
                f"{self._troubles} files in a row below {folder} could not be read"
                f" ({error.detail}): the music folder is in trouble; all finished work is kept and"
                " nothing was forgotten, run again when it is back"
            ) from error

    def _publish(self, complete: bool) -> str:
        """Publish, unless that would replace a whole snapshot by a part of another model's."""
        main = self._models[0]
        heard = len(self._library.analysed(main))
        if not heard or not (complete or self._space_is_ours(main, heard)):
            return ""
        state = f"{self._library.tracks_revision()} {_derivation()} " + " ".join(
            f"{model.name}={model.version}" for model in self._models
        )
        published, _, version = self._library.published().rpartition(" ")
        if published == state and self._is_whole(version):
            return version
        self._progress.publishing(heard)
        version = publish(self._library, self._data, self._models)
        self._library.note_published(f"{state} {version}")
        return version

    def _is_whole(self, version: str) -> bool:
        """Whether this very snapshot is the published one, and can be opened."""
        try:
            snapshot = open_snapshot(self._data)
        except SnapshotError:
            return False
        return snapshot is not None and snapshot.version == version

    def _space_is_ours(self, main: Model, heard: int) -> bool:
        """Whether what is published came from this model, or holds no more than we have."""
        try:
            snapshot = open_snapshot(self._data)
        except SnapshotError:
            return True  # it cannot be read anyway
        if snapshot is None:
            return True
        theirs = snapshot.model
        return (theirs.name, theirs.version) == (main.name, main.version) or snapshot.n <= heard


@cache
def _derivation() -> str:
    """Names the code that derives a snapshot: other code may make another of the same library."""
    digest = hashlib.blake2b(digest_size=8)
    for module in (
        catalog.draft,
        catalog.layout,
        catalog.matrices,
        embedder.derivation,
        embedder.families,
        embedder.kinds,
        embedder.names,
        embedder.publish,
    ):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C (or SIGTERM) sets; a second one acts as it always does.

    A handler instead of the exception: a track being stored is stored.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before: dict[signal.Signals, Any] = {}

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.getsignal(number)
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
