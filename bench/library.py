"""The job over large libraries: bytes and round trips, a slow mount, reruns, publishing.

python -m bench.library [reading] [rerun] [moves] [publishing]
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from catalog.library import FILE_NAME, Library
from catalog.settings import LibrarySettings
from catalog.tracks import Analysis, FileFacts, Tags
from embedder.decoding import AudioFile
from embedder.facts import FACTS
from embedder.fingerprint import FINGERPRINT
from embedder.job import embed
from embedder.models.registry import MN04, MOODS, TIMBRE, Entry
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
MOVED_TRACKS = 10_000
PUBLISHED_TRACKS = (10_000, 100_000, 500_000)
PUBLISHED_MODELS = ((TIMBRE,), (MN04, MOODS))


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


def moves(folder: Path) -> Rows:
    """Files that were all moved, then all touched: nothing is heard again, and little is read.

    Four-minute WAV files with some noise every fourth second, and a library that knows them.
    """
    music, data = folder / "music", folder / "data"
    random = np.random.default_rng(0)
    size = 0
    with Library.open(data) as library:
        (music / "old").mkdir(parents=True)
        root = library.root_id(music.resolve())
        for number in range(MOVED_TRACKS):
            path = music / "old" / f"{number}.wav"
            _write_sparse(path, random)
            with AudioFile(path) as audio:
                fetched = audio.fetch()
            status = path.stat()
            size += status.st_size
            library.store(
                root,
                FileFacts(f"old/{number}.wav", status.st_size, status.st_mtime_ns),
                fetched.content_key,
                fetched.duration_s,
                Tags(str(number)),
                [
                    Analysis(TIMBRE.model, np.ones(TIMBRE.dim, np.float32)),
                    Analysis(FACTS, scores=np.ones(len(FACTS.labels), np.float32)),
                    Analysis(FINGERPRINT, np.ones(FINGERPRINT.dim, np.float32)),
                ],
            )
    settings = EmbeddingSettings(model=TIMBRE.name, most_gone=1.0)
    rows: list[Mapping[str, object]] = []
    for what in ("moved", "touched"):
        if what == "moved":
            (music / "old").rename(music / "new")
        else:
            for path in (music / "new").iterdir():
                os.utime(path, (1, 1))
        started = time.process_time()
        wall = time.monotonic()
        report = embed(LibrarySettings(music=(str(music),), data=str(data)), settings).report
        rows.append(
            {
                f"files {what}": MOVED_TRACKS,
                "embedded": report.embedded,
                "known again": report.moved,
                "of the bytes": f"{report.bytes_read / size:.3f}",
                "reads a file": round(report.reads / MOVED_TRACKS, 1),
                "seconds": round(time.monotonic() - wall, 1),
                "core-seconds of the job itself": round(time.process_time() - started, 1),
            }
        )
    return rows


def _write_sparse(path: Path, random: np.random.Generator) -> None:
    """Four minutes of 44.1 kHz in 16 bits, mono, with a little noise every fourth second."""
    rate, seconds = 44_100, 240
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.setnframes(rate * seconds)
        file.writeframes(random.bytes(16))
    with path.open("r+b") as raw:
        for second in range(0, seconds, 4):
            raw.seek(44 + second * rate * 2)
            raw.write(random.bytes(16))
        raw.truncate(44 + rate * seconds * 2)
        raw.seek(4)
        raw.write((36 + rate * seconds * 2).to_bytes(4, "little"))
        raw.seek(40)
        raw.write((rate * seconds * 2).to_bytes(4, "little"))


_PUBLISH = """
import os
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as `segue embed` does
import sys, threading, time
from pathlib import Path
from catalog.library import Library
from embedder.models.registry import entry
from embedder.publish import publish
peak_kb, ended = 0, threading.Event()
def watch():
    global peak_kb
    while not ended.wait(0.02):
        for line in open("/proc/self/status"):
            if line.startswith("RssAnon"):
                peak_kb = max(peak_kb, int(line.split()[1]))
watcher = threading.Thread(target=watch)
watcher.start()
data = Path(sys.argv[1])
started = time.monotonic()
with Library.open(data) as library:
    one = publish(library, data, [entry(name).model for name in sys.argv[2:]])
seconds = time.monotonic() - started
ended.set()
watcher.join()
print(seconds, peak_kb / 1024, one, time.process_time())
"""


def publishing(folder: Path) -> Rows:
    """What publishing costs, each size in a process of its own; the smallest twice, to see the
    same version. Growth is the exponent from the size before."""
    rows: list[Mapping[str, object]] = []
    for models in PUBLISHED_MODELS:
        before: tuple[int, float, float] | None = None
        for count in PUBLISHED_TRACKS:
            data = folder / f"{models[0].name}-{count}"
            fill(data, folder / "music", count, touch=False, models=models)
            runs = [
                subprocess.run(
                    [sys.executable, "-c", _PUBLISH, str(data), *(one.name for one in models)],
                    stdout=subprocess.PIPE,
                    check=True,
                    text=True,
                ).stdout.split()
                for _ in range(2 if count == PUBLISHED_TRACKS[0] else 1)
            ]
            seconds, peak_mb = float(runs[0][0]), float(runs[0][1])
            core_s = float(runs[0][3])
            row: dict[str, object] = {
                "published tracks": count,
                "model": " with ".join(one.name for one in models),
                "seconds": round(seconds, 1),
                "core-seconds": round(core_s, 1),
                "peak anonymous MB": round(peak_mb),
            }
            if len(runs) > 1:
                row["the same again"] = runs[0][2] == runs[1][2]
            if before is not None:
                times = math.log(count / before[0])
                row["growth of time"] = round(math.log(core_s / before[1]) / times, 2)
                row["growth of memory"] = round(math.log(peak_mb / before[2]) / times, 2)
            before = count, core_s, peak_mb
            rows.append(row)
            shutil.rmtree(data)
    return rows


def fill(
    data: Path, music: Path, count: int, *, touch: bool, models: Sequence[Entry] = (TIMBRE,)
) -> None:
    """A library of synthetic tracks, twelve an album, with vectors and scores of these models.

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
        heard = [
            Analysis(
                one.model,
                random.standard_normal(one.dim).astype(np.float32) if one.dim else None,
                random.random(len(one.labels)).astype(np.float32) if one.labels else None,
            )
            for one in models
        ]
        heard.append(Analysis(FACTS, scores=np.ones(len(FACTS.labels), np.float32)))
        heard.append(Analysis(FINGERPRINT, np.ones(FINGERPRINT.dim, np.float32)))
        library.store(root, first, "k0", 200.0, Tags("1"), heard)
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
        measured = np.ones(len(FACTS.labels), "<f4").tobytes()
        database.executemany(
            "INSERT INTO scores VALUES (?, ?, ?)",
            ((len(models) + 1, i + 1, measured) for i in range(1, count)),
        )
        database.executemany(
            "INSERT INTO vectors VALUES (?, ?, ?)",
            (
                (len(models) + 2, i + 1, random.random(FINGERPRINT.dim, np.float32).tobytes())
                for i in range(1, count)
            ),
        )
        for model_id, one in enumerate(models, 1):
            # Scores of the thousandths, as networks give them; a thousand rows, again and again.
            for table, width, rows in (
                (
                    "vectors",
                    one.dim,
                    random.standard_normal((count if count <= 10_000 else 50_000, one.dim)),
                ),
                ("scores", len(one.labels), random.random((1009, len(one.labels))) ** 8),
            ):
                if width:
                    blobs = rows.astype("<f4")
                    database.executemany(
                        f"INSERT INTO {table} VALUES (?, ?, ?)",
                        (
                            (model_id, i + 1, (blobs[i % len(blobs)]).tobytes())
                            for i in range(1, count)
                        ),
                    )


PARTS: Mapping[str, Callable[[Path], Rows]] = {
    "reading": reading,
    "rerun": rerun,
    "moves": moves,
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
