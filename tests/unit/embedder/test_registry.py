import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from embedder.errors import ModelError, WeightsError
from embedder.facts import FACTS
from embedder.fingerprint import FINGERPRINT
from embedder.models.entry import Entry
from embedder.models.registry import (
    ENTRIES,
    MN04,
    MN10,
    MOODS,
    SEGUE1,
    TIMBRE,
    choose_models,
    entry,
    load,
    models_dir,
)
from embedder.settings import EmbeddingSettings
from embedder.windows import PLAN

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="needs torch (make test TORCH=1)"
)


def pretend_weights(folder: Path, *entries: Entry) -> Path:
    """Files of the right size: what choosing looks at, and loading does not."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in entries:
        for weights in one.weights:
            (folder / weights.file).write_bytes(bytes(weights.size_bytes))
    return folder


def test_labels_are_complete_and_in_order() -> None:
    assert len(MN04.labels) == 527
    assert (MN04.labels[0], MN04.labels[-1]) == ("Speech", "Field recording")
    assert "A capella" in MN04.labels
    assert len(MOODS.labels) == 56
    assert (MOODS.labels[0], MOODS.labels[-1]) == ("action", "uplifting")
    assert TIMBRE.labels == ()


def test_versions_name_weights_windows_and_decoding() -> None:
    assert MN04.version == "mn04-899a8c62-w6x10-d3.1"
    assert MOODS.version == "moods-c1d6bee6-w1x29.1ofw6x10-d3.1"
    assert TIMBRE.version == "timbre-w6x10-d3.1"
    assert len({one.version for one in ENTRIES}) == len(ENTRIES)


def test_whatever_is_computed_from_windows_names_them() -> None:
    """Other windows must be another space: their numbers never mix."""
    for version in (FACTS.version, FINGERPRINT.version, *(one.version for one in ENTRIES)):
        assert PLAN in version


@pytest.mark.parametrize("one", ENTRIES, ids=lambda one: one.name)
def test_every_entry_is_whole(one: Entry) -> None:
    assert one.summary
    assert one.licence
    assert one.dim or one.labels
    assert bool(one.labels) == bool(one.tag_group)
    for weights in one.weights:
        assert weights.url == "" if one.packaged else weights.url.startswith("https://")
        assert len(weights.sha256) == 64
        assert weights.size_bytes > 100_000
    assert one.model.dim == one.dim
    assert entry(one.name) is one


def test_an_unknown_name_meets_the_nearest() -> None:
    with pytest.raises(ModelError, match="did you mean efficientat-mn04"):
        entry("efficientnet-mn04")


def test_auto_is_segue1_with_all_that_rides_on_it(tmp_path: Path) -> None:
    choice = choose_models(EmbeddingSettings(), tmp_path)
    assert choice.entries == SEGUE1
    assert choice.reason.endswith("it is part of Segue")


@needs_torch
def test_by_name_mn04_has_moods_beside(tmp_path: Path) -> None:
    pretend_weights(tmp_path / "models", MN04, MOODS)
    choice = choose_models(EmbeddingSettings(model=MN04.name), tmp_path)
    assert choice.entries == (MN04, MOODS)
    assert "it is set" in choice.reason


@needs_torch
def test_what_is_there_on_request_is_not_taken_by_itself(tmp_path: Path) -> None:
    pretend_weights(tmp_path / "models", MN10)
    assert choose_models(EmbeddingSettings(), tmp_path).main is SEGUE1[0]
    assert choose_models(EmbeddingSettings(model=MN10.name), tmp_path).main is MN10


@needs_torch
def test_moods_come_only_where_their_weights_are(tmp_path: Path) -> None:
    pretend_weights(tmp_path / "elsewhere", MN04)
    settings = EmbeddingSettings(model=MN04.name, models_dir=str(tmp_path / "elsewhere"))
    assert models_dir(settings, tmp_path) == tmp_path / "elsewhere"
    assert choose_models(settings, tmp_path).entries == (MN04,)


@needs_torch
def test_damaged_weights_are_no_reason_to_change_the_model_quietly(tmp_path: Path) -> None:
    pretend_weights(tmp_path / "models", MN04, MOODS)
    (tmp_path / "models" / MN04.weights[0].file).write_bytes(b"short")
    with pytest.raises(WeightsError, match="wrong size"):
        choose_models(EmbeddingSettings(model=MN04.name), tmp_path)


@needs_torch
def test_weights_with_a_wrong_sha256_are_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="sha256"):
        load(MN04, pretend_weights(tmp_path, MN04), "cpu")


def test_a_model_by_name_is_taken_or_refused(tmp_path: Path) -> None:
    choice = choose_models(EmbeddingSettings(model="timbre"), tmp_path)
    assert choice.entries == (TIMBRE,)
    with pytest.raises(ModelError, match="efficientat-mn04"):
        choose_models(EmbeddingSettings(model="efficientat-mn04"), tmp_path)
    with pytest.raises(ModelError, match="beside another model"):
        choose_models(EmbeddingSettings(model="jamendo-moods"), tmp_path)


def test_cuda_that_cannot_be_had_is_refused_when_choosing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match=r'"onnx", which runs on processors only'):
        choose_models(EmbeddingSettings(device="cuda", engine="onnx"), tmp_path)
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torch" else found(name)
    )
    with pytest.raises(ModelError, match=r'"cuda", which needs torch, and torch is not installed'):
        choose_models(EmbeddingSettings(device="cuda"), tmp_path)


def test_choosing_imports_no_torch() -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "import embedder.job\n"
        "from embedder.models.registry import choose_models\n"
        "from embedder.settings import EmbeddingSettings\n"
        "choose_models(EmbeddingSettings(), Path('/nowhere'))\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("wrong", [{"model": ""}, {"workers": -1}])
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="embedding"):
        EmbeddingSettings(**wrong)  # type: ignore[arg-type]
