"""How good ears are on sources that nobody heard in training, by the figures of the model card."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import torch
from torch import Tensor

from training.bank import Bank
from training.copies import PROBES
from training.losses import unit
from training.preparation import FRAMES_PER_S
from training.teachers import Teacher

WINDOW_S: Final = 10.0
WINDOWS: Final = 6
NEIGHBOURS: Final = 5
OCCURRENCES: Final = 10
SUPPORTED: Final = 200
#: Excerpts at a time.
_BATCH: Final = 2

#: Spectrograms (n, 1, 128, 1000) → vectors (n, d), tag logits (n, 527), mood logits (n, 56); the
#: last two may have no columns.
Ears = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]


@torch.no_grad()
def cost_ms(ears: Ears, *, rounds: int = 20) -> float:
    """Milliseconds of one core for a second of audio, without the front end: a median of rounds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    window = torch.zeros(1, 1, 128, round(WINDOW_S * FRAMES_PER_S))
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        ears(window)
        taken.append(time.process_time() - began)
    torch.set_num_threads(threads)
    return 1000 * statistics.median(taken) / WINDOW_S


class Validation:
    """The held-out excerpts, clean and through each probe; and what mn04 says of their tags."""

    def __init__(self, bank: Bank, teacher: Teacher) -> None:
        self._bank = bank
        self._tags = torch.cat([teacher(mel, low=False).tags for mel in self._windows(0)])

    def _windows(self, version: int) -> Iterator[Tensor]:
        """(12, 1, 128, 1000): six spread over each excerpt, as the embedding job hears a track."""
        steps = torch.linspace(0, 1, WINDOWS)
        for rows in torch.split(torch.arange(len(self._bank)), _BATCH):
            room_s = (self._bank.length[rows] / FRAMES_PER_S - WINDOW_S).clamp(min=0)
            row = rows.repeat_interleave(WINDOWS)
            versions = torch.full_like(row, version)
            yield self._bank.read(row, versions, (room_s[:, None] * steps).flatten(), WINDOW_S)

    @torch.no_grad()
    def figures(self, ears: Ears, *, probes: bool = True) -> dict[str, float]:
        """Every figure by its name; without `probes` of clean music alone, five times as fast.

        A probe that some excerpt lacks has no figure.
        """
        self._bank.refresh()
        clean = [ears(mel) for mel in self._windows(0)]
        recoded = {
            codec.name: torch.cat([ears(mel)[0] for mel in self._windows(version)])
            for version, codec in enumerate(PROBES, start=1)
            if probes and bool(self._bank.there[:, version].all())
        }
        found = self.geometry(torch.cat([one[0] for one in clean]), recoded)
        tags = torch.cat([one[1] for one in clean])
        moods = torch.cat([one[2] for one in clean])
        if tags.shape[1]:
            found["tags spearman"] = spearman(tags, self._tags, SUPPORTED)
        if moods.shape[1] and not bool(self._bank.moods.isnan().any()):
            of_tracks = self._of_tracks(moods)
            found["moods spearman"] = spearman(of_tracks, self._bank.moods, SUPPORTED)
            both = torch.cat(
                [
                    rank_correlations(tags, self._tags),
                    rank_correlations(of_tracks, self._bank.moods),
                ]
            )
            support = torch.cat([_support(self._tags), _support(self._bank.moods)])
            found["labels spearman"] = float(both[support.topk(SUPPORTED).indices].mean())
        return found

    def geometry(self, vectors: Tensor, recoded: Mapping[str, Tensor]) -> dict[str, float]:
        """The figures of vectors (6 n, d) of clean windows, and of their copies by codec."""
        tracks = self._of_tracks(vectors)
        mean = tracks.mean(0)
        clean, windows = unit(tracks, mean), unit(vectors, mean)
        found = {
            "P@5 source": self._precision(clean),
            "R@1 clean": self._retrieval(windows, windows),
            "hub skew raw": skewness(torch.nn.functional.normalize(tracks, dim=1)),
        }
        if recoded:
            found["R@1 recoded"] = statistics.fmean(
                self._retrieval(unit(copies, mean), windows) for copies in recoded.values()
            )
        for name, copies in recoded.items():
            found[f"own {name}"] = self._own(clean, unit(self._of_tracks(copies), mean))
        return found

    def _of_tracks(self, windows: Tensor) -> Tensor:
        """Rows (6 n, d) of windows → their means (n, d)."""
        return windows.reshape(len(self._bank), WINDOWS, -1).mean(1)

    def _precision(self, clean: Tensor) -> float:
        """Mean share of the five nearest other tracks that are of the same source."""
        scores = clean @ clean.T
        scores[self._bank.track[:, None] == self._bank.track] = -2
        source = self._bank.source
        hit = source[scores.topk(min(NEIGHBOURS, len(scores)), 1).indices] == source[:, None]
        several = torch.bincount(source)[source] > 1
        return float(hit[several].float().mean())

    def _own(self, clean: Tensor, copies: Tensor) -> float:
        """How often a track's own copy is nearer to it than every other track."""
        others = clean @ clean.T
        others[self._bank.track[:, None] == self._bank.track] = -2
        return float(((clean * copies).sum(1) > others.amax(1)).float().mean())

    def _retrieval(self, asked: Tensor, known: Tensor) -> float:
        """How often the window nearest to one, itself left out, is of the same track."""
        scores = asked @ known.T
        scores.fill_diagonal_(-2)
        track = self._bank.track.repeat_interleave(WINDOWS)
        return float((track[scores.argmax(1)] == track).float().mean())


def skewness(unit_rows: Tensor) -> float:
    """Skewness of how often each row is among the ten nearest of the others."""
    scores = unit_rows @ unit_rows.T
    scores.fill_diagonal_(-2)
    nearest = scores.topk(min(OCCURRENCES, len(scores) - 1), 1).indices
    times = torch.bincount(nearest.flatten(), minlength=len(scores)).double()
    spread = times - times.mean()
    return float(spread.pow(3).mean() / times.std(correction=0).clamp(min=1e-9).pow(3))


def spearman(guess: Tensor, truth: Tensor, most: int) -> float:
    """Mean rank correlation of logits (n, labels) over the labels that the teacher is surest of."""
    sure = _support(truth).topk(min(most, truth.shape[1])).indices
    return float(rank_correlations(guess[:, sure], truth[:, sure]).mean())


def rank_correlations(guess: Tensor, truth: Tensor) -> Tensor:
    """Spearman's rho of each column of (n, labels): (labels,) float64."""
    return (_ranks(guess) * _ranks(truth)).sum(0)


def _support(logits: Tensor) -> Tensor:
    return logits.sigmoid().mean(0)


def _ranks(columns: Tensor) -> Tensor:
    """Ranks down each column, centred and of unit length."""
    order = columns.argsort(0).argsort(0).double()
    order -= order.mean(0)
    ranks: Tensor = order / order.norm(dim=0).clamp(min=1e-9)
    return ranks
