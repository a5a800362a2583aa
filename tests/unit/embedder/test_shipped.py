"""The weights in the package: whole, small, and giving what they gave when they were shipped."""

import numpy as np
import pytest

from catalog.tracks import Float32
from embedder.models.hearing import N_SAMPLES, SAMPLE_RATE_HZ, Hearing
from embedder.models.registry import PACKAGED, SEGUE1
from embedder.models.weights import state, verify
from tests.unit.embedder.sounds import music

#: Four megabytes, as promised.
MOST_BYTES = 4_000_000

#: The first numbers of the vectors of `sounds()`.
KNOWN = np.array(
    [
        [-0.1666, 0.1596, 0.0993, 0.4294, 0.3409, 0.0854, -0.6151, -0.5095],
        [-0.0882, -0.0472, -0.0082, 0.4211, 0.4033, -0.1620, -0.3935, -0.5351],
        [0.0750, -0.1652, 0.2879, 0.1663, 0.1501, 0.1987, -0.1675, -0.1758],
    ],
    np.float32,
)


def sounds() -> Float32:
    """Two pieces and noise, (3, 320000) float32 at 32 kHz."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, N_SAMPLES)
    return np.stack([music(1, 10, SAMPLE_RATE_HZ), music(2, 10, SAMPLE_RATE_HZ), noise]).astype(
        "f4"
    )


@pytest.fixture(scope="module")
def heard() -> Hearing:
    pytest.importorskip("onnxruntime")
    from embedder.models.onnxing import OnnxEngine

    return OnnxEngine(PACKAGED / "segue-1.onnx").infer(sounds())


def test_the_weights_are_whole_and_small() -> None:
    for one in SEGUE1:
        assert state(one.weights, PACKAGED) == "ready"
        verify(one.weights, PACKAGED)
    assert sum(path.stat().st_size for path in PACKAGED.iterdir()) <= MOST_BYTES


def test_vectors_are_those_that_were_shipped(heard: Hearing) -> None:
    np.testing.assert_allclose(heard.vectors[:, :8], KNOWN, rtol=1e-3, atol=1e-3)


def test_pieces_are_nearer_to_each_other_than_to_noise(heard: Hearing) -> None:
    unit = heard.vectors / np.linalg.norm(heard.vectors, axis=1, keepdims=True)
    one, other, noise = unit
    assert one @ other > max(one @ noise, other @ noise)


def extremes() -> Float32:
    """Silence, half a second that is repeated, and 24 dB over full scale, (3, 320000) at 32 kHz."""
    silence = np.zeros(N_SAMPLES, np.float32)
    short = np.resize(music(1, 1, SAMPLE_RATE_HZ)[: SAMPLE_RATE_HZ // 2], N_SAMPLES)
    loud = 16 * np.sign(music(2, 10, SAMPLE_RATE_HZ))
    return np.stack([silence, short, loud]).astype("f4")


def test_torch_gives_the_same_of_whatever_comes(heard: Hearing) -> None:
    pytest.importorskip("torch", reason="needs torch (make test TORCH=1)")
    from embedder.models.onnxing import OnnxEngine
    from embedder.models.segue1 import TorchEngine

    odd = OnnxEngine(PACKAGED / "segue-1.onnx").infer(extremes())
    both = np.concatenate([sounds(), extremes()])
    again = TorchEngine(PACKAGED / "segue-1.safetensors", device="cpu").infer(both)
    for known, more, theirs in zip(heard, odd, again, strict=True):
        mine = np.concatenate([known, more])
        cosine = (mine * theirs).sum(1) / np.linalg.norm(mine, axis=1)
        np.testing.assert_array_less(0.9999, cosine / np.linalg.norm(theirs, axis=1))
