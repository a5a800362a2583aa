"""A training short enough to watch: new heads on a trunk that knows music, as in the full recipe.

It shows that the recipe works from end to end, on any machine, without a file from elsewhere: the
music is composed, and the trunk is segue-1's. So is the teacher, where mn04's weights are not
there. A network that knows nothing needs longer: without any learning it finds three windows of
four of this music, and in two minutes it learnt nothing that could be told from chance.
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
#: One in mono, one in stereo.
_COPIES = 2


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
            music, work / "prepared", models, excerpts, copies=_COPIES, probes=probes, seed=1
        ):
            pass
    teacher = teacher_of(models) if (models / MN04_WEIGHTS).exists() else shipped_teacher()
    validation = Validation(Bank(work / "prepared", held, 1 + len(PROBES)), teacher)
    recipe = Recipe(
        candidate="segue-1",
        copies=_COPIES,
        steps=steps,
        sources=6,
        memory=256,
    )
    (work / "run" / STATE).unlink(missing_ok=True)
    training = Training(
        recipe,
        Bank(work / "prepared", learning, 1 + _COPIES),
        teacher,
        models,
        work / "run",
        validation,
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
