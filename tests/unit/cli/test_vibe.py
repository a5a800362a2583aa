"""`segue vibe` on a real little library with moods."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.cli.conftest import Segue


def test_words_find_what_was_heard(segue: Segue, data: Path) -> None:
    result = segue("vibe", "sad", "-n", "3", "--json", "--data", str(data))
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert found[0]["title"] == "Slow River"
    assert found[0]["id"] == "song-1"
    assert list(found[0]) == ["path", "id", "title", "artist", "album", "score", "why"]


def test_text_output(segue: Segue, data: Path) -> None:
    assert segue("vibe", "happy", "--data", str(data)).out.startswith("1. Béla Fonó – Csárdás")


def test_words_that_say_nothing_are_one_line(segue: Segue, data: Path) -> None:
    result = segue("vibe", "xyzzy", "--data", str(data))
    assert result.code == 1
    assert len(result.err.splitlines()) == 1


def test_no_words_at_all_are_wrong_usage(segue: Segue) -> None:
    result = segue("vibe", " ")  # before there is a library
    assert (result.code, result.out) == (2, "")
    assert "WORDS is empty" in result.err


def test_what_was_understood_is_told_beside_the_list(segue: Segue, data: Path) -> None:
    result = segue("vibe", "very", "happy", "xyzzy", "--data", str(data))
    assert result.code == 0
    assert "understood: very happy; not known: xyzzy" in result.err
    assert "not known" not in segue("vibe", "happy", "--data", str(data)).err


def test_what_the_library_has_none_of_is_told(segue: Segue, data: Path) -> None:
    result = segue("vibe", "happy", "no", "banjo", "--data", str(data))
    assert result.code == 0
    assert "understood: happy, not banjo; not heard in this library: banjo\n" in result.err
    alone = segue("vibe", "banjo", "--data", str(data))
    assert (alone.code, alone.out) == (1, "")
    assert "not heard in this library: banjo" in alone.err


def test_a_wish_to_lack_what_nothing_has_is_fulfilled(segue: Segue, data: Path) -> None:
    result = segue("vibe", "no", "banjo", "-n", "2", "--data", str(data))
    assert result.code == 0
    assert "typical of this library" in result.out
    assert "not heard in this library: banjo; so any song will do" in result.err
