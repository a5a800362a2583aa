from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from catalog import draft
from catalog.errors import SnapshotError
from catalog.snapshot import (
    Snapshot,
    SnapshotArrays,
    TagGroup,
    current_version,
    open_snapshot,
    write_snapshot,
)
from catalog.snapshots import kept_snapshots
from catalog.tracks import Model


def arrays(n: int = 3, seed: int = 0) -> SnapshotArrays:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(n, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    codes = np.arange(n, dtype=np.int32)
    names = [f"näme {i}" for i in range(n)]
    return SnapshotArrays(
        model=Model("ears", "ears-1", 4),
        vectors=vectors,
        track_ids=np.arange(n, dtype=np.int64) * 10,
        artist=codes,
        album=codes,
        recording=codes,
        duration_s=np.full(n, 30.5, np.float32),
        year=np.full(n, 1999, np.int16),
        text={"path": names, "title": names, "artist": names, "album": ["" for _ in names]},
        tag_groups={"moods": TagGroup(("sad",), random.normal(size=(n, 1)).astype(np.float16))},
    )


def opened(data: Path) -> Snapshot:
    snapshot = open_snapshot(data, verify=True)
    assert snapshot is not None
    return snapshot


def test_what_was_published_comes_back(tmp_path: Path) -> None:
    given = arrays()
    version = write_snapshot(tmp_path, given)
    snapshot = opened(tmp_path)
    assert snapshot.version == version == current_version(tmp_path)
    assert snapshot.n == 3
    np.testing.assert_array_equal(snapshot.vectors, given.vectors)
    np.testing.assert_array_equal(
        snapshot.tag_groups["moods"].scores, given.tag_groups["moods"].scores
    )
    assert [snapshot.text("title", i) for i in range(3)] == given.text["title"]
    assert snapshot.text("album", 2) == ""
    assert [snapshot.row_of(i) for i in (0, 10, 20, 5, 30)] == [0, 1, 2, None, None]
    assert not snapshot.vectors.flags.writeable


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    first = write_snapshot(tmp_path / "a", arrays())
    second = write_snapshot(tmp_path / "b", arrays())
    assert first == second
    for file in (tmp_path / "a" / "snapshots" / first).iterdir():
        assert file.read_bytes() == (tmp_path / "b" / "snapshots" / first / file.name).read_bytes()


def test_a_reader_keeps_its_snapshot_while_new_ones_appear(tmp_path: Path) -> None:
    write_snapshot(tmp_path, arrays(seed=1))
    old = opened(tmp_path)
    before = old.vectors.copy()
    for seed in range(2, 6):
        write_snapshot(tmp_path, arrays(seed=seed))
    np.testing.assert_array_equal(old.vectors, before)
    kept = [p for p in (tmp_path / "snapshots").iterdir() if p.is_dir()]
    assert len(kept) == 2
    assert opened(tmp_path).version != old.version


@pytest.mark.parametrize("step", ["point_to", "remove_old"])
def test_who_is_killed_again_and_again_does_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Each time between a snapshot's coming and an older one's going."""
    write_snapshot(tmp_path, arrays(seed=1))
    done = getattr(draft, step)

    def killed(folder: Path, version: str, *rest: int) -> None:
        if version != before:
            raise KeyboardInterrupt
        done(folder, version, *rest)

    for seed in range(2, 8):
        before = opened(tmp_path).version
        monkeypatch.setattr(draft, step, killed)
        with pytest.raises(KeyboardInterrupt):
            write_snapshot(tmp_path, arrays(seed=seed))
        monkeypatch.undo()
        assert len(kept_snapshots(tmp_path)) <= 3
    write_snapshot(tmp_path, arrays(seed=9))
    assert len(kept_snapshots(tmp_path)) == 2


def test_one_snapshot_alone_may_be_kept(tmp_path: Path) -> None:
    versions = [write_snapshot(tmp_path, arrays(seed=seed), keep=1) for seed in range(3)]
    assert [one.version for one in kept_snapshots(tmp_path)] == versions[-1:]
    assert sorted(path.name for path in (tmp_path / "snapshots").iterdir()) == sorted(
        [versions[-1], "current"]
    )


def test_an_empty_library_and_a_single_track_publish(tmp_path: Path) -> None:
    for n in (0, 1):
        write_snapshot(tmp_path, arrays(n))
        assert opened(tmp_path).n == n


def test_nothing_published_is_none(tmp_path: Path) -> None:
    assert open_snapshot(tmp_path) is None


def test_damage_is_found_and_named(tmp_path: Path) -> None:
    version = write_snapshot(tmp_path, arrays())
    folder = tmp_path / "snapshots" / version
    vectors = folder / "vectors.npy"
    whole = vectors.read_bytes()
    vectors.write_bytes(whole[:-1])
    with pytest.raises(SnapshotError, match=r"vectors\.npy.*segue embed"):
        open_snapshot(tmp_path)
    vectors.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    open_snapshot(tmp_path)  # sizes are right: only --verify reads it all
    with pytest.raises(SnapshotError, match="sha256"):
        open_snapshot(tmp_path, verify=True)
    vectors.unlink()
    with pytest.raises(SnapshotError, match=r"lacks vectors\.npy"):
        open_snapshot(tmp_path)


def test_publishing_again_mends_a_damaged_snapshot(tmp_path: Path) -> None:
    version = write_snapshot(tmp_path, arrays())
    vectors = tmp_path / "snapshots" / version / "vectors.npy"
    for damage in (vectors.read_bytes()[:-1], b"", vectors.read_bytes()[:-1] + b"x"):
        vectors.write_bytes(damage)
        assert write_snapshot(tmp_path, arrays()) == version
        np.testing.assert_array_equal(opened(tmp_path).vectors, arrays().vectors)
    vectors.unlink()
    write_snapshot(tmp_path, arrays())
    assert opened(tmp_path).n == 3
    names = {path.name for path in (tmp_path / "snapshots").iterdir()}
    assert names == {"current", version}


@pytest.mark.parametrize("files", [[], {}, {"vectors.npy": 3}, None])
def test_a_nonsense_manifest_is_damage_and_no_crash(tmp_path: Path, files: object) -> None:
    version = write_snapshot(tmp_path, arrays())
    manifest = tmp_path / "snapshots" / version / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "files": files}))
    with pytest.raises(SnapshotError, match="segue embed"):
        open_snapshot(tmp_path)


def test_damaged_headers_are_damage_and_no_crash(tmp_path: Path) -> None:
    version = write_snapshot(tmp_path, arrays())
    path = tmp_path / "snapshots" / version / "artist.npy"
    whole = path.read_bytes()
    random = np.random.default_rng(5)
    for _ in range(300):
        damaged = bytearray(whole)
        for at in random.integers(0, 128, 3):
            damaged[at] = int(random.integers(0, 256))
        path.write_bytes(bytes(damaged))
        try:
            open_snapshot(tmp_path)
        except SnapshotError:
            continue


def test_a_newer_format_and_a_lost_directory_are_refused_politely(tmp_path: Path) -> None:
    version = write_snapshot(tmp_path, arrays())
    manifest = tmp_path / "snapshots" / version / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    with pytest.raises(SnapshotError, match="update Segue"):
        open_snapshot(tmp_path)
    (tmp_path / "snapshots" / "current").write_text("gone\n")
    with pytest.raises(SnapshotError, match="lacks"):
        open_snapshot(tmp_path)


def test_a_job_that_died_leaves_nothing_behind_for_long(tmp_path: Path) -> None:
    write_snapshot(tmp_path, arrays())
    leftover = tmp_path / "snapshots" / ".building-x"
    leftover.mkdir()
    died = subprocess.Popen(["true"])
    died.wait()
    of_the_dead, of_the_living = (
        tmp_path / "snapshots" / f".current.{number}" for number in (died.pid, os.getppid())
    )
    of_the_dead.write_text("half")
    of_the_living.write_text("going back just now")
    write_snapshot(tmp_path, arrays(seed=1))
    assert not leftover.exists()
    assert not of_the_dead.exists()
    assert of_the_living.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vectors": np.full((3, 4), np.nan, np.float32)}, "no numbers"),
        ({"artist": np.zeros(2, np.int32)}, "artist must be"),
        ({"track_ids": np.array([3, 2, 1], np.int64)}, "ascend"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_and_the_old_snapshot_stays(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    version = write_snapshot(tmp_path, arrays())
    with pytest.raises(ValueError, match=words):
        write_snapshot(tmp_path, replace(arrays(), **change))  # type: ignore[arg-type]
    assert opened(tmp_path).version == version


def test_optional_arrays_come_back_and_may_be_missing(tmp_path: Path) -> None:
    write_snapshot(tmp_path, arrays())
    assert opened(tmp_path).hub is None
    profile = np.ones((3, 2), np.float32)
    write_snapshot(tmp_path, replace(arrays(), hub=np.float32([1, 2, 3]), profile=profile))
    snapshot = opened(tmp_path)
    assert snapshot.hub is not None
    assert snapshot.hub.tolist() == [1, 2, 3]
    assert snapshot.profile is not None
    assert snapshot.coarse is None
    for bad in ({"hub": np.ones(2, np.float32)}, {"profile": np.full((3, 2), np.nan, np.float32)}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            write_snapshot(tmp_path, replace(arrays(), **bad))


@pytest.mark.parametrize("columns", [60, 48, 64])
def test_a_coarse_copy_tells_how_much_of_it_is_vectors(columns: int, tmp_path: Path) -> None:
    given = arrays(5)
    random = np.random.default_rng(3)
    vectors = random.standard_normal((5, 512), np.float32)
    profile = random.standard_normal((5, 32), np.float32)
    copy = np.concatenate([vectors[:, :columns], profile[:, : 64 - columns]], axis=1)
    model = replace(given.model, dim=512)
    write_snapshot(
        tmp_path, replace(given, model=model, vectors=vectors, profile=profile, coarse=copy)
    )
    assert opened(tmp_path).coarse_of_vectors == columns


@pytest.mark.parametrize(
    "name",
    ["../../evil/{}", "{0.parent}/evil/{}", "../snapshots/{}", "..", ".", "x/y", "x\ny", "\x1b[31m",
     "é", "a" * 5000, ".building-x"],
)  # fmt: skip
def test_what_is_in_force_is_a_plain_name(name: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    version = write_snapshot(data, arrays())
    (tmp_path / "evil").mkdir()
    (data / "snapshots" / version).rename(tmp_path / "evil" / version)
    told = name.replace("{0.parent}", str(tmp_path)).replace("{}", version)
    (data / "snapshots" / "current").write_text(told)
    for read in (current_version, open_snapshot):
        with pytest.raises(SnapshotError, match="segue embed") as caught:
            read(data)
        assert len(str(caught.value)) < 500
        assert "\x1b" not in str(caught.value)
    assert kept_snapshots(data) == []
    assert write_snapshot(data, arrays()) == current_version(data)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_folder_or_a_pipe_in_its_place_is_told_and_replaced(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    version = write_snapshot(tmp_path, arrays())
    pointer = tmp_path / "snapshots" / "current"
    pointer.unlink()
    make(pointer)
    if pointer.is_dir():
        (pointer / "something").write_text("x")
    for read in (current_version, open_snapshot):
        with pytest.raises(SnapshotError, match="segue embed"):
            read(tmp_path)
    assert [one.version for one in kept_snapshots(tmp_path)] == [version]
    assert write_snapshot(tmp_path, arrays()) == version == current_version(tmp_path)
    assert {path.name for path in (tmp_path / "snapshots").iterdir()} == {"current", version}


@pytest.mark.parametrize(
    "manifest",
    ["[" * 20_000, '{"format": 1e999}', "[]", '{"format": 1, "files": {"../../x": {"bytes": 1}}}',
     '{"format": ' + "9" * 5000 + "}",
     '{"format": 1, "files": {"' + "a" * 9000 + '": {"bytes": 1}}}',
     None],
)  # fmt: skip
def test_a_hostile_manifest_is_damage_told_in_a_line(manifest: str | None, tmp_path: Path) -> None:
    version = write_snapshot(tmp_path, arrays())
    path = tmp_path / "snapshots" / version / "manifest.json"
    path.unlink()
    if manifest is None:
        os.mkfifo(path)
    else:
        path.write_text(manifest)
    with pytest.raises(SnapshotError) as caught:
        open_snapshot(tmp_path)
    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)
    assert kept_snapshots(tmp_path) == []
    assert write_snapshot(tmp_path, arrays()) == version
    assert opened(tmp_path).version == version


@pytest.mark.parametrize("n", [10, 20_000])
def test_a_large_coarse_copy_is_held_by_who_ranks_again_and_again(n: int, tmp_path: Path) -> None:
    vectors = np.random.default_rng(1).standard_normal((n, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = dict.fromkeys(("path", "title", "artist", "album"), [""] * n)
    codes = np.arange(n, dtype=np.int32)
    write_snapshot(
        tmp_path,
        SnapshotArrays(
            model=Model("ears", "1", 64), vectors=vectors, track_ids=np.arange(n),
            artist=codes, album=codes, recording=codes, duration_s=np.ones(n, np.float32),
            year=np.zeros(n, np.int16), text=names, tag_groups={}, coarse=vectors,
        ),
    )  # fmt: skip
    mapped, resident = open_snapshot(tmp_path), open_snapshot(tmp_path, resident=True)
    assert mapped is not None
    assert resident is not None
    assert mapped.coarse is not None
    assert resident.coarse is not None
    assert not mapped.coarse.flags.owndata
    assert resident.coarse.flags.owndata == (n > 10)
    assert np.array_equal(mapped.coarse, resident.coarse)
    assert resident.coarse_of_vectors == 64
