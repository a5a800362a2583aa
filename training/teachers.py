"""Those who know already: mn04 on whatever training makes; the slow ones once an excerpt.

mn04 (EfficientAT) hears spectrograms at every step. The Jamendo moods and MusiCNN need samples
and ten times its work: they are asked once about each excerpt, and what they say of it holds for
each of its windows. Each gives vectors of its own space; `geometry` puts the spaces side by side.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from embedder.excerpts import resample
from embedder.models import efficientat, jamendo
from embedder.models.registry import MN04, MOODS, PACKAGED, SEGUE1
from embedder.models.segue1 import folded_network
from embedder.models.torching import fold_batch_norms, load_state, place
from training import musicnn
from training.errors import TeacherError

MN04_WEIGHTS: Final = MN04.weights[0].file
JAMENDO_WEIGHTS: Final = MOODS.weights[0].file

#: What is said once an excerpt, and the weights that it takes.
_SLOW: Final = {
    "jamendo": JAMENDO_WEIGHTS,
    "moods": JAMENDO_WEIGHTS,
    "musicnn": musicnn.WEIGHTS,
}
#: Mel bands of mn04 above 8 kHz, which tell the encoder more than the music.
HIGH_BAND: Final = 102
#: MusiCNN hears this many pieces of three seconds, spread over an excerpt.
_PIECES: Final = 6


@dataclass(frozen=True, slots=True)
class Lesson:
    """What mn04 says of n windows: vectors (n, d) by space, and tag logits (n, 527)."""

    spaces: dict[str, Tensor]
    tags: Tensor


class Teacher:
    """Who is heard at every step, twice: on everything, and without what lies above 8 kHz."""

    def __init__(self, network: nn.Module) -> None:
        """`network`: spectrograms (n, 1, 128, frames) → vectors (n, d) and tag logits (n, 527)."""
        self._network = network

    @torch.no_grad()
    def __call__(self, mel: Tensor, *, low: bool = True) -> Lesson:
        """Spectrograms (n, 1, 128, frames)."""
        hidden, tags = self._network(mel.contiguous(memory_format=torch.channels_last))
        spaces = {"mn04": hidden}
        if low:
            deaf = mel.clone()
            deaf[:, :, HIGH_BAND:] = mel.amin((1, 2, 3), keepdim=True)
            deaf = deaf.contiguous(memory_format=torch.channels_last)
            spaces["mn04 low"] = self._network(deaf)[0]
        return Lesson(spaces, tags)

    def digest(self) -> str:
        """Equal for equal weights."""
        found = hashlib.blake2b(digest_size=16)
        for name, value in self._network.state_dict().items():
            found.update(name.encode() + value.contiguous().numpy().tobytes())
        return found.hexdigest()


def teacher_of(models: Path) -> Teacher:
    """mn04.

    Raises:
        TeacherError: when its weights are not there.
        WeightsError: when they cannot be read.
    """
    path = models / MN04_WEIGHTS
    if not path.exists():
        raise TeacherError(
            f"the teacher's weights are not there, {path}: fetch them from {MN04.weights[0].url}"
        )
    network = efficientat.MobileNetV3(0.4)
    load_state(network, path)
    return Teacher(place(fold_batch_norms(network), torch.device("cpu")))


def shipped_teacher() -> Teacher:
    """The segue-1 that comes with Segue, for who has no other weights."""
    return Teacher(_Shipped(folded_network(PACKAGED / SEGUE1[0].weights[0].file)))


class _Shipped(nn.Module):
    """segue-1 answering as mn04 does."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        heard = self.network(mel)
        return heard.vector, heard.tags


def slow_spaces(models: Path) -> frozenset[str]:
    """What `slow_lesson` will say: names of those whose weights are there."""
    return frozenset(name for name, file in _SLOW.items() if (models / file).exists())


def slow_lesson(sound: NDArray[np.float32], models: Path) -> dict[str, NDArray[np.float32]]:
    """What the others, where their weights are, say of an excerpt's samples (n,) at 32 kHz.

    "jamendo" (64,) and "moods" (56,) logits, means over beginning and end; "musicnn" (200,).
    """
    found: dict[str, NDArray[np.float32]] = {}
    asked = slow_spaces(models)
    with torch.inference_mode():
        if "jamendo" in asked:
            network, front_end = _jamendo(models)
            audio = torch.from_numpy(
                resample(sound, efficientat.SAMPLE_RATE_HZ, jamendo.SAMPLE_RATE_HZ)
            )
            ends = audio.unfold(0, min(len(audio), jamendo.N_SAMPLES), 1)[[0, -1]]
            hidden, scores = network(front_end(ends))
            found["jamendo"] = hidden.mean(0).numpy()
            found["moods"] = torch.logit(scores, 1e-6).mean(0).numpy()
        if "musicnn" in asked:
            audio = torch.from_numpy(resample(sound, efficientat.SAMPLE_RATE_HZ, musicnn.RATE_HZ))
            size = int(musicnn.WINDOW_S * musicnn.RATE_HZ)
            starts = np.linspace(0, len(audio) - size, _PIECES).astype(int)
            pieces = torch.stack([audio[start : start + size] for start in starts])
            found["musicnn"] = _musicnn(models)(pieces).mean(0).numpy()
    return found


@cache
def _jamendo(models: Path) -> tuple[jamendo.MoodNetwork, jamendo.FrontEnd]:
    network = jamendo.MoodNetwork()
    load_state(network, models / JAMENDO_WEIGHTS)
    return network.fold(), jamendo.FrontEnd()


@cache
def _musicnn(models: Path) -> musicnn.MusiCNN:
    network = musicnn.MusiCNN()
    load_state(network, models / musicnn.WEIGHTS)
    return network
