"""What a poor encoding costs: how near a track stays to its own copy, for each model and by print.

Tracks spread over the folder are encoded anew and heard again. Cosines are of vectors centred on
the folder's tracks (z-scored where a model's numbers are of different kinds); wrong bits are those
of the fingerprint, by which version families are told.

    python -m bench.encodings --audio DIR --models DIR [--tracks N]
"""

from __future__ import annotations

import argparse
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from catalog.tracks import Float32
from embedder.decoding import AudioFile
from embedder.facts import measure
from embedder.fingerprint import wrong_bits
from embedder.models.registry import ENTRIES, load, why_not
from embedder.publish import standardise
from embedder.source import walk

#: Name → suffix, encoder, bits a second (None: lossless), channels, gain, seconds cut at the start.
ENCODINGS: Final[dict[str, tuple[str, str, int | None, str, float, float]]] = {
    "MP3 320 kb/s": (".mp3", "libmp3lame", 320_000, "stereo", 1.0, 0.0),
    "MP3 128 kb/s": (".mp3", "libmp3lame", 128_000, "stereo", 1.0, 0.0),
    "MP3 64 kb/s": (".mp3", "libmp3lame", 64_000, "stereo", 1.0, 0.0),
    "Opus 48 kb/s": (".opus", "libopus", 48_000, "stereo", 1.0, 0.0),
    "mono": (".flac", "flac", None, "mono", 1.0, 0.0),
    "3 dB louder": (".flac", "flac", None, "stereo", 1.41, 0.0),
    "3 dB quieter": (".flac", "flac", None, "stereo", 0.708, 0.0),
    "2 s trimmed": (".flac", "flac", None, "stereo", 1.0, 2.0),
}
_RATE_HZ: Final = 48_000


def run(audio: Path, models: Path, tracks: int) -> list[dict[str, object]]:
    """A row for each encoding."""
    files = walk(audio)
    chosen = {file.path for file in files[:: max(1, len(files) // tracks)][:tracks]}
    entries = [one for one in ENTRIES if not one.beside and not why_not(one, models)]
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

    heard = {file.path: hear(audio / file.path) for file in files}
    copies: dict[str, list[tuple[str, tuple[list[Float32], Float32, float]]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (suffix, *how) in ENCODINGS.items():
            for path in sorted(chosen):
                copy = Path(folder) / f"copy{suffix}"
                _encode(audio / path, copy, *how)
                copies.setdefault(name, []).append((path, hear(copy)))
    places = {path: row for row, path in enumerate(heard)}
    rows: list[dict[str, object]] = []
    for name, found in copies.items():
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
        rows.append(row)
    return rows


def _cosines(raw: Float32, originals: list[int], unscaled: bool) -> Float32:
    """Of the last rows to those of their originals."""
    rows = standardise(raw) if unscaled else raw - raw[: -len(originals)].mean(0)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray((rows[-len(originals) :] * rows[originals]).sum(1), np.float32)


def _encode(
    source: Path, target: Path, codec: str, bits: int | None, layout: str, gain: float, cut_s: float
) -> None:
    with av.open(str(source)) as container:
        to_float = AudioResampler(format="fltp", layout="stereo", rate=_RATE_HZ)
        parts = [
            part.to_ndarray()
            for frame in (*container.decode(audio=0), None)
            for part in to_float.resample(frame)
        ]
    sound = np.concatenate(parts, axis=1)[:, round(cut_s * _RATE_HZ) :] * gain
    if layout == "mono":
        sound = sound.mean(0, keepdims=True)
    with av.open(str(target), "w") as container:
        stream = container.add_stream(codec, rate=_RATE_HZ, layout=layout)
        if bits:
            stream.bit_rate = bits
        context = stream.codec_context
        frame = AudioFrame.from_ndarray(
            np.ascontiguousarray(sound.clip(-1, 1), np.float32), format="fltp", layout=layout
        )
        frame.sample_rate, frame.time_base, frame.pts = _RATE_HZ, Fraction(1, _RATE_HZ), 0
        resampler = AudioResampler(
            context.format, context.layout, _RATE_HZ, context.frame_size or None
        )
        for part in (*resampler.resample(frame), *resampler.resample(None), None):
            container.mux(stream.encode(part))


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--tracks", type=int, default=12)
    given = parser.parse_args()
    for row in run(given.audio, given.models, given.tracks):
        print("  ".join(f"{key}: {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
