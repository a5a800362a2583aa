"""What reading a 4-minute track takes: reads, bytes, and time on a mount where reads are dear.

Two pieces of music: one excerpt over and over, and a medley of eight, whose rate varies more than a
song's. `auto` is the strategy of `segue embed` over 40 files on a simulated blob mount (30 ms a
request, 10 MB/s, blocks of 1 MiB), beside the better of seeking and reading each file whole.

    python -m bench.reading --audio DIR
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.audio.resampler import AudioResampler

from bench.library import BlobMount
from catalog.tracks import Float32
from embedder.decoding import AudioFile
from embedder.source import walk
from embedder.strategy import Strategy
from embedder.tagging import read_tags

Rows = Sequence[Mapping[str, object]]

SECONDS: Final = 240
SHORT_S: Final = 60
RATE_HZ: Final = 48_000
FILES_ON_MOUNT: Final = 40

MOST_READS: Final = 12
MOST_SHARE: Final = 0.4
MOST_OVER_BEST: Final = 1.1

#: Name → suffix and how `tests.unit.embedder.sounds.write` encodes it.
FORMATS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "FLAC": (".flac", {}),
    "MP3 192k": (".mp3", {"bit_rate": 192_000}),
    "MP3 192k, no header": (".mp3", {"bit_rate": 192_000, "muxer": {"write_xing": "0"}}),
    "MP3 VBR": (".mp3", {"quality": 2}),
    "MP3 VBR, no header": (".mp3", {"quality": 2, "muxer": {"write_xing": "0"}}),
    "M4A 192k": (".m4a", {"bit_rate": 192_000}),
    "Opus 64k": (".opus", {"bit_rate": 64_000}),
    "Opus 128k": (".opus", {"bit_rate": 128_000}),
    "Vorbis 160k": (".ogg", {"bit_rate": 160_000}),
    "WAV": (".wav", {}),
}


def music(audio: Path, excerpts: int, seconds: int = SECONDS) -> Float32:
    """So many excerpts of the folder, one behind the other and again, (2, seconds * RATE_HZ)."""
    files = walk(audio)
    chosen = [files[(7 + 19 * i) % len(files)] for i in range(excerpts)]
    sound = np.concatenate([decoded(audio / file.path) for file in chosen], axis=1)
    return np.resize(sound.T, (seconds * RATE_HZ, 2)).T


def decoded(path: Path) -> Float32:
    """A whole file at `RATE_HZ`, (2, n) in -1 … 1."""
    with av.open(str(path)) as container:
        resampler = AudioResampler(format="fltp", layout="stereo", rate=RATE_HZ)
        parts = [
            part.to_ndarray()
            for frame in (*container.decode(audio=0), None)
            for part in resampler.resample(frame)
        ]
    return np.concatenate(parts, axis=1).clip(-1, 1)


def run(audio: Path) -> Rows:
    """A row for each format and each music."""
    from tests.unit.embedder.sounds import write

    rows: list[Mapping[str, object]] = []
    sounds = {"a medley": music(audio, 8), "one piece": music(audio, 1)}
    sounds["one minute"] = sounds["a medley"][:, : SHORT_S * RATE_HZ]
    with tempfile.TemporaryDirectory() as folder:
        for name, (suffix, options) in FORMATS.items():
            for what, sound in sounds.items():
                path = write(Path(folder) / f"song{suffix}", sound, RATE_HZ, **options)
                rows.append({"format": name, "music": what, **measure(path)})
    return rows


def measure(path: Path) -> dict[str, object]:
    """One file's row."""
    with AudioFile(path) as audio:
        known = audio.recognise()
        read_tags(path, audio.tag_file())
        first = audio.reads
        audio.fetch(known=known)
        share, reads = audio.bytes_read / path.stat().st_size, audio.reads
    seek, whole = on_mount(path, whole=False), on_mount(path, whole=True)
    best_s = min(seek[0], whole[0])
    over = auto_s(path, seek, whole) / FILES_ON_MOUNT / best_s
    long = path.stat().st_size > 0 and known.duration_s > SECONDS / 2
    return {
        "MB": round(path.stat().st_size / 1e6, 1),
        "reads": reads,
        "of the bytes": round(share, 3),
        "reads if known": first,
        "mount: seek s": round(seek[0], 2),
        "whole s": round(whole[0], 2),
        "auto of the better": round(over, 3),
        "within": (not long or (reads <= MOST_READS and share <= MOST_SHARE))
        and over <= MOST_OVER_BEST,
    }


def on_mount(path: Path, *, whole: bool) -> tuple[float, int]:
    """Seconds of waiting for the simulated mount, and reads."""
    mount = BlobMount(path.read_bytes())
    with AudioFile(mount, whole=whole, clock=lambda: mount.now_s) as audio:
        known = audio.recognise()
        read_tags(path, audio.tag_file())
        audio.fetch(known=known)
        return audio.file.waited_s, audio.reads


def auto_s(path: Path, seek: tuple[float, int], whole: tuple[float, int]) -> float:
    """Seconds for `FILES_ON_MOUNT` files like this one, each read as the strategy says."""
    strategy, total_s = Strategy(), 0.0
    size = path.stat().st_size
    for _ in range(FILES_ON_MOUNT):
        chosen = strategy.whole(path.suffix, size)
        seconds, reads = whole if chosen else seek
        strategy.learn(path.suffix, size, whole=chosen, seconds=seconds, reads=reads)
        total_s += seconds
    return total_s


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audio", type=Path, required=True)
    for row in run(parser.parse_args().audio):
        print("  ".join(f"{key}: {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
