"""`make train`: the whole way, on music that Segue composes."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs torch (make test TORCH=1)")


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_the_loss_falls_and_retrieval_rises(tmp_path: Path) -> None:
    from training.demonstration import demonstrate

    first, last = demonstrate(tmp_path, tmp_path / "none", 72, lambda *_: None)
    assert last["loss"] < 0.8 * first["loss"]
    assert last["R@1 clean"] > first["R@1 clean"] + 0.01
    assert last["R@1 recoded"] > first["R@1 recoded"] + 0.01
    assert last["own mp3 64k"] > first["own mp3 64k"] + 0.1
    assert last["tags spearman"] > first["tags spearman"] + 0.5
