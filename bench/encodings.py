"""What a poor encoding costs: how near a track stays to its own copy, for each model and by print.

Tracks spread over the folder are encoded anew and heard again. Cosines are of vectors centred on
the folder's tracks (z-scored where a model's numbers are of different kinds); wrong bits are those
of the fingerprint, by which version families are told.

    python -m bench.encodings --audio DIR --models DIR [--tracks N] [--among N] [--model NAME ...]
        [--copy NAME ...]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from bench.codecs import Copy, recode
from bench.reading import RATE_HZ, decoded
from catalog.tracks import Float32
from embedder.decoding import AudioFile
from embedder.facts import measure
from embedder.fingerprint import wrong_bits
from embedder.models.registry import ENTRIES, load, why_not
from embedder.publish import standardise
from embedder.source import walk


def _changed(source: Path, target: Path, *, gain: float = 1.0, cut_s: float = 0.0) -> None:
    from tests.unit.embedder.sounds import write

    sound = decoded(source)[:, round(cut_s * RATE_HZ) :] * np.float32(gain)
    write(target, sound.clip(-1, 1), RATE_HZ)


def _mono(source: Path, target: Path) -> None:
    from tests.unit.embedder.sounds import write

    write(target, decoded(source).mean(0), RATE_HZ)


def _lossy(codec: str, bit_rate: int) -> Callable[[Path, Path], None]:
    rate_hz = 48_000 if codec == "libopus" else 44_100

    def encode(source: Path, target: Path) -> None:
        recode(source, Copy(codec, target.suffix, codec, rate_hz, "stereo", bit_rate), target)

    return encode


#: Name → suffix, and how a copy is made.
ENCODINGS: Final[Mapping[str, tuple[str, Callable[[Path, Path], None]]]] = {
    "MP3 320 kb/s": (".mp3", _lossy("libmp3lame", 320_000)),
    "MP3 128 kb/s": (".mp3", _lossy("libmp3lame", 128_000)),
    "MP3 64 kb/s": (".mp3", _lossy("libmp3lame", 64_000)),
    "Opus 48 kb/s": (".opus", _lossy("libopus", 48_000)),
    "mono": (".flac", _mono),
    "3 dB louder": (".flac", partial(_changed, gain=1.41)),
    "3 dB quieter": (".flac", partial(_changed, gain=0.708)),
    "2 s trimmed": (".flac", partial(_changed, cut_s=2.0)),
}


def run(
    audio: Path,
    models: Path,
    tracks: int,
    among: int = 0,
    named: Collection[str] = (),
    encodings: Collection[str] = (),
) -> Iterator[dict[str, object]]:
    """A row for each encoding, of `tracks` tracks.

    `among`: how many tracks the vectors are centred on (0: all). `named`, `encodings`: the models
    and encodings to look at (none: all).
    """
    files = walk(audio)
    chosen = sorted({file.path for file in files[:: max(1, len(files) // tracks)][:tracks]})
    around = files[:: max(1, len(files) // among)] if among else files
    entries = [
        one
        for one in ENTRIES
        if not one.beside and not why_not(one, models) and (not named or one.name in named)
    ]
    analysers = [load(one, models, "cpu") for one in entries]

    def hear(path: Path) -> tuple[list[Float32], Float32, float]:
        with AudioFile(path) as opened:
            excerpts = opened.fetch().decode(loudness=True)
        vectors = [
            found.vector
            for analyser in analysers
            for found in analyser.analyse(excerpts)
            if found.vector is not None
        ]
        return vectors, measure(excerpts).fingerprint, excerpts.duration_s

    originals = dict.fromkeys([*chosen, *(file.path for file in around)])
    heard = {path: hear(audio / path) for path in originals}
    places = {path: row for row, path in enumerate(heard)}
    for name in encodings or ENCODINGS:
        suffix, encode = ENCODINGS[name]
        found = []
        with tempfile.TemporaryDirectory() as folder:
            for path in chosen:
                copy = Path(folder) / f"copy{suffix}"
                encode(audio / path, copy)
                found.append((path, hear(copy)))
        row: dict[str, object] = {"encoding": name, "tracks": len(found)}
        for i, one in enumerate(entries):
            raw = np.array([v[i] for v, _, _ in heard.values()] + [v[i] for _, (v, _, _) in found])
            cosines = _cosines(raw, [places[path] for path, _ in found], one.unscaled)
            row[f"{one.name} least, median"] = (
                f"{cosines.min():.3f}, {float(np.median(cosines)):.3f}"
            )
        wrong = [
            wrong_bits(heard[path][1], mark, heard[path][2], seconds)
            for path, (_, mark, seconds) in found
        ]
        row["wrong bits, most"] = round(max(wrong), 2)
        yield row


def _cosines(raw: Float32, originals: list[int], unscaled: bool) -> Float32:
    """Of the last rows to those of their originals."""
    rows = standardise(raw) if unscaled else raw - raw[: -len(originals)].mean(0)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray((rows[-len(originals) :] * rows[originals]).sum(1), np.float32)


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--tracks", type=int, default=12)
    parser.add_argument("--among", type=int, default=0)
    parser.add_argument("--model", nargs="*", default=())
    parser.add_argument("--copy", nargs="*", default=(), choices=ENCODINGS)
    given = parser.parse_args()
    rows = run(given.audio, given.models, given.tracks, given.among, given.model, given.copy)
    for row in rows:
        print("  ".join(f"{key}: {value}" for key, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
