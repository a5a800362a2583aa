"""All benchmarks, one table each: `make bench`, or `python -m bench [NAME ...]`.

Those that need real music or weights use the data folder beside the checkout (or `$SEGUE_SHARED`)
and say so where it is missing.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table

SHARED = Path(os.environ.get("SEGUE_SHARED", Path(__file__).resolve().parents[2] / "shared"))
AUDIO = SHARED / "audio" / "library"
MODELS = SHARED / "models"

Rows = Sequence[Mapping[str, object]]

#: More do not fit beside each other in 120 characters.
_MOST_COLUMNS = 10
_ON_THEIR_SIDE = 4


def _quality() -> Rows:
    from bench.quality import run

    return run(AUDIO, MODELS)


def _autodj() -> Rows:
    from bench.autodj import run
    from bench.quality import data_folder

    return run(AUDIO, MODELS, data_folder())


def _ablation() -> Rows:
    from bench.ablation import run
    from bench.quality import data_folder

    return run(AUDIO, MODELS, data_folder())


def _ranking() -> Rows:
    from bench.quality import data_folder
    from bench.ranking import run

    return run(data_folder())


def _embedding() -> Rows:
    from bench.embedding import run

    return run(AUDIO, MODELS)


def _reading() -> Rows:
    from bench.reading import run

    return run(AUDIO)


def _codecs() -> Rows:
    from bench.codecs import run

    return run(AUDIO, MODELS)


def _engines() -> Rows:
    from bench.engines import run

    return run()


def _demo() -> Rows:
    from bench.demo import run

    return run(MODELS)


def _steering() -> Rows:
    from bench.steering import run

    return run(AUDIO if AUDIO.exists() else None, models=MODELS if MODELS.exists() else None)


def _forwarding() -> Rows:
    from bench.forwarding import run

    return run()


def _crowd() -> Rows:
    from bench.forwarding import run_crowd

    return run_crowd()


def _soak() -> Rows:
    from bench.soak import run

    return run(float(os.environ.get("SEGUE_SOAK_S", "60")))


def _library() -> Rows:
    from bench.library import run

    return run()


def _faults() -> Rows:
    from bench.faults import run

    return run()


#: Name, what it shows, whether it needs the data folder, and how to run it.
BENCHMARKS: tuple[tuple[str, str, bool, Callable[[], Rows]], ...] = (
    ("quality", "how good the choice is, term by term, on real music", True, _quality),
    ("autodj", "sessions of Feishin's AutoDJ, judged by other ears", True, _autodj),
    ("ablation", "each term switched off: what becomes of every figure", True, _ablation),
    ("ranking", "ranking alone: time and recall, synthetic libraries", False, _ranking),
    ("demo", "P@5, same manner, the demo's own music", False, _demo),
    ("embedding", "core-seconds a 4-minute MP3, and memory of the job", True, _embedding),
    ("reading", "reads and bytes of 4-minute files, and a slow mount", True, _reading),
    ("codecs", "who hears the codec: each model and recoded music", True, _codecs),
    ("engines", "segue-1 by onnxruntime and torch (needs the extra train)", False, _engines),
    ("library", "the job over large libraries", False, _library),
    ("faults", "kills, lost mounts, bad files: what was lost", False, _faults),
    ("steering", "steered calls beside the upstream's getSong; memory of serve", False, _steering),
    ("forwarding", "forwarding beside other clients", False, _forwarding),
    ("crowd", "small calls beside 500 idle and 200 slow streams", False, _crowd),
    ("soak", "memory in a mixed load; SEGUE_SOAK_S says how long", False, _soak),
)


def main() -> int:
    """Run those named, or all; what one of them raises is shown, and the others run."""
    wanted = set(sys.argv[1:]) or {name for name, *_ in BENCHMARKS}
    unknown = wanted - {name for name, *_ in BENCHMARKS}
    console = Console(width=None if sys.stdout.isatty() else 120)
    if unknown:
        known = ", ".join(name for name, *_ in BENCHMARKS)
        console.print(f"unknown benchmark {', '.join(sorted(unknown))}; known: {known}")
        return 2
    console.print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    failed = False
    for name, title, needs_data, run in BENCHMARKS:
        if name not in wanted:
            continue
        if needs_data and not AUDIO.exists():
            console.print(f"{name}: needs real music in {AUDIO}, skipped")
            continue
        try:
            rows = run()
        except Exception:  # hours of others must not be lost with it
            console.print_exception(max_frames=5)
            failed = True
            continue
        console.print(f"{title}  (python -m bench {name})")
        for table in tables(rows):
            console.print(table)
    return int(failed)


def tables(rows: Rows) -> Iterator[Table]:
    """A table for each run of rows with the same columns; if there are many, rows lie on a side."""
    for columns, alike in groupby(rows, key=tuple):
        lines = [[_shown(value) for value in row.values()] for row in alike]
        if len(columns) <= _MOST_COLUMNS:
            yield _table(list(columns), lines)
            continue
        for first in range(0, len(lines), _ON_THEIR_SIDE):
            names, *figures = zip(columns, *lines[first : first + _ON_THEIR_SIDE], strict=True)
            yield _table(names, figures)


def _table(names: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    table = Table(*names)
    for line in lines:
        table.add_row(*line)
    return table


def _shown(value: object) -> str:
    return "" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
