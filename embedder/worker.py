"""A process that reads and decodes files, so that a file that kills its decoder kills only this.

`python -m embedder.worker FD` speaks over a socket with `embedder.workers`: a JSON message at a
time, sounds as raw float32 behind theirs. Nothing is unpickled: whoever took the decoder over must
not get further through what it says.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from embedder.decoding import AudioFile
from embedder.errors import UNREADABLE, DecodingError
from embedder.facts import measure
from embedder.reading import LocalSource, Source
from embedder.strategy import Strategy
from embedder.tagging import read_tags

#: No sound needs more; a header that claims terabytes must not wake the system's killer.
_MOST_MEMORY_BYTES: Final = 4 * 2**30

#: Told while reading goes on, so that a slow mount is not taken for a hung one.
_ALIVE_EVERY_S: Final = 1.0


class _WatchedSource(LocalSource):
    """Counts what is read, and remembers why a read failed, whatever the decoder makes of it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.failure: OSError | None = None
        self.bytes_read = self.reads = 0

    def read_at(self, offset: int, size: int) -> bytes:
        """As in `Source`."""
        try:
            content = super().read_at(offset, size)
        except OSError as error:
            self.failure = error
            raise
        self.bytes_read += len(content)
        self.reads += 1
        return content


class _AskedSource:
    """A file that the job has a way to and this process has not: its bytes are asked for.

    So the process that decodes what anybody may have made knows no login, and calls no server.
    """

    def __init__(self, worker: Worker, size_bytes: int) -> None:
        self._worker = worker
        self.size_bytes = size_bytes
        self.failure: OSError | None = None
        self.bytes_read = self.reads = 0

    def read_at(self, offset: int, size: int) -> bytes:
        """As in `Source`."""
        try:
            content = self._worker.ask_for(offset, size)
        except OSError as error:
            self.failure = error
            raise
        self.bytes_read += len(content)
        self.reads += 1
        return content

    def close(self) -> None:
        """As in `Source`."""


class Worker:
    """Serves one connection until its other end is closed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._strategy = Strategy()
        self._told_s = 0.0
        #: The file at hand.
        self._source: _WatchedSource | _AskedSource | None = None

    def serve(self) -> None:
        """Answer requests; a closed connection is the end."""
        try:
            self._say(kind="ready")
            while True:
                wish = self._hear()
                self._answer(Path(wish["path"]), wish["size_bytes"], wish["likely_known"])
        except (EOFError, OSError):
            return

    def ask_for(self, offset: int, size: int) -> bytes:
        """Bytes of a file that the job opened."""
        self._say(kind="read", offset=offset, size=size)
        answer = self._hear()
        if answer["errno"]:
            raise OSError(answer["errno"], answer["strerror"])
        return self._connection.recv_bytes()

    def _answer(self, path: Path, size_bytes: int | None, likely_known: bool) -> None:
        source = self._source = None
        try:
            asked = None if size_bytes is None else _AskedSource(self, size_bytes)
            source = self._source = asked or _WatchedSource(path)
            self._read(path, source, likely_known)
        except DecodingError as error:
            cause = source.failure if source is not None else None
            self._fail(error, cause)
        except OSError as error:
            ours = source is not None and source.failure is None  # a mount can say it, too
            if ours and isinstance(error, ConnectionError):
                raise
            self._fail(DecodingError(UNREADABLE, error.strerror or str(error)), error)

    def _fail(self, error: DecodingError, cause: OSError | None) -> None:
        self._say(
            kind="failed",
            reason=error.reason,
            detail=error.detail,
            errno=None if cause is None else cause.errno,
            strerror="" if cause is None else cause.strerror or "",
            **self._read_so_far(),
        )

    def _read(self, path: Path, source: Source, likely_known: bool) -> None:
        suffix, size = path.suffix, source.size_bytes
        whole = not likely_known and self._strategy.whole(suffix, size)
        with AudioFile(source, whole=whole, on_read=self._alive) as audio:
            known = audio.recognise()
            tags = read_tags(path, audio.tag_file())
            self._say(
                kind="recognised",
                content_key=known.content_key,
                duration_s=known.duration_s,
                tags=asdict(tags),
                values_per_s=audio.values_per_s,
                **self._read_so_far(),
            )
            wanted = self._hear()
            if not wanted["decode"]:
                return
            excerpts = audio.listen(known).decode(loudness=wanted["measure"])
            self._strategy.learn(
                suffix, size, whole=whole, seconds=audio.file.waited_s, reads=audio.reads
            )
            measured = measure(excerpts) if wanted["measure"] else None
            self._say(
                kind="sound",
                rate_hz=excerpts.rate_hz,
                windows=len(excerpts.windows),
                facts=None if measured is None else measured.facts,
                **self._read_so_far(),
            )
            if measured is not None:
                self._connection.send_bytes(measured.fingerprint.tobytes())
            for window in excerpts.windows:
                self._connection.send_bytes(window.tobytes())

    def _alive(self) -> None:
        now = time.monotonic()
        if now - self._told_s >= _ALIVE_EVERY_S:
            self._told_s = now
            self._say(kind="alive", **self._read_so_far())

    def _read_so_far(self) -> dict[str, int]:
        source = self._source
        if source is None:
            return {"bytes_read": 0, "reads": 0}
        return {"bytes_read": source.bytes_read, "reads": source.reads}

    def _say(self, **message: object) -> None:
        self._connection.send_bytes(json.dumps(message).encode())

    def _hear(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._connection.recv_bytes())
        return message


def main() -> None:
    """Run as a process of its own."""
    # Ctrl-C and a service manager's stop are the job's to handle; we end when it lets go of us.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY_BYTES, _MOST_MEMORY_BYTES))
    Worker(Connection(int(sys.argv[1]))).serve()


if __name__ == "__main__":
    main()
