"""The job over large libraries: bytes and round trips, a slow mount, reruns, publishing.

python -m bench.library [reading] [rerun] [moves] [publishing]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import mutagen
import numpy as np
from mutagen.id3 import TIT2
from numpy.typing import NDArray

from catalog.layout import FOLDER as SNAPSHOTS
from catalog.library import FILE_NAME, Library
from catalog.settings import LibrarySettings
from catalog.tracks import Analysis, FileFacts, RunReport, Tags
from embedder.decoding import AudioFile
from embedder.facts import FACTS
from embedder.fingerprint import FINGERPRINT, N_BANDS, N_BITS
from embedder.job import embed
from embedder.models.registry import SEGUE1, TIMBRE, Entry
from embedder.settings import EmbeddingSettings
from embedder.strategy import Strategy
from embedder.tagging import read_tags

Rows = Sequence[Mapping[str, object]]
Bools = NDArray[np.bool_]

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
RETAGGED_TRACKS = 20
PUBLISHED_TRACKS = (10_000, 100_000, 500_000)
PUBLISHED_MODELS = (SEGUE1, (TIMBRE,))


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
    """Files that were moved, then some that were retagged: none is heard again, little is read.

    Four-minute files of each format, every one under many names (links), and a library that knows
    all of them. A file's bytes count, and the pieces that they are read in.
    """
    from tests.unit.embedder.sounds import rate_of, write
    from tests.unit.embedder.test_decoding import noisy_music

    rows: list[Mapping[str, object]] = []
    formats = (*FORMATS, (".wav", {}))
    for suffix, options in formats:
        music, data = folder / suffix[1:] / "music", folder / suffix[1:] / "data"
        rate = rate_of(suffix)
        (music / "old").mkdir(parents=True)
        original = folder / f"song{suffix}"
        write(original, noisy_music(240, rate).clip(-1, 1), rate, **options)  # type: ignore[arg-type]
        count = MOVED_TRACKS // len(formats)
        _know(data, music, original, count)
        (music / "old").rename(music / "new")
        moved = _rerun(music, data)
        for number in range(RETAGGED_TRACKS):
            path = music / "new" / f"{number}{suffix}"
            path.unlink()
            shutil.copyfile(original, path)
            file = mutagen.File(path, easy=True)
            if file.tags is None:
                file.add_tags()
            if suffix == ".wav":
                file.tags.add(TIT2(text=["A new title"]))
            else:
                file["title"] = "A new title" * 100
            file.save()
        retagged = _rerun(music, data)
        size = original.stat().st_size
        for what, each, expected in (
            ("moved", moved, count), ("retagged", retagged, RETAGGED_TRACKS)
        ):  # fmt: skip
            assert (each.embedded, each.moved) == (0, expected), each
            rows.append(
                {
                    "known files": f"{expected} {suffix} {what}",
                    "embedded": each.embedded,
                    "of the bytes": f"{each.bytes_read / size / expected:.3f}",
                    "reads a file": round(each.reads / expected, 1),
                    "ms a file": round(1000 * each.seconds / expected, 1),
                }
            )
        shutil.rmtree(music)
    return rows


def _know(data: Path, music: Path, original: Path, count: int) -> None:
    """Give a file many names, and a library all of them."""
    with AudioFile(original) as audio:
        known = audio.recognise()
    with Library.open(data) as library:
        root = library.root_id(music.resolve())
        for number in range(count):
            path = music / "old" / f"{number}{original.suffix}"
            path.hardlink_to(original)
            status = path.stat()
            library.store(
                root,
                FileFacts(f"old/{path.name}", status.st_size, status.st_mtime_ns),
                known.content_key,
                known.duration_s,
                Tags(str(number)),
                [
                    Analysis(TIMBRE.model, np.ones(TIMBRE.dim, np.float32)),
                    Analysis(FACTS, scores=np.ones(len(FACTS.labels), np.float32)),
                    Analysis(FINGERPRINT, np.full(FINGERPRINT.dim, -1, np.float32)),
                ],
            )


def _rerun(music: Path, data: Path) -> RunReport:
    settings = EmbeddingSettings(model=TIMBRE.name, most_gone=1.0)
    return embed(LibrarySettings(music=(str(music),), data=str(data)), settings).report


_PUBLISH = """
import os
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as `segue embed` does
import sys, threading, time
from pathlib import Path
from catalog.library import Library
from catalog.snapshot import open_snapshot
from embedder.models.registry import entry
from embedder.publish import publish
peak_kb, ended = 0, threading.Event()
def watch():
    global peak_kb
    while not ended.wait(0.02):
        for line in open("/proc/self/status"):
            if line.startswith("RssAnon"):
                peak_kb = max(peak_kb, int(line.split()[1]))
watcher = threading.Thread(target=watch, daemon=True)
watcher.start()
data = Path(sys.argv[1])
started = time.monotonic()
with Library.open(data) as library:
    one = publish(library, data, [entry(name).model for name in sys.argv[2:]])
seconds = time.monotonic() - started
ended.set()
watcher.join()
cores = time.process_time()
snapshot = open_snapshot(data)
families = snapshot.n - len(set(snapshot.recording.tolist()))
print(seconds, peak_kb / 1024, one, cores, families)
"""


def publishing(folder: Path) -> Rows:
    """What publishing costs, each size in a process of its own; the smallest twice, to see the
    same version. Growth is the exponent from the size before.

    `$SEGUE_BENCH_FILLED` is a folder where the libraries stay for the next time.
    """
    rows: list[Mapping[str, object]] = []
    kept = os.environ.get("SEGUE_BENCH_FILLED")
    for models in PUBLISHED_MODELS:
        before: tuple[int, float, float] | None = None
        for count in PUBLISHED_TRACKS:
            data = Path(kept or folder) / f"{models[0].name}-{count}"
            if not data.exists():
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
                "families": runs[0][4],
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
            shutil.rmtree(data / SNAPSHOTS if kept else data)
    return rows


#: Of 165 excerpts of game music: how far the mean levels of 16 bands, and the levels of albums,
#: lie apart in dB. One pair of tracks in a thousand is as near as copies are.
_LEVEL_DB = np.array([104.7, 63.6, 26.2, 14.6, 13.3, 10.6, 9.4, 8.5, 7.4, 4.7, 3.9, 3.2, 2.0, 1.8,
                      1.6, 0.1]) ** 0.5  # fmt: skip
#: The part of a library that is the recording before once more.
_COPIES = 0.01


def fill(
    data: Path, music: Path, count: int, *, touch: bool, models: Sequence[Entry] = (TIMBRE,)
) -> None:
    """A library of synthetic tracks, twelve an album: vectors and scores of these models, tags,
    fingerprints, loudness, tempo and key; one in a hundred is a copy of the one before.

    `touch` makes the files too, empty but for what `stat` says.
    """
    random = np.random.default_rng(0)
    paths = [f"Artist {i // 120}/Album {i // 12}/{i % 12 + 1:02}.mp3" for i in range(count)]
    stats: list[tuple[int, int]] = [(1, 1)] * count
    if touch:
        for i, path in enumerate(paths):
            file = music / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"x")
            stats[i] = (1, file.stat().st_mtime_ns)
    music.mkdir(exist_ok=True)
    with Library.open(data) as library:
        root = library.root_id(music.resolve())
        for one in (*(entry.model for entry in models), FACTS, FINGERPRINT):
            with library.writing() as db:
                db.execute(
                    "INSERT INTO models (name, version, dim, labels) VALUES (?, ?, ?, ?)",
                    (one.name, one.version, one.dim, json.dumps(one.labels)),
                )
    copies = random.random(count) < _COPIES
    copies[0] = False
    seconds = np.exp(random.normal(np.log(225), 0.35, count)).astype(np.float32)
    seconds[copies] = seconds[np.flatnonzero(copies) - 1]
    with closing(sqlite3.connect(data / FILE_NAME)) as database, database:
        database.executemany(
            "INSERT INTO tracks (track_id, root_id, path, size_bytes, mtime_ns, content_key,"
            " duration_s, title, artist, album, album_artist, genres, year, track_number,"
            " musicbrainz_recording_id)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '')",
            (
                (i + 1, root, os.fsencode(paths[i]), *stats[i], f"k{i}", float(seconds[i]),
                 f"Title {i} of many", f"Artist {i // 120}", f"Album {i // 12}",
                 f"Artist {i // 120}" if i % 3 else "", f'["Genre {i // 120 % 40}", "Music"]',
                 1960 + i // 12 % 60, i % 12 + 1)
                for i in range(count)
            ),
        )  # fmt: skip
        _add_measured(database, len(models), copies, random)
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
                            for i in range(count)
                        ),
                    )


def _add_measured(
    database: sqlite3.Connection, models: int, copies: Bools, random: np.random.Generator
) -> None:
    """Facts and fingerprints of all tracks; a copy has a fifth of its original's bits wrong."""
    count = len(copies)
    facts = np.column_stack(
        [random.normal(-12, 4, count), random.uniform(2, 15, count), random.uniform(50, 200, count),
         random.random(count), random.integers(0, 24, count), random.random(count)]
    ).astype("<f4")  # fmt: skip
    database.executemany(
        "INSERT INTO scores VALUES (?, ?, ?)",
        ((models + 1, i + 1, facts[i].tobytes()) for i in range(count)),
    )
    axes = np.linalg.qr(random.standard_normal((N_BANDS, N_BANDS)))[0] * _LEVEL_DB

    def prints() -> Iterator[tuple[int, int, bytes]]:
        bits = 1 << np.arange(N_BITS)
        row, frames = np.zeros(FINGERPRINT.dim, "<f4"), FINGERPRINT.dim - N_BANDS
        album = np.zeros(N_BANDS)
        for i, copied in enumerate(copies.tolist()):
            if i % 12 == 0:
                album = axes @ random.standard_normal(N_BANDS)
            if copied:
                wrong = (random.random((frames, N_BITS)) < 0.2) @ bits
                row[:-N_BANDS] = row[:-N_BANDS].astype(np.int64) ^ wrong
                row[-N_BANDS:] += random.normal(0, 0.3, N_BANDS)
            else:
                own = axes @ random.standard_normal(N_BANDS)
                row[:-N_BANDS] = random.integers(0, 1 << N_BITS, frames)
                row[-N_BANDS:] = 0.8 * album + 0.6 * own
            yield models + 2, i + 1, row.tobytes()

    database.executemany("INSERT INTO vectors VALUES (?, ?, ?)", prints())


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
