"""`segue similar` on a real little library: finding seeds, and the shape of its picks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalog.snapshot import SnapshotArrays, write_snapshot
from catalog.tracks import Model
from cli.seeds import plain_words
from tests.unit.cli.conftest import Segue


def picks(segue: Segue, *arguments: str) -> list[dict[str, Any]]:
    result = segue("similar", *arguments, "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert isinstance(found, list)
    return found


def test_a_pick_has_the_promised_shape(segue: Segue, data: Path) -> None:
    found = picks(segue, "song-1", "--data", str(data), "-n", "3")
    assert len(found) == 3
    for pick in found:
        assert list(pick) == ["path", "id", "title", "artist", "album", "score", "why"]
        assert pick["score"] == pytest.approx(sum(r["value"] for r in pick["why"]), abs=1e-4)
        assert all(set(reason) == {"term", "value", "text"} for reason in pick["why"])


def test_id_is_null_where_nothing_is_linked(segue: Segue, data: Path) -> None:
    found = {p["title"]: p["id"] for p in picks(segue, "song-1", "--data", str(data), "--plain")}
    assert found["Pulse"] == "song-5"
    assert found["Overload"] is None


def test_the_seed_and_its_versions_do_not_come(segue: Segue, data: Path) -> None:
    titles = {p["title"] for p in picks(segue, "song-5", "--data", str(data))}
    assert titles.isdisjoint({"Pulse", "Pulse (Live)"})
    assert "Pulse (Live)" in {
        p["title"] for p in picks(segue, "song-5", "--data", str(data), "--plain")
    }


@pytest.mark.parametrize(
    "seed",
    [
        "song-3",
        "Béla Fonó/Táncok/03 - Csárdás.flac",
        "03 - Csárdás.flac",
        "./music/Béla Fonó/Táncok/03 - Csárdás.flac",
        "bela csardas",
        "CSÁRDÁS",
        "fono csar",
    ],
)
def test_a_seed_is_an_id_a_path_or_words(segue: Segue, data: Path, seed: str) -> None:
    result = segue("similar", seed, "--data", str(data), "-n", "1")
    assert result.code == 0, result.err
    assert "after Béla Fonó – Csárdás (Táncok)" in result.err


def test_ambiguous_words_list_the_candidates(segue: Segue, data: Path) -> None:
    result = segue("similar", "river", "--data", str(data))
    assert result.code == 2
    assert "fits 2 tracks" in result.err
    assert "Ann Ember/Rivers/02 - Deep River.flac" in result.err
    assert result.out == ""


def test_a_whole_title_comes_before_parts_of_others(segue: Segue, data: Path) -> None:
    titles = ["Boss", "Boss Fight", "Duel", "Duel", "Duel at Noon"]
    n = len(titles)
    one_each = np.arange(n, dtype=np.int32)
    write_snapshot(
        data,
        SnapshotArrays(
            model=Model("timbre", "1", dim=n),
            vectors=np.eye(n, dtype=np.float32),
            track_ids=np.arange(1, n + 1, dtype=np.int64),
            artist=one_each,
            album=one_each,
            recording=one_each,
            duration_s=np.full(n, 200, np.float32),
            year=np.zeros(n, np.int16),
            text={
                "path": [f"{row}.flac" for row in range(n)],
                "title": titles,
                "artist": ["Boss Band", "Hurt", "One", "Two", "Three"],
                "album": ["Boss OST"] * n,
            },
        ),
    )
    assert "after Boss Band – Boss" in segue("similar", "boss!", "--data", str(data)).err
    several = segue("similar", "duel", "--data", str(data))
    assert several.code == 2
    assert "'duel' fits 2 tracks" in several.err
    assert "Noon" not in several.err
    assert "after Two – Duel" in segue("similar", "two duel", "--data", str(data)).err


def test_versions_of_one_recording_are_not_ambiguous(segue: Segue, data: Path) -> None:
    assert segue("similar", "circuit pulse", "--data", str(data)).code == 0


def test_nothing_fits(segue: Segue, data: Path) -> None:
    result = segue("similar", "xyzzy", "--data", str(data))
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("segue: nothing fits 'xyzzy'")


def test_without_a_library_one_line_says_what_to_do(segue: Segue) -> None:
    result = segue("similar", "x", "--data", "nowhere")
    assert result.code == 1
    assert "segue embed" in result.err
    assert len(result.err.splitlines()) == 1


def test_a_damaged_snapshot_is_one_line(segue: Segue, data: Path) -> None:
    version = (data / "snapshots" / "current").read_text().strip()
    (data / "snapshots" / version / "vectors.npy").write_bytes(b"short")
    result = segue("similar", "song-1", "--data", str(data))
    assert result.code == 1
    assert len(result.err.splitlines()) == 1
    assert "segue embed" in result.err


def test_text_output_shows_reasons(segue: Segue, data: Path) -> None:
    result = segue("similar", "song-1", "--data", str(data), "-n", "2")
    first, why, *_ = result.out.splitlines()
    assert first.startswith("1. ")
    assert "alike" in why


@pytest.mark.parametrize("count", ["0", "-1", "x"])
def test_count_must_be_positive(segue: Segue, data: Path, count: str) -> None:
    assert segue("similar", "song-1", "-n", count).code == 2


def test_plain_words() -> None:
    assert plain_words("Sigur Rós – Ágætis Byrjun!") == ["sigur", "ros", "agætis", "byrjun"]


def test_why_is_a_table_of_terms(segue: Segue, data: Path) -> None:
    result = segue("similar", "song-1", "--data", str(data), "-n", "3", "--why")
    assert result.code == 0, result.err
    head = next(line for line in result.out.splitlines() if "audio" in line)
    assert head.split()[:2] == ["score", "audio"]
    assert "because" in head
    assert "flow" not in head  # nothing was heard before the seed
    told = segue("similar", "song-1", "--data", str(data), "-n", "3").out
    assert re.search(r"^ +-?\d\.\d\d (sounds|little)", told, re.MULTILINE)


def test_a_song_may_be_unwanted(segue: Segue, data: Path) -> None:
    found = picks(segue, "song-1", "--unlike", "song-3", "--data", str(data))
    assert "song-3" not in {pick["id"] for pick in found}


def test_why_says_like_what(segue: Segue, data: Path) -> None:
    result = segue(
        "similar", "song-1", "song-2", "--unlike", "song-3", "--why", "--data", str(data)
    )
    head, *_ = result.out.splitlines()
    assert head == (
        "like Ann Ember – Slow River (Rivers); Ann Ember – Deep River (Rivers);"
        " unlike Béla Fonó – Csárdás (Táncok)"
    )
