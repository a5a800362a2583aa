from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.links import Links, _like
from catalog.snapshot import open_snapshot, write_snapshot
from catalog.tracks import Song
from tests.unit.catalog.test_snapshot import arrays


@pytest.fixture
def links(tmp_path: Path) -> Links:
    write_snapshot(tmp_path, arrays(4))
    snapshot = open_snapshot(tmp_path)
    assert snapshot is not None
    linked = [
        (
            Song(
                "b", folder_id="1", album_id="al1", artist_ids=("x",), genres=("Rock",), year=1990
            ),
            10,
        ),
        (
            Song(
                "a", folder_id="2", album_id="al1", artist_ids=("x", "y"), genres=("rock", "Jazz")
            ),
            0,
        ),
        (
            Song(
                "c", folder_id="2", album_id="al2", artist_ids=("y",), genres=("R&B_1",), year=2005
            ),
            20,
        ),
        (Song("copy", folder_id="1", album_id="al2"), 20),
        (Song("elsewhere"), 999),
    ]
    return Links(snapshot, linked)


def test_songs_are_found_both_ways(links: Links) -> None:
    assert len(links) == 4
    assert [links.row(s) for s in ("a", "b", "c", "copy", "elsewhere", "", "zz", "é" * 99)] == [
        0, 1, 2, 2, None, None, None, None,
    ]  # fmt: skip
    assert [links.song_id(int(s)) for s in links.songs_at(2)] == ["c", "copy"]
    assert links.songs_at(3).tolist() == []


def test_seeds_may_be_songs_albums_or_artists(links: Links) -> None:
    ids = {seed: [links.song_id(s) for s in links.seeds(seed)] for seed in ("b", "al1", "y", "?")}
    assert ids == {"b": ["b"], "al1": ["a", "b"], "y": ["a", "c"], "?": []}


@pytest.mark.parametrize(
    ("limits", "allowed"),
    [
        ({}, "a b c copy"),
        ({"genre": "ROCK"}, "a b"),
        ({"genre": "R%"}, "a b c"),
        ({"genre": "R&B__"}, "c"),
        ({"genre": "R&B"}, ""),
        ({"genre": "nothing"}, ""),
        ({"genre": "%a%"}, "a"),
        ({"genre": "_oc%"}, "a b"),
        ({"genre": "%%%k%"}, "a b"),
        ({"genre": "ſ%"}, ""),
        ({"genre": "%" * 500 + "zq"}, ""),
        ({"genre": "%" * 500 + "k"}, "a b"),
        ({"genre": "%o" * 30_000}, ""),
        ({"folder_ids": ("2",)}, "a c"),
        ({"folder_ids": ("1", "2")}, "a b c copy"),
        ({"from_year": 1990}, "b c"),
        ({"to_year": 1990}, "a b copy"),
        ({"from_year": 1990, "to_year": 1980}, ""),
        ({"genre": "rock", "folder_ids": ("1",), "from_year": 1}, "b"),
    ],
)
def test_limits_keep_the_servers_meaning(
    links: Links, limits: dict[str, object], allowed: str
) -> None:
    mask = links.select(**limits)  # type: ignore[arg-type]
    assert [links.song_id(int(i)) for i in np.flatnonzero(mask)] == allowed.split()


def test_a_track_in_two_folders_is_given_as_the_song_that_is_allowed(links: Links) -> None:
    mask = links.select(folder_ids=("1",))
    assert links.eligible_rows(mask, 4).tolist() == [False, True, True, False]
    (chosen, none) = links.choose([2, 0], mask)
    assert chosen is not None
    assert links.song_id(chosen) == "copy"
    assert none is None
    assert links.choose([], mask) == []


def test_many_rows_are_the_rows_one_by_one(links: Links) -> None:
    wanted = ["c", "nobody's", "a", "copy", "a"]
    for _ in range(2):  # the second time from memory
        found = [row for song_id in wanted if (row := links.row(song_id)) is not None]
        assert links.rows_of(wanted) == found
    assert links.rows_of([]) == []


def test_without_limits_every_linked_row_is_eligible(links: Links) -> None:
    found = links.eligible_rows(links.select(), 4)
    assert np.flatnonzero(found).tolist() == sorted(set(links.rows.tolist()))
    assert links.eligible_rows(links.select(), 4) is found
    assert len(links.eligible_rows(links.select(), 6)) == 6
    with pytest.raises(ValueError, match="read-only"):
        found[0] = True


def test_no_links_at_all(tmp_path: Path) -> None:
    write_snapshot(tmp_path, arrays(4))
    snapshot = open_snapshot(tmp_path)
    assert snapshot is not None
    links = Links(snapshot, [])
    assert len(links) == 0
    assert links.song("a") is None
    assert links.songs_at(0).tolist() == []
    assert links.select(genre="x", from_year=3).tolist() == []


def test_folders_of_songs(links: Links, tmp_path: Path) -> None:
    assert [links.folder(s) for s in range(4)] == ["2", "1", "2", "1"]
    snapshot = open_snapshot(tmp_path)
    assert snapshot is not None
    with_unknown = Links(snapshot, [(Song("a", folder_id="1"), 0), (Song("b"), 10)])
    assert with_unknown.folder(1) == ""
    assert with_unknown.select(folder_ids=("1",)).tolist() == [True, False]
    assert with_unknown.select(folder_ids=("2", "")).tolist() == [False, True]


@given(st.text("ab%_", max_size=12), st.text("ab", max_size=12))
def test_like_means_what_sqlite_means_by_it(pattern: str, text: str) -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        (expected,) = db.execute("SELECT ? LIKE ?", (text, pattern)).fetchone()
    assert _like(pattern)(text) is bool(expected)
