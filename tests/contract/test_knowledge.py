"""A new snapshot, new links and damage, while serving."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from catalog.library import Library
from catalog.snapshot import current_version
from proxy.knowledge import Knowledge
from tests.contract.conftest import House, write_catalog
from tests.contract.upstream import FakeServer

pytestmark = pytest.mark.anyio


def publish_another(data: Path) -> None:
    """The same songs with one more: another snapshot."""
    server = FakeServer(61)
    write_catalog(data, server)


async def test_a_new_snapshot_is_taken_up_without_a_restart(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (await house.http.get(f"{house.url}/segue/health")).json()
    assert (before["status"], before["tracks"], before["linked"]) == ("ok", 60, 60)

    async def ask() -> None:
        for _ in range(60):
            assert len(await house.songs("getSimilarSongs", id="song0001", count=5)) == 5
            await asyncio.sleep(0.05)

    asking = asyncio.create_task(ask())
    await asyncio.to_thread(publish_another, house.data)
    await asking  # no call failed meanwhile; the view is looked at every two seconds
    after = (await house.http.get(f"{house.url}/segue/health")).json()
    assert after["snapshot"] == current_version(house.data) != before["snapshot"]
    assert after["tracks"] == 61


def test_damage_leaves_the_old_view_in_force(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = FakeServer(10)
    write_catalog(tmp_path, server)
    knowledge = Knowledge(tmp_path)
    assert knowledge.refresh()
    view = knowledge.view
    assert view is not None
    publish_another(tmp_path)
    version = current_version(tmp_path)
    assert version is not None
    vectors = tmp_path / "snapshots" / version / "vectors.npy"
    whole = vectors.read_bytes()
    vectors.write_bytes(whole[:100])
    for _ in range(3):
        assert not knowledge.refresh()
    assert knowledge.view is view
    assert np.isfinite(view.snapshot.vectors).all()
    assert caplog.text.count("vectors.npy") == 1  # told once, not every two seconds
    vectors.write_bytes(whole)
    assert knowledge.refresh()
    assert knowledge.view is not None
    assert knowledge.view.snapshot.n == 61


def test_links_made_by_another_process_are_taken_up(tmp_path: Path) -> None:
    server = FakeServer(4)
    write_catalog(tmp_path, server)
    knowledge = Knowledge(tmp_path)
    assert knowledge.refresh()
    assert knowledge.view is not None
    assert len(knowledge.view.links) == 0
    with Library.open(tmp_path) as library:
        from catalog.tracks import Song

        track = next(library.tracks())
        library.replace_songs([Song("x")], {"x": track.track_id})
    assert knowledge.refresh()
    assert not knowledge.refresh()
    assert knowledge.view.links.row("x") == 0


def test_a_library_of_another_version_takes_no_links_away(tmp_path: Path) -> None:
    """As after an upgrade, before the next `segue embed`, or beside the job of a newer Segue."""
    write_catalog(tmp_path, FakeServer(4))
    with Library.open(tmp_path) as library:
        from catalog.tracks import Song

        library.replace_songs([Song("x")], {"x": next(library.tracks()).track_id})
    running = Knowledge(tmp_path)
    assert running.refresh()
    for version, linked in ((2, 1), (99, 0)):
        with closing(sqlite3.connect(tmp_path / "library.db")) as db:
            db.execute(f"PRAGMA user_version = {version}")
        running.refresh()
        assert running.view is not None
        assert len(running.view.links) == 1
        fresh = Knowledge(tmp_path)
        assert fresh.refresh()
        assert fresh.view is not None
        assert len(fresh.view.links) == linked


def test_a_snapshot_without_its_library_links_nothing(tmp_path: Path) -> None:
    write_catalog(tmp_path, FakeServer(4))
    for file in tmp_path.glob("library.db*"):
        file.unlink()
    knowledge = Knowledge(tmp_path)
    assert knowledge.refresh()
    assert knowledge.view is not None
    assert len(knowledge.view.links) == 0
