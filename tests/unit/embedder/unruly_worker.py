"""A worker whose disk and decoder misbehave where a file's name says so. Run as the real one is."""

import errno
import os
import time
from pathlib import Path

from embedder import worker


class UnrulySource(worker._WatchedSource):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._name = path.name

    def read_at(self, offset: int, size: int) -> bytes:
        if "crash" in self._name:
            os.abort()
        if "hang" in self._name:
            time.sleep(60)
        for name in ("EIO", "ENOTCONN", "ESTALE", "ETIMEDOUT"):
            if name in self._name:
                self.failure = OSError(getattr(errno, name), os.strerror(getattr(errno, name)))
                raise self.failure
        return super().read_at(offset, size)


if __name__ == "__main__":
    worker._WatchedSource = UnrulySource  # type: ignore[misc]
    worker.main()
