"""`segue merge`, `segue rollback`, and `embed` telling events."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from catalog.library import Library
from catalog.tracks import Analysis, FileFacts, Model, Tags
from tests.unit.cli.conftest import MODEL, Segue


def part(data: Path, names: list[str], model: Model = MODEL) -> Path:
    random = np.random.default_rng(len(names))
    with Library.open(data) as library:
        root = library.root_id(Path("/mnt/music"))
        for name in names:
            vector = random.standard_normal(model.dim).astype(np.float32)
            library.store(
                root, FileFacts(name, 1, 1), name, 9.0, Tags(name), [Analysis(model, vector)]
            )
    return data


def test_merge_joins_publishes_and_can_be_rolled_back(segue: Segue, tmp_path: Path) -> None:
    one, two = part(tmp_path / "1", ["a", "b"]), part(tmp_path / "2", ["c", "d", "e"])
    first = json.loads(segue("merge", str(one), "--data", "out", "--json").out)
    assert (first["added"], first["tracks"], first["folders"]) == (2, 2, ["/mnt/music"])
    said = segue("merge", str(one), str(two), "--data", "out")
    assert said.code == 0, said.err
    assert "3 tracks new, 0 replaced by a later state, 2 known" in said.out
    listed = json.loads(segue("rollback", "--list", "--json", "--data", "out").out)
    assert [(one["tracks"], one["current"]) for one in listed] == [(5, True), (2, False)]
    back = segue("rollback", "--data", "out")
    assert (back.code, f"snapshot {first['snapshot']} of " in back.out) == (0, True)
    assert json.loads(segue("info", "--json", "--data", "out").out)["snapshot"]["tracks"] == 2
    assert "kept" in segue("info", "--data", "out").out
    forward = segue("rollback", listed[0]["version"][:6], "--data", "out")
    assert forward.code == 0
    assert "> " + listed[0]["version"] in segue("rollback", "--list", "--data", "out").out


def test_parts_heard_by_different_models_are_told(segue: Segue, tmp_path: Path) -> None:
    one = part(tmp_path / "1", ["a", "b", "c"])
    other = part(tmp_path / "2", ["d", "e"], Model("musicnn", "1", dim=4))
    said = segue("merge", str(one), str(other), "--data", "out")
    assert said.code == 0
    assert "2 tracks of 5 cannot be published" in said.out
    facts = json.loads(segue("merge", str(one), "--data", "out", "--json").out)
    assert (facts["model"], facts["unheard"], facts["tracks"]) == ("timbre", 2, 5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("merge", "nowhere", "--data", "out"), "nowhere is no data folder of Segue"),
        (("rollback", "--data", "out"), "no snapshot before the one in force"),
        (("rollback", "beef", "--data", "out"), "no snapshot 'beef'"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    segue: Segue, arguments: tuple[str, ...], said: str
) -> None:
    result = segue(*arguments)
    assert (result.code, result.out) == (1, "")
    assert said in result.err
    assert result.err.count("\n") == 1


def test_info_keeps_the_last_complete_run_and_tells_what_came_since(
    segue: Segue, data: Path
) -> None:
    failed = segue("embed", "--music", "nowhere", "--model", "timbre", "--data", str(data))
    assert failed.code == 1
    facts = json.loads(segue("info", "--json", "--data", str(data)).out)
    assert (facts["last_run"]["embedded"], facts["last_run"]["error"]) == (7, "")
    assert "is it mounted" in facts["last_attempt"]["error"]
    assert facts["switching"]["heard"] == 0  # its timbre is of another version
    text = segue("info", "--data", str(data)).out
    assert "7 embedded" in text
    assert "since then" in text
    assert "0 of 7 tracks" in text
