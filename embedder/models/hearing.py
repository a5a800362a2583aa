"""What a network says of a track's windows, made into a vector, tags and moods.

Two engines run segue-1 and give the same vectors (cosine above .9999): onnxruntime and torch. This
module knows neither; the mood head, 0.1 MB, is two products in numpy for both.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import numpy as np

from catalog.tracks import Analysis, Float32, Model
from embedder.errors import WeightsError
from embedder.models.tensors import read_tensors
from embedder.windows import WINDOW_S

if TYPE_CHECKING:  # it brings PyAV, which the probe of an engine does without
    from embedder.excerpts import Excerpts

SAMPLE_RATE_HZ: Final = 32_000
N_SAMPLES: Final = round(WINDOW_S * SAMPLE_RATE_HZ)


class Hearing(NamedTuple):
    """What the network says of n windows."""

    #: (n, 512), not normalised.
    vectors: Float32
    #: (n, 527) AudioSet logits.
    tags: Float32
    #: (n, 384): the trunk's mean over time and frequency, what the mood head takes.
    pooled: Float32


class Engine(Protocol):
    """What runs the network. `infer` may be called from several threads at once."""

    def infer(self, windows: Float32) -> Hearing:
        """Windows (n, 320000) at 32 kHz → what the network says of each."""
        ...


class MoodHead:
    """Pooled features → mood scores, by a linear layer, hardswish, and another.

    Raises:
        WeightsError: the file is missing, damaged, or holds something else.
    """

    def __init__(self, weights: Path) -> None:
        tensors = read_tensors(weights)
        try:
            self._into, self._into_bias = tensors["0.weight"].T, tensors["0.bias"]
            self._out, self._out_bias = tensors["2.weight"].T, tensors["2.bias"]
        except KeyError as error:
            raise WeightsError(f"weights {weights} hold no {error}: reinstall Segue") from error

    def scores(self, pooled: Float32) -> Float32:
        """Pooled features (n, 384) → scores (n, 56) in 0…1."""
        hidden: Float32 = pooled @ self._into + self._into_bias  # (n, 384) @ (384, 128)
        hidden *= np.clip(hidden / 6.0 + 0.5, 0.0, 1.0)
        logits: Float32 = hidden @ self._out + self._out_bias  # (n, 128) @ (128, 56)
        return sigmoid(logits)


class NetworkModel:
    """A loaded network: one pass over a track's windows gives all it says of it.

    `moods` is the mood head and whose scores it gives, None where it was left out.
    """

    def __init__(
        self, model: Model, engine: Engine, moods: tuple[Model, MoodHead] | None = None
    ) -> None:
        self.model = model
        self.engine = engine
        self._moods = moods

    def analyse(self, excerpts: Excerpts) -> tuple[Analysis, ...]:
        """Vector (512,) and AudioSet scores (527,); moods (56,). All are means over the windows."""
        heard = self.engine.infer(excerpts.at(SAMPLE_RATE_HZ))
        main = Analysis(self.model, heard.vectors.mean(0), sigmoid(heard.tags).mean(0))
        if self._moods is None:
            return (main,)
        model, head = self._moods
        return (main, Analysis(model, scores=head.scores(heard.pooled).mean(0)))


def sigmoid(logits: Float32) -> Float32:
    """Logits → probabilities, float32, without overflow."""
    # tanh saturates where exp overflows.
    scores: Float32 = 0.5 + 0.5 * np.tanh(0.5 * logits)
    return scores
