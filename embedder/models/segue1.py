"""segue-1 in torch: a track's vector, its 527 tags and its 56 moods in one pass.

Our own model, trained by `training/` (docs/models/segue-1.md). The trunk is EfficientAT's
MobileNetV3 and starts from mn04's weights, published under MIT; the heads are ours. The mood head
is a module and a file of its own, so that it can be left out.

A checkpoint is what `torch.save` made of {"network": state of `Segue1Network`, "moods": state of
`MoodHead`, or None}; further keys are the trainer's own. All sizes are read from its tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from embedder.models.efficientat import N_TAGS, ROWS, trunk, trunk_channels

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
    narrowest = state[f"features.{len(ROWS) + 1}.0.weight"].shape[1]
    filled = Segue1Network(
        narrowest / ROWS[-1].out,
        hidden=state["head.0.weight"].shape[0],
        dim=state["head.2.weight"].shape[0],
        n_tags=state["tags.weight"].shape[0],
    )
    filled.load_state_dict(state, strict=True)
    return filled.eval()


def mood_head_of(state: Mapping[str, Tensor]) -> MoodHead:
    """A mood head of the sizes that a state dict has, filled with it, in evaluation mode.

    Raises:
        RuntimeError, KeyError: when it is the state of something else.
    """
    hidden, channels = state["0.weight"].shape
    filled = MoodHead(channels, hidden=hidden, n_moods=state["2.weight"].shape[0])
    filled.load_state_dict(state, strict=True)
    return filled.eval()
