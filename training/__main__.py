"""`python -m training`: prepare music, train a student on it, measure it, export the chosen one."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch

from embedder.errors import EmbedderError
from embedder.models.registry import PACKAGED
from training.bank import Bank
from training.checkpoints import average, fill, load
from training.copies import CODECS, PROBES, usable
from training.corpus import Excerpt, find_excerpts, split
from training.errors import CheckpointError, TrainingError
from training.preparation import check_folder, prepare
from training.recipe import COPIES, recipe_of
from training.students import candidate, ears
from training.teachers import slow_spaces, teacher_of
from training.trainer import Training
from training.validation import Validation, cost_ms

#: The share of sources that is for validation.
HELD = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        options.command(options)
    except (TrainingError, EmbedderError, ValueError, OSError) as error:
        return _failed(str(error))
    except BrokenProcessPool:
        return _failed("a worker died, perhaps for want of memory: try fewer, with --workers 1")
    except KeyboardInterrupt:
        print("training: stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


def _failed(why: str) -> int:
    if os.environ.get("SEGUE_DEBUG"):
        raise
    print(f"training: {why}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--music", type=Path, required=True, help="one folder a source")
    common.add_argument("--models", type=Path, required=True, help="the teachers' weights")
    common.add_argument("--work", type=Path, required=True, help="what was prepared is kept here")
    common.add_argument("--split", type=int, default=1, help="which sources are held out: a seed")
    common.add_argument(
        "--copies", type=_many, default=COPIES, help="damaged versions of each excerpt"
    )
    common.add_argument("--threads", type=_many, default=0)
    ready = commands.add_parser("prepare", parents=[common], help="decode, damage, ask the slow")
    ready.add_argument("--workers", type=_some, help="processes, a gigabyte each; as many as cores")
    ready.set_defaults(command=_prepare)
    train = commands.add_parser("train", parents=[common], help="teach; goes on if it was stopped")
    train.add_argument("--out", type=Path, required=True, help="checkpoint, state and log")
    train.add_argument("--recipe", default="{}", help="JSON: fields of Recipe")
    train.add_argument("--minutes", type=float, default=math.inf, help="stop then, to go on later")
    train.add_argument("--every", type=_some, default=200, help="steps between measurements")
    train.set_defaults(command=_train)
    short = commands.add_parser("demo", help="a short run on the demo's own music")
    short.add_argument("--work", type=Path, required=True, help="music, copies and checkpoints")
    short.add_argument("--models", type=Path, default=Path("models"), help="the teachers' weights")
    short.add_argument("--steps", type=_some, default=72)
    short.add_argument("--threads", type=_many, default=0)
    short.set_defaults(command=_demo)
    measure = commands.add_parser("measure", parents=[common], help="figures of checkpoints")
    measure.add_argument("checkpoints", nargs="*", type=Path, help="none: the teacher's own")
    measure.set_defaults(command=_measure)
    mean = commands.add_parser(
        "average", help="the mean of checkpoints that have a start in common"
    )
    mean.add_argument("checkpoints", nargs="+", type=Path)
    mean.add_argument("--out", type=Path, required=True)
    mean.set_defaults(command=_average, threads=0)
    ship = commands.add_parser("export", help="write the files that the package ships")
    ship.add_argument("checkpoint", type=Path)
    ship.add_argument("--folder", type=Path, default=PACKAGED)
    ship.set_defaults(command=_export, threads=0)
    return parser


def _many(text: str) -> int:
    if int(text) < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return int(text)


def _some(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return int(text)


def _prepare(options: argparse.Namespace) -> None:
    learning, held = split(find_excerpts(options.music), HELD, options.split)
    found = usable(CODECS)
    lacking = [codec.name for codec in CODECS if codec not in found]
    if lacking:
        print(f"this FFmpeg does not do {', '.join(lacking)}: not used, and runs differ by it")
    asked = sorted(slow_spaces(options.models))
    print(f"asked about each excerpt, out of {options.models}: {', '.join(asked) or 'nobody'}")
    faults: list[str] = []
    for excerpts, probes in ((held, True), (learning, False)):
        ready = prepare(
            options.music,
            options.work,
            options.models,
            excerpts,
            copies=options.copies,
            probes=probes,
            seed=options.split,
            workers=options.workers,
        )
        what = "validate on" if probes else "learn from"
        for done, one in enumerate(ready, start=1):
            if one.fault:
                faults.append(f"left out: {one.excerpt.path}: {one.fault}")
            if done % 20 == 0 or done == len(excerpts):
                print(f"{done} of {len(excerpts)} to {what}", flush=True)
    print(*faults, f"{len(learning) + len(held) - len(faults)} are ready", sep="\n")


def _demo(options: argparse.Namespace) -> None:
    from training.demonstration import demonstrate

    first, last = demonstrate(options.work, options.models, options.steps, _show)
    for name in ("loss", "R@1 clean", "tags spearman"):
        print(f"{name}: {first[name]:.3f} → {last[name]:.3f}")


def _prepared(options: argparse.Namespace) -> tuple[list[Excerpt], list[Excerpt]]:
    """(To train on, to validate on) of what was prepared for this split."""
    check_folder(options.work, options.split)
    return split(find_excerpts(options.music), HELD, options.split)


def _train(options: argparse.Namespace) -> None:
    recipe = recipe_of(options.recipe, copies=options.copies)
    if recipe.copies != options.copies:
        raise ValueError(f"the recipe says {recipe.copies} copies, --copies {options.copies}")
    candidate(recipe.candidate)
    learning, held = _prepared(options)
    teacher = teacher_of(options.models)
    bank = Bank(options.work, learning, 1 + recipe.copies)
    missing = bank.refresh()
    if missing:
        print(
            f"{missing} damaged copies are not there yet: what `prepare` makes meanwhile is taken"
            " in, but another run will not give the same numbers"
        )
    validation = Validation(Bank(options.work, held, 1 + len(PROBES)), teacher)
    training = Training(recipe, bank, teacher, options.models, options.out, validation)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "log.jsonl").open("a", encoding="utf-8") as log:

        def report(row: dict[str, Any]) -> None:
            log.write(json.dumps(row) + "\n")
            log.flush()
            _show(f"step {row['step']} after {row['seconds']:.0f} s", row)

        done = training.run(report, every=options.every, most_s=options.minutes * 60)
    print("done" if done else f"stopped at step {training.step}: the same command goes on")


def _show(name: str, row: dict[str, float]) -> None:
    figures = "  ".join(
        f"{key} {value:.3f}" for key, value in row.items() if key not in {"step", "seconds"}
    )
    print(f"{name}: {figures}", flush=True)


def _measure(options: argparse.Namespace) -> None:
    teacher = teacher_of(options.models)
    validation = Validation(Bank(options.work, _prepared(options)[1], 1 + len(PROBES)), teacher)
    if not options.checkpoints:

        def hear(mel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            lesson = teacher(mel, low=False)
            return lesson.spaces["mn04"], lesson.tags, mel.new_empty((len(mel), 0))

        _show("mn04", validation.figures(hear))
    for path in options.checkpoints:
        kept = load(path)
        recipe = kept.get("recipe")
        if not isinstance(recipe, dict) or "candidate" not in recipe:
            raise CheckpointError(f"{path} is no checkpoint of a run: it holds no recipe")
        student = candidate(recipe["candidate"])(None)
        fill(student, path)
        heard = ears(student.eval(), moods=kept.get("moods") is not None)
        _show(str(path), {**validation.figures(heard), "core-ms a second": cost_ms(heard)})


def _average(options: argparse.Namespace) -> None:
    average(options.checkpoints, options.out)


def _export(options: argparse.Namespace) -> None:
    from training.export import export  # needs onnx, which nothing else does

    export(options.checkpoint, options.folder)
    for path in sorted(options.folder.iterdir()):
        print(f"{path}  {path.stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(main())
