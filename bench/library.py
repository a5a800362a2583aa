"""The job over large libraries: bytes and round trips, a slow mount, reruns, publishing.

python -m bench.library [reading] [rerun] [publishing]
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from catalog.library import FILE_NAME, Library
from catalog.settings import LibrarySettings
from catalog.tracks import Analysis, FileFacts, Tags
from embedder.decoding import AudioFile
from embedder.job import embed
from embedder.models.registry import TIMBRE
from embedder.settings import EmbeddingSettings
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
RERUN_TRACKS = 100_000
PUBLISHED_TRACKS = (10_000, 100_000, 500_000)


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


def rerun(folder: Path) -> Rows:
    """A run over 100,000 files of which none changed, on a local disk."""
    music, data = folder / "music", folder / "data"
    fill(data, music, RERUN_TRACKS, touch=True)
    library = LibrarySettings(music=(str(music),), data=str(data))
    settings = EmbeddingSettings(model=TIMBRE.name)
    started = time.monotonic()
    first = embed(library, settings).report
    published_s = time.monotonic() - started
    started = time.monotonic()
    again = embed(library, settings).report
    seconds = time.monotonic() - started
    assert again.unchanged == first.unchanged == RERUN_TRACKS
    return [
        {
            "unchanged files": RERUN_TRACKS,
            "with publishing s": round(published_s, 1),
            "rerun s": round(seconds, 1),
            "goal s": 10,
        }
    ]


_PUBLISH = """
import resource, sys, time
from pathlib import Path
from catalog.library import Library
from embedder.models.registry import TIMBRE
from embedder.publish import publish
data = Path(sys.argv[1])
started = time.monotonic()
with Library.open(data) as library:
    one = publish(library, data, [TIMBRE.model])
seconds = time.monotonic() - started
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, one)
"""


def publishing(folder: Path) -> Rows:
    """What publishing costs, each size in a process of its own; twice, to see the same version."""
    rows: list[Mapping[str, object]] = []
    for count in PUBLISHED_TRACKS:
        data = folder / str(count)
        fill(data, folder / "music", count, touch=False)
        runs = [
            subprocess.run(
                [sys.executable, "-c", _PUBLISH, str(data)],
                capture_output=True,
                check=True,
                text=True,
            ).stdout.split()
            for _ in range(2)
        ]
        rows.append(
            {
                "published tracks": count,
                "seconds": round(float(runs[0][0]), 1),
                "peak resident MB": round(float(runs[0][1])),
                "the same again": runs[0][2] == runs[1][2],
            }
        )
    return rows


def fill(data: Path, music: Path, count: int, *, touch: bool) -> None:
    """A library of synthetic tracks, twelve an album, with vectors of the model `timbre`.

    `touch` makes the files too, empty but for what `stat` says.
    """
    random = np.random.default_rng(0)
    paths = [f"Artist {i // 120}/Album {i // 12}/{i % 12 + 1:02}.mp3" for i in range(count)]
    facts: list[tuple[int, int]] = []
    for path in paths:
        if touch:
            file = music / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"x")
            facts.append((1, file.stat().st_mtime_ns))
        else:
            facts.append((1, 1))
    music.mkdir(exist_ok=True)
    with Library.open(data) as library:
        root = library.root_id(music.resolve())
        first = FileFacts(paths[0], *facts[0])
        vector = random.standard_normal(TIMBRE.dim).astype(np.float32)
        library.store(root, first, "k0", 200.0, Tags("1"), [Analysis(TIMBRE.model, vector)])
    with closing(sqlite3.connect(data / FILE_NAME)) as database, database:
        database.executemany(
            "INSERT INTO tracks (track_id, root_id, path, size_bytes, mtime_ns, content_key,"
            " duration_s, title, artist, album, album_artist, genres, musicbrainz_recording_id)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', '[]', '')",
            (
                (i + 1, root, os.fsencode(paths[i]), *facts[i], f"k{i}", 120.0 + i % 240,
                 f"Title {i}", f"Artist {i // 120}", f"Album {i // 12}")
                for i in range(1, count)
            ),
        )  # fmt: skip
        database.executemany(
            "INSERT INTO vectors SELECT model_id, ?, ? FROM models",
            (
                (i + 1, random.standard_normal(TIMBRE.dim).astype("<f4").tobytes())
                for i in range(1, count)
            ),
        )


PARTS: Mapping[str, Callable[[Path], Rows]] = {
    "reading": reading,
    "rerun": rerun,
    "publishing": publishing,
}


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
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=", ".join(PARTS))
    for row in run(parser.parse_args().parts):
        print("  ".join(f"{key}: {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
