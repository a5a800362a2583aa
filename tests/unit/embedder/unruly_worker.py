"""A worker whose disk and decoder misbehave where a file's name says so. Run as the real one is."""

import errno
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import ClassVar

from embedder import worker

_ERRORS = (
    "EIO", "EREMOTEIO", "ENOTCONN", "ESTALE", "ETIMEDOUT", "EACCES", "ENOLINK", "ECONNREFUSED",
    "ECONNRESET",
)  # fmt: skip


class UnrulyWorker(worker.Worker):
    """Lets a source say that it lives."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        UnrulySource.worker = self

    def say_alive(self) -> None:
        self._say(kind="alive")


class UnrulySource(worker._WatchedSource):
    worker: ClassVar[UnrulyWorker]

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._name = path.name
        if "closed" in self._name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def read_at(self, offset: int, size: int) -> bytes:
        if "crash" in self._name:
            os.abort()
        if "hang" in self._name:
            time.sleep(60)
        while "endless" in self._name:
            time.sleep(0.2)
            self.worker.say_alive()
        for name in _ERRORS:
            if name in self._name:
                self.failure = OSError(getattr(errno, name), os.strerror(getattr(errno, name)))
                raise self.failure
        return super().read_at(offset, size)


if __name__ == "__main__":
    worker._WatchedSource = UnrulySource  # type: ignore[misc]
    worker.Worker = UnrulyWorker  # type: ignore[misc]
    worker.main()
