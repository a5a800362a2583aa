"""Who hears the codec: each model on a folder of real music and on copies of it, recoded.

A track's own copy should be nearer to it than every other recording is, and the five nearest from
other albums should not be those that came in the same file format. Vectors are centred on the
originals. Other copies of a recording in the folder itself (by fingerprint) do not count as others.

    python -m bench.codecs --audio DIR --models DIR [--tracks N] [--segue1 FOLDER]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Final

import av
import numpy as np

from bench.quality import NEIGHBOURS, OCCURRENCES, nearest, skewness
from catalog.tracks import Float32
from embedder.decoding import AudioFile
from embedder.derivation import centre, unit
from embedder.excerpts import Excerpts
from embedder.facts import measure
from embedder.fingerprint import MOST_WRONG, wrong_bits
from embedder.models.registry import ENTRIES, Entry, load, segue1_entries, why_not
from embedder.publish import standardise
from embedder.source import walk
from embedder.tagging import read_tags


@dataclass(frozen=True, slots=True)
class Copy:
    """A way of keeping music in fewer bytes: codec, rate in Hz, channels, bits a second."""

    name: str
    suffix: str
    codec: str
    rate_hz: int
    layout: str
    bit_rate: int | None


COPIES: Final = (
    Copy("mp3 64k", ".mp3", "libmp3lame", 44_100, "stereo", 64_000),
    Copy("mp3 128k", ".mp3", "libmp3lame", 44_100, "stereo", 128_000),
    Copy("opus 48k", ".opus", "libopus", 48_000, "stereo", 48_000),
    Copy("22 kHz mono", ".wav", "pcm_s16le", 22_050, "mono", None),
)

#: Sounds that are no music.
STRANGERS: Final = ("near-silence", "white noise", "pink noise", "440 Hz tone")


def recode(source: Path, copy: Copy, path: Path) -> None:
    """Write a whole file as a copy of it."""
    with av.open(str(source)) as music, av.open(str(path), "w") as container:
        stream: Any = container.add_stream(copy.codec, rate=copy.rate_hz, layout=copy.layout)
        if copy.bit_rate:
            stream.bit_rate = copy.bit_rate
        form = stream.codec_context.codec.audio_formats[0].name
        size = stream.codec_context.frame_size or None
        resampler = av.AudioResampler(form, copy.layout, copy.rate_hz, frame_size=size)
        for frame in chain(music.decode(audio=0), [None]):
            for part in resampler.resample(frame):
                part.pts = None  # the source's time base is not the copy's
                container.mux(stream.encode(part))
        container.mux(stream.encode(None))


def entries(models: Path, segue1: Path | None) -> list[Entry]:
    """Every model with vectors that can run here; segue-1 from a folder of its own if given."""
    known = [one for one in ENTRIES if one.dim and one.name != "segue-1"]
    known += (
        list(segue1_entries(segue1)[:1])
        if segue1
        else [one for one in ENTRIES if one.name == "segue-1"]
    )
    return [one for one in known if not why_not(one, models)]


@cache
def _analysers(models: Path, segue1: Path | None) -> tuple[Any, ...]:
    return tuple(load(one, models, "cpu") for one in entries(models, segue1))


def _vectors(excerpts: Excerpts, models: Path, segue1: Path | None) -> list[Float32]:
    return [analyser.analyse(excerpts)[0].vector for analyser in _analysers(models, segue1)]


def _heard(path: Path) -> Excerpts:
    with AudioFile(path) as audio:
        return audio.fetch().decode(loudness=True)


def _hear(order: tuple[Path, Path, Path | None]) -> tuple[list[list[Float32]], Float32, float]:
    """Of a track and each of its copies, every model's vector; its fingerprint and length."""
    path, models, segue1 = order
    original = _heard(path)
    found = [_vectors(original, models, segue1)]
    with tempfile.TemporaryDirectory() as folder:
        for copy in COPIES:
            target = Path(folder) / f"copy{copy.suffix}"
            recode(path, copy, target)
            found.append(_vectors(_heard(target), models, segue1))
    return found, measure(original).fingerprint, original.duration_s


def strangers() -> list[Excerpts]:
    """The sounds of `STRANGERS`, a window each."""
    draw, n, rate_hz = np.random.default_rng(1), 320_000, 32_000
    white = draw.standard_normal(n)
    shape = np.sqrt(np.maximum(np.fft.rfftfreq(n), 1e-4))
    pink = np.fft.irfft(np.fft.rfft(white) / shape, n)
    tone = np.sin(2 * np.pi * 440 * np.arange(n) / rate_hz)
    sounds = (1e-5 * white, 0.1 * white, 0.1 * pink / pink.std(), 0.3 * tone)
    return [Excerpts(rate_hz, 10.0, (sound.astype(np.float32),)) for sound in sounds]


def run(
    audio: Path, models: Path, *, tracks: int | None = None, segue1: Path | None = None
) -> list[dict[str, object]]:
    """A row a model."""
    files = [audio / file.path for file in walk(audio)]
    if tracks is not None:
        files = files[:: max(1, len(files) // tracks)][:tracks]
    albums = np.unique([read_tags(path).album.casefold() for path in files], return_inverse=True)[1]
    formats = np.unique([path.suffix.lower() for path in files], return_inverse=True)[1]
    orders = [(path, models, segue1) for path in files]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        answers = list(pool.map(_hear, orders))
    heard = [vectors for vectors, *_ in answers]
    foreign = [_vectors(one, models, segue1) for one in strangers()]
    same = _same(answers)
    rows = []
    for column, entry in enumerate(entries(models, segue1)):
        versions = [np.stack([one[i][column] for one in heard]) for i in range(1 + len(COPIES))]
        odd = np.stack([one[column] for one in foreign])
        rows.append({"model": entry.name} | _figures(entry, versions, odd, albums, formats, same))
    return rows


def _same(answers: Sequence[tuple[list[list[Float32]], Float32, float]]) -> Any:
    """(n, n) bool: the same recording; only what some model finds alike is looked at closely."""
    models = [
        np.stack(originals) for originals in zip(*(one[0][0] for one in answers), strict=True)
    ]
    alike = np.max([clean @ clean.T for clean in (unit(centre(one)) for one in models)], axis=0)
    same = np.eye(len(answers), dtype=bool)
    for i, j in np.argwhere(np.triu(alike > 0.7, 1)):
        (_, one, one_s), (_, other, other_s) = answers[i], answers[j]
        same[i, j] = same[j, i] = wrong_bits(one, other, one_s, other_s) < MOST_WRONG
    return same


def _figures(
    entry: Entry,
    versions: Sequence[Float32],
    odd: Float32,
    albums: Any,
    formats: Any,
    same: Any,
) -> dict[str, object]:
    if entry.unscaled:
        whole = standardise(np.concatenate([*versions, odd]))
        versions = np.split(whole[: -len(odd)], len(versions))
        odd = whole[-len(odd) :]
    clean = unit(centre(versions[0]))
    mean = versions[0].mean(0)
    alike = clean @ clean.T
    np.fill_diagonal(alike, -2)
    scores = np.where(same, -2, alike)
    found: dict[str, object] = {}
    near = nearest(clean, NEIGHBOURS)
    found["P@5 same game"] = round(float((albums[near] == albums[:, None]).mean()), 3)
    for copy, vectors in zip(COPIES, versions[1:], strict=True):
        own = (clean * unit(vectors - mean)).sum(1)
        found[copy.name] = round(float((own > scores.max(1)).mean()), 3)
    elsewhere = np.where(albums[:, None] == albums, -2, alike)
    others = np.argsort(-elsewhere, axis=1, kind="stable")[:, :NEIGHBOURS]
    found["same format"] = round(float((formats[others] == formats[:, None]).mean()), 3)
    raw = unit(versions[0])
    found["hub skew raw"] = round(skewness(nearest(raw, OCCURRENCES), len(raw)), 2)
    closest = (unit(odd - mean) @ clean.T).max(1)
    median = float(np.median(scores.max(1)))
    for name, value in zip(STRANGERS, closest, strict=True):
        found[name] = f"{value:.2f}"
    found["music to music"] = f"{median:.2f}"
    return found


def main() -> None:
    """Print a line a model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--tracks", type=int)
    parser.add_argument("--segue1", type=Path, help="a folder that `training export` wrote")
    options = parser.parse_args()
    for row in run(options.audio, options.models, tracks=options.tracks, segue1=options.segue1):
        print("  ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    main()
