"""Songs of a server to tracks, over the wire: the native API, `search3`, and every refusal."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from catalog.errors import LibraryError
from catalog.library import Library
from proxy.linking import Linker, fetch_songs, link_server
from subsonic.client import Client
from subsonic.errors import AnswerError, FailedAnswer, SubsonicError, UnreachableError
from subsonic.settings import UpstreamSettings
from tests.contract.conftest import serving, write_catalog
from tests.contract.upstream import FakeServer

pytestmark = pytest.mark.anyio


class WithoutNative(FakeServer):
    """A Subsonic server as most are: no API of its own."""

    async def _login(self, request: Request) -> Response:
        return PlainTextResponse("not here", 404)


class PasswordOnly(WithoutNative):
    """Refuses token login, as supysonic does."""

    def _answer(self, endpoint: str, p: dict[str, str], folders: list[str]):  # type: ignore[no-untyped-def]
        if p.get("t"):
            error = {"code": 41, "message": "token authentication not supported"}
            return "failed", {"error": error}
        return super()._answer(endpoint, p, folders)


class Oblivious(WithoutNative):
    """Does not know `musicFolderId`."""

    def _answer(self, endpoint: str, p: dict[str, str], folders: list[str]):  # type: ignore[no-untyped-def]
        return super()._answer(endpoint, p, [])


class NoServer(FakeServer):
    """Something else answers at the address."""

    async def _rest(self, request: Request) -> Response:
        return PlainTextResponse("<html>hello</html>", 200)


class Broken(FakeServer):
    """Lists something, but no songs."""

    async def _native_songs(self, request: Request) -> Response:
        return JSONResponse({"error": "out of order"}, 500)


def login(url: str, password: str = "sesame") -> UpstreamSettings:
    return UpstreamSettings(url, "admin", password)


@pytest.mark.parametrize("kind", [FakeServer, WithoutNative, PasswordOnly, Oblivious, Broken])
async def test_every_song_is_found_whatever_the_server_offers(
    kind: type[FakeServer], tmp_path: Path
) -> None:
    server = kind(30)
    write_catalog(tmp_path, server)
    async with serving(server) as url, Client(login(url)) as client:
        songs = await fetch_songs(client)
        folders = {song.folder_id for song in songs}
        assert folders == ({""} if kind is Oblivious else {"1", "2"})
        report = await link_server(client, tmp_path)
    assert (report.linked, report.ambiguous, report.unmatched) == (30, (), ())
    with Library.open(tmp_path, read_only=True) as library:
        assert library.count_songs() == (30, 30)


async def test_more_songs_than_a_page_holds_are_all_asked_for() -> None:
    server = WithoutNative(1203)
    async with serving(server) as url, Client(login(url)) as client:
        assert len({song.song_id for song in await fetch_songs(client)}) == 1203


async def test_the_login_is_never_in_an_address() -> None:
    server = PasswordOnly(5)
    seen: list[str] = []
    answer = server._rest

    async def watched(request: Request) -> Response:
        seen.append(str(request.url))
        return await answer(request)

    server._rest = watched  # type: ignore[method-assign]
    async with serving(server) as url, Client(login(url)) as client:
        await fetch_songs(client)
    assert seen
    assert not any("sesame" in url or "u=" in url or "t=" in url for url in seen)


async def test_refusals_are_clear(tmp_path: Path) -> None:
    write_catalog(tmp_path, FakeServer(3))
    async with serving(FakeServer(3)) as url, Client(login(url, "wrong")) as client:
        with pytest.raises(FailedAnswer, match="Wrong username or password"):
            await link_server(client, tmp_path)
    async with serving(NoServer(3)) as url, Client(login(url)) as client:
        with pytest.raises(AnswerError, match=r"upstream\.url"):
            await link_server(client, tmp_path)
    async with Client(login("http://127.0.0.1:9")) as client:
        with pytest.raises(UnreachableError, match="is the server running"):
            await link_server(client, tmp_path)
    with pytest.raises(SubsonicError, match="password_file"):
        Client(UpstreamSettings("http://x", "admin", password_file=str(tmp_path / "none")))


async def test_linking_without_a_library_troubles_no_server(tmp_path: Path) -> None:
    server = FakeServer(3)
    async with serving(server) as url, Client(login(url)) as client:
        with pytest.raises(LibraryError, match="segue embed"):
            await link_server(client, tmp_path)
    assert server.calls == []


async def test_the_password_may_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("sesame\n")
    async with serving(FakeServer(3)) as url:
        settings = UpstreamSettings(url, "admin", password_file=str(file))
        async with Client(settings) as client:
            assert (await client.ping()).type == "navidrome"


async def test_serve_links_again_when_the_server_has_scanned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.linking.POLL_S", 0.05)
    server = FakeServer(20)
    write_catalog(tmp_path, server)
    gone = server.songs.pop("song0003")

    def linked() -> int:
        with Library.open(tmp_path, read_only=True) as library:
            return library.count_songs()[1]

    async with serving(server) as url:
        task = asyncio.create_task(Linker(login(url), tmp_path).follow())
        try:
            await _until(lambda: linked() == 19)
            server.songs[gone["id"]] = gone
            await _until(lambda: linked() == 20)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _until(true: object, timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not true():  # type: ignore[operator]  # noqa: ASYNC110
            await asyncio.sleep(0.02)
