from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from demo import show
from demo.errors import CommandError, DemoError
from demo.player import Song
from demo.segue import Segue
from demo.show import Tally, run_demo


def song(title: str, genre: str, artist: str = "A") -> Song:
    return Song.of({"id": title, "title": title, "artist": artist, "genre": genre, "path": title})


def test_the_tally_counts_what_is_of_the_seeds_genre() -> None:
    tally = Tally()
    folk, metal = song("f", "Folk"), song("m", "Metal")
    tally.count(folk, [folk, folk, metal], [metal, metal, folk])
    tally.count(song("untagged", ""), [folk], [folk])
    assert (tally.steered_alike, tally.steered) == (2, 3)
    assert (tally.random_alike, tally.random) == (1, 3)


def test_the_shows_own_openings_are_in_the_repertoire() -> None:
    songs = [song(piece.title, piece.genre, piece.artist) for piece in show.pieces()]
    openings = show._openings(songs, own=True)
    assert [opening.title for opening, _ in openings] == [title for title, _ in show.OPENINGS]
    assert len({opening.genre for opening, _ in openings}) == len(openings)


@pytest.mark.parametrize("count", [1, 2, 30])
def test_a_strangers_library_is_opened_in_different_genres_where_it_has_them(count: int) -> None:
    songs = [song(f"{i}", "Rock" if i % 3 else f"Genre {i}") for i in range(count)]
    openings = show._openings(songs, own=False)
    assert openings == show._openings(list(reversed(songs)), own=False)
    assert len(openings) == min(count, len(show.OPENINGS))
    assert len({opening.song_id for opening, _ in openings}) == len(openings)
    if count == 30:
        assert len({opening.genre for opening, _ in openings}) == len(openings)


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[tuple[Any, Path]]:
    written = tmp_path / "out.txt"
    with written.open("w") as out:
        console = Console(file=out, width=60, force_terminal=False, no_color=True)
        yield show._Show(console, None), written  # type: ignore[arg-type]


def test_lines_are_cut_to_their_columns(narrow: tuple[Any, Path]) -> None:
    shower, written = narrow
    shower._line(("a long title · of somebody", 12, ""), ("genre", 10, ""), ("", 5, ""))
    shower._line(("音楽の本当に長い題名", 12, ""), ("[genre]", 10, ""))
    shower._out.file.flush()
    assert written.read_text().splitlines() == ["a long tit… genre", "音楽の本当… [genre]"]


def test_a_missing_folder_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="there is no such folder"):
        run_demo(tmp_path / "nowhere", once=True, folder=tmp_path / ".demo")
    assert not (tmp_path / ".demo").exists()


def test_segue_runs_with_a_configuration_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGUE_UPSTREAM__URL", "http://somebodys.server")
    monkeypatch.setenv("SEGUE_CONFIG", "/somebodys/config.toml")
    segue = Segue(
        tmp_path / "home",
        {
            "library": {"music": [str(tmp_path / 'it\'s "mine"')], "data": str(tmp_path / "data")},
            "upstream": {"url": "http://127.0.0.1:9"},
        },
    )
    shown = segue.run("config", "show")
    assert "somebodys" not in shown
    assert "http://127.0.0.1:9" in shown
    assert json.dumps(str(tmp_path / 'it\'s "mine"')) in shown or "mine" in shown


def test_a_failing_command_is_told_with_its_last_words(tmp_path: Path) -> None:
    segue = Segue(tmp_path, {"library": {"data": str(tmp_path / "data")}})
    with pytest.raises(CommandError, match=r"segue similar ended with status \d: segue: "):
        segue.run("similar", "anything")
