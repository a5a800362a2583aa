"""All prepared spectrograms in memory, and windows drawn from them.

Seven hours in four versions are 2.7 GB of 16-bit numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from embedder.models.efficientat import N_MELS
from embedder.models.jamendo import N_LABELS
from training.corpus import Excerpt
from training.errors import CorpusError
from training.preparation import (
    FRAMES_PER_S,
    frames_of,
    lesson_path,
    load,
    load_lesson,
    version_path,
)


class Bank:
    """Versions of excerpts, float16 (versions, frames, 128), and where each excerpt lies in them.

    `source` and `track` (n,) int64 are equal for excerpts of one source and of one track. `spaces`
    holds the slow teachers' vectors (n, d) by name, `moods` their logits (n, 56), NaN where nobody
    was asked.

    Raises:
        CorpusError: when nothing was prepared, or a file of it is damaged.
    """

    def __init__(self, folder: Path, excerpts: Sequence[Excerpt], versions: int) -> None:
        self._folder = folder
        clean = {
            excerpt: frames_of(path)
            for excerpt in excerpts
            if (path := version_path(folder, excerpt, 0)).exists()
            and lesson_path(folder, excerpt).exists()
        }
        if not clean:
            raise CorpusError(f"nothing was prepared in {folder}: run `prepare` first")
        self.excerpts = tuple(clean)
        lengths = list(clean.values())
        self._starts = np.concatenate([[0], np.cumsum(lengths)])
        self.length = torch.tensor(lengths)
        self.start = torch.from_numpy(self._starts[:-1].copy())
        self.mel = torch.zeros((versions, int(self._starts[-1]), N_MELS), dtype=torch.float16)
        self.there = torch.zeros((len(clean), versions), dtype=torch.bool)
        self._missing = {(row, version) for row in range(len(clean)) for version in range(versions)}
        self.refresh()
        self.source = _codes([excerpt.source for excerpt in self.excerpts])
        self.track = _codes([excerpt.track for excerpt in self.excerpts])
        lessons = [load_lesson(lesson_path(folder, excerpt)) for excerpt in self.excerpts]
        self.spaces = {
            name: torch.from_numpy(np.stack([lesson[name] for lesson in lessons]))
            for name in sorted(set[str]().union(*lessons) - {"moods"})
            if all(name in lesson for lesson in lessons)
        }
        unknown = np.full(N_LABELS, np.nan, np.float32)
        self.moods = torch.from_numpy(
            np.stack([lesson.get("moods", unknown) for lesson in lessons])
        )

    def __len__(self) -> int:
        return len(self.excerpts)

    @cached_property
    def digest(self) -> str:
        """Equal for the same excerpts, prepared alike; damaged copies do not count."""
        found = hashlib.blake2b(digest_size=16)
        for excerpt in self.excerpts:
            found.update(excerpt.slug.encode())
        found.update(self.mel[0].numpy().data)
        return found.hexdigest()

    def refresh(self) -> int:
        """Take in the versions that were made since. Returns how many are still missing."""
        for row, version in sorted(self._missing):
            path = version_path(self._folder, self.excerpts[row], version)
            if not path.exists():
                continue
            mel = torch.from_numpy(load(path))[: int(self.length[row])]
            first = int(self._starts[row])
            self.mel[version, first : first + len(mel)] = mel
            self.there[row, version] = True
            self._missing.discard((row, version))
        return len(self._missing)

    def read(self, row: Tensor, version: Tensor, start_s: Tensor, window_s: float) -> Tensor:
        """Windows (n, 1, 128, frames) float32; what runs over the end begins anew."""
        steps = torch.arange(round(window_s * FRAMES_PER_S))
        at = (start_s * FRAMES_PER_S).round().long()[:, None] + steps
        index = self.start[row][:, None] + at.clamp(min=0).remainder(self.length[row][:, None])
        return self.mel[version[:, None], index].float().transpose(1, 2).unsqueeze(1)


def _codes(names: Sequence[str]) -> Tensor:
    return torch.from_numpy(np.unique(names, return_inverse=True)[1])
