"""`segue models`: what there is, and whether it is what was published."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from embedder.models import registry
from embedder.models.registry import SEGUE1
from tests.unit.cli.conftest import Segue


def test_list_names_every_model_and_the_one_in_use(segue: Segue) -> None:
    result = segue("models", "list", "--json")
    assert result.code == 0, result.err
    facts = json.loads(result.out)
    assert {one["name"] for one in facts["models"]} >= {"timbre", "efficientat-mn04"}
    used = [one["name"] for one in facts["models"] if one["used"]]
    assert used == [one.name for one in SEGUE1]
    sizes = [one["bytes"] for one in facts["models"] if one["used"]]
    assert sum(sizes) < 4_000_000  # the file that both need counts once
    text = segue("models", "list")
    assert "* segue-1" in text.out
    assert "efficientat-mn04" in text.err


def test_an_unknown_name_is_one_line(segue: Segue) -> None:
    result = segue("models", "verify", "tmbre")
    assert result.code == 1
    assert "did you mean timbre" in result.err


def test_verify_tells_missing_and_wrong_weights(
    segue: Segue, shared_models: Path, tmp_path: Path
) -> None:
    assert segue("models", "verify", "--models-dir", str(shared_models)).code == 0
    assert segue("models", "verify").code == 0  # what was never pulled is not missed
    missing = segue("models", "verify", "efficientat-mn04")
    assert missing.code == 1
    assert "segue models pull" in missing.out
    copy = tmp_path / "mn04_as_mAP_432.pt"
    shutil.copyfile(shared_models / copy.name, copy)
    with copy.open("r+b") as file:
        file.write(b"x")
    wrong = segue("models", "verify", "efficientat-mn04", "--models-dir", str(tmp_path), "--json")
    assert wrong.code == 1
    facts = json.loads(wrong.out)
    assert "sha256" in facts["efficientat-mn04"]["fault"]


def test_moods_that_were_left_out_are_not_missed(
    segue: Segue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(registry.PACKAGED, tmp_path / "segue_1")
    monkeypatch.setattr(registry, "ENTRIES", (*registry.segue1_entries(folder), registry.TIMBRE))
    assert "segue-1-moods: ok" in segue("models", "verify").out
    (folder / "moods.safetensors").unlink()
    left = segue("models", "verify")
    assert (left.code, "moods" in left.out) == (0, False)
    (folder / "segue-1.onnx").unlink()
    assert segue("models", "verify").code == 1


def test_pull_leaves_what_is_right_alone(segue: Segue, shared_models: Path) -> None:
    result = segue("models", "pull", "--json", "--models-dir", str(shared_models))
    assert result.code == 0, result.err
    assert json.loads(result.out)["fetched"] == []
    assert "was here" in result.err
