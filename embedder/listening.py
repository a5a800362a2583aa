"""Hearing files: several at once in the workers, each kept in its turn by the job's own thread."""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from catalog.library import Library
from catalog.tracks import FileFacts, Model, RunReport
from embedder.errors import TROUBLE, UNREADABLE, DecodingError, SourceError
from embedder.models.analysers import Analyser
from embedder.plan import Place, Plan
from embedder.progress import Forecast, Progress, Result
from embedder.settings import EmbeddingSettings
from embedder.source import MusicSource
from embedder.workers import Heard, Workers

#: Tracks being heard, waiting, or heard and not yet stored, for each worker. Only those being heard
#: hold audio; the others let the workers go on while a long track is waited for.
_IN_FLIGHT_PER_WORKER: Final = 8

#: A power cut loses what was stored in this time.
_SYNC_EVERY_S: Final = 5.0

#: One bad sector is a bad sector; so many files that fail to be read in a row are a bad mount.
_MOST_TROUBLES: Final = 3

#: A file that cannot be opened may be the only one: so many others are tried, but not more often.
_OTHERS_TRIED: Final = 8
_TRY_OTHERS_EVERY_S: Final = 1.0

#: After a wish to stop the files in hand have so long; what is not finished then is not stored.
_MOST_STOPPING_S: Final = 10.0
#: How soon a wish to stop is seen while a long file is waited for.
_LOOK_EVERY_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Loaded:
    """A loaded model, and all models whose results it gives."""

    models: frozenset[Model]
    analyser: Analyser


class Listening:
    """One run's hearing. `report` counts what came of it, also when it was broken off."""

    def __init__(
        self,
        library: Library,
        source: MusicSource,
        plan: Plan,
        loaded: Sequence[Loaded],
        settings: EmbeddingSettings,
        progress: Progress,
        report: RunReport,
    ) -> None:
        self._library = library
        self._source = source
        self._plan = plan
        self._loaded = loaded
        self._settings = settings
        self._progress = progress
        self.report = report
        self._troubles = 0
        #: Of each folder a file that could not be opened since others were tried.
        self._suspects: dict[int, tuple[FileFacts, DecodingError]] = {}
        self._tried_s = -_TRY_OTHERS_EVERY_S
        self._stop = threading.Event()
        #: What is being heard, for files with the same content whose turn comes earlier.
        self._futures: dict[Place, Future[Heard]] = {}

    def hear(self, todo: Sequence[tuple[int, FileFacts]], stop: threading.Event) -> None:
        """Hear files in the workers and keep each result, until all are done or `stop` is set.

        Raises:
            SourceError: file after file cannot be read, or the mount went away.
            catalog.errors.LibraryError: the library cannot be written.
        """
        self._stop = stop
        workers = min(self._settings.workers or len(os.sched_getaffinity(0)), len(todo))
        forecast = Forecast(file for _, file in todo)
        waiting = deque(todo)
        running: deque[tuple[int, FileFacts, Future[Heard]]] = deque()
        stopped_s: float | None = None
        synced_s = time.monotonic()
        with (
            Workers(self._settings.timeout_s) as processes,
            ThreadPoolExecutor(workers, thread_name_prefix="listen") as pool,
        ):
            try:
                while running or (waiting and not stop.is_set()):
                    if stop.is_set() and stopped_s is None:
                        stopped_s = time.monotonic()
                        waiting.clear()
                        running = deque(one for one in running if not one[2].cancel())
                        self._progress.stopping(len(running))
                        continue
                    if stopped_s is not None and time.monotonic() - stopped_s > _MOST_STOPPING_S:
                        processes.kill()
                        break
                    while waiting and len(running) < workers * _IN_FLIGHT_PER_WORKER:
                        root_id, file = waiting.popleft()
                        future = pool.submit(self._hear_one, processes, root_id, file)
                        running.append((root_id, file, future))
                        self._futures[root_id, file.path] = future
                    if not wait([running[0][2]], _LOOK_EVERY_S).done:
                        continue
                    # In order, so that the same music always gets the same track numbers.
                    self._settle(forecast, *running.popleft())
                    if time.monotonic() - synced_s >= _SYNC_EVERY_S:
                        self._library.sync()
                        synced_s = time.monotonic()
                self._try_others()
            except BaseException as error:
                pool.shutdown(wait=False, cancel_futures=True)
                if not isinstance(error, Exception):  # who asks again wants the end at once
                    processes.kill()
                raise

    def _hear_one(self, processes: Workers, root_id: int, file: FileFacts) -> Heard:
        """In a thread of the pool."""
        folder = self._plan.folders[root_id]
        choose = partial(self._choose, (root_id, file.path))
        source = self._source.open(folder, file)
        try:
            likely = self._plan.recognition.likely((root_id, file.path), file)
            return processes.listen(folder, file, choose, source, likely_known=likely)
        finally:
            if source is not None:
                source.close()

    def _choose(self, place: Place, content_key: str) -> list[Analyser]:
        """The models that must hear a file with this content: none, some or all."""
        recognition = self._plan.recognition
        while True:
            wanted = recognition.recognise(place, content_key)
            if wanted or place in recognition.claims or place in recognition.copies:
                break
            # What is alike in its middle may be broken elsewhere: only one that was heard to its
            # end stands for its twins. It is being heard by now, so waiting for it ends.
            first = recognition.twins.get(place)
            hearing = None if first is None else self._futures.get(first)
            if hearing is not None and first is not None and hearing.exception() is not None:
                recognition.give_up(first)
            elif first is not None and recognition.twins.get(place) == first:
                break
        return [one.analyser for one in self._loaded if one.models & wanted]

    def _settle(
        self, forecast: Forecast, root_id: int, file: FileFacts, future: Future[Heard]
    ) -> None:
        """Keep what became of one file."""
        try:
            result, duration_s, detail = self._keep(root_id, file, future)
        except DecodingError as error:
            self._plan.recognition.give_up((root_id, file.path))
            if error.reason == UNREADABLE:
                self._suspects[root_id] = (file, error)
                if time.monotonic() - self._tried_s >= _TRY_OTHERS_EVERY_S:
                    self._try_others()
            self._library.record_failure(root_id, file, error.reason, error.detail)
            self._check_trouble(error, self._plan.folders[root_id])
            # What failed may be its twin's hearing, which counts for itself.
            read = error if future.exception() is not None else future.result()
            self.report = replace(
                self.report,
                skipped=self.report.skipped + 1,
                bytes_read=self.report.bytes_read + read.bytes_read,
                reads=self.report.reads + read.reads,
            )
            result, duration_s, detail = "skipped", 0.0, str(error)
        self._futures.pop((root_id, file.path), None)
        self._progress.advanced(file.path, result, detail)
        self._progress.standing(forecast.advance(file, duration_s, failed=result == "skipped"))

    def _keep(
        self, root_id: int, file: FileFacts, future: Future[Heard]
    ) -> tuple[Result, float, str]:
        """Store a file's results; what it was, and how long it plays.

        Raises:
            DecodingError: it gives none.
        """
        recognition = self._plan.recognition
        report = self.report
        place = (root_id, file.path)
        heard = future.result()
        twin = recognition.twins.get(place)
        if twin in self._futures:  # its turn to be stored comes after ours
            heard = replace(heard, analyses=self._futures[twin].result().analyses)
        self._troubles = 0
        track_id = recognition.claims.get(place)
        before = recognition.known.get(place)
        if before is not None and before.content_key != heard.content_key:
            # A file whose turn comes later may be what this one was.
            self._library.set_aside(root_id, file.path)
        if track_id is not None:
            self._library.move(track_id, root_id, file, heard.tags)
        result: Result
        if place in recognition.copies or (twin is not None and not heard.analyses):
            self._library.copy(heard.content_key, root_id, file, heard.tags)
            if place in recognition.shifted:
                report, result = replace(report, moved=report.moved + 1), "moved"
            else:
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
        self.report = replace(
            report,
            bytes_read=report.bytes_read + heard.bytes_read,
            reads=report.reads + heard.reads,
            audio_s=round(report.audio_s + heard.duration_s, 3),
        )
        return result, heard.duration_s, ""

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

    def _try_others(self) -> None:
        """Stop where not only the file that could not be opened cannot be: what could be, is gone.

        Raises:
            SourceError: its folder is not there, empty, silent, or none of its files can be read.
        """
        while self._suspects and not self._stop.is_set():
            root_id, (file, error) = self._suspects.popitem()
            folder = self._plan.folders[root_id]
            why = self._source.trouble(folder, self._others(root_id, file.path), self._stop)
            if why:
                raise SourceError(
                    f"{folder} cannot be read any more: {why}, after {file.path} ({error.detail});"
                    " all finished work is kept and nothing was forgotten, run again when it is"
                    " back"
                ) from error
            self._tried_s = time.monotonic()

    def _others(self, root_id: int, path: str) -> list[str]:
        """Files to be tried: half of them later ones, which no cache has from this run."""
        paths = sorted(self._plan.present[root_id])
        half = _OTHERS_TRIED // 2
        chosen: dict[str, None] = {}
        for some in (paths[bisect(paths, path) :], paths):
            chosen |= dict.fromkeys(some[i * len(some) // half] for i in range(half) if some)
        chosen.pop(path, None)
        return list(chosen)
