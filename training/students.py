"""The candidates that were compared; docs/models/segue-1.md has what became of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from embedder.models import efficientat
from embedder.models.registry import PACKAGED, SEGUE1
from embedder.models.segue1 import MoodHead, Segue1Network, folded_network
from embedder.models.torching import fold_batch_norms, load_state
from training.teachers import MN04_WEIGHTS
from training.validation import Ears


class Student(nn.Module):
    """A trunk with the heads of segue-1: windows' spectrograms in, vector, tags and moods out."""

    def __init__(self, trunk: nn.Sequential | None = None) -> None:
        super().__init__()
        self.network = Segue1Network()
        if trunk is not None:
            self.network.features = trunk
        self.moods = MoodHead()

    def fold(self) -> Student:
        """Make each batch norm part of the convolution before it, for good.

        Norms that came trained keep their statistics anyway: this is the same function, learnt
        from in a quarter less time.
        """
        fold_batch_norms(self.network.eval().features)
        return self

    @property
    def _is_folded(self) -> bool:
        return not any(isinstance(part, nn.BatchNorm2d) for part in self.network.modules())

    def network_state(self) -> dict[str, Tensor]:
        """The network's state dict with its batch norms, whether they were folded or not."""
        state = self.network.state_dict()
        if not self._is_folded:
            return state
        whole = Segue1Network()
        for name, module in whole.named_modules():
            if not isinstance(module, nn.BatchNorm2d) or f"{name}.weight" in state:
                continue
            stem, _, place = name.rpartition(".")
            bias = state.pop(f"{stem}.{int(place) - 1}.bias")
            module.weight.data.fill_((1 + module.eps) ** 0.5)  # of a variance of one
            module.bias.data.copy_(bias)
            state |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
        return state

    def load_network(self, state: Mapping[str, Tensor]) -> None:
        """Take a network's state dict with its batch norms; a folded student folds them."""
        whole = Segue1Network() if self._is_folded else self.network
        whole.load_state_dict(state)
        if self._is_folded:
            fold_batch_norms(whole.eval().features)
            self.network.load_state_dict(whole.state_dict())

    def forward(self, mel: Tensor, *, moods_teach: bool) -> tuple[Tensor, Tensor, Tensor]:
        """(n, 1, 128, frames) → vectors (n, 512), tag logits (n, 527), mood logits (n, 56).

        Where `moods_teach` is false the moods read what the trunk gives and leave no trace in it.
        """
        vector, tags, pooled = self.network(mel)
        moods = self.moods(pooled if moods_teach else pooled.detach())
        return vector.float(), tags.float(), moods.float()


def started_from_mn04(models: Path | None) -> Student:
    """MobileNetV3 x 0.4 that knows AudioSet already (EfficientAT mn04, MIT); None: not filled."""
    known = efficientat.MobileNetV3(0.4)
    student = Student(known.features)
    if models is not None:
        load_state(known, models / MN04_WEIGHTS)
        student.network.head[0].load_state_dict(known.classifier[2].state_dict())
        student.network.tags.load_state_dict(known.classifier[5].state_dict())
    return student.fold()


def started_from_segue1(models: Path | None) -> Student:
    """The trunk of the segue-1 that comes with Segue; its vector and tags are learnt anew."""
    student = Student().fold()
    if models is not None:
        shipped = folded_network(PACKAGED / SEGUE1[0].weights[0].file)
        student.network.load_state_dict(shipped.state_dict())
        last: Any = student.network.head[2]
        last.reset_parameters()
        student.network.tags.reset_parameters()
    return student


def mobilenet_from_scratch(_: Path | None) -> Student:
    """The same network, knowing nothing."""
    return Student()


class _ConvNextBlock(nn.Module):
    """Liu et al., "A ConvNet for the 2020s", 2022, with batch norm: it folds at inference."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.filter = nn.Conv2d(channels, channels, 7, padding=3, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.wide = nn.Conv2d(channels, 4 * channels, 1)
        self.narrow = nn.Conv2d(4 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.filter(x))
        found: Tensor = x + self.narrow(functional.hardswish(self.wide(y)))
        return found


def convnext_from_scratch(_: Path | None) -> Student:
    """A small ConvNeXt: stem of 4 x 4, stages of 24, 48, 96 and 192 channels, 384 out."""
    layers: list[nn.Module] = []
    into, scale = 1, 4
    for channels, depth in ((24, 2), (48, 2), (96, 4), (192, 2)):
        layers += [
            nn.Conv2d(into, channels, scale, stride=scale, bias=False),
            nn.BatchNorm2d(channels),
        ]
        layers += [_ConvNextBlock(channels) for _ in range(depth)]
        into, scale = channels, 2
    layers += [nn.Conv2d(into, 384, 1, bias=False), nn.BatchNorm2d(384), nn.Hardswish()]
    return Student(nn.Sequential(*layers))


CANDIDATES: Final = {
    "mn04": started_from_mn04,
    "segue-1": started_from_segue1,
    "mobilenet": mobilenet_from_scratch,
    "convnext": convnext_from_scratch,
}


def candidate(name: str) -> Callable[[Path | None], Student]:
    """What makes a student by this name, from the folder of weights or (None) to be filled.

    Raises:
        ValueError: when there is none.
    """
    if name not in CANDIDATES:
        raise ValueError(f"no candidate is called {name!r}: there are {', '.join(CANDIDATES)}")
    return CANDIDATES[name]


def ears(student: Student, *, moods: bool = True) -> Ears:
    """A student as `Validation` asks it; without moods where nobody taught it any."""

    def hear(mel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        vectors, tags, felt = student(
            mel.contiguous(memory_format=torch.channels_last), moods_teach=False
        )
        return vectors, tags, felt if moods else felt[:, :0]

    return hear


def channels_last(student: Student) -> Student:
    """CPUs convolve so twice as fast."""
    anyhow: Any = student
    anyhow.to(memory_format=torch.channels_last)
    return student


def start_at(layer: Any, truth: Tensor) -> None:
    """Let a new linear layer say the mean of logits (n, labels), NaN where unknown, at first."""
    layer.weight.mul_(0.1)
    layer.bias.copy_(truth.nan_to_num().mean(0))


@dataclass(frozen=True, slots=True)
class Averaged:
    """A running mean of a student's weights (Polyak), which is what is kept in the end."""

    state: Mapping[str, Tensor]

    @classmethod
    def of(cls, student: nn.Module) -> Averaged:
        return cls({name: value.detach().clone() for name, value in student.state_dict().items()})

    @torch.no_grad()
    def follow(self, student: nn.Module, decay: float) -> None:
        """Move each number a little towards the student's; counters are copied."""
        for name, value in student.state_dict().items():
            mine = self.state[name]
            if mine.dtype.is_floating_point:
                mine.lerp_(value, 1 - decay)
            else:
                mine.copy_(value)
