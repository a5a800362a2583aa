"""The loop: windows are drawn and mixed; the teacher hears them clean, the student damaged."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from training import losses
from training.bank import Bank
from training.batches import HEARD, Batch, Draw, Grid
from training.checkpoints import (
    CHECKPOINT,
    STATE,
    fill,
    geometry_beside,
    geometry_of,
    load,
    plain,
    write,
)
from training.damage import power
from training.errors import CheckpointError, TeacherError, first_line
from training.geometry import Geometry, fit_geometry
from training.memory import DIM, Memory, Scales
from training.preparation import FRAMES_PER_S
from training.recipe import Recipe
from training.strangers import Strangers
from training.students import Averaged, Student, candidate, channels_last, ears, start_at
from training.teachers import Teacher
from training.validation import WINDOW_S, Validation

_GRID: Final = "teacher.pt"
#: A label that the teacher never believes in says little: it counts for a twentieth.
_SUPPORT: Final = 0.03
_RARE: Final = 0.05
#: Windows from which the new heads get their start.
_BEGUN_WITH: Final = 1200
#: Windows of each excerpt whose mean the vectors are centred on in the end.
_CENTRED_BY: Final = 2
#: Damaged windows that tell along which axes damage moves the teachers.
_TWINS: Final = 400

Report = Callable[[dict[str, float]], None]


class Training:
    """A student, and all that is needed to go on with it."""

    def __init__(
        self,
        recipe: Recipe,
        bank: Bank,
        teacher: Teacher,
        models: Path,
        folder: Path,
        validation: Validation | None = None,
    ) -> None:
        self.recipe = recipe
        self.step = 0
        self.folder = folder
        self._bank = bank
        self._teacher = teacher
        self._validation = validation
        self._generator = torch.Generator().manual_seed(recipe.seed)
        self._grid = Grid(bank, teacher, recipe.window_s, folder / _GRID)
        self._draw = Draw(bank, self._grid, recipe, self._generator)
        self._strangers = Strangers.made(teacher, recipe.window_s, recipe.seed)
        torch.manual_seed(recipe.seed)
        self.student: Student = candidate(recipe.candidate)(None if recipe.start else models)
        self.geometry: Geometry | None = None
        if recipe.start:
            fill(self.student, Path(recipe.start))
            self.geometry = geometry_beside(Path(recipe.start))
        self._check_teachers()
        channels_last(self.student).train()
        matrices: list[Tensor] = [p for p in self.student.parameters() if p.ndim >= 2]
        plain: list[Tensor] = [p for p in self.student.parameters() if p.ndim < 2]
        groups: list[dict[str, Any]] = [
            {"params": matrices},
            {"params": plain, "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(
            groups,
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
        )
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, self._rate)
        self.averaged = Averaged.of(self.student)
        self._mean = torch.zeros(DIM)
        self._memory = Memory(recipe.memory)
        self._scales: Scales | None = None

    def _check_teachers(self) -> None:
        """That all whom the recipe names were asked: who is left out by mistake is missed later."""
        asked, wanted = {**self._grid.spaces, **self._bank.spaces}, dict(self.recipe.teachers)
        unknown = sorted(wanted.keys() - asked.keys())
        if unknown:
            raise TeacherError(
                f"of the recipe's teachers {', '.join(unknown)} said nothing of this music, only"
                f" {', '.join(asked)}: put their weights into --models and run `prepare` again"
            )
        if self.geometry is not None and dict(self.geometry.weights) != wanted:
            raise TeacherError(
                f"{self.recipe.start} learnt the space of {dict(self.geometry.weights)}, which a"
                f" run from it keeps: the recipe cannot have the teachers {wanted}"
            )

    def _rate(self, step: int) -> float:
        """A line up, then a cosine down to a fiftieth."""
        warm_up = max(1, round(self.recipe.warm_up * self.recipe.steps))
        if step < warm_up:
            return (step + 1) / warm_up
        done = (step - warm_up) / max(1, self.recipe.steps - warm_up)
        return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    def _lesson(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """The teachers' vectors by space, and tag logits; only mixes are heard anew."""
        spaces = {name: space[batch.place] for name, space in self._grid.spaces.items()}
        tags = self._grid.tags[batch.place]
        if bool(batch.mixed.any()):
            lesson = self._teacher(batch.clean[batch.mixed])
            tags[batch.mixed] = lesson.tags
            for name, space in lesson.spaces.items():
                spaces[name][batch.mixed] = space
        slow = {name: space[batch.row] for name, space in self._bank.spaces.items()}
        return spaces | slow, tags

    def measure(self) -> None:
        """Fit the spaces, from all that the teachers said and some of it damaged.

        A student that starts from another run keeps that run's: a space fitted anew is the same
        but for its axes, and to turn them would cost what was learnt.
        """
        grid, bank = self._grid, self._bank
        row = torch.arange(len(bank)).repeat_interleave(grid.counts)
        said = grid.spaces | {name: space[row] for name, space in bank.spaces.items()}
        if self.geometry is None:
            self.geometry = self._fitted(said)
        self._scales = Scales(
            grid.tags.std(0).clamp(min=0.1),
            torch.where(grid.tags.sigmoid().amax(0) > _SUPPORT, 1.0, _RARE),
            bank.moods.std(0).nan_to_num(1.0).clamp(min=0.1),
        )
        if not self.recipe.start:
            drawn = torch.randperm(len(row), generator=self._generator)[:_BEGUN_WITH]
            mel = bank.read(
                row[drawn], torch.zeros_like(drawn), grid.start_s[drawn], self.recipe.window_s
            )
            target = self.geometry({name: said[name][drawn] for name in self.geometry.spaces})
            self._begin(mel, target, grid.tags)

    def _fitted(self, said: dict[str, Tensor]) -> Geometry:
        names = [name for name in self.recipe.teachers if name in said]
        moved: dict[str, list[Tensor]] = {name: [] for name in names}
        batches: list[Batch] = []
        while sum(len(batch.row) for batch in batches) < _TWINS:
            batch = self._draw()
            clean, damaged = self._lesson(batch)[0], self._teacher(batch.damaged).spaces
            for name in names:
                # The slow ones were asked about clean music alone: nothing moves them.
                moved[name].append(damaged.get(name, clean[name]) - clean[name])
            batches.append(batch)
        return fit_geometry(
            {name: said[name] for name in names},
            {name: torch.cat(moves) for name, moves in moved.items() if bool(moves[0].any())}
            if self.recipe.forgiving
            else {},
            {name: self.recipe.teachers[name] for name in names},
            DIM,
        )

    @torch.no_grad()
    def _begin(self, mel: Tensor, target: Tensor, tags: Tensor) -> None:
        """Give the new heads a start: the vector by ridge regression, the others their means.

        A trunk that knows music already would else be thrown about until they fit.
        """
        network = self.student.network
        last: Any = network.head[2]
        start_at(self.student.moods[2], self._bank.moods)
        if self.recipe.candidate != "mn04":
            start_at(network.tags, tags)
        self.student.eval()
        pooled = torch.cat([network(part).pooled for part in torch.split(mel, 16)])
        self.student.train()
        hidden = network.head[:2](pooled).double()
        mean = hidden.mean(0)
        gram = (hidden - mean).T @ (hidden - mean)
        gram += 3e-2 * gram.trace() / len(gram) * torch.eye(len(gram)).to(gram)
        solved = torch.linalg.solve(gram, (hidden - mean).T @ target.double())
        last.weight.copy_(solved.T)
        last.bias.copy_(-mean @ solved)
        self.averaged = Averaged.of(self.student)

    def advance(self) -> dict[str, float]:
        """One step; the losses by name."""
        if self._scales is None:
            self.measure()
        assert self.geometry is not None
        assert self._scales is not None
        recipe, batch = self.recipe, self._draw()
        spaces, truth = self._lesson(batch)
        target = self.geometry(spaces)
        odd, odd_truth = self._strangers.draw(recipe.odd, recipe.window_s, self._generator)
        heard = torch.cat([batch.damaged, self._draw.damage(power(odd))])
        vectors, tags, moods = self.student(
            heard.contiguous(memory_format=torch.channels_last), moods_teach=recipe.moods_teach
        )
        n = len(batch.row)
        (vectors, odd_vectors), moods = vectors.split([n, recipe.odd]), moods[:n]
        # The centre of the space follows the batches; at first it is the batches' own mean.
        self._mean.lerp_(vectors.detach().mean(0), max(0.01, 1 / (self.step + 1)))
        rows = losses.unit(vectors, self._mean)
        known = losses.unit(self._memory.vectors, self._mean)
        source, track = self._bank.source[batch.row], self._bank.track[batch.row]
        parts = {
            "relational": losses.relational(
                rows,
                target,
                torch.cat([rows, known]),
                torch.cat([target, self._memory.targets]),
            ),
            "direct": losses.direct(rows, target),
            "contrast": losses.contrast(rows, track, source[:, None] == source, recipe.kin),
            "tags": losses.labels(
                tags, torch.cat([truth, odd_truth]), self._scales.tags, self._scales.tag_weight
            ),
            "moods": losses.labels(
                moods,
                self._bank.moods[batch.row],
                self._scales.moods,
                torch.ones_like(self._scales.moods),
            ),
            "strangers": losses.strangeness(
                losses.unit(odd_vectors, self._mean), torch.cat([rows, known]).detach()
            ),
        }
        weights = {name: float(getattr(recipe, name)) for name in parts}
        total = torch.stack([weights[name] * value for name, value in parts.items()]).sum()
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
        norm = nn.utils.clip_grad_norm_(self.student.parameters(), 2.0)
        # One bad batch is skipped: a NaN would stay in the weights for ever.
        if bool(norm.isfinite()):
            self._optimizer.step()
            self._memory.add(vectors, target)
        self._schedule.step()
        # Early weights are forgotten soon.
        self.averaged.follow(self.student, min(recipe.decay, (1 + self.step) / (10 + self.step)))
        self.step += 1
        return {name: float(value.detach()) for name, value in parts.items()}

    def run(
        self,
        report: Report,
        *,
        every: int = 200,
        most_s: float = math.inf,
        save_every: int = 100,
    ) -> bool:
        """Teach until the recipe's last step, or for `most_s`. True when it is done.

        Goes on from the folder's state where there is one, and leaves one behind. The report gets
        the mean losses since the last, and the validation's figures.
        """
        self.restore()
        began = time.monotonic()
        sums: dict[str, float] = {}
        counted = 0
        while self.step < self.recipe.steps and time.monotonic() - began < most_s:
            if self.step % 20 == 0:
                self._bank.refresh()
            for name, value in self.advance().items():
                sums[name] = sums.get(name, 0.0) + value
            counted += 1
            last = self.step == self.recipe.steps
            if self.step % every == 0 or last:
                row = {"step": self.step, "seconds": round(time.monotonic() - began, 1)}
                row |= {f"loss {name}": value / counted for name, value in sums.items()}
                sums, counted = {}, 0
                if self._validation is not None:
                    row |= self._validation.figures(
                        ears(self.best(), moods=self._felt), probes=last
                    )
                report(row)
            if self.step % save_every == 0 and not last:
                self.save()
        self.save()
        return self.step >= self.recipe.steps

    @property
    def _felt(self) -> bool:
        """Whether anybody teaches moods."""
        return self.recipe.moods > 0 and not bool(self._bank.moods.isnan().all())

    def best(self) -> Student:
        """The student with its averaged weights, to be measured."""
        other: Student = candidate(self.recipe.candidate)(None)
        other.load_state_dict(self.averaged.state)
        return channels_last(other).eval()

    @torch.no_grad()
    def _centre(self, student: Student) -> None:
        """Take the mean vector of the music that was learnt from off the vector's bias.

        Cosines of raw vectors then mean something too, also in a library too small to be centred
        on itself.
        """
        rows = torch.arange(len(self._bank)).repeat_interleave(_CENTRED_BY)
        seconds = self._bank.length[rows] / FRAMES_PER_S
        places = (torch.arange(len(rows)) % _CENTRED_BY) / max(1, _CENTRED_BY - 1)
        starts_s = places * (seconds - WINDOW_S).clamp(min=0)
        means = [
            student(self._bank.read(row, torch.zeros_like(row), at, WINDOW_S), moods_teach=False)[0]
            for row, at in zip(torch.split(rows, HEARD), torch.split(starts_s, HEARD), strict=True)
        ]
        last: Any = student.network.head[2]
        last.bias -= torch.cat(means).mean(0)

    def save(self) -> None:
        """The averaged weights as a checkpoint, and the state to go on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        best = self.best()
        if self.step >= self.recipe.steps:
            self._centre(best)
        checkpoint = {
            "network": best.network_state(),
            "moods": best.moods.state_dict() if self._felt else None,
            "recipe": asdict(self.recipe),
            "step": self.step,
        }
        write(self.folder / CHECKPOINT, checkpoint)
        write(
            self.folder / STATE,
            {
                "recipe": json.dumps(asdict(self.recipe), sort_keys=True),
                "music": self._bank.digest,
                "step": self.step,
                "random": self._generator.get_state(),
                "student": self.student.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "schedule": self._schedule.state_dict(),
                "averaged": dict(self.averaged.state),
                "mean": self._mean,
                "memory": (self._memory.vectors, self._memory.targets),
                "scales": None if self._scales is None else asdict(self._scales),
                "geometry": None if self.geometry is None else plain(self.geometry),
            },
        )

    def restore(self) -> None:
        """Take up the state in the folder, if there is one.

        Raises:
            CheckpointError: when it cannot be read, or is another recipe's or of other music.
        """
        path = self.folder / STATE
        if not path.exists():
            return
        state = load(path, ": delete it to start anew")
        try:
            self._take_up(state, path)
        except (RuntimeError, LookupError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path} is no state of this student ({first_line(error)}): delete it to start anew"
            ) from error

    def _take_up(self, state: dict[str, Any], path: Path) -> None:
        theirs, ours = json.loads(state["recipe"]), asdict(self.recipe)
        if theirs != ours:
            odd = next(name for name in theirs | ours if theirs.get(name) != ours.get(name))
            raise CheckpointError(
                f"{path} is of another recipe ({odd} was {theirs.get(odd)!r}, not"
                f" {ours.get(odd)!r}): delete it, or choose another folder"
            )
        if state.get("music", self._bank.digest) != self._bank.digest:
            raise CheckpointError(
                f"{path} learnt from other music than is prepared now: delete it, or choose"
                " another folder"
            )
        self._generator.set_state(state["random"])
        self.student.load_state_dict(state["student"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self.averaged = Averaged(state["averaged"])
        self._mean = state["mean"]
        self._memory.vectors, self._memory.targets = state["memory"]
        self._scales = Scales(**state["scales"]) if state["scales"] else None
        self.geometry = geometry_of(state["geometry"]) if state["geometry"] else None
        self.step = state["step"]
