"""What is heard at a step: windows drawn from the bank, and what the teacher said of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from training.bank import Bank
from training.checkpoints import load, write
from training.damage import Damage, log_mel, power
from training.preparation import FRAMES_PER_S
from training.recipe import Recipe
from training.teachers import Teacher

#: Windows the teacher hears at a time.
HEARD: Final = 16


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows of a step: what is heard, and what is known of it.

    Window i is of excerpt `row[i]`, at `place[i]` of its grid; `clean` and `damaged` are its
    spectrograms (n, 1, 128, frames). Where `mixed[i]`, another window sounds in it too.
    """

    row: Tensor
    place: Tensor
    mixed: Tensor
    clean: Tensor
    damaged: Tensor


class Grid:
    """What the teacher says of every window of a bank, one after the other, asked once.

    `first` (rows,) is where an excerpt's windows begin; `start_s` (windows,) where each is in it.
    """

    def __init__(self, bank: Bank, teacher: Teacher, window_s: float, kept: Path) -> None:
        counts = (bank.length / FRAMES_PER_S / window_s).long().clamp(min=1)
        self.counts = counts
        self.first = counts.cumsum(0) - counts
        row = torch.arange(len(bank)).repeat_interleave(counts)
        self.start_s = (torch.arange(len(row)) - self.first[row]) * window_s
        self.spaces: dict[str, Tensor] = {}
        self.tags = torch.empty(0)
        # Another teacher, or other music, is another lesson.
        of = f"{teacher.digest()} {bank.digest} {window_s:g}"
        if kept.exists():
            known = load(kept, ": delete it, and the teacher is asked again")
            if known.get("of") == of:
                self.spaces, self.tags = known["spaces"], known["tags"]
                return
        lessons = [
            teacher(bank.read(part, torch.zeros_like(part), at, window_s))
            for part, at in zip(
                torch.split(row, HEARD), torch.split(self.start_s, HEARD), strict=True
            )
        ]
        names = lessons[0].spaces
        self.spaces = {name: torch.cat([one.spaces[name] for one in lessons]) for name in names}
        self.tags = torch.cat([one.tags for one in lessons])
        kept.parent.mkdir(parents=True, exist_ok=True)
        write(kept, {"of": of, "spaces": self.spaces, "tags": self.tags})


class Draw:
    """Windows from the bank: some sources, some excerpts of each, some windows of those."""

    def __init__(self, bank: Bank, grid: Grid, recipe: Recipe, generator: torch.Generator) -> None:
        self._bank = bank
        self._grid = grid
        self._recipe = recipe
        self._generator = generator
        self.damage = Damage(generator)
        counts = torch.bincount(bank.source)
        self._weight = counts.sqrt()  # a large source is heard more often, not by its size
        self._members = [torch.nonzero(bank.source == i)[:, 0] for i in range(len(counts))]

    def __call__(self) -> Batch:
        recipe, bank, grid, damage = self._recipe, self._bank, self._grid, self.damage
        n = min(recipe.sources, len(self._members))
        sources = torch.multinomial(self._weight, n, generator=self._generator)
        excerpts = torch.cat([self._excerpts(int(source)) for source in sources])
        row = excerpts.repeat_interleave(recipe.windows)
        n = len(row)
        place = grid.first[row] + (damage.uniform(n, 0, 1) * grid.counts[row]).long()
        start_s = grid.start_s[place]
        clean = power(bank.read(row, torch.zeros_like(row), start_s, recipe.window_s))
        nearby_s = start_s + damage.uniform(n, -0.25, 0.25)
        heard = power(bank.read(row, self._versions(row), nearby_s, recipe.window_s))
        # A mix of two: teacher and student hear the same two.
        shift = recipe.windows * int(torch.randint(1, n, (1,), generator=self._generator))
        mixed = damage.chosen(n, recipe.mixed)
        gain = (torch.exp(damage.uniform(n, -12, -2) / 4.342944819) * mixed)[:, None, None, None]
        clean = clean + gain * clean.roll(shift, 0)
        heard = heard + gain * heard.roll(shift, 0)
        return Batch(row, place, mixed, log_mel(clean), damage(heard))

    def _excerpts(self, source: int) -> Tensor:
        members = self._members[source]
        drawn = torch.randperm(len(members), generator=self._generator)[: self._recipe.excerpts]
        return members[drawn]

    def _versions(self, row: Tensor) -> Tensor:
        """A damaged copy for some windows, where it is there already."""
        count = self._bank.there.shape[1]
        if count == 1:
            return torch.zeros_like(row)
        drawn = torch.randint(1, count, row.shape, generator=self._generator)
        drawn = drawn * self.damage.chosen(len(row), self._recipe.copied)
        return drawn * self._bank.there[row, drawn]
