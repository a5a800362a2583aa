"""What a user likes changes what is chosen for that user, and for nobody else."""

from __future__ import annotations

import asyncio
from hashlib import md5
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from catalog.history import FILE_NAME, History
from proxy.observation import WRITES
from proxy.settings import SteeringSettings
from proxy.steering import Steering
from proxy.tastes import Tastes
from tests.contract.conftest import House, keep_house

pytestmark = pytest.mark.anyio


def steering(house: House) -> Steering:
    found = house.application._steering
    assert isinstance(found, Steering)
    return found


def tastes(house: House) -> Tastes:
    found = steering(house)._tastes
    assert found is not None
    return found


def refresh(house: House) -> None:
    view = steering(house)._knowledge.view
    assert view is not None
    tastes(house).refresh(view)


async def test_accepted_stars_ratings_and_plays_are_learned(house: House) -> None:
    await house.call("star", id="song0004")
    await house.call("setRating", id="song0008", rating=5, method="POST")
    await house.call("scrobble", id="song0012", submission="true")
    await house.call("scrobble", id="song0001", submission="false")  # only begins
    await house.call("star", id="song0002", p="wrong")
    await house.call("setRating", id="song0003", rating=9, method="POST")
    await house.call("star", albumId="album001")
    await house.call("star", id="x" * 1000)
    (user,) = tastes(house)._users.values()
    assert set(user.songs) == {"song0004", "song0008", "song0012"}
    await house.call("unstar", id="song0004")
    assert not user.songs["song0004"].starred


async def test_one_star_never_comes_again_for_that_user(house: House) -> None:
    """By what is known, and at once: the server says so of the song itself."""
    songs = await house.songs("getSimilarSongs", id="song0002", count=5, client="one")
    mine = [str(song["id"]) for song in songs]
    worst = next(song for song in mine if house.server.songs[song]["_folder"] == 1)
    house.server.users["admin"].ratings[worst] = 1  # by another way than through Segue
    again = await house.songs("getSimilarSongs", id="song0002", count=5, client="two")
    assert worst not in {song["id"] for song in again}
    assert len(again) == 5
    other = str(again[0]["id"])
    await house.call("setRating", id=other, rating=1)
    refresh(house)
    third = await house.songs("getSimilarSongs", id="song0002", count=50, client="three")
    assert not {worst, other} & {song["id"] for song in third}
    bobs = await house.songs("getSimilarSongs", id="song0002", count=29, client="one", user="bob")
    assert worst in {song["id"] for song in bobs}
    seeded = await house.songs("getSimilarSongs", id=worst, count=5, client="four")
    assert len(seeded) == 5


async def test_a_rating_that_was_mended_past_segue_is_learned(tmp_path: Path) -> None:
    """A song of one star is never chosen, so nobody would see that it is none any more."""
    async with keep_house(tmp_path) as house:
        await house.call("setRating", id="song0006", rating=1)
        await house.call("setRating", id="song0006", rating=4, direct=True)
        refresh(house)
        songs = await house.songs("getSimilarSongs", id="song0002", count=50, client="one")
        assert "song0006" not in {song["id"] for song in songs}
        asked = house.server.asked("getSong")
        for _ in range(3):  # it is looked at now and then, not in every call
            await house.songs("getSimilarSongs", id="song0002", count=1, client="two")
        assert house.server.asked("getSong") <= asked + 6
        (user,) = tastes(house)._users.values()
        assert user.songs["song0006"].rating == 4
    async with keep_house(tmp_path, server=house.server) as house:
        (user,) = tastes(house)._users.values()
        assert user.songs["song0006"].rating == 4
        refresh(house)
        songs = await house.songs("getSimilarSongs", id="song0002", count=50, client="three")
        assert "song0006" in {song["id"] for song in songs}


@pytest.mark.parametrize("format_", ["json", "xml"])
async def test_a_star_that_was_taken_back_past_segue_is_learned(house: House, format_: str) -> None:
    await house.call("star", id="song0006")
    await house.call("setRating", id="song0010", rating=2)
    await house.call("star", id="song0014")
    await house.call("unstar", id="song0006", direct=True)
    await house.call("setRating", id="song0010", rating=5, direct=True)
    answer = await house.call("getSimilarSongs", id="song0002", count=59, f=format_)
    assert answer.headers["x-segue"] == "steered"
    (user,) = tastes(house)._users.values()
    assert not user.songs["song0006"].starred
    assert user.songs["song0010"].rating == 5
    assert user.songs["song0014"].starred
    assert len(user.songs) == 3  # of other songs nothing is learned so


async def test_a_star_that_comes_while_songs_are_fetched_stays(house: House) -> None:
    """The song that was fetched before it says otherwise."""
    await house.call("star", id="song0006")
    await house.call("unstar", id="song0006", direct=True)
    house.server.delay_s["getSong"] = 0.2
    call = asyncio.create_task(house.songs("getSimilarSongs", id="song0002", count=50))
    await asyncio.sleep(0.1)
    await house.call("star", id="song0006")
    await call
    (user,) = tastes(house)._users.values()
    assert user.songs["song0006"].starred


@pytest.mark.parametrize(("mode", "learns", "writes"), [
    ("on", True, True), ("memory", True, False), ("off", False, False),
])  # fmt: skip
async def test_what_is_learned_and_what_is_written(
    tmp_path: Path, mode: str, learns: bool, writes: bool
) -> None:
    settings = SteeringSettings(history=mode)  # type: ignore[arg-type]
    async with keep_house(tmp_path, steering=settings) as house:
        await house.call("star", id="song0004")
        found = steering(house)._tastes
        assert (found is not None and len(found) == 1) == learns
    assert (tmp_path / FILE_NAME).exists() == writes


async def test_a_restart_keeps_a_taste_and_forget_purges_it(tmp_path: Path) -> None:
    async with keep_house(tmp_path) as house:
        await house.call("star", id="song0004")
    async with keep_house(tmp_path) as house:
        assert len(tastes(house)) == 1
        await house.songs("getSimilarSongs", id="song0002", count=5)
        with History.open(tmp_path) as history:
            assert history.forget("Admin") >= 1
        for _ in range(60):
            if not len(tastes(house)):
                break
            await asyncio.sleep(0.1)
        assert not len(tastes(house))
        assert not len(steering(house).sessions)
        assert not len(steering(house).explanations)
        assert steering(house).shelves.size_bytes == 0


async def test_two_calls_at_once_do_not_choose_the_same(house: House) -> None:
    calls = [
        house.songs("getSimilarSongs", id="song0002", count=5, client="Feishin") for _ in range(4)
    ]
    answers = await asyncio.gather(*calls)
    served = [str(song["id"]) for songs in answers for song in songs]
    assert len(served) == len(set(served)) == 20


async def test_a_song_shown_a_moment_ago_is_not_asked_for_again(house: House) -> None:
    await house.call("ping")  # the player's cookie, which is part of who asks
    first = await house.songs("getSimilarSongs", id="song0002", count=50)
    asked = house.server.asked("getSong")
    again = await house.songs("getSimilarSongs", id="song0002", count=50)
    shown = {str(song["id"]): song for song in first}
    both = [song for song in again if str(song["id"]) in shown]
    assert len(both) >= 40
    assert all(song == shown[str(song["id"])] for song in both)
    # The login with the seed, and what was not shown before.
    assert house.server.asked("getSong") == asked + 1 + len(again) - len(both)


async def test_songs_in_xml_are_kept_as_they_were(house: House) -> None:
    await house.call("ping")
    answers = [
        (await house.call("getSimilarSongs", id="song0002", count=59, f="xml")).text
        for _ in range(2)
    ]
    assert house.server.asked("getSong") == 60 + 1
    first, again = (sorted(text.split("<song ")[1:]) for text in answers)
    clean = [[one.replace("</similarSongs></subsonic-response>", "") for one in x]
             for x in (first, again)]  # fmt: skip
    assert sorted(clean[0]) == sorted(clean[1])


@pytest.mark.parametrize("write", [
    {"endpoint": "star", "id": "song0006"},
    {"endpoint": "unstar", "id": "song0006"},
    {"endpoint": "setRating", "id": "song0006", "rating": "4"},
    {"endpoint": "scrobble", "id": "song0006"},
    {"endpoint": "createBookmark", "id": "song0006", "position": "5000"},
    {"endpoint": "deleteBookmark", "id": "song0006"},
    {"endpoint": "reportPlayback", "mediaId": "song0006", "mediaType": "song", "state": "stopped"},
])  # fmt: skip
async def test_what_a_user_changes_is_seen_in_the_next_answer(
    house: House, write: dict[str, str]
) -> None:
    await house.call("ping")  # the player's cookie, without which nothing is found again
    await house.songs("getSimilarSongs", id="song0002", count=50)
    asked = house.server.asked("getSong")
    await house.call(**write)  # type: ignore[arg-type]
    songs = await house.songs("getSimilarSongs", id="song0002", count=50)
    assert house.server.asked("getSong") >= asked + 40
    shown = next((s for s in songs if s["id"] == "song0006"), {})
    assert bool(shown.get("starred")) == (write["endpoint"] == "star")
    assert bool(shown.get("bookmarkPosition")) == (write["endpoint"] == "createBookmark")


@pytest.mark.parametrize("state", ["starting", "playing", "paused"])
async def test_a_report_that_counts_no_play_leaves_what_is_kept(house: House, state: str) -> None:
    """They come every few seconds."""
    await house.call("ping")
    await house.songs("getSimilarSongs", id="song0002", count=50)
    kept = steering(house).shelves.size_bytes
    await house.call("reportPlayback", mediaId="song0006", mediaType="song", state=state)
    assert steering(house).shelves.size_bytes == kept > 0


async def test_what_one_user_was_shown_is_never_shown_to_another(house: House) -> None:
    """Bob sees one folder; with another's name, or a wrong password, nothing that is kept helps."""
    house.server.users["admin"].stars["song0006"] = "2026-11-21T03:45:12Z"
    await house.songs("getSimilarSongs", id="song0002", count=50)
    bobs = await house.songs("getSimilarSongs", id="song0002", count=50, user="bob")
    assert not any("starred" in song for song in bobs)
    assert all(house.server.songs[str(song["id"])]["_folder"] == 1 for song in bobs)
    stolen = await house.call("getSimilarSongs", id="song0002", count=50, p="guess")
    assert stolen.json()["subsonic-response"]["error"]["code"] == 40


async def test_a_stranger_who_names_a_listener_makes_one_call_as_for_anybody(house: House) -> None:
    for _ in range(2):  # before AutoDJ is at work, and then
        house.server.calls.clear()
        for size in (10, 50):
            refused = await house.call("getRandomSongs", p="guess", client="Feishin", size=size)
            assert refused.json()["subsonic-response"]["error"]["code"] == 40
        assert len(house.server.calls) == 2
        await house.songs("getSimilarSongs", id="song0002", count=5, client="Feishin")


async def test_a_refused_login_is_told_in_the_clients_own_format(house: House) -> None:
    jsonp = await house.call("getSimilarSongs", id="song0001", p="wrong", f="jsonp", callback="cb")
    own = await house.call(
        "getSimilarSongs", id="song0001", p="wrong", f="jsonp", callback="cb", direct=True
    )
    assert jsonp.text == own.text
    assert jsonp.headers["content-type"] == own.headers["content-type"]
    xml = await house.call("getSimilarSongs", id="song0001", p="wrong", f="xml")
    own = await house.call("getSimilarSongs", id="song0001", p="wrong", f="xml", direct=True)
    assert xml.content == own.content


async def test_what_strangers_claim_to_have_changed_empties_nobodys_shelf(house: House) -> None:
    """Only what the upstream took counts, whoever the call names."""
    await house.call("ping")
    await house.songs("getSimilarSongs", id="song0002", count=50)
    kept = steering(house).shelves.size_bytes
    assert kept > 0
    for write in sorted(WRITES):
        await house.call(write, id="song0006", rating="4", position="1", p="guess")
        await house.call(write, id="song0006", rating="4", position="1", user="bob")
    assert steering(house).shelves.size_bytes == kept
    await house.call("star", id="song0006")
    assert steering(house).shelves.size_bytes == 0


async def test_a_client_that_salts_each_call_anew_finds_what_was_kept(house: House) -> None:
    def login(salt: str) -> dict[str, str]:
        return {"p": "", "s": salt, "t": md5(b"sesame" + salt.encode()).hexdigest()}

    await house.call("ping", **login("first"))
    await house.songs("getSimilarSongs", id="song0002", count=50, **login("second"))
    asked = house.server.asked("getSong")
    await house.songs("getSimilarSongs", id="song0002", count=50, **login("third"))
    assert house.server.asked("getSong") < asked + 15
    wrong = await house.call("getSimilarSongs", id="song0002", count=50, p="", s="x", t="guess")
    assert wrong.json()["subsonic-response"]["error"]["code"] == 40


@pytest.mark.parametrize("change", [{"apiKey": "key-of-bob", "u": ""}, {"u": "admin"}])
async def test_what_changes_under_another_form_of_login_is_seen(
    house: House, change: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a key, which names nobody, or with two names: it may concern anybody's songs."""
    answer = house.server._answer

    def with_keys(endpoint: str, p: dict[str, str], *rest: Any) -> tuple[str, dict[str, Any]]:
        if p.get("apiKey") == "key-of-bob":
            p.update(u="admin", p="sesame")
        return answer(endpoint, p, *rest)

    monkeypatch.setattr(house.server, "_answer", with_keys)
    await house.call("ping")
    await house.songs("getSimilarSongs", id="song0002", count=50)
    assert steering(house).shelves.size_bytes
    login = {"v": "1", "c": "x", "f": "json", "id": "song0006", "u": "admin", "p": "sesame"}
    query = urlencode([*{**login, **change}.items(), ("u", "Admin")] if change.get("u") else
                      {k: v for k, v in {**login, **change}.items() if v and k != "p"})  # fmt: skip
    starred = await house.http.get(f"{house.url}/rest/star?{query}")
    assert starred.json()["subsonic-response"]["status"] == "ok"
    songs = await house.songs("getSimilarSongs", id="song0002", count=59)
    assert [song["id"] for song in songs if "starred" in song] == ["song0006"]


async def test_a_star_that_is_cut_off_is_taken_for_one(house: House) -> None:
    await house.call("ping")
    await house.songs("getSimilarSongs", id="song0002", count=50)
    house.server.delay_s["star"] = 0.3
    for password, left in (("guess", True), ("sesame", False)):
        call = asyncio.create_task(house.call("star", id="song0006", p=password))
        await asyncio.sleep(0.1)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await asyncio.sleep(0.1)
        assert bool(steering(house).shelves.size_bytes) is left
