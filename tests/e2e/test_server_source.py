"""Music that is read from a server: the same tracks as from its folder, no byte of it twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from catalog.library import Library
from catalog.settings import LibrarySettings
from catalog.tracks import RunReport
from demo.servers import Account, Server
from embedder import listening
from embedder.errors import SourceError
from embedder.job import Task, embed
from embedder.models.registry import TIMBRE
from embedder.server import ServerMusic
from embedder.settings import EmbeddingSettings
from embedder.workers import Workers
from subsonic.settings import UpstreamSettings
from tests.e2e.conftest import LISTENER
from tests.e2e.navidrome import ADMIN, Navidrome


@pytest.fixture(scope="module")
def pool() -> Iterator[Workers]:
    with Workers(timeout_s=60.0) as workers:
        yield workers


@pytest.fixture(autouse=True)
def _shared_workers(pool: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """One decoding process for all runs: starting one takes longer than all else here."""
    monkeypatch.setattr(listening, "Workers", lambda timeout_s: nullcontext(pool))


def hear(url: str, account: Account, data: Path, songs: int) -> RunReport:
    """Hear some songs of a server."""
    upstream = UpstreamSettings(url=url, username=account.username, password=account.password)
    with ServerMusic(upstream, connections=2) as source:
        return embed(
            LibrarySettings(data=str(data), source="server"),
            EmbeddingSettings(model="timbre", workers=1),
            Task(limit=songs),
            source=source,
        ).report


def hear_folders(folders: Sequence[Path], data: Path, songs: int) -> Path:
    """Hear the same songs from where they lie."""
    library = LibrarySettings(music=tuple(map(str, folders)), data=str(data))
    embed(library, EmbeddingSettings(model="timbre", workers=1), Task(limit=songs))
    return data


def vectors(data: Path) -> dict[str, np.ndarray]:
    """Raw vectors by content key."""
    with Library.open(data, read_only=True) as library:
        keys = {track.track_id: track.content_key for track in library.tracks()}
        ids, rows = library.vectors(TIMBRE.model)
        return {keys[track]: row for track, row in zip(ids.tolist(), rows, strict=True)}


def assert_as_from_the_folder(data: Path, folder_data: Path) -> None:
    heard, expected = vectors(data), vectors(folder_data)
    assert heard.keys() == expected.keys()
    for key, vector in heard.items():
        np.testing.assert_array_equal(vector, expected[key])


def test_supysonic_gives_what_its_folder_gives(
    supysonic_server: Server, composed_music: Path, tmp_path: Path
) -> None:
    data = tmp_path / "server"
    report = hear(supysonic_server.url, LISTENER, data, songs=4)
    assert (report.embedded, report.skipped) == (4, 0)
    with Library.open(data, read_only=True) as library:
        heard = [track.file for track in library.tracks()]
    # Nothing twice; of songs as short as these nearly all is heard.
    assert report.bytes_read <= sum(file.size_bytes for file in heard)
    assert_as_from_the_folder(data, hear_folders([composed_music], tmp_path / "folder", songs=4))
    again = hear(supysonic_server.url, LISTENER, data, songs=1)
    assert (again.embedded, again.unchanged) == (1, 4)


def test_a_wrong_password_and_a_dead_server_change_nothing(
    supysonic_server: Server, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match="nothing was changed"):
        hear(supysonic_server.url, Account(LISTENER.username, "guess"), tmp_path, songs=1)
    with pytest.raises(SourceError, match="no answer"):
        hear("http://127.0.0.1:9", LISTENER, tmp_path, songs=1)
    with Library.open(tmp_path, read_only=True) as library:
        assert library.count_tracks() == 0


def test_navidrome_gives_what_its_folders_give(navidrome_server: Navidrome, tmp_path: Path) -> None:
    data = tmp_path / "server"
    report = hear(navidrome_server.url, ADMIN, data, songs=4)
    assert (report.embedded, report.skipped) == (4, 0)
    folder_data = hear_folders(navidrome_server.folders, tmp_path / "folder", songs=4)
    assert_as_from_the_folder(data, folder_data)
    with Library.open(data, read_only=True) as library:
        roots = set(library.roots().values())
    assert roots == {str(folder) for folder in navidrome_server.folders}
    assert hear(navidrome_server.url, ADMIN, data, songs=1).unchanged == 4
