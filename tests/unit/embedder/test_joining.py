"""Many machines: shards of the same music become one library, and one snapshot."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from catalog.library import Library
from catalog.snapshot import open_snapshot
from embedder.errors import EmbedderError
from embedder.joining import join
from embedder.lock import only_job
from embedder.settings import EmbeddingSettings
from embedder.sharding import Shard
from tests.unit.embedder.test_job import Shelf

pytestmark = pytest.mark.usefixtures("shared_workers")

SETTINGS = EmbeddingSettings(model="timbre")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = Shelf(tmp_path)
    for number in range(7):
        shelf.add(f"Album {number % 2}/{number}.wav", number, seconds=0.5)
    (shelf.music / "empty.mp3").write_bytes(b"")
    return shelf


def shards(shelf: Shelf, count: int) -> list[Path]:
    """Each part in a data folder of its own."""
    data = shelf.data
    folders = []
    for index in range(1, count + 1):
        shelf.data = data.with_name(f"part{index}")
        outcome = shelf.run(shard=Shard(index, count))
        assert outcome.snapshot == ""
        assert open_snapshot(shelf.data) is None
        folders.append(shelf.data)
    shelf.data = data
    return folders


def test_shards_become_the_very_snapshot_of_one_machine(shelf: Shelf) -> None:
    parts = shards(shelf, 3)
    whole = shelf.run()
    out = shelf.data.with_name("out")
    joined = join(out, parts, SETTINGS)
    assert (joined.tracks, joined.merged.added) == (7, 7)
    assert joined.snapshot == whole.snapshot
    again = join(out, parts[::-1], SETTINGS)
    assert (again.merged.added, again.merged.results) == (0, 0)
    assert again.snapshot == whole.snapshot
    shelf.data = out  # and the next run on one machine finds nothing to do
    assert shelf.run().report.unchanged == 7
    assert [failure.path for failure in shelf.failures()] == ["empty.mp3"]


def test_a_shard_goes_on_where_it_was_and_forgets_only_its_own(shelf: Shelf) -> None:
    out = shelf.data.with_name("out")
    join(out, shards(shelf, 2), SETTINGS)
    moved = shelf.music / "Album 0/0.wav"
    moved.rename(shelf.music / "Album 0/elsewhere.wav")
    for _ in range(3):
        for index in (1, 2):
            shelf.data = out.with_name(f"next{index}")
            shutil.copytree(out, shelf.data, dirs_exist_ok=True)
            report = shelf.run(shard=Shard(index, 2)).report
            assert report.embedded == 0  # what moved into this part is known by its content
        join(out, [out.with_name("next1"), out.with_name("next2")], SETTINGS)
    with Library.open(out, read_only=True) as library:
        assert "Album 0/elsewhere.wav" in {track.file.path for track in library.tracks()}


def test_a_folder_that_is_at_work_is_left_alone(shelf: Shelf) -> None:
    data = shelf.data
    shelf.data = data.with_name("part")
    shelf.run()
    with only_job(shelf.data), pytest.raises(EmbedderError, match="another `segue embed`"):
        join(data, [shelf.data], SETTINGS)
