"""Real servers over real music, each started once a session; Segue in front by its own command."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.library import compose_library
from demo.player import Player
from demo.segue import Segue, health, wait_until_linked
from demo.servers import Account, Server, start_supysonic
from tests.e2e.navidrome import ADMIN, Navidrome, navidrome

ROOT = Path(__file__).resolve().parents[2]
LISTENER = Account("demo", "demo", admin=True)
OTHER = Account("other", "secret of the other")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is end to end; the first test waits for servers to start."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(300))


@dataclass(frozen=True, slots=True)
class Front:
    """Segue in front of a server: the installation, its running proxy, and the server's URL."""

    segue: Segue
    server: Server
    upstream_url: str
    linked: int

    @property
    def url(self) -> str:
        """Where clients call."""
        return self.server.url

    def health(self) -> dict[str, object]:
        """What /segue/health says."""
        return health(self.server)


def front_of(
    folder: Path, upstream_url: str, account: Account, music: list[Path], songs: int
) -> tuple[Segue, Server, int]:
    """Embeds the music with the model that is part of Segue, starts `serve`, awaits the links."""
    segue = Segue(
        folder,
        {
            "library": {"music": [str(path) for path in music], "data": str(folder / "data")},
            "embedding": {"model": "segue-1"},
            "upstream": {
                "url": upstream_url,
                "username": account.username,
                "password": account.password,
            },
            "steering": {"deadline_ms": 10_000},  # nothing here is about speed
        },
    )
    segue.run("embed")
    server = segue.serve()
    try:
        return segue, server, wait_until_linked(server, songs)
    except BaseException:
        server.stop()
        raise


# supysonic, always


@pytest.fixture(scope="session")
def composed_music() -> Path:
    """The demo's own library, composed once for the checkout."""
    return compose_library(ROOT / ".demo")


@pytest.fixture(scope="session")
def supysonic_server(
    composed_music: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """supysonic over the demo's library, with two users."""
    folder = tmp_path_factory.mktemp("supysonic")
    with start_supysonic(folder, {"Demo": composed_music}, [LISTENER, OTHER]) as server:
        yield server


@pytest.fixture(scope="session")
def segue_server(
    composed_music: Path, supysonic_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    """Segue in front of supysonic, with every song linked."""
    folder = tmp_path_factory.mktemp("segue")
    segue, server, linked = front_of(
        folder, supysonic_server.url, LISTENER, [composed_music], songs=54
    )
    with server:
        yield Front(segue, server, supysonic_server.url, linked)


@pytest.fixture
def listener(segue_server: Front) -> Player:
    """The first user's player, through Segue."""
    return Player(segue_server.url, LISTENER, legacy_login=True)


@pytest.fixture
def other(segue_server: Front) -> Player:
    """The second user's player, through Segue."""
    return Player(segue_server.url, OTHER, legacy_login=True, client="Substreamer")


# Navidrome, where it is on PATH


@pytest.fixture(scope="session")
def navidrome_server(
    shared_audio: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Navidrome]:
    """Navidrome over two libraries of some twenty real excerpts each."""
    if shutil.which("navidrome") is None:
        pytest.skip("needs a navidrome on PATH")
    folder = tmp_path_factory.mktemp("navidrome")
    first, second = folder / "music-one", folder / "music-two"
    files = sorted(path for path in shared_audio.rglob("*") if path.is_file())
    for index, file in enumerate(files[::4]):
        copy = (first, second)[index % 2] / file.relative_to(shared_audio)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    with navidrome(folder / "server", first, second) as running:
        yield running


@pytest.fixture(scope="session")
def navidrome_front(
    navidrome_server: Navidrome, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    """Segue in front of Navidrome, with every song of both libraries linked."""
    songs = len(Player(navidrome_server.url, ADMIN).library())
    segue, server, linked = front_of(
        tmp_path_factory.mktemp("segue-navidrome"),
        navidrome_server.url,
        ADMIN,
        list(navidrome_server.folders),
        songs,
    )
    with server:
        yield Front(segue, server, navidrome_server.url, linked)
