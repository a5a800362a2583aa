"""segue-1 as it is shipped, and what it says when it is damaged.

A small network of random weights stands for the trained one: the same code writes and reads it.
"""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalog.library import Library
from catalog.settings import LibrarySettings
from catalog.snapshot import open_snapshot
from catalog.tracks import Float32
from embedder import publish
from embedder.errors import ModelError, WeightsError
from embedder.excerpts import Excerpts
from embedder.job import embed
from embedder.models import entry, registry
from embedder.models.entry import Entry, read_labels
from embedder.models.hearing import N_SAMPLES, NetworkModel
from embedder.models.registry import choose_models, load, load_chosen, segue1_entries
from embedder.models.weights import verify
from embedder.settings import EmbeddingSettings
from tests.unit.embedder.sounds import music, write

torch = pytest.importorskip("torch", reason="needs torch (make test TORCH=1)")
pytest.importorskip("onnx", reason="needs onnx (make test TORCH=1)")
pytest.importorskip("onnxruntime")

FILES = ["manifest.json", "moods.safetensors", "segue-1.onnx", "segue-1.safetensors"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from embedder.models.efficientat import FrontEnd
    from embedder.models.segue1 import MoodHead, Segue1Network

    torch.manual_seed(1)
    network = Segue1Network(0.2, hidden=64)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # one batch tells it all
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.5, 0.5)
    with torch.no_grad():
        network(FrontEnd()(torch.from_numpy(np.stack([*sounds().values()][:4]))))
    network.eval()
    moods = MoodHead(network.head[0].in_features, hidden=16)
    path = tmp_path_factory.mktemp("checkpoint") / "small.pt"
    torch.save({"network": network.state_dict(), "moods": moods.state_dict(), "step": 7}, path)
    return path


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from training.export import export

    folder = tmp_path_factory.mktemp("segue_1")
    export(checkpoint, folder)
    return folder


@pytest.fixture
def damaged(exported: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    folder = tmp_path / "segue_1"
    folder.mkdir()
    for file in FILES:
        (folder / file).write_bytes((exported / file).read_bytes())
    return folder


@pytest.fixture
def shipped(exported: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Entry, Entry]:
    """The registry as it is when the exported files are part of the package."""
    network, moods = segue1_entries(exported)
    others = (one for one in registry.ENTRIES if not one.name.startswith("segue-1"))
    entries = (network, moods, *others)
    for module in (registry, publish):
        monkeypatch.setattr(module, "ENTRIES", entries)
    return network, moods


def sounds() -> dict[str, Float32]:
    random = np.random.default_rng(0)
    loud = np.resize(music(3, 10, 32_000), N_SAMPLES)
    return {
        "music": loud,
        "other music": np.resize(music(4, 10, 32_000), N_SAMPLES),
        "a second": np.resize(music(5, 1, 32_000), N_SAMPLES),
        "quiet": loud * np.float32(1e-4),
        "clipped": np.clip(8 * loud, -1, 1),
        "beyond full scale": 30 * loud,
        "noise": random.uniform(-1, 1, N_SAMPLES).astype(np.float32),
        "silence": np.zeros(N_SAMPLES, np.float32),
        "click": np.eye(1, N_SAMPLES, N_SAMPLES // 2, dtype=np.float32)[0],
    }


def test_two_engines_give_the_same(exported: Path) -> None:
    from embedder.models.onnxing import OnnxEngine
    from embedder.models.segue1 import TorchEngine

    windows = np.stack(list(sounds().values()))
    light = OnnxEngine(exported / "segue-1.onnx").infer(windows)
    heavy = TorchEngine(exported / "segue-1.safetensors", device="cpu").infer(windows)
    assert light.vectors.shape == (len(windows), 512)
    assert light.tags.shape == (len(windows), 527)
    for mine, theirs in zip(light, heavy, strict=True):
        assert mine.dtype == theirs.dtype == np.float32
        assert np.isfinite(mine).all()
        cosine = (mine * theirs).sum(1) / np.linalg.norm(mine, axis=1)
        np.testing.assert_array_less(0.9999, cosine / np.linalg.norm(theirs, axis=1))
        # Not because all sounds are alike: without what they share they agree too.
        np.testing.assert_allclose(mine, theirs, atol=1e-2 * float(theirs.std(0).max()))


def test_half_precision_and_folding_change_little(exported: Path, checkpoint: Path) -> None:
    from embedder.models.efficientat import FrontEnd
    from embedder.models.segue1 import TorchEngine
    from training.export import read_checkpoint

    network, _ = read_checkpoint(checkpoint)
    windows = np.stack([sounds()["music"], sounds()["noise"]])
    with torch.inference_mode():
        exact = network(FrontEnd()(torch.from_numpy(windows))).vector.numpy()
    shipped = TorchEngine(exported / "segue-1.safetensors", device="cpu").infer(windows).vectors
    cosine = (exact * shipped).sum(1) / np.linalg.norm(exact, axis=1)
    np.testing.assert_array_less(0.999, cosine / np.linalg.norm(shipped, axis=1))


def test_an_export_can_be_repeated_byte_for_byte(
    exported: Path, checkpoint: Path, tmp_path: Path
) -> None:
    from training.export import export

    (tmp_path / "moods.safetensors").write_bytes(b"of another model")
    export(checkpoint, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    for file in FILES:
        assert (tmp_path / file).read_bytes() == (exported / file).read_bytes()


def test_a_checkpoint_without_moods_gives_no_mood_head(checkpoint: Path, tmp_path: Path) -> None:
    from training.export import export

    state = torch.load(checkpoint, weights_only=True)
    torch.save({**state, "moods": None}, tmp_path / "without.pt")
    export(tmp_path / "without.pt", tmp_path / "out")
    assert "moods.safetensors" not in [path.name for path in (tmp_path / "out").iterdir()]
    assert [one.name for one in segue1_entries(tmp_path / "out")] == ["segue-1"]


@pytest.mark.parametrize("state", [{}, {"network": {}}, {"network": {"a": 1}, "moods": None}, 3])
def test_what_is_no_checkpoint_is_not_exported(state: Any, tmp_path: Path) -> None:
    from training.errors import CheckpointError
    from training.export import export

    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"other\.pt is no checkpoint"):
        export(tmp_path / "other.pt", tmp_path / "out")


def test_an_export_that_fails_leaves_what_was_there(
    exported: Path, checkpoint: Path, damaged: Path
) -> None:
    from training.errors import CheckpointError
    from training.export import export

    state = torch.load(checkpoint, weights_only=True)
    state["network"]["head.2.bias"][0] = 1e6
    torch.save(state, damaged.parent / "large.pt")
    with pytest.raises(CheckpointError, match=r"large\.pt cannot be exported: .*head\.2\.bias"):
        export(damaged.parent / "large.pt", damaged)
    assert sorted(path.name for path in damaged.parent.iterdir()) == ["large.pt", damaged.name]
    for file in FILES:
        assert (damaged / file).read_bytes() == (exported / file).read_bytes()


def test_one_pass_gives_vector_tags_and_moods(exported: Path) -> None:
    network, moods = segue1_entries(exported)
    windows = tuple(music(seed, 10, 44_100) for seed in range(3))
    excerpts = Excerpts(44_100, 90.0, windows)
    heard, mood = load(network, exported, "cpu", riders=(moods,)).analyse(excerpts)
    assert (heard.model, mood.model) == (network.model, moods.model)
    assert heard.vector is not None
    assert heard.scores is not None
    assert mood.scores is not None
    assert (heard.vector.shape, heard.scores.shape) == ((512,), (527,))
    assert (mood.vector, mood.scores.shape) == (None, (56,))
    for scores in (heard.scores, mood.scores):
        assert 0.0 < scores.min() < scores.max() < 1.0
    # Means over the windows, in whatever company.
    model = load(network, exported, "cpu")
    alone = [model.analyse(Excerpts(44_100, 10.0, (window,)))[0].vector for window in windows]
    np.testing.assert_allclose(heard.vector, np.mean(alone, axis=0), atol=1e-5)


def test_moods_are_not_loaded_alone(exported: Path) -> None:
    _, moods = segue1_entries(exported)
    with pytest.raises(ModelError, match="comes with segue-1"):
        load(moods, exported, "cpu")


def test_moods_by_numpy_are_those_that_were_trained(exported: Path, checkpoint: Path) -> None:
    from embedder.models.hearing import MoodHead
    from training.export import read_checkpoint

    _, trained = read_checkpoint(checkpoint)
    assert trained is not None
    pooled = np.random.default_rng(1).standard_normal((5, trained[0].in_features), np.float32)
    with torch.inference_mode():
        expected = torch.sigmoid(trained(torch.from_numpy(pooled))).numpy()
    scores = MoodHead(exported / "moods.safetensors").scores(pooled)
    np.testing.assert_allclose(scores, expected, atol=1e-3)


def test_the_version_is_the_networks_with_or_without_moods(damaged: Path) -> None:
    network, moods = segue1_entries(damaged)
    assert network.version.startswith(f"segue-1-{network.weights[0].sha256[:8]}-w6x10-d")
    assert moods.version.startswith(f"segue-1-moods-{network.weights[0].sha256[:8]}-")
    assert network.packaged == damaged
    (damaged / "moods.safetensors").unlink()
    assert segue1_entries(damaged)[0].model == network.model


def test_it_is_chosen_with_its_moods(
    shipped: tuple[Entry, Entry], exported: Path, tmp_path: Path
) -> None:
    choice = choose_models(EmbeddingSettings(), tmp_path)
    assert choice.entries == shipped
    assert choice.reason == "model segue-1 with segue-1-moods: it is part of Segue"
    (model,) = load_chosen(choice, EmbeddingSettings(device="cpu"), tmp_path)
    assert isinstance(model, NetworkModel)


@pytest.mark.parametrize(
    ("engine", "kind"), [("auto", "OnnxEngine"), ("onnx", "OnnxEngine"), ("torch", "TorchEngine")]
)
def test_an_engine_can_be_chosen(engine: str, kind: str, exported: Path, tmp_path: Path) -> None:
    model = load(segue1_entries(exported)[0], tmp_path, "cpu", engine)
    assert isinstance(model, NetworkModel)
    assert type(model.engine).__name__ == kind


def test_auto_takes_cuda_where_there_is_one_and_onnxruntime_elsewhere(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "cuda_there", lambda: True)
    for device, engine, kind in (
        ("auto", "auto", "TorchEngine"),
        ("auto", "onnx", "OnnxEngine"),
        ("cpu", "auto", "OnnxEngine"),
    ):
        model = load(segue1_entries(exported)[0], tmp_path, device, engine)
        assert isinstance(model, NetworkModel)
        assert type(model.engine).__name__ == kind


def test_without_an_engine_it_gives_way_unless_that_was_asked_for(
    shipped: tuple[Entry, Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry.importlib.util, "find_spec", lambda name: None)
    choice = choose_models(EmbeddingSettings(), tmp_path)
    assert choice.main.name == "timbre"
    assert "onnxruntime or torch is not installed (pip install -r requirements/embed.txt)" in (
        choice.reason
    )
    with pytest.raises(ModelError, match=r"torch is not installed .*requirements/torch"):
        choose_models(EmbeddingSettings(engine="torch"), tmp_path)


def test_the_light_engine_loads_no_torch(exported: Path) -> None:
    program = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from embedder.models.registry import load, segue1_entries\n"
        "from embedder.excerpts import Excerpts\n"
        f"folder = Path({str(exported)!r})\n"
        "network, moods = segue1_entries(folder)\n"
        "model = load(network, folder, 'auto', 'auto', (moods,))\n"
        "model.analyse(Excerpts(32_000, 1.0, (np.ones(32_000, np.float32),)))\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_wheel_without_its_weights_says_so(damaged: Path, tmp_path: Path) -> None:
    for file in FILES:
        (damaged / file).unlink()
    (network,) = segue1_entries(damaged)
    with pytest.raises(WeightsError, match=rf"weights are not in {damaged} \(reinstall Segue\)"):
        load(network, tmp_path, "cpu")


def test_one_file_stripped_or_cut_short_is_named(
    damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, moods = segue1_entries(damaged)
    monkeypatch.setattr(registry, "ENTRIES", (network, moods))
    weights = damaged / "segue-1.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1000])
    with pytest.raises(WeightsError, match=r"wrong size in .* \(reinstall Segue\)"):
        choose_models(EmbeddingSettings(), tmp_path)
    weights.write_bytes(bytes(len(whole)))
    with pytest.raises(WeightsError, match=r"have sha256 .* reinstall Segue"):
        load(network, tmp_path, "cpu")
    weights.write_bytes(whole)
    moods_file = damaged / "moods.safetensors"
    moods_file.write_bytes(moods_file.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match=r"segue-1-moods cannot run: .* wrong size"):
        choose_models(EmbeddingSettings(), tmp_path)
    moods_file.unlink()
    choice = choose_models(EmbeddingSettings(), tmp_path)
    assert choice.entries == (network,)
    assert choice.reason.endswith("without segue-1-moods, whose weights are not there")


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"dim": 512, "files": {"a": {}}}'])
def test_a_manifest_that_tells_nothing_is_named(
    content: str | None, damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = damaged / "manifest.json"
    manifest.unlink()
    if content is not None:
        manifest.write_text(content)
    entries = segue1_entries(damaged)
    monkeypatch.setattr(registry, "ENTRIES", entries)
    with pytest.raises(WeightsError, match=r"manifest\.json is missing or damaged \(reinstall"):
        choose_models(EmbeddingSettings(), tmp_path)
    with pytest.raises(WeightsError, match=r"manifest\.json is missing or damaged"):
        verify(entries[0].weights, damaged)


def test_labels_that_were_stripped_are_named() -> None:
    with pytest.raises(WeightsError, match=r"nothing\.txt cannot be read .* reinstall Segue"):
        read_labels("nothing.txt")


def test_engines_refuse_what_is_damaged_by_themselves(damaged: Path) -> None:
    from embedder.models.onnxing import OnnxEngine
    from embedder.models.segue1 import TorchEngine

    weights, graph = damaged / "segue-1.safetensors", damaged / "segue-1.onnx"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match=r"segue-1\.onnx cannot be loaded"):
        OnnxEngine(graph)
    with pytest.raises(WeightsError, match="damaged"):
        TorchEngine(weights, device="cpu")
    with pytest.raises(WeightsError, match="do not fit"):
        TorchEngine(damaged / "moods.safetensors", device="cpu")
    graph.write_bytes(graph.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match=r"segue-1\.onnx cannot be loaded"):
        OnnxEngine(graph)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("raise ImportError('libfoo.so.1: cannot open')", r"libfoo\.so\.1"),
        ("raise ImportError", "ImportError"),
        ("raise SystemError('initialization failed')", "initialization failed"),
        ("", "module 'onnxruntime' has no attribute"),
    ],
)
def test_an_onnxruntime_that_does_not_load_is_named(
    broken: str, told: str, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # so that what comes now is undone, too
    monkeypatch.delitem(sys.modules, "onnxruntime")
    (tmp_path / "onnxruntime.py").write_text(f"{broken}\n")
    monkeypatch.syspath_prepend(tmp_path)
    network, _ = segue1_entries(exported)
    with pytest.raises(ModelError, match=rf"does not load \({told}.* embedding\.engine .*timbre"):
        load(network, tmp_path, "cpu")


def test_an_onnxruntime_that_the_processor_does_not_suit_kills_the_probe_only(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from embedder.models import onnxing

    onnxing.probe(exported / "segue-1.onnx")
    number = int(signal.SIGILL)
    (tmp_path / "onnxruntime.py").write_text(f"import os; os.kill(os.getpid(), {number})\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(onnxing, "_suits", lambda processor: False)
    network, _ = segue1_entries(exported)
    with pytest.raises(ModelError, match=r'dies of SIGILL .* "timbre"'):
        load(network, tmp_path, "cpu")


@pytest.mark.parametrize(
    ("machine", "text", "suits"),
    [
        ("x86_64", "processor : 0\nflags\t\t: fpu sse2 avx avx2\n", True),
        ("x86_64", "flags\t\t: fpu sse2 ssse3\n", False),
        ("x86_64", None, False),
        ("aarch64", "Features\t: fp asimd\n", False),
        ("aarch64", "flags\t\t: fpu sse2 avx avx2\n", False),  # emulated on x86-64
    ],
)
def test_only_processors_without_avx_are_tried_first(
    machine: str, text: str | None, suits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from embedder.models.onnxing import _suits

    monkeypatch.setattr("platform.machine", lambda: machine)
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert _suits(tmp_path / "cpuinfo") is suits


def test_cuda_means_torch(exported: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("needs a machine without CUDA")
    with pytest.raises(ModelError, match="torch sees no CUDA device"):
        load(segue1_entries(exported)[0], tmp_path, "cuda")


def test_a_folder_of_music_gets_vectors_tags_and_moods_and_never_a_nan(
    shipped: tuple[Entry, Entry], tmp_path: Path, shared_workers: None
) -> None:
    folder = tmp_path / "music"
    folder.mkdir()
    for seed in range(3):
        write(folder / f"{seed}.flac", music(seed, 2), 22_050)
    write(folder / "one second.wav", music(9, 1), 22_050)
    write(folder / "clipped.wav", np.clip(9 * music(7, 2), -1, 1), 22_050)
    broken = music(8, 2)
    broken[1000:2000], broken[5000] = np.nan, np.inf
    write(folder / "not numbers.wav", broken, 22_050, codec="pcm_f32le")
    data = tmp_path / "data"
    settings = EmbeddingSettings(model="segue-1", workers=1)
    outcome = embed(LibrarySettings(music=(str(folder),), data=str(data)), settings)
    assert (outcome.report.embedded, outcome.report.skipped) == (6, 0)
    with Library.open(data, read_only=True) as library:
        network, moods = shipped
        assert np.isfinite(library.vectors(network.model)[1]).all()
        assert library.scores(moods.model)[1].shape == (6, 56)
    snapshot = open_snapshot(data)
    assert snapshot is not None
    assert (snapshot.model.name, snapshot.model.version) == (network.name, network.version)
    assert set(snapshot.tag_groups) == {"audioset", "moods"}
