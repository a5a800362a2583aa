"""The job over large libraries: bytes and round trips, a slow mount, reruns, publishing.

python -m bench.library [reading] [rerun] [publishing]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from embedder.decoding import AudioFile
from embedder.strategy import Strategy
from embedder.tagging import read_tags

Rows = Sequence[Mapping[str, object]]

_MIB = 2**20
#: Format, encoder options, and how many files of it the mount is tried with.
FORMATS = (
    (".flac", {}),
    (".mp3", {"bit_rate": 192_000}),
    (".m4a", {"bit_rate": 192_000}),
    (".opus", {"bit_rate": 128_000}),
    (".ogg", {}),
)
FILES_ON_MOUNT = 40


class BlobMount:
    """A mount that fetches blocks of 1 MiB: 30 ms a request, 10 MB/s; a clock instead of waiting.

    Neighbouring blocks come in one request, and what was fetched stays with the mount.
    """

    request_s = 0.030
    bytes_per_s = 10e6
    block_bytes = _MIB

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._there: set[int] = set()
        self.size_bytes = len(content)
        self.now_s = 0.0

    def read_at(self, offset: int, size: int) -> bytes:
        """As `embedder.reading.Source`."""
        last = (min(offset + size, self.size_bytes) - 1) // self.block_bytes
        before = -1
        for block in range(offset // self.block_bytes, last + 1):
            if block in self._there:
                continue
            self._there.add(block)
            if block != before + 1 or before < 0:
                self.now_s += self.request_s
            before = block
            start = block * self.block_bytes
            self.now_s += min(self.block_bytes, self.size_bytes - start) / self.bytes_per_s
        return self._content[offset : offset + size]

    def close(self) -> None:
        """Nothing."""


def reading(folder: Path) -> Rows:
    """Bytes, reads and time of 4-minute files, and `auto` beside the better of two ways."""
    from tests.unit.embedder.sounds import rate_of, write
    from tests.unit.embedder.test_decoding import noisy_music

    rows: list[Mapping[str, object]] = []
    for suffix, options in FORMATS:
        rate = rate_of(suffix)
        path = folder / f"song{suffix}"
        write(path, noisy_music(240, rate).clip(-1, 1), rate, **options)  # type: ignore[arg-type]
        with AudioFile(path) as audio:
            audio.fetch()
            read_tags(path, audio.tag_file())
            share, reads = audio.bytes_read / path.stat().st_size, audio.reads
        content = path.read_bytes()
        seek_s, whole_s = (_on_mount(content, whole)[0] for whole in (False, True))
        strategy, total_s = Strategy(), 0.0
        for _ in range(FILES_ON_MOUNT):
            whole = strategy.whole(suffix, len(content))
            seconds, count = _on_mount(content, whole)
            strategy.learn(suffix, len(content), whole=whole, seconds=seconds, reads=count)
            total_s += seconds
        best_s = min(seek_s, whole_s) * FILES_ON_MOUNT
        rows.append(
            {
                "4 minutes of": f"{suffix} {len(content) / 1e6:.1f} MB",
                "of the bytes": f"{share:.2f}",
                "reads": reads,
                "blob mount: seek s": round(seek_s, 2),
                "whole s": round(whole_s, 2),
                f"auto, {FILES_ON_MOUNT} files, of the better": f"{total_s / best_s:.2f}",
            }
        )
    return rows


def _on_mount(content: bytes, whole: bool) -> tuple[float, int]:
    mount = BlobMount(content)
    with AudioFile(mount, whole=whole, clock=lambda: mount.now_s) as audio:
        audio.fetch()
        return audio.file.waited_s, audio.reads


PARTS: Mapping[str, Callable[[Path], Rows]] = {"reading": reading}


def run(parts: Sequence[str] = tuple(PARTS)) -> Rows:
    """All rows of the parts that are named."""
    rows: list[Mapping[str, object]] = []
    for part in parts:
        np.random.seed(0)
        with tempfile.TemporaryDirectory() as folder:
            rows += PARTS[part](Path(folder))
    return rows


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=list(PARTS))
    for row in run(parser.parse_args().parts):
        print("  ".join(f"{key}: {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
