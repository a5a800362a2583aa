"""Segue in front of the recorded dialect: real sockets on both sides."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import httpx2
import numpy as np
import pytest
import uvicorn

from catalog.library import Library
from catalog.snapshot import SnapshotArrays, TagGroup, write_snapshot
from catalog.tracks import FileFacts, Model, Tags
from proxy.application import Application
from proxy.assembly import assemble
from proxy.linking import link_server
from proxy.server import serve_in_background
from proxy.settings import ProxySettings, ServerSettings, SteeringSettings
from ranker.settings import RankingSettings
from subsonic.client import Client
from subsonic.settings import UpstreamSettings
from tests.contract.upstream import FakeServer

DIM = 8

#: Catalogs made so far, by what the server holds.
_catalogs: dict[str, Path] = {}


def write_catalog(data: Path, server: FakeServer) -> None:
    """A library and a snapshot of the fake server's songs, as an embedding run leaves them.

    The songs have four styles in turn; those of one style sound alike.
    """
    random = np.random.default_rng(3)
    songs = list(server.songs.values())
    vectors = np.eye(DIM, dtype=np.float32)[[s["_style"] for s in songs]]
    vectors = vectors + 0.2 * random.normal(size=vectors.shape).astype(np.float32)
    vectors -= vectors.mean(axis=0)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    with Library.open(data) as library:
        roots = {number: library.root_id(Path(f"/nowhere/music{number}")) for number in (1, 2)}
        ids = [
            library.store(
                roots[s["_folder"]], FileFacts(s["path"], s["size"], 1), s["id"],
                float(s["duration"]), Tags(s["title"], s["artist"], s["album"]), (),
            )
            for s in songs
        ]  # fmt: skip
    n = len(songs)
    write_snapshot(
        data,
        SnapshotArrays(
            model=Model("ears", "1", DIM),
            vectors=vectors.astype(np.float32),
            track_ids=np.array(ids, np.int64),
            artist=np.array([int(s["artistId"][6:]) for s in songs], np.int32),
            album=np.array([int(s["albumId"][5:]) for s in songs], np.int32),
            recording=np.arange(n, dtype=np.int32),
            duration_s=np.full(n, 100, np.float32),
            year=np.zeros(n, np.int16),
            text={
                "path": [s["path"] for s in songs], "title": [s["title"] for s in songs],
                "artist": [s["artist"] for s in songs], "album": [s["album"] for s in songs],
            },
            tag_groups={"moods": TagGroup(("sad",), np.zeros((n, 1), np.float16))},
        ),
    )  # fmt: skip


@dataclass
class House:
    """A running pair: the fake server, its address, Segue's address, and a client of Segue."""

    server: FakeServer
    upstream_url: str
    url: str
    http: httpx2.AsyncClient
    data: Path
    application: Application

    async def call(
        self, endpoint: str, *, user: str = "admin", method: str = "GET", client: str = "test",
        headers: dict[str, str] | None = None, direct: bool = False,
        **parameters: str | int | list[str],
    ) -> httpx2.Response:  # fmt: skip
        """One Subsonic call through Segue, or `direct` to the server."""
        password = self.server.users[user.lower()].password
        form = {"u": user, "p": password, "v": "1.16.1", "c": client, "f": "json", **parameters}
        url = f"{self.upstream_url if direct else self.url}/rest/{endpoint}"
        if method == "POST":
            return await self.http.post(url, data=form, headers=headers)
        return await self.http.get(url, params=form, headers=headers)

    async def songs(self, endpoint: str, **options: object) -> list[dict[str, object]]:
        """The songs of an ok JSON answer."""
        response = await self.call(endpoint, **options)  # type: ignore[arg-type]
        envelope = response.json()["subsonic-response"]
        assert envelope["status"] == "ok", envelope
        (listing,) = (v for v in envelope.values() if isinstance(v, dict))
        songs: list[dict[str, object]] = listing.get("song", [])
        return songs

    def styles(self, songs: list[dict[str, object]]) -> set[int]:
        """The styles of these songs."""
        return {self.server.songs[str(song["id"])]["_style"] for song in songs}


@contextlib.asynccontextmanager
async def serving(server: FakeServer) -> AsyncIterator[str]:
    """The fake server on a free port of this machine."""
    config = uvicorn.Config(
        server.application(), host="127.0.0.1", port=0, log_config=None, lifespan="off"
    )
    running = uvicorn.Server(config)
    running.capture_signals = contextlib.nullcontext  # type: ignore[assignment]
    task = asyncio.create_task(running.serve())
    while not running.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    port = running.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        running.should_exit = True
        await task


async def _write_linked_catalog(data: Path, server: FakeServer, upstream: UpstreamSettings) -> None:
    """As `write_catalog`, linked as by `segue link`; made once for servers with the same songs."""
    key = repr((server.songs, server.users))
    begun = (data / "library.db").exists()
    if key in _catalogs and not begun:
        shutil.copytree(_catalogs[key], data, dirs_exist_ok=True)
        return
    write_catalog(data, server)
    async with Client(upstream) as client:
        report = await link_server(client, data)
        assert report.linked == len(server.songs)
    if not begun:
        kept = Path(tempfile.mkdtemp(prefix="segue-catalog-"))
        atexit.register(shutil.rmtree, kept)
        _catalogs[key] = Path(shutil.copytree(data, kept, dirs_exist_ok=True))


#: Of a steered call on a machine that has much else to do; tests about the deadline set their own.
_PATIENT_MS = 10_000


@contextlib.asynccontextmanager
async def keep_house(
    data: Path,
    *,
    steering: SteeringSettings | None = None,
    embedded: bool = True,
    linked: bool = True,
    trusted_proxies: tuple[str, ...] = (),
    server: FakeServer | None = None,
    timer: Callable[[], float] = monotonic,
) -> AsyncIterator[House]:
    """Everything up, linked as `segue link` does it, and down again."""
    server = server or FakeServer()
    if embedded and not linked:
        write_catalog(data, server)
    async with contextlib.AsyncExitStack() as stack:
        upstream_url = await stack.enter_async_context(serving(server))
        upstream = UpstreamSettings(upstream_url, "admin", "sesame")
        if embedded and linked:
            await _write_linked_catalog(data, server, upstream)
        listening = ServerSettings(
            host="127.0.0.1", port=0, drain_s=0.5, trusted_proxies=trusted_proxies
        )
        steering = steering or SteeringSettings()
        if steering.deadline_ms == SteeringSettings().deadline_ms:
            steering = replace(steering, deadline_ms=_PATIENT_MS)  # none of this is about speed
        settings = ProxySettings(upstream_url, listening, steering)
        # Links are made above; without a login serve leaves them alone.
        application = assemble(settings, replace(upstream, username="", password=""),
                               RankingSettings(), data, timer=timer)  # fmt: skip
        url = await stack.enter_async_context(serve_in_background(application, listening))
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=20, trust_env=False))
        server.calls.clear()
        yield House(server, upstream_url, url, http, data, application)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with keep_house(tmp_path) as running:
        yield running
