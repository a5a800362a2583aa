"""The models with weights, against outputs of the published code."""

from pathlib import Path

import numpy as np
import pytest

from catalog.tracks import Float32
from embedder.errors import WeightsError
from embedder.excerpts import Excerpts
from embedder.models.hearing import sigmoid
from embedder.models.registry import MN04, MOODS, PACKAGED, load
from tests.unit.embedder.sounds import music

torch = pytest.importorskip("torch", reason="needs torch (make test TORCH=1)")


def signal(rate_hz: int, seconds: float) -> Float32:
    """The signal that golden.npz was made from."""
    t = np.arange(round(rate_hz * seconds)) / rate_hz
    beat = np.sin(2 * np.pi * 2 * t) > 0
    sound = 0.3 * np.sin(2 * np.pi * 220 * t) + 0.2 * np.sin(2 * np.pi * (440 + 30 * t) * t)
    return (sound + 0.1 * np.sin(2 * np.pi * 1760 * t) * beat).astype(np.float32)


def test_mn04_matches_the_published_outputs(shared_models: Path) -> None:
    from embedder.models.efficientat import EfficientAT, FrontEnd

    golden = np.load(shared_models / "golden.npz")
    sound = torch.from_numpy(signal(32_000, 10))[None]
    mel = FrontEnd()(sound)
    np.testing.assert_allclose(mel[0, 0].numpy(), golden["mn04_logmel"], atol=1e-3)
    model = load(MN04, shared_models, "cpu", "torch")
    assert isinstance(model, EfficientAT)
    hidden, logits = model.infer(sound)
    np.testing.assert_allclose(hidden[0].numpy(), golden["mn04_hardswish512"], atol=1e-3)
    np.testing.assert_allclose(logits[0].numpy(), golden["mn04_logits527"], atol=2e-3)


def test_mn04_by_onnxruntime_says_the_same_without_torch(shared_models: Path) -> None:
    pytest.importorskip("onnxruntime")
    from embedder.models.hearing import NetworkModel

    golden = np.load(shared_models / "golden.npz")
    model = load(MN04, shared_models, "cpu")
    assert isinstance(model, NetworkModel)
    heard = model.engine.infer(signal(32_000, 10)[None])
    right = golden["mn04_hardswish512"]
    cosine = heard.vectors[0] @ right / np.linalg.norm(heard.vectors[0]) / np.linalg.norm(right)
    assert cosine > 0.9998
    np.testing.assert_allclose(sigmoid(heard.tags[0]), sigmoid(golden["mn04_logits527"]), atol=0.02)


def test_other_weights_in_the_graph_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from embedder.models.converting import open_converted
    from embedder.models.efficientat import MobileNetV3

    network, graph = PACKAGED / "segue-1.safetensors", PACKAGED / "segue-1.onnx"
    (tmp_path / "text.pt").write_bytes(b"not weights")
    torch.save(MobileNetV3(0.2).state_dict(), tmp_path / "narrow.pt")
    for name in ("text.pt", "narrow.pt", "none.pt"):
        with pytest.raises(WeightsError, match=name):
            open_converted(tmp_path / name, network, graph)


def test_weights_of_any_kind_say_the_same_by_either_engine(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from embedder.models.converting import open_converted
    from embedder.models.efficientat import EfficientAT, MobileNetV3

    torch.manual_seed(1)
    network = MobileNetV3(0.4)
    torch.save(network.state_dict(), tmp_path / "any.pt")
    light = open_converted(
        tmp_path / "any.pt", PACKAGED / "segue-1.safetensors", PACKAGED / "segue-1.onnx"
    )
    known = EfficientAT(MN04.model, tmp_path / "any.pt", width=0.4, device="cpu")
    sound = signal(32_000, 10)[None]
    hidden, logits = known.infer(torch.from_numpy(sound))
    heard = light.infer(sound)
    np.testing.assert_allclose(heard.vectors, hidden.numpy(), atol=0.02)
    np.testing.assert_allclose(heard.tags, logits.numpy(), atol=0.02)


def test_moods_match_the_published_outputs(shared_models: Path) -> None:
    from embedder.models.jamendo import FrontEnd, JamendoMoods

    golden = np.load(shared_models / "golden.npz")
    sound = torch.from_numpy(signal(12_000, 30))[None]
    decibels = FrontEnd()(sound)
    np.testing.assert_allclose(decibels[0, 0].numpy(), golden["jamendo_db_mel"], atol=1e-3)
    model = load(MOODS, shared_models, "cpu")
    assert isinstance(model, JamendoMoods)
    hidden, scores = model.infer(sound)
    np.testing.assert_allclose(hidden[0].numpy(), golden["jamendo_hidden64"], atol=1e-4)
    np.testing.assert_allclose(scores[0].numpy(), golden["jamendo_moods56"], atol=1e-5)


@pytest.mark.parametrize("seconds", [1, 4, 10])
def test_analyses_have_the_promised_shapes(seconds: float, shared_models: Path) -> None:
    excerpts = Excerpts(22_050, seconds, (music(3, seconds),))
    (heard,) = load(MN04, shared_models, "cpu").analyse(excerpts)
    assert heard.vector is not None
    assert heard.scores is not None
    assert heard.vector.shape == (512,)
    assert heard.scores.shape == (527,)
    assert 0 <= heard.scores.min() < heard.scores.max() <= 1
    (moods,) = load(MOODS, shared_models, "cpu").analyse(excerpts)
    assert moods.vector is None
    assert moods.scores is not None
    assert moods.scores.shape == (56,)
    assert 0 < moods.scores.min() < moods.scores.max() < 1


def test_the_vector_is_the_mean_over_windows_whatever_the_batch(shared_models: Path) -> None:
    sounds = tuple(music(seed, 10) for seed in range(6))
    model = load(MN04, shared_models, "cpu")
    together = model.analyse(Excerpts(22_050, 60, sounds))[0].vector
    alone = [model.analyse(Excerpts(22_050, 10, (sound,)))[0].vector for sound in sounds]
    assert together is not None
    np.testing.assert_allclose(together, np.mean(alone, axis=0), atol=1e-3)


@pytest.mark.parametrize(("width", "hidden", "millions"), [(0.4, 512, 0.98), (1.0, 1280, 4.88)])
def test_the_network_scales_with_width(width: float, hidden: int, millions: float) -> None:
    from embedder.models.efficientat import MobileNetV3

    network = MobileNetV3(width).eval()
    with torch.inference_mode():
        features, logits = network(torch.zeros(1, 1, 128, 200))
    assert features.shape == (1, hidden)
    assert logits.shape == (1, 527)
    count = sum(one.numel() for one in network.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.02)


def test_what_is_no_state_dict_is_refused_and_not_run(tmp_path: Path) -> None:
    import pickle

    from embedder.models.efficientat import MobileNetV3
    from embedder.models.torching import load_state

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, ("raise SystemExit('unpickled')",))

    for name, content in (("evil.pt", pickle.dumps(Evil())), ("text.pt", b"not weights")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match="segue models pull"):
            load_state(MobileNetV3(0.4), tmp_path / name)
    torch.save({"classifier.2.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        load_state(MobileNetV3(0.4), tmp_path / "other.pt")
