"""What hearing a four-minute MP3 costs, in core-seconds, and where they go; memory of the job.

Models are loaded and warm before the clock starts; one track at a time, one core. Core-seconds are
the process's own CPU time over all of its threads, so waiting costs nothing and a busy machine
disturbs little. Memory is what the job and its decoding processes have resident together at their
worst, over files that are hard on it: 12 hours, 192 kHz in 24 bits, a 50 MB cover, 5.1.

    python -m bench.embedding --audio DIR --models DIR [--times N]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np

from bench.reading import RATE_HZ, music
from embedder.decoding import AudioFile
from embedder.excerpts import Excerpts
from embedder.facts import measure
from embedder.models.registry import ENTRIES, load, why_not
from embedder.tagging import read_tags

#: What issue 5 asks, in core-seconds a four-minute MP3 once the model is loaded.
GOALS: Final = {"efficientat-mn04": 0.25, "efficientat-mn04 with jamendo-moods": 0.6}
TIMES: Final = 12

#: What issue 5 asks of the job with two workers, over all of its processes.
MOST_MB: Final = 900
WORKERS: Final = 2

_SEGUE: Final = "import sys; from cli.main import main; sys.exit(main())"

READING, FACTS_PART = "open, seek, tags", "loudness, tempo, key"
DECODING: Final = "decode"


def run(audio: Path, models: Path, times: int = TIMES) -> list[dict[str, object]]:
    """Rows: the parts, the sums that the goals are about, and memory for each model."""
    from tests.unit.embedder.sounds import write

    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "song.mp3", music(audio, 8), RATE_HZ, bit_rate=192_000)
        rows = costs(path, models, times)
        files = hard_files(Path(folder) / "hard", path)
        ready = [one for one in ENTRIES if not one.within and not one.beside]
        rows += [
            {
                "part": f"memory of the job: {entry.name}",
                "resident MB": round(resident_mb(files, entry.name, models)),
                "goal": MOST_MB,
            }
            for entry in ready
            if not why_not(entry, models) and not entry.on_request
        ]
    return rows


def costs(path: Path, models: Path, times: int) -> list[dict[str, object]]:
    """Core-seconds of one file, heard so many times."""
    ready = [entry for entry in ENTRIES if not why_not(entry, models)]
    entries = [entry for entry in ready if not entry.within]
    analysers = {
        entry.name: load(
            entry, models, "cpu", riders=tuple(one for one in ready if one.within == entry.name)
        )
        for entry in entries
    }
    spent = dict.fromkeys((READING, DECODING, FACTS_PART, *analysers), 0.0)
    warm = _decoded(path)
    for analyser in analysers.values():
        analyser.analyse(warm)
    for _ in range(times):
        clock = time.process_time()
        with AudioFile(path) as audio:
            known = audio.recognise()
            read_tags(path, audio.tag_file())
            fetched = audio.fetch(known=known)
            clock = _add(spent, READING, clock)
            fetched.decode()
            plain = time.process_time() - clock
            clock = _add(spent, DECODING, clock)
            excerpts = fetched.decode(loudness=True)
            measure(excerpts)
        now = time.process_time()
        spent[FACTS_PART] += now - clock - plain
        clock = now
        for name, analyser in analysers.items():
            analyser.analyse(excerpts)
            clock = _add(spent, name, clock)
    rows: list[dict[str, object]] = [
        {"part": part, "core-seconds a track": round(seconds / times, 4)}
        for part, seconds in spent.items()
    ]
    reading = spent[READING] + spent[DECODING] + spent[FACTS_PART]
    beside = [entry.name for entry in entries if entry.beside]
    for entry in entries:
        if entry.beside:
            continue
        alone = entry.packaged or not entry.weights
        for names in ([entry.name],) if alone else ([entry.name], [entry.name, *beside]):
            label = " with ".join(names)
            total = (reading + sum(spent[name] for name in names)) / times
            rows.append(
                {
                    "part": f"all of it: {label}",
                    "core-seconds a track": round(total, 3),
                    "goal": GOALS.get(label),
                }
            )
    return rows


def _decoded(path: Path) -> Excerpts:
    with AudioFile(path) as audio:
        return audio.fetch().decode()


def _add(spent: dict[str, float], part: str, since: float) -> float:
    now = time.process_time()
    spent[part] += now - since
    return now


def hard_files(folder: Path, song: Path) -> Path:
    """A folder of files that are hard on memory."""
    from mutagen.flac import FLAC, Picture
    from mutagen.id3 import APIC, ID3

    from tests.unit.embedder.sounds import write

    folder.mkdir()
    random = np.random.default_rng(0)
    content = song.read_bytes()
    noise = (0.2 * random.standard_normal((1, 240 * 22_050))).astype(np.float32).clip(-1, 1)
    quarter = write(folder / "twelve hours.mp3", noise, 22_050, bit_rate=32_000).read_bytes()
    (folder / "twelve hours.mp3").write_bytes(quarter * 180)
    studio = (0.2 * random.standard_normal((2, 100 * 192_000))).astype(np.float32).clip(-1, 1)
    write(folder / "192 kHz.wav", studio, 192_000, codec="pcm_s24le")
    write(folder / "192 kHz.flac", studio[:, : 20 * 192_000], 192_000)
    _surround(folder / "5.1.wav", 96_000, 100, random)
    tags = ID3()
    tags.add(APIC(encoding=0, mime="image/png", type=3, data=random.bytes(50 * 2**20)))
    (folder / "cover.mp3").write_bytes(content)
    tags.save(folder / "cover.mp3")
    covered = write(folder / "cover.flac", studio[:, : 240 * 44_100], 44_100)
    cover = Picture()
    cover.data, cover.mime = random.bytes(16 * 2**20 - 100), "image/jpeg"
    flac = FLAC(covered)
    flac.add_picture(cover)
    flac.save()
    return folder


def _surround(path: Path, rate_hz: int, seconds: int, random: np.random.Generator) -> None:
    """Six channels of noise in 24 bits."""
    import wave

    with wave.open(str(path), "wb") as file:
        file.setnchannels(6)
        file.setsampwidth(3)
        file.setframerate(rate_hz)
        second = random.integers(-64, 64, (rate_hz * 6, 3), np.int8).tobytes()
        for _ in range(seconds):
            file.writeframes(second)


def resident_mb(music_folder: Path, model: str, models: Path) -> float:
    """The most that a job with two workers has resident, with its decoding processes."""
    with tempfile.TemporaryDirectory() as data:
        job = subprocess.Popen(
            [sys.executable, "-c", _SEGUE, "embed", "--music", str(music_folder), "--data", data,
             "--model", model, "--workers", str(WORKERS)],
            env={**os.environ, "SEGUE_EMBEDDING__MODELS_DIR": str(models),
                 "SEGUE_EMBEDDING__PRIORITY": "normal"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        most_kb = 0
        while job.poll() is None:
            most_kb = max(most_kb, _tree_kb(job.pid))
            time.sleep(0.02)
    if job.returncode:
        raise RuntimeError(f"segue embed ended with status {job.returncode}")
    return most_kb / 1024


def _tree_kb(pid: int) -> int:
    """What a process and its children have resident, pages that they share counted once each."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total = int(line.split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for task in Path(f"/proc/{pid}/task").iterdir():
            if task.name != str(pid):
                children += (task / "children").read_text().split()
    except OSError:  # it has just ended
        return total
    return total + sum(_tree_kb(int(child)) for child in children)


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--times", type=int, default=TIMES)
    given = parser.parse_args()
    for row in run(given.audio, given.models, given.times):
        print("  ".join(f"{key}: {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
