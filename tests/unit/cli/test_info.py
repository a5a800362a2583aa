"""`segue info`: the promised keys, and words for people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from catalog.library import Library
from catalog.tracks import FileFacts, RunReport, Tags
from tests.unit.cli.conftest import Segue


def test_json_has_what_is_promised(segue: Segue, data: Path) -> None:
    result = segue("info", "--json", "--data", str(data))
    assert result.code == 0, result.err
    facts = json.loads(result.out)
    assert facts["tracks"] == 7
    assert facts["songs"] == 7
    assert facts["linked"] == 5
    assert facts["model"] == "timbre"
    assert facts["snapshot"]["tracks"] == 7
    assert facts["failures"] == {"does-not-decode": 1}
    assert facts["last_run"].items() >= {
        "embedded": 7, "moved": 0, "skipped": 1, "unchanged": 0, "seconds": 2.0, "bytes_read": 0,
    }.items()  # fmt: skip


def test_text_names_everything_once(segue: Segue, data: Path) -> None:
    result = segue("info", "--data", str(data))
    assert result.code == 0
    for said in ("tracks", "5 of 7 songs", "timbre", "7 embedded", "does-not-decode"):
        assert said in result.out


def test_failures_are_listed_on_demand(segue: Segue, data: Path) -> None:
    result = segue("info", "--failures", "--data", str(data))
    assert "can be decoded: no audio frames" in result.out
    facts = json.loads(segue("info", "--failures", "--json", "--data", str(data)).out)
    assert facts["failed_files"][0]["path"] == "broken.mp3"


def test_what_is_kept_to_go_back_to_is_said(segue: Segue, data: Path) -> None:
    def kept_for() -> object:
        return json.loads(segue("info", "--json", "--data", str(data)).out)["models"][0]["kept_for"]

    assert kept_for() is None
    with Library.open(data) as library:
        library.note_retired({"timbre=1": "abcdef"})
    assert kept_for() == "abcdef"
    told = segue("info", "--data", str(data)).out
    assert "7 tracks by timbre 1, kept as long as snapshot abcdef" in " ".join(told.split())


def test_folders_that_were_pruned_are_gone_and_unlisted_ones_told(
    segue: Segue, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    music, old = tmp_path / "music", tmp_path / "old"
    monkeypatch.setenv("SEGUE_LIBRARY__MUSIC", json.dumps([str(music)]))
    with Library.open(data) as library:
        root = library.root_id(old)
        library.store(root, FileFacts("a.flac", 1, 1), "old a", 9.0, Tags(), ())
    facts = json.loads(segue("info", "--json", "--data", str(data)).out)
    assert facts["folders"] == [str(music), str(old)]
    assert facts["unlisted"] == {str(old): 1}
    told = segue("info", "--data", str(data)).out
    assert f"{old} (not in library.music any more: 1 track kept)" in told
    with Library.open(data) as library:
        library.forget(root, ["a.flac"])  # as `segue embed --prune` does
    facts = json.loads(segue("info", "--json", "--data", str(data)).out)
    assert facts["folders"] == [str(music)]
    assert facts["unlisted"] == {}


def test_before_the_first_snapshot(segue: Segue, data: Path) -> None:
    (data / "snapshots" / "current").unlink()
    facts = json.loads(segue("info", "--json", "--data", str(data)).out)
    assert facts["snapshot"] is None
    assert facts["model"] is None
    assert "run `segue embed`" in segue("info", "--data", str(data)).out


def test_a_first_run_that_was_stopped_is_the_last_run(segue: Segue, tmp_path: Path) -> None:
    with Library.open(tmp_path / "new") as library:
        library.finish_run(library.start_run(), RunReport(embedded=2, error="interrupted"))
    told = segue("info", "--data", "new").out
    assert "last run" in told
    assert "2 embedded, then: interrupted" in told
    assert "since then" not in told


def test_without_a_library(segue: Segue) -> None:
    result = segue("info", "--data", "nowhere")
    assert result.code == 1
    assert "segue embed" in result.err
