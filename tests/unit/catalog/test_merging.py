"""Libraries of several machines become one: in any order, as often as one likes."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from catalog.errors import LibraryError, MergeError
from catalog.library import Library
from catalog.merging import Merged, merge
from catalog.tracks import Analysis, FileFacts, Model, Tags

EARS = Model("ears", "ears-1", 4)
MOODS = Model("moods", "moods-1", 0, ("sad", "loud"))


def analysis(model: Model, value: float) -> Analysis:
    vector = np.full(model.dim, value, np.float32) if model.dim else None
    scores = np.full(len(model.labels), value, np.float32) if model.labels else None
    return Analysis(model, vector, scores)


def part(
    data: Path,
    tracks: dict[str, tuple[str, int]],
    models: Sequence[Model] = (EARS,),
    *,
    folder: str = "/mnt/music",
    failed: Sequence[str] = (),
) -> Path:
    """A library of path → (content key, time), each with a value of its content."""
    with Library.open(data) as library:
        root = library.root_id(Path(folder))
        for path, (key, mtime_ns) in tracks.items():
            value = sum(map(ord, key)) / 1000
            library.store(
                root,
                FileFacts(path, 10, mtime_ns),
                key,
                60.0,
                Tags(path, year=1999 if mtime_ns % 2 else None),
                [analysis(model, value) for model in models],
            )
        for path in failed:
            library.record_failure(root, FileFacts(path, 1, 1), "empty-file", "it is empty")
    return data


def merged(data: Path, *sources: Path) -> Merged:
    with Library.open(data) as library:
        return merge(library, sources)


def content(data: Path) -> list[object]:
    """All that a library knows, but for what depends on the clock."""
    with Library.open(data, read_only=True) as library:
        assert library.check() == []
        return [
            library.roots(),
            list(library.tracks()),
            [(one.path, one.reason) for one in library.failures()],
            *(
                (
                    model,
                    library.analysed(model),
                    *(part.tolist() for part in library.vectors(model)),
                )
                for model in sorted(library.models(), key=lambda model: model.name)
                if model.dim
            ),
            {model: library.analysed(model) for model in library.models()},
        ]


def test_shards_become_what_one_machine_would_have_made(tmp_path: Path) -> None:
    tracks = {f"A/{i:02}.mp3": (f"key{i}", 5) for i in range(20)}
    names = list(tracks)
    parts = [
        part(tmp_path / str(i), {name: tracks[name] for name in names[i::3]}) for i in range(3)
    ]
    part(tmp_path / "one", tracks)
    for number, order in enumerate(permutations(parts)):
        out = tmp_path / f"out{number}"
        report = merged(out, *order)
        assert (report.added, report.results, report.folders) == (20, 20, ("/mnt/music",))
        assert content(out) == content(tmp_path / "one")
        again = merged(out, *order)
        assert again == Merged(0, 0, 20, 0, ())
        assert content(out) == content(tmp_path / "one")


def test_models_of_the_same_content_come_together_and_later_states_win(tmp_path: Path) -> None:
    one = part(tmp_path / "a", {"same": ("k", 5), "changed": ("old", 5), "a": ("a", 5)})
    two = part(
        tmp_path / "b", {"same": ("k", 6), "changed": ("new", 7), "b": ("b", 5)}, [MOODS, EARS]
    )
    outs = []
    for number, order in enumerate(((one, two), (two, one))):
        out = tmp_path / f"out{number}"
        merged(out, *order)
        outs.append(content(out))
    assert outs[0] == outs[1]
    with Library.open(tmp_path / "out0", read_only=True) as library:
        by_path = {track.file.path: track for track in library.tracks()}
        assert sorted(by_path) == ["a", "b", "changed", "same"]
        assert by_path["changed"].content_key == "new"
        assert by_path["same"].file.mtime_ns == 6
        assert len(library.analysed(EARS)) == 4
        assert len(library.analysed(MOODS)) == 3


def test_results_of_an_older_content_do_not_stay(tmp_path: Path) -> None:
    out = part(tmp_path / "out", {"x": ("old", 5)}, [EARS, MOODS])
    report = merged(out, part(tmp_path / "b", {"x": ("new", 6)}))
    assert (report.replaced, report.results) == (1, 1)
    with Library.open(out, read_only=True) as library:
        assert library.analysed(MOODS) == set()
        assert library.vectors(EARS)[1][0, 0] == np.float32(sum(map(ord, "new")) / 1000)


def test_failures_come_along_unless_somebody_heard_the_file(tmp_path: Path) -> None:
    one = part(tmp_path / "a", {"x": ("x", 5)}, failed=["y", "z"])
    two = part(tmp_path / "b", {"y": ("y", 5)}, failed=["x"])
    for number, order in enumerate(((one, two), (two, one))):
        out = tmp_path / f"out{number}"
        merged(out, *order)
        with Library.open(out, read_only=True) as library:
            assert [failure.path for failure in library.failures()] == ["z"]


def test_of_two_failures_the_newer_stays(tmp_path: Path) -> None:
    for folder, times in (("a", (5, 9)), ("b", (7, 9))):  # "same": only the later run tells
        with Library.open(tmp_path / folder) as library:
            root = library.root_id(Path("/mnt/music"))
            for path, mtime_ns in zip(("touched", "same"), times, strict=True):
                library.record_failure(root, FileFacts(path, 1, mtime_ns), "empty-file", folder)
    one, two = tmp_path / "a", tmp_path / "b"
    for number, order in enumerate(((one, two), (two, one))):
        out = tmp_path / f"out{number}"
        merged(out, *order)
        with Library.open(out, read_only=True) as library:
            assert {failure.path: failure.detail for failure in library.failures()} == {
                "touched": "b",
                "same": "b",
            }


def test_a_folder_mounted_elsewhere_is_the_same_folder(tmp_path: Path) -> None:
    one = part(tmp_path / "a", {"1": ("1", 5)}, folder="/mnt/music")
    two = part(tmp_path / "b", {"2": ("2", 5)}, folder="/scratch/job/music")
    three = part(tmp_path / "c", {"3": ("3", 5)}, folder="/mnt/audiobooks")
    merged(tmp_path / "out", one, two, three)
    with Library.open(tmp_path / "out", read_only=True) as library:
        assert sorted(library.roots().values()) == ["/mnt/audiobooks", "/mnt/music"]
        assert library.count_tracks() == 3


def test_two_folders_of_one_name_are_told_apart_or_asked_about(tmp_path: Path) -> None:
    both = part(tmp_path / "a", {"1": ("1", 5)}, folder="/one/music")
    part(both, {"1": ("2", 5)}, folder="/two/music")
    merged(tmp_path / "out", both)
    with Library.open(tmp_path / "out", read_only=True) as library:
        assert sorted(library.roots().values()) == ["/one/music", "/two/music"]
        assert library.count_tracks() == 2
    elsewhere = part(tmp_path / "b", {"1": ("1", 5)}, folder="/three/music")
    with pytest.raises(MergeError, match="may be /one/music or /two/music"):
        merged(tmp_path / "out", elsewhere)


def test_what_cannot_be_merged_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    good = part(tmp_path / "good", {"1": ("1", 5)})
    out = part(tmp_path / "out", {"0": ("0", 5)})
    before = content(out)
    other = part(tmp_path / "other", {"2": ("2", 5)}, [replace(EARS, dim=5)])
    (tmp_path / "empty").mkdir()
    damaged = part(tmp_path / "damaged", {f"{i}": ("1", i) for i in range(200)})
    file = damaged / "library.db"
    whole = bytearray(file.read_bytes())
    whole[8192:20000] = bytes(len(whole[8192:20000]))
    file.write_bytes(whole)
    newer = part(tmp_path / "newer", {"1": ("1", 5)})
    with sqlite3.connect(newer / "library.db") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    for bad, error, words in (
        (other, MergeError, "not the same"),
        (tmp_path / "empty", MergeError, "no data folder of Segue"),
        (tmp_path / "nowhere", MergeError, "no data folder of Segue"),
        (out, MergeError, "leave it out"),
        (damaged, LibraryError, "damaged|malformed"),
        (newer, LibraryError, "newer Segue"),
    ):
        with pytest.raises(error, match=words) as caught:
            merged(out, good, bad)
        assert "\n" not in str(caught.value)
        assert content(out) == before


def test_a_merge_that_was_broken_off_is_finished_by_the_next(tmp_path: Path) -> None:
    tracks = {f"{i:03}": (f"k{i}", 5) for i in range(30)}
    source = part(tmp_path / "a", tracks, [EARS, MOODS])
    part(tmp_path / "whole", tracks, [EARS, MOODS])

    class Killed(BaseException):
        pass

    def stop(path: Path, results: int) -> None:
        raise Killed

    with Library.open(tmp_path / "out") as library, pytest.raises(Killed):
        merge(library, [source], advance=stop)
    assert merged(tmp_path / "out", source).results == 30
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_what_a_killed_job_had_set_aside_is_no_track(tmp_path: Path) -> None:
    source = part(tmp_path / "a", {"same": ("k", 5), "b": ("b", 5)})
    with Library.open(source) as library:
        library.set_aside(library.root_id(Path("/mnt/music")), "b")
    merged(tmp_path / "out", source)
    with Library.open(tmp_path / "out") as library:
        assert [track.file.path for track in library.tracks()] == ["b", "same"]
