"""`segue duplicates`: groups of one recording, best first."""

from __future__ import annotations

import json
from pathlib import Path

from catalog.library import Library
from catalog.tracks import FileFacts
from tests.unit.cli.conftest import Segue


def resize(data: Path, name: str, path: str, size_bytes: int) -> None:
    """Give a track another file."""
    with Library.open(data) as library:
        track = next(one for one in library.tracks() if one.tags.title == name)
        library.move(track.track_id, track.root_id, FileFacts(path, size_bytes, 2), None)


def test_the_best_comes_first(segue: Segue, data: Path) -> None:
    resize(data, "Pulse", "a/pulse.mp3", 8_000_000)
    resize(data, "Pulse (Live)", "b/pulse.opus", 3_200_000)
    (family,) = json.loads(segue("duplicates", "--json", "--data", str(data)).out)
    assert [file["path"] for file in family["files"]] == ["a/pulse.mp3", "b/pulse.opus"]
    assert [file["bits_per_s"] for file in family["files"]] == [320_000, 128_000]
    assert family["spare_bytes"] == 3_200_000
    assert (family["artist"], family["title"]) == ("Circuit", "Pulse")
    # 128 kb/s of Opus are worth more than 192 of MP3; FLAC beats all, however small.
    resize(data, "Pulse", "a/pulse.mp3", 4_800_000)
    (family,) = json.loads(segue("duplicates", "--json", "--data", str(data)).out)
    assert family["files"][0]["path"] == "b/pulse.opus"
    resize(data, "Pulse", "a/pulse.flac", 1_000_000)
    (family,) = json.loads(segue("duplicates", "--json", "--data", str(data)).out)
    assert family["files"][0]["path"] == "a/pulse.flac"


def test_text_says_what_to_keep(segue: Segue, data: Path) -> None:
    resize(data, "Pulse", "a/pulse.mp3", 8_000_000)
    resize(data, "Pulse (Live)", "b/pulse.opus", 3_200_000)
    result = segue("duplicates", "--data", str(data))
    assert result.code == 0, result.err
    assert "Circuit – Pulse" in result.out
    assert "keep  8.0 MB  320 kb/s  3 min 20 s  a/pulse.mp3" in result.out
    assert result.out.splitlines()[-1] == "1 recording in 2 files, 3.2 MB to spare."


def test_before_the_first_snapshot(segue: Segue, data: Path) -> None:
    (data / "snapshots" / "current").unlink()
    result = segue("duplicates", "--data", str(data))
    assert result.code == 1
    assert len(result.err.splitlines()) == 1
