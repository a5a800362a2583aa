"""What is trained on, and what is held out."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs torch (make test TORCH=1)")

from training.corpus import Excerpt, find_excerpts, split
from training.errors import CorpusError


def touch(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


def test_a_folder_is_a_source_and_credits_name_the_artist(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.opus", "one/deep/b.mp3", "two/c.flac", "two/cover.jpg", "stray.ogg")
    (tmp_path / "CREDITS.csv").write_text("file,title,artist\none/a.opus,A,Ann\n")
    assert find_excerpts(tmp_path) == [
        Excerpt("one/a.opus", "one", "Ann"),
        Excerpt("one/deep/b.mp3", "one", ""),
        Excerpt("two/c.flac", "two", ""),
    ]


def test_music_of_one_source_cannot_be_validated_on(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.opus")
    with pytest.raises(CorpusError, match=r"two folders .*found only one"):
        find_excerpts(tmp_path)


@pytest.mark.parametrize(
    "table",
    [
        b"\xef\xbb\xbffile,artist\r\none\\a.opus,Ann\r\n",
        b"artist,file\nAnn,./one/a.opus\n\n,two/c.flac\n",
        b"file,title,artist\none/a.opus,A,Ann\ntwo/c.flac\n",
    ],
    ids=["from a spreadsheet", "other order", "short row"],
)
def test_credits_as_people_write_them(tmp_path: Path, table: bytes) -> None:
    touch(tmp_path, "one/a.opus", "two/c.flac")
    (tmp_path / "CREDITS.csv").write_bytes(table)
    assert [excerpt.artist for excerpt in find_excerpts(tmp_path)] == ["Ann", ""]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (b"file;artist\none/a.opus;Ann\n", "no column called file: .* file;artist"),
        (b"", "no column called file: .* nothing"),
        (b"file,artist\none/a.opus,Bj\xf6rk\n", "no CSV in UTF-8"),
        (b"file,artist\nMusic/one/a.opus,Ann\n", "names no file .*'Music/one/a.opus'"),
    ],
    ids=["semicolons", "empty", "latin-1", "other paths"],
)
def test_credits_that_say_nothing_are_an_error(tmp_path: Path, table: bytes, told: str) -> None:
    touch(tmp_path, "one/a.opus", "two/c.flac")
    (tmp_path / "CREDITS.csv").write_bytes(table)
    with pytest.raises(CorpusError, match=rf"CREDITS\.csv.*{told}"):
        find_excerpts(tmp_path)


def test_films_are_heard_and_hidden_files_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.mp4", "one/._a.mp4", ".trash/b.ogg", "two/c.aiff")
    assert [excerpt.path for excerpt in find_excerpts(tmp_path)] == ["one/a.mp4", "two/c.aiff"]


@pytest.mark.parametrize("count", [2, 3, 4, 10])
def test_something_is_held_out_of_few_sources(count: int) -> None:
    excerpts = [Excerpt(f"s{i}/a.ogg", f"s{i}", "") for i in range(count)]
    learning, held = split(excerpts, 0.2, seed=1)
    assert len(held) == max(1, round(0.2 * count))
    assert len(learning) + len(held) == count


def test_sources_that_are_all_one_artist_cannot_be_split() -> None:
    with pytest.raises(CorpusError, match="join all"):
        split([Excerpt(f"s{i}/a.ogg", f"s{i}", "Ann") for i in range(5)], 0.2, seed=1)


def test_two_excerpts_of_a_track_are_one_track() -> None:
    first, second = Excerpt("s/air-a.opus", "s", ""), Excerpt("s/air-b.opus", "s", "")
    assert first.track == second.track
    assert first.slug != second.slug
    assert Excerpt("s/aria.opus", "s", "").track == "s/aria"


def test_a_composer_is_never_on_both_sides() -> None:
    excerpts = [
        Excerpt(f"s{i}/{j}.ogg", f"s{i}", f"artist {i // 3}") for i in range(30) for j in "ab"
    ]
    learning, held = split(excerpts, 0.2, seed=1)
    assert {e.artist for e in learning}.isdisjoint(e.artist for e in held)
    assert len({e.source for e in held}) == 6
    assert sorted(learning + held, key=lambda e: e.path) == sorted(excerpts, key=lambda e: e.path)


def test_the_split_is_the_same_again_and_another_by_seed() -> None:
    excerpts = [Excerpt(f"s{i}/a.ogg", f"s{i}", "") for i in range(40)]
    assert set(split(excerpts, 0.2, 1)[1]) == set(split(excerpts[::-1], 0.2, 1)[1])
    assert split(excerpts, 0.2, 1)[1] != split(excerpts, 0.2, 2)[1]
