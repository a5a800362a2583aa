"""A training short enough to watch: a student that knows nothing, on music that Segue composes.

It shows that the recipe works from end to end, on any machine, without a file from elsewhere. The
teacher is mn04 where its weights are, else the segue-1 that comes with Segue.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from demo.library import compose_library
from training.bank import Bank
from training.checkpoints import STATE
from training.copies import PROBES
from training.corpus import Excerpt, find_excerpts
from training.preparation import prepare
from training.recipe import Recipe
from training.students import ears
from training.teachers import MN04_WEIGHTS, shipped_teacher, teacher_of
from training.trainer import Training
from training.validation import Validation

Show = Callable[[str, dict[str, float]], None]

#: Every third piece is held out: the demo has one composer, so a split by sources would hold out
#: whole manners of music.
_HELD_OUT = 3


def demonstrate(
    work: Path, models: Path, steps: int, show: Show
) -> tuple[dict[str, float], dict[str, float]]:
    """Compose, prepare, teach. Returns the figures before and after, "loss" among them.

    What was composed and prepared before is taken; the run begins anew each time.
    """
    music = compose_library(work / "demo")
    pieces = find_excerpts(music)
    held: list[Excerpt] = pieces[::_HELD_OUT]
    learning = [piece for i, piece in enumerate(pieces) if i % _HELD_OUT]
    for excerpts, probes in ((held, True), (learning, False)):
        for _ in prepare(
            music, work / "prepared", models, excerpts, copies=1, probes=probes, seed=1
        ):
            pass
    teacher = teacher_of(models) if (models / MN04_WEIGHTS).exists() else shipped_teacher()
    validation = Validation(Bank(work / "prepared", held, 1 + len(PROBES)), teacher)
    recipe = Recipe(
        candidate="mobilenet", copies=1, steps=steps, learning_rate=3e-3, sources=6, memory=256
    )
    (work / "run" / STATE).unlink(missing_ok=True)
    training = Training(
        recipe, Bank(work / "prepared", learning, 2), teacher, models, work / "run", validation
    )
    rows: list[dict[str, float]] = []
    before = validation.figures(ears(training.best()))
    show("before", before)

    def report(row: dict[str, float]) -> None:
        row["loss"] = sum(value for name, value in row.items() if name.startswith("loss "))
        rows.append(row)
        show(f"step {row['step']:.0f}", row)

    training.run(report, every=max(1, steps // 6))
    return before | {"loss": rows[0]["loss"]}, rows[-1]
