"""What hearing a track costs, in core-seconds, and where they go; one track at a time, one core.

Models are loaded and warm before the clock starts. Core-seconds are the process's own CPU time
over all of its threads, so waiting costs nothing and a busy machine disturbs little.

    python -m bench.embedding --audio DIR --models DIR [--tracks N]
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

from embedder.decoding import AudioFile
from embedder.excerpts import Excerpts
from embedder.facts import measure
from embedder.models.registry import ENTRIES, load, why_not
from embedder.source import walk
from embedder.tagging import read_tags

#: What issue 3 asks, in core-seconds a track once the model is loaded.
GOALS = {"efficientat-mn04": 0.2, "efficientat-mn04 with jamendo-moods": 0.5}

FACTS_PART = "loudness, tempo, key"


def run(audio: Path, models: Path, tracks: int | None = None) -> list[dict[str, object]]:
    """Rows: reading and decoding, each model, and the sums that the goals are about."""
    files = walk(audio)
    if tracks is not None:
        files = files[:: max(1, len(files) // tracks)][:tracks]
    ready = [entry for entry in ENTRIES if not why_not(entry, models)]
    entries = [entry for entry in ready if not entry.within]
    analysers = {
        entry.name: load(
            entry,
            models,
            "cpu",
            riders=tuple(one for one in ready if one.within == entry.name),
        )
        for entry in entries
    }
    costs = dict.fromkeys(("tags", "read and decode", FACTS_PART, *analysers), 0.0)
    bytes_read = size_bytes = 0
    decoded = 0.0
    warm = _decode(audio / files[0].path)[0]
    for analyser in analysers.values():
        analyser.analyse(warm)
    for file in files:
        path = audio / file.path
        clock = time.process_time()
        read_tags(path)
        clock = _add(costs, "tags", clock)
        excerpts, read = _decode(path)
        clock = _add(costs, "read and decode", clock)
        bytes_read += read
        size_bytes += file.size_bytes
        # The same again with loudness: what that takes more, and the tempo and the key.
        before = costs["read and decode"]
        measured, _ = _decode(path, loudness=True)
        measure(measured)
        now = time.process_time()
        costs[FACTS_PART] += now - clock - (before - decoded)
        decoded, clock = before, now
        for name, analyser in analysers.items():
            analyser.analyse(excerpts)
            clock = _add(costs, name, clock)
    rows: list[dict[str, object]] = [
        {"part": part, "core-seconds a track": round(seconds / len(files), 4)}
        for part, seconds in costs.items()
    ]
    reading = costs["tags"] + costs["read and decode"] + costs[FACTS_PART]
    beside = [entry.name for entry in entries if entry.beside]
    for entry in entries:
        if entry.beside:
            continue
        alone = entry.packaged or not entry.weights
        for names in ([entry.name],) if alone else ([entry.name], [entry.name, *beside]):
            label = " with ".join(names)
            total = (reading + sum(costs[name] for name in names)) / len(files)
            rows.append(
                {
                    "part": f"all of it: {label}",
                    "core-seconds a track": round(total, 4),
                    "goal": GOALS.get(label),
                }
            )
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows.append(
        {
            "part": "over all",
            "tracks": len(files),
            "bytes read / bytes": round(bytes_read / size_bytes, 2),
            "peak resident MB": round(peak_mb),
        }
    )
    return rows


def _decode(path: Path, *, loudness: bool = False) -> tuple[Excerpts, int]:
    with AudioFile(path) as audio:
        excerpts = audio.fetch().decode(loudness=loudness)
        return excerpts, audio.bytes_read


def _add(costs: dict[str, float], part: str, since: float) -> float:
    now = time.process_time()
    costs[part] += now - since
    return now


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--tracks", type=int, default=None)
    given = parser.parse_args()
    for row in run(given.audio, given.models, given.tracks):
        print("  ".join(f"{key}: {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
