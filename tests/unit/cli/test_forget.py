"""`segue forget`: one user's listening, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog.history import Event, History
from tests.unit.cli.conftest import Segue


def test_forgets_one_user(segue: Segue, tmp_path: Path) -> None:
    with History.open(tmp_path) as history:
        history.append([Event(1.0, user, "c", "", "", "starts", "s") for user in ("bob", "eve")])
    result = segue("forget", "Bob", "--data", str(tmp_path))
    assert (result.code, result.out) == (0, "forgot 1 event of Bob\n")
    with History.open(tmp_path) as history:
        assert history.count() == 1


def test_of_whom_nothing_is_kept_is_told(segue: Segue, tmp_path: Path) -> None:
    with History.open(tmp_path) as history:
        history.append([Event(1.0, "bob", "c", "", "", "starts", "s")])
    result = segue("forget", "nobody", "--data", str(tmp_path))
    assert (result.code, result.out) == (0, "nothing is kept of 'nobody'\n")
    for empty in ("", " "):
        result = segue("forget", empty, "--data", str(tmp_path))
        assert (result.code, result.out) == (2, "")
        assert "USER is empty" in result.err


def test_where_nothing_was_kept_it_says_so_and_makes_nothing(segue: Segue, tmp_path: Path) -> None:
    result = segue("forget", "bob", "--data", str(tmp_path))
    assert result.code == 1
    assert "nothing was kept" in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", ["memory", "off"])
def test_what_a_proxy_has_in_memory_only_is_left_to_its_restart(
    segue: Segue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("SEGUE_STEERING__HISTORY", mode)
    result = segue("forget", "bob", "--data", str(tmp_path))
    assert (result.code, result.out) == (1, "")
    (line,) = result.err.splitlines()
    assert f'history = "{mode}"' in line
    assert "restart" in line
    assert list(tmp_path.iterdir()) == []


def test_what_is_on_disk_from_before_is_forgotten_all_the_same(
    segue: Segue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with History.open(tmp_path) as history:
        history.append([Event(1.0, "bob", "c", "", "", "starts", "s")])
    monkeypatch.setenv("SEGUE_STEERING__HISTORY", "memory")
    result = segue("forget", "bob", "--data", str(tmp_path))
    assert (result.code, result.out) == (1, "forgot 1 event of bob\n")
    assert "restart" in result.err
    with History.open(tmp_path) as history:
        assert history.count() == 0
