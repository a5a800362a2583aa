"""The processes that read and decode, seen from the job: one for each thread that hears files.

A worker that dies or hangs is replaced, and costs only the file it was at. Analysis stays in the
job's own threads: torch alone is 480 MB, which each worker would need again.
"""

from __future__ import annotations

import errno
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from catalog.tracks import Analysis, FileFacts, Tags
from embedder.errors import (
    CANNOT_ANALYSE,
    CRASHED,
    READ_ERROR,
    REASONS,
    TIMED_OUT,
    UNREADABLE,
    DecodingError,
    EmbedderError,
    SourceError,
)
from embedder.excerpts import Excerpts, Measured
from embedder.facts import Measuring
from embedder.models.analysers import Analyser, hear
from embedder.processes import command, environment, sheltered
from embedder.reading import Source

#: What a worker is started with; its socket's number follows.
COMMAND: Final[list[str]] = command("embedder.worker")

#: What the system says when not the file but the whole mount is gone.
_LOST_MOUNT: Final = frozenset(
    {
        errno.ENOTCONN,
        errno.ESTALE,
        errno.ENODEV,
        errno.ENXIO,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ETIMEDOUT,
        errno.ECONNRESET,
        errno.ECONNABORTED,
    }
)

#: Files of more samples a second, over all channels, are decoded one at a time (48 kHz in stereo is
#: half of it): 192 kHz or 5.1 take 200 MB.
_MOST_VALUES_PER_S: Final = 192_000

_START_S: Final = 60.0
_END_S: Final = 2.0

#: Processes that hang in the kernel, each with its memory. A job that looks again and again
#: (`--watch`) starts no more while there are too many.
_MOST_LEFT_BEHIND: Final = 8
_left_behind: list[subprocess.Popen[bytes]] = []

#: A file may take so many times as long as it may be silent: some go on for ever.
_MOST_TIMES: Final = 10


@dataclass(frozen=True, slots=True)
class Heard:
    """A file that was read. `analyses` is empty when its content was recognised."""

    content_key: str
    duration_s: float
    tags: Tags
    analyses: tuple[Analysis, ...]
    bytes_read: int
    reads: int


class _DiedError(Exception):
    """A worker ended; `how` says of what."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class _Process:
    """One worker and our end of its socket."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        #: Where the bytes of the file at hand come from, when the worker cannot open it.
        self.source: Source | None = None
        #: What it has read of that file, as far as it told.
        self.bytes_read = self.reads = 0
        self._connection, theirs = Pipe()
        with theirs, sheltered():
            self._process = subprocess.Popen(
                [*COMMAND, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment(),
            )
        try:
            self.hear(_START_S)
        except (_DiedError, TimeoutError) as error:
            self.end()
            raise EmbedderError(
                f"a decoding process does not start ({error}): try"
                f" `{sys.executable} -m embedder.worker`"
            ) from error

    def say(self, **message: object) -> None:
        try:
            self._connection.send_bytes(json.dumps(message).encode())
        except OSError as error:
            raise _DiedError(self._how()) from error

    def hear(self, timeout_s: float | None = None) -> dict[str, Any]:
        """The next message that is more than a sign of life, or a wish for bytes."""
        most_s = _MOST_TIMES * self._timeout_s
        end_s = time.monotonic() + most_s
        while True:
            if time.monotonic() > end_s:
                raise TimeoutError(f"it was not done after {most_s:g} s")
            message: dict[str, Any] = json.loads(self.hear_bytes(timeout_s))
            if "bytes_read" in message:
                self.bytes_read, self.reads = message["bytes_read"], message["reads"]
            if message["kind"] == "read":
                self._read(int(message["offset"]), int(message["size"]))
            elif message["kind"] != "alive":
                return message

    def _read(self, offset: int, size: int) -> None:
        """Fetch bytes for the worker, which has no way to where they are."""
        if self.source is None:
            raise _DiedError("it asked for bytes of a file that it can open")
        try:
            content = self.source.read_at(offset, size)
        except OSError as error:
            self.say(errno=error.errno or errno.EIO, strerror=error.strerror or str(error))
            return
        self.say(errno=0, strerror="")
        try:
            self._connection.send_bytes(content)
        except OSError as error:
            raise _DiedError(self._how()) from error

    def hear_bytes(self, timeout_s: float | None = None) -> bytes:
        try:
            if not self._connection.poll(timeout_s or self._timeout_s):
                raise TimeoutError(f"nothing was read or decoded for {self._timeout_s:g} s")
            return self._connection.recv_bytes()
        except TimeoutError:
            raise
        except (EOFError, OSError) as error:
            raise _DiedError(self._how()) from error

    def _how(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(_END_S)
            if code < 0:
                return f"its decoder died of {signal.Signals(-code).name}"
            return f"its decoder ended with status {code}"
        return "its decoder closed the connection"

    def kill(self) -> None:
        """End it whatever it is at; who waits for it sees it die."""
        self._process.kill()

    def let_go(self) -> None:
        """Close our end of the socket, at which it ends by itself."""
        self._connection.close()

    def end(self) -> None:
        """Let it end by itself, or else end it; one that hangs in the kernel is left behind."""
        self.let_go()
        try:
            self._process.wait(0.2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                _left_behind.append(self._process)


class Workers:
    """A pool of workers, started as they are needed. Use as a context manager."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        self._all: set[_Process] = set()
        self._lock = threading.Lock()
        self._heavy = threading.Lock()
        self._killed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            processes, self._all = self._all, set()
        for process in processes:
            process.let_go()
        for process in processes:  # they have been ending side by side
            process.end()

    def kill(self) -> None:
        """End all workers at once, and start none again: what they are at is lost."""
        with self._lock:
            self._killed = True
            for process in self._all:
                process.kill()

    def listen(
        self,
        root: Path,
        file: FileFacts,
        choose: Callable[[str], Sequence[Analyser]],
        source: Source | None = None,
        *,
        likely_known: bool = False,
    ) -> Heard:
        """Read a file and let the models hear it that `choose(content_key)` names, maybe none.

        Its bytes come from `source` where there is one, else the worker opens it. `likely_known`:
        its middle may be all that is wanted, so it is not read in one go. Called from
        several threads. A worker that dies is given one more try, in case it was killed from
        outside.

        Raises:
            DecodingError: the file gives no audio, or its decoder crashed or hung.
            SourceError: the mount below it went away.
        """
        bytes_read = reads = 0
        for last in (False, True):
            process = self._take()
            try:
                heard = self._ask(process, root / file.path, choose, source, likely_known)
            except (_DiedError, TimeoutError, DecodingError) as error:
                bytes_read, reads = bytes_read + process.bytes_read, reads + process.reads
                if isinstance(error, DecodingError):
                    self._idle.put(process)
                else:
                    self._discard(process)
                    if isinstance(error, _DiedError) and not (last or self._killed):
                        continue
                failure = _failure(error)
                failure.bytes_read, failure.reads = bytes_read, reads
                raise failure from error.__cause__ if failure is error else error
            except BaseException:
                self._discard(process)
                raise
            self._idle.put(process)
            return replace(
                heard, bytes_read=heard.bytes_read + bytes_read, reads=heard.reads + reads
            )
        raise AssertionError("unreachable")

    def _ask(
        self,
        process: _Process,
        path: Path,
        choose: Callable[[str], Sequence[Analyser]],
        source: Source | None,
        likely_known: bool,
    ) -> Heard:
        process.source = source
        process.bytes_read = process.reads = 0
        process.say(
            path=str(path),
            size_bytes=None if source is None else source.size_bytes,
            likely_known=likely_known,
        )
        known = process.hear()
        if known["kind"] == "failed":
            raise _explain(path, known)
        analysers = choose(known["content_key"])
        wanted = any(isinstance(one, Measuring) for one in analysers)
        heavy = bool(analysers) and known["values_per_s"] > _MOST_VALUES_PER_S
        with self._heavy if heavy else nullcontext():
            process.say(decode=bool(analysers), measure=wanted)
            analyses: tuple[Analysis, ...] = ()
            if analysers:
                analyses = self._analysed(process, path, known["duration_s"], analysers)
        tags = {**known["tags"], "genres": tuple(known["tags"]["genres"])}
        return Heard(
            known["content_key"],
            known["duration_s"],
            Tags(**tags),
            analyses,
            process.bytes_read,
            process.reads,
        )

    def _analysed(
        self, process: _Process, path: Path, duration_s: float, analysers: Sequence[Analyser]
    ) -> tuple[Analysis, ...]:
        """What the models say of the sound that a worker decoded."""
        answer = process.hear()
        if answer["kind"] == "failed":
            raise _explain(path, answer)
        measured = None
        if answer["facts"] is not None:
            print_ = np.frombuffer(process.hear_bytes(), np.float32)
            measured = Measured(tuple(answer["facts"]), print_)
        windows = tuple(
            np.frombuffer(process.hear_bytes(), np.float32) for _ in range(answer["windows"])
        )
        excerpts = Excerpts(answer["rate_hz"], duration_s, windows, measured=measured)
        try:
            return hear(analysers, excerpts)
        except DecodingError:
            raise
        except Exception as error:  # one file's sound must not end the others' run
            what = f"{type(error).__name__}: {error}"
            raise DecodingError(CANNOT_ANALYSE, what) from error

    def _take(self) -> _Process:
        with suppress(queue.Empty):
            return self._idle.get_nowait()
        hanging = sum(one.poll() is None for one in _left_behind)
        if hanging >= _MOST_LEFT_BEHIND:
            raise SourceError(
                f"{hanging} decoding processes hang at files of the music folder, and"
                " nothing ends them: it is in trouble; all finished work is kept and nothing was"
                " forgotten, run again when it is back"
            )
        process = _Process(self._timeout_s)
        with self._lock:
            self._all.add(process)
            if self._killed:
                process.kill()
        return process

    def _discard(self, process: _Process) -> None:
        with self._lock:
            self._all.discard(process)
        process.end()


def _failure(error: _DiedError | TimeoutError | DecodingError) -> DecodingError:
    """What a file is listed with."""
    if isinstance(error, DecodingError):
        return error
    if isinstance(error, _DiedError):
        return DecodingError(CRASHED, error.how)
    return DecodingError(TIMED_OUT, str(error))


def _explain(path: Path, failed: dict[str, Any]) -> Exception:
    """The exception that a worker's "failed" stands for."""
    number = failed["errno"]
    if number in _LOST_MOUNT:
        return SourceError(
            f"{path} cannot be read ({failed['strerror']}): the music folder is in trouble; all"
            " finished work is kept and nothing was forgotten, run again when it is back"
        )
    if number in {errno.EIO, errno.EREMOTEIO}:
        return DecodingError(READ_ERROR, failed["strerror"])
    if number is not None:  # whatever the decoder made of what it got, the file is not to blame
        return DecodingError(UNREADABLE, failed["strerror"])
    reason = failed["reason"] if failed["reason"] in REASONS else CRASHED
    return DecodingError(reason, failed["detail"])
