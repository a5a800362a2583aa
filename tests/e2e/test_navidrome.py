"""Segue in front of a real Navidrome with two libraries; Bob may use the second one only."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo.player import Player, Song
from demo.servers import Account
from subsonic.ids import genre_id
from tests.e2e.conftest import Front, front_of
from tests.e2e.navidrome import ADMIN, BOB, Navidrome, native_songs, navidrome
from tests.e2e.wire import opensonic, send


@pytest.fixture(scope="module")
def native(navidrome_server: Navidrome) -> list[dict[str, Any]]:
    """Every song as Navidrome's own API tells it."""
    return native_songs(navidrome_server.url, ADMIN)


def of_library(native: list[dict[str, Any]], library_id: str) -> list[dict[str, Any]]:
    return [song for song in native if str(song["libraryId"]) == library_id]


def test_every_song_of_both_libraries_is_linked_by_its_true_path(
    navidrome_front: Front, native: list[dict[str, Any]]
) -> None:
    assert navidrome_front.linked == len(native) > 40
    report = navidrome_front.segue.run_json("link")
    assert report["linked"] == len(native)
    picks = navidrome_front.segue.run_json("similar", native[0]["id"], "-n", "500")
    by_id = {song["id"]: song for song in native}
    assert len(picks) >= 30
    for pick in picks:
        assert pick["path"] == by_id[pick["id"]]["path"]


@pytest.mark.parametrize("f", ["json", "xml", "jsonp"])
@pytest.mark.parametrize("post", [False, True], ids=["get", "post"])
def test_similar_songs_are_steered_and_described_by_navidrome(
    navidrome_front: Front, native: list[dict[str, Any]], f: str, *, post: bool
) -> None:
    reply = send(
        navidrome_front.url,
        "getSimilarSongs",
        ADMIN,
        post=post,
        client=f"formats {f} {post}",
        f=f,
        callback="hear" if f == "jsonp" else "",
        id=native[3]["id"],
        count=5,
    )
    assert reply.mark == "steered"
    direct = send(navidrome_front.upstream_url, "ping", ADMIN, f=f, callback="hear")
    assert reply.headers["content-type"] == direct.headers["content-type"]
    if f == "json":
        songs = reply.content["similarSongs"]["song"]
        assert len(songs) == 5
        assert reply.content["type"] == "navidrome"
        for song in songs:
            own = send(navidrome_front.upstream_url, "getSong", ADMIN, id=song["id"])
            assert song == own.content["song"]


def test_a_user_gets_only_what_he_may_see(
    navidrome_server: Navidrome, navidrome_front: Front, native: list[dict[str, Any]]
) -> None:
    second = navidrome_server.library_ids[1]
    allowed = {song["id"] for song in of_library(native, second)}
    for seed in of_library(native, second)[:4]:
        reply = send(
            navidrome_front.url,
            "getSimilarSongs",
            BOB,
            client=f"Bob {seed['id']}",
            id=seed["id"],
            count=8,
        )
        assert reply.mark == "steered"
        found = {song["id"] for song in reply.content["similarSongs"]["song"]}
        assert len(found) == 8
        assert found <= allowed


def test_a_seed_that_he_may_not_see_is_the_upstreams_matter(
    navidrome_server: Navidrome, navidrome_front: Front, native: list[dict[str, Any]]
) -> None:
    hidden = of_library(native, navidrome_server.library_ids[0])[0]
    through = send(navidrome_front.url, "getSimilarSongs", BOB, id=hidden["id"], count=5)
    direct = send(navidrome_front.upstream_url, "getSimilarSongs", BOB, id=hidden["id"], count=5)
    assert through.mark.startswith("forwarded")
    assert (through.status, through.body) == (direct.status, direct.body)


def test_users_are_known_by_their_names_in_any_case(
    navidrome_server: Navidrome, navidrome_front: Front, native: list[dict[str, Any]]
) -> None:
    seed = of_library(native, navidrome_server.library_ids[1])[0]
    for name in ("bob", "BOB"):
        reply = send(
            navidrome_front.url,
            "getSimilarSongs",
            Account(name, BOB.password),
            id=seed["id"],
            client=name,
            count=3,
        )
        assert reply.mark == "steered"


def test_one_users_stars_and_ratings_never_reach_another(
    navidrome_server: Navidrome, navidrome_front: Front, native: list[dict[str, Any]]
) -> None:
    shared = of_library(native, navidrome_server.library_ids[1])
    ids = {song["id"] for song in shared}
    for song in shared:
        send(navidrome_front.url, "star", ADMIN, id=song["id"])
        send(navidrome_front.url, "setRating", ADMIN, id=song["id"], rating=4)
        send(navidrome_front.url, "scrobble", ADMIN, id=song["id"], submission="true")
    for number, account in enumerate((ADMIN, BOB, ADMIN, BOB)):
        reply = send(
            navidrome_front.url,
            "getSimilarSongs",
            account,
            client=f"stars {number}",
            id=shared[0]["id"],
            count=6,
        )
        assert reply.mark == "steered"
        answered = reply.content["similarSongs"]["song"]
        marked = {song["id"] for song in answered if "starred" in song and "userRating" in song}
        if account is BOB:
            assert not any({"starred", "userRating"} & song.keys() for song in answered)
            assert not any(song.get("playCount") for song in answered)
        else:
            assert marked == {song["id"] for song in answered} & ids


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("getSimilarSongs", {}),
        ("getSimilarSongs2.view", {"id": "no-such-song"}),
        ("getSimilarSongs", {"id": "no-such-song", "f": "xml"}),
        ("getRandomSongs", {"musicFolderId": "77"}),
        ("getSong", {"id": "no-such-song"}),
        ("noSuchMethod", {}),
        ("getShares", {}),
        ("getOpenSubsonicExtensions", {}),
        ("ping", {"f": "xml"}),
    ],
)
def test_errors_and_all_else_are_the_upstreams(
    navidrome_front: Front, method: str, parameters: dict[str, str]
) -> None:
    through = send(navidrome_front.url, method, ADMIN, client="Untouched", **parameters)
    direct = send(navidrome_front.upstream_url, method, ADMIN, client="Untouched", **parameters)
    assert (through.status, through.body) == (direct.status, direct.body)
    assert through.mark != "steered"


def test_a_wrong_password_is_error_40(navidrome_front: Front, native: list[dict[str, Any]]) -> None:
    stranger = Account(ADMIN.username, "guess")
    for method in ("getSimilarSongs", "getRandomSongs"):
        through = send(navidrome_front.url, method, stranger, id=native[0]["id"])
        direct = send(navidrome_front.upstream_url, method, stranger, id=native[0]["id"])
        assert through.error[0] == 40
        assert through.body == direct.body
        assert through.mark != "steered"


def test_plain_random_is_forwarded(navidrome_front: Front) -> None:
    reply = send(navidrome_front.url, "getRandomSongs", ADMIN, client="Shuffler", size=30)
    assert reply.mark == "forwarded; reason=true-random"
    assert len(reply.content["randomSongs"]["song"]) == 30


def test_autodj_of_the_real_habits(navidrome_front: Front, native: list[dict[str, Any]]) -> None:
    """Token login, form posts, three refills: similar songs all the way, none twice."""
    player = Player(navidrome_front.url, ADMIN, client="Feishin one")
    player.play([Song.of(native[7])])
    for _ in range(12):
        player.next()
    ids = [song.song_id for song in player.queue]
    assert len(ids) == len(set(ids)) >= 16
    assert player.bytes_streamed > 1_000_000


def test_autodj_with_one_folder_selected(
    navidrome_server: Navidrome, navidrome_front: Front, native: list[dict[str, Any]]
) -> None:
    """Feishin then asks random songs only, and tells what plays some 20 ms after the first call.

    It names the genre by its id. Some versions of Navidrome find nothing for that.
    """
    first = navidrome_server.library_ids[0]
    inside = {song["id"] for song in of_library(native, first)}
    seed = max(
        of_library(native, first),
        key=lambda song: sum(song["genre"] == other["genre"] for other in native),
    )
    playing = replace(Song.of(seed), genre_id=genre_id(seed["genre"]))
    client = "Feishin in a folder"

    def report() -> None:
        time.sleep(0.02)
        send(
            navidrome_front.url,
            "getTranscodeDecision",
            ADMIN,
            client=client,
            mediaId=seed["id"],
            mediaType="song",
        )
        _native_song(navidrome_front.url, ADMIN, seed["id"])

    player = Player(navidrome_front.url, ADMIN, client=client, music_folder_id=first)
    player.call("scrobble.view", {"id": seed["id"], "submission": "false"})
    reporter = threading.Thread(target=report)
    reporter.start()
    refill = player.play([playing])
    reporter.join()

    assert refill is not None
    assert all(mark == "steered" for _, mark in refill.asked)
    assert len(refill.songs) == 5
    assert {song.song_id for song in refill.songs} <= inside
    assert [source for _, source in refill.added] == ["genre"] * 5
    assert {song.genre for song in refill.songs} == {seed["genre"]}


def _native_song(url: str, account: Account, song_id: str) -> None:
    """`GET /api/song/<id>`, as Feishin sends it in its Navidrome mode."""
    login = json.dumps({"username": account.username, "password": account.password}).encode()
    request = urllib.request.Request(
        f"{url}/auth/login", login, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        token = json.load(answer)["token"]
    request = urllib.request.Request(
        f"{url}/api/song/{song_id}", headers={"X-ND-Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer)["id"] == song_id


def test_the_web_pages_and_a_cover_pass(
    navidrome_front: Front, native: list[dict[str, Any]]
) -> None:
    with urllib.request.urlopen(f"{navidrome_front.url}/app/", timeout=10) as answer:
        assert b"<html" in answer.read().lower()
    through = send(navidrome_front.url, "stream", ADMIN, id=native[0]["id"])
    direct = send(navidrome_front.upstream_url, "stream", ADMIN, id=native[0]["id"])
    digests = {hashlib.sha256(reply.body).digest() for reply in (through, direct)}
    assert len(digests) == 1
    assert len(through.body) == native[0]["size"]


@pytest.mark.anyio
async def test_another_real_client_library(
    navidrome_front: Front, native: list[dict[str, Any]]
) -> None:
    connection = opensonic(navidrome_front.url, ADMIN)
    try:
        assert await connection.ping()
        found = await connection.get_similar_songs(native[1]["id"], count=5)
        assert len(found) == 5
        assert native[1]["id"] not in {song.id for song in found}
    finally:
        await connection.cleanup()


@pytest.mark.soak
def test_all_of_the_shared_library_is_linked(shared_audio: Path, tmp_path: Path) -> None:
    if shutil.which("navidrome") is None:
        pytest.skip("needs a navidrome on PATH")
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    with navidrome(tmp_path / "server", shared_audio, nothing) as running:
        songs = len(native_songs(running.url, ADMIN))
        segue, server, linked = front_of(
            tmp_path / "segue", running.url, ADMIN, [shared_audio], songs
        )
        with server:
            assert linked == songs == 165
            assert segue.run_json("link")["linked"] == 165
