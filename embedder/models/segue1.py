"""segue-1 in torch: a track's vector, its 527 tags and its 56 moods in one pass.

Our own model, trained by `training/` (docs/models/segue-1.md). The trunk is EfficientAT's
MobileNetV3 and starts from mn04's weights, published under MIT; the heads are ours. The mood head
is a module and a file of its own, so that it can be left out.

A checkpoint is what `torch.save` made of {"network": state of `Segue1Network`, "moods": state of
`MoodHead`, or None}; further keys are the trainer's own. All sizes are read from its tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from catalog.tracks import Float32
from embedder.errors import WeightsError
from embedder.models.efficientat import (
    BATCH,
    BATCH_CUDA,
    N_TAGS,
    ROWS,
    FrontEnd,
    trunk,
    trunk_channels,
)
from embedder.models.hearing import Hearing
from embedder.models.tensors import read_tensors
from embedder.models.torching import device_of, fold_batch_norms, place

#: What the published network has; another is read from its checkpoint.
WIDTH = 0.4
HIDDEN = 512
DIM = 512
MOOD_HIDDEN = 128
N_MOODS = 56


class Heard(NamedTuple):
    """What the network says of each window."""

    #: (batch, dim), not normalised.
    vector: Tensor
    #: (batch, 527) AudioSet logits.
    tags: Tensor
    #: (batch, 384): the trunk's mean over time and frequency, what the mood head takes.
    pooled: Tensor


class Segue1Network(nn.Module):
    """Log-mel spectrogram in; vector, tag logits and pooled features out."""

    def __init__(
        self, width: float = WIDTH, *, hidden: int = HIDDEN, dim: int = DIM, n_tags: int = N_TAGS
    ) -> None:
        super().__init__()
        self.features = trunk(width)
        self.head = nn.Sequential(
            nn.Linear(trunk_channels(width), hidden), nn.Hardswish(), nn.Linear(hidden, dim)
        )
        self.tags = nn.Linear(hidden, n_tags)

    def forward(self, mel: Tensor) -> Heard:
        """(batch, 1, 128, frames), as `efficientat.FrontEnd` makes it → `Heard`."""
        pooled = self.features(mel).mean((2, 3))
        hidden = self.head[1](self.head[0](pooled))  # (batch, 384) @ (384, 512)
        return Heard(self.head[2](hidden), self.tags(hidden), pooled)


class MoodHead(nn.Sequential):
    """Pooled features (batch, 384) → 56 mood logits (batch, 56)."""

    def __init__(
        self, channels: int = 384, *, hidden: int = MOOD_HIDDEN, n_moods: int = N_MOODS
    ) -> None:
        super().__init__(nn.Linear(channels, hidden), nn.Hardswish(), nn.Linear(hidden, n_moods))


def network(width: float = WIDTH) -> Segue1Network:
    """A fresh network with its batch norms, ready to be trained."""
    return Segue1Network(width)


def network_of(state: Mapping[str, Tensor]) -> Segue1Network:
    """A network of the sizes that a state dict has, filled with it, in evaluation mode.

    Raises:
        RuntimeError, KeyError: when it is the state of something else.
    """
    filled = _shaped_like(state)
    filled.load_state_dict(state, strict=True)
    return filled.eval()


def _shaped_like(state: Mapping[str, Tensor]) -> Segue1Network:
    narrowest = state[f"features.{len(ROWS) + 1}.0.weight"].shape[1]
    return Segue1Network(
        narrowest / ROWS[-1].out,
        hidden=state["head.0.weight"].shape[0],
        dim=state["head.2.weight"].shape[0],
        n_tags=state["tags.weight"].shape[0],
    )


def mood_head_of(state: Mapping[str, Tensor]) -> MoodHead:
    """A mood head of the sizes that a state dict has, filled with it, in evaluation mode.

    Raises:
        RuntimeError, KeyError: when it is the state of something else.
    """
    hidden, channels = state["0.weight"].shape
    filled = MoodHead(channels, hidden=hidden, n_moods=state["2.weight"].shape[0])
    filled.load_state_dict(state, strict=True)
    return filled.eval()


def folded_network(weights: Path) -> Segue1Network:
    """The network of a file that `training export` wrote: batch norms folded, to be asked only.

    Raises:
        WeightsError: the file is missing, damaged, or holds something else.
    """
    state = {name: torch.from_numpy(one) for name, one in read_tensors(weights).items()}
    try:
        folded = _shaped_like(state).eval()
        fold_batch_norms(folded)
        folded.load_state_dict(state, strict=True)
    except (KeyError, RuntimeError) as error:
        what = str(error).splitlines()[0]
        raise WeightsError(f"weights {weights} do not fit ({what}): reinstall Segue") from error
    return folded


class TorchEngine:
    """The network of a file that `training export` wrote, batch norms folded, on any device.

    Raises:
        ModelError: CUDA is asked for and not there.
        WeightsError: the file is missing, damaged, or holds something else.
    """

    def __init__(self, weights: Path, *, device: str) -> None:
        folded = folded_network(weights)
        self._device = device_of(device)
        torch.set_num_threads(1)  # tracks are heard side by side, a core each
        torch.backends.cudnn.allow_tf32 = False  # ten bits are not enough for equal vectors
        self._network = place(folded, self._device)
        self._front_end = FrontEnd().to(self._device)
        self._batch = BATCH_CUDA if self._device.type == "cuda" else BATCH

    def infer(self, windows: Float32) -> Hearing:
        """Windows (n, 320000) at 32 kHz → what the network says of each."""
        parts: list[Heard] = []
        with torch.inference_mode():
            for batch in torch.split(torch.from_numpy(windows), self._batch):
                mel = self._front_end(batch.to(self._device))
                parts.append(self._network(mel.contiguous(memory_format=torch.channels_last)))
            return Hearing(
                *(torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True))
            )
