"""`segue forget`: one user's listening, and nobody else's."""

from __future__ import annotations

from pathlib import Path

from catalog.history import Event, History
from tests.unit.cli.conftest import Segue


def test_forgets_one_user(segue: Segue, tmp_path: Path) -> None:
    with History.open(tmp_path) as history:
        history.append([Event(1.0, user, "c", "", "", "starts", "s") for user in ("bob", "eve")])
    result = segue("forget", "Bob", "--data", str(tmp_path))
    assert (result.code, result.out) == (0, "forgot 1 events of Bob\n")
    with History.open(tmp_path) as history:
        assert history.count() == 1


def test_where_nothing_was_kept_it_says_so_and_makes_nothing(segue: Segue, tmp_path: Path) -> None:
    result = segue("forget", "bob", "--data", str(tmp_path))
    assert result.code == 1
    assert "nothing was kept" in result.err
    assert list(tmp_path.iterdir()) == []
