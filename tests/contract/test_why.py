"""`/segue/why`: what was chosen and by which terms, for the user who is logged in."""

from __future__ import annotations

import html
import re
import time
from hashlib import md5
from typing import Any

import pytest
from lxml import etree

from proxy.sight import MOST_ASKED
from proxy.telling import Named
from proxy.why import MOST_IN_ALL, MOST_LISTS, Explanations, ServedList
from tests.contract.conftest import House

pytestmark = pytest.mark.anyio


async def why(house: House, *, user: str = "admin", password: str = "", **more: str) -> object:
    login = {"u": user, "p": password or house.server.users[user].password, **more}
    response = await house.http.get(f"{house.url}/segue/why", params=login)
    assert response.headers["cache-control"] == "no-store"
    return response.json()


async def why_page(house: House) -> str:
    form = {"u": "admin", "p": "sesame", "f": "html"}
    return (await house.http.post(f"{house.url}/segue/why", data=form)).text


async def test_the_last_lists_with_the_terms_of_each_song(house: House) -> None:
    songs = await house.songs("getSimilarSongs", id="song0002", count=5, client="Feishin")
    await house.songs("getRandomSongs", size=50, client="Feishin")
    told = await why(house)
    assert isinstance(told, dict)
    random, similar = told["lists"]  # the latest first
    assert similar["client"] == "Feishin"
    assert (similar["call"], random["call"]) == ("getSimilarSongs", "getRandomSongs")
    assert similar["seeds"] == random["seeds"] == ["song0002"]
    assert [song["id"] for song in similar["songs"]] == [song["id"] for song in songs]
    first = similar["songs"][0]
    assert first["title"] == songs[0]["title"]
    assert first["why"][0]["term"] == "audio"
    assert first["score"] == pytest.approx(sum(r["value"] for r in first["why"]), abs=1e-4)


async def test_the_seeds_are_named_as_the_asking_user_sees_them(house: House) -> None:
    await house.songs("getSimilarSongs", id="song0002", count=5)
    title, artist = (house.server.songs["song0002"][key] for key in ("title", "artist"))
    told = await why(house)
    assert isinstance(told, dict)
    assert told["lists"][0]["after"] == [{"id": "song0002", "title": title, "artist": artist}]
    page = await why_page(house)
    assert f"<h2>Like “{html.escape(title)}” by {html.escape(artist)}</h2>" in page
    house.server.users["admin"].folders = (2,)  # the seed is in the first
    told = await why(house)
    assert isinstance(told, dict)
    assert told["lists"][0]["after"] == [{"id": "song0002", "title": "", "artist": ""}]
    assert f"“{html.escape(title)}”" not in (await why_page(house)).partition("<table>")[0]


async def test_songs_of_a_library_that_was_taken_away_are_named_no_more(house: House) -> None:
    songs = await house.songs("getSimilarSongs", id="song0002", count=30)
    folders = {str(song["id"]): house.server.songs[str(song["id"])]["_folder"] for song in songs}
    assert set(folders.values()) == {1, 2}
    house.server.users["admin"].folders = (1,)
    told = await why(house)
    assert isinstance(told, dict)
    (shown,) = told["lists"]
    left = [song for song, folder in folders.items() if folder == 1]
    assert [song["id"] for song in shown["songs"]] == left
    assert shown["hidden"] == len(folders) - len(left)
    page = await why_page(house)
    for song in songs:
        assert (html.escape(str(song["title"])) in page) == (folders[str(song["id"])] == 1)
    assert f"… and {shown['hidden']} that the music server does not show you now" in page


async def test_one_call_however_many_lists(house: House) -> None:
    for number in range(2, 12):
        await house.songs("getSimilarSongs", id=f"song{number:04}", count=5)
    house.server.calls.clear()
    told = await why(house)
    assert isinstance(told, dict)
    assert len(told["lists"]) == 10
    assert all(one["after"][0]["title"] and one["songs"] for one in told["lists"])
    assert len(house.server.calls) == house.server.asked("getMusicFolders") == 1


async def lists_of_no_known_folder(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four of thirty songs each."""
    for number in range(2, 6):
        await house.songs("getSimilarSongs", id=f"song{number:04}", count=30)
    links = house.application._steering._knowledge.view.links
    monkeypatch.setattr(type(links), "folder", lambda *_: "")


async def test_songs_of_no_known_folder_are_asked_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lists_of_no_known_folder(house, monkeypatch)
    house.server.users["admin"].folders = (1,)
    house.server.calls.clear()
    told = await why(house)
    assert isinstance(told, dict)
    shown = {song["id"] for one in told["lists"] for song in one["songs"]}
    assert shown
    assert {house.server.songs[song]["_folder"] for song in shown} == {1}
    assert house.server.asked("getSong") == MOST_ASKED
    assert len(house.server.calls) == 1 + MOST_ASKED


async def test_what_was_not_looked_at_is_not_told_as_hidden(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server shows all of it: it was not asked about more, or it did not answer."""
    await lists_of_no_known_folder(house, monkeypatch)
    told = await why(house)
    assert isinstance(told, dict)
    counts = [(len(one["songs"]), one["hidden"], one["not_looked_at"]) for one in told["lists"]]
    assert all(shown + unknown == 30 and not hidden for shown, hidden, unknown in counts)
    assert counts[0] == (30, 0, 0)
    assert counts[-1][2] > 0
    page = await why_page(house)
    assert "does not show you" not in page
    assert f"… and {counts[-1][2]} that the music server was not asked about, or was late" in page


@pytest.mark.parametrize("form", ["json", "xml"])
async def test_an_album_and_an_artist_are_named_too(house: House, form: str) -> None:
    song = house.server.songs["song0002"]
    for other in house.server.songs.values():
        other["displayAlbumArtist"] = "Various & Sons"
    for seed in (song["albumId"], song["artistId"]):
        await house.call("getSimilarSongs", id=seed, count=3, f=form)
    told = await why(house)
    assert isinstance(told, dict)
    artist, album = (one["after"] for one in told["lists"])
    assert artist == [{"id": song["artistId"], "title": "", "artist": song["artist"]}]
    assert album == [{"id": song["albumId"], "title": song["album"], "artist": "Various & Sons"}]
    page = await why_page(house)
    assert f"<h2>Like “{song['album']}” by Various &amp; Sons</h2>" in page
    assert f"<h2>Like {html.escape(song['artist'])}</h2>" in page


def test_who_has_part_in_a_song_is_named_by_its_own_id() -> None:
    guest = {"id": "guest", "name": "Ben"}
    song = {"id": "s", "artistId": "ann", "artist": "Ann feat. Ben", "artists": [guest, 7]}
    assert Named.of("guest", song) == Named("", "Ben")
    assert Named.of("ann", song) == Named("", "Ann feat. Ben")
    for other in (song, None, {"id": "t", "artists": "Ben", "albumArtists": None}):
        assert Named.of("nobody", other) == Named()
    element = etree.fromstring(b'<song id="s" title="T"><artists id="guest" name="Ben"/></song>')
    assert Named.of("guest", element) == Named("", "Ben")


async def test_times_are_of_the_servers_own_zone_and_told_from_now(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        explanations = house.application._steering.explanations
        explanations.add("admin", ServedList(time.time() - 2400, "c", "getRandomSongs", {}, ()))
        page = await why_page(house)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert "40 minutes ago" in page
    assert re.search(r'<time datetime="[^"]+\+05:45">\d{4}-\d\d-\d\d \d\d:\d\d \+0545</time>', page)


async def test_each_user_sees_their_own_and_a_wrong_login_nothing(house: House) -> None:
    await house.songs("getSimilarSongs", id="song0002", count=5)
    assert await why(house, user="bob") == {"lists": []}
    assert await why(house, password="guess") == {"error": "the music server refused this login"}
    response = await house.http.get(f"{house.url}/segue/why")
    assert response.status_code == 401
    url = f"{house.url}/segue/why?u=bob&p=secret&u=admin"
    assert (await house.http.get(url)).status_code == 401  # two names are nobody's


@pytest.mark.parametrize(
    "login",
    [
        {"p": "sesame"},
        {"p": "enc:736573616d65"},
        {"s": "salt", "t": md5(b"sesamesalt").hexdigest()},
        {"s": "salt", "t": md5(b"sesamesalt").hexdigest(), "c": "Feishin", "v": "1.13.0"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_login_is_any_that_the_api_takes(
    house: House, login: dict[str, str], method: str
) -> None:
    await house.songs("getSimilarSongs", id="song0002", count=3)
    url = f"{house.url}/segue/why"
    given = {"u": "Admin", **login}
    response = await (
        house.http.post(url, data=given) if method == "POST" else house.http.get(url, params=given)
    )
    assert [len(served["songs"]) for served in response.json()["lists"]] == [3]


async def test_every_time_the_server_is_asked_whether_the_login_is_good(house: House) -> None:
    await house.songs("getSimilarSongs", id="song0002", count=5)
    await why(house)
    house.server.users["admin"].password = "changed"
    assert await why(house, password="sesame") == {"error": "the music server refused this login"}
    assert house.server.asked("getMusicFolders") == 2


async def test_a_ping_that_greets_everyone_opens_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = house.server._answer

    def greeting(endpoint: str, *rest: Any) -> tuple[str, dict[str, Any]]:
        return ("ok", {}) if endpoint == "ping" else answer(endpoint, *rest)

    monkeypatch.setattr(house.server, "_answer", greeting)
    await house.songs("getSimilarSongs", id="song0002", count=5)
    assert await why(house, password="guess") == {"error": "the music server refused this login"}


async def test_readable_form_escapes_what_files_say(house: House) -> None:
    await house.songs("getSimilarSongs", id="song0002", count=5)
    page = await house.http.post(
        f"{house.url}/segue/why",
        data={"u": "admin", "p": "sesame"},
        headers={"Accept": "text/html"},
    )
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "sounds very much alike" in page.text
    assert "<ü&>" not in page.text
    assert "&lt;ü&amp;&gt;" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    empty = await house.http.get(f"{house.url}/segue/why", headers={"Accept": "text/html"})
    assert empty.status_code == 401
    assert 'type="password"' in empty.text


async def test_odd_calls_are_told_so(house: House) -> None:
    for body, status in ((b"x" * 300_000, 400), (b"u=%zz", 400)):
        response = await house.http.post(
            f"{house.url}/segue/why",
            content=body,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        assert response.status_code == status
    assert (await house.http.put(f"{house.url}/segue/why")).status_code == 405


async def test_no_secret_is_logged(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    await why(house)
    await why(house, password="guess-of-mine")
    others = ("httpx", "httpcore", "uvicorn.access")  # the test's client and its server
    own = [r.getMessage() for r in caplog.records if not r.name.startswith(others)]
    assert not [line for line in own if "sesame" in line or "guess-of-mine" in line]


def test_lists_are_bounded_for_one_and_for_all() -> None:
    explanations = Explanations()
    for i in range(3000):
        explanations.add(f"user {i % 100}", ServedList(float(i), "c", "getSimilarSongs", {}, ()))
        explanations.add("", ServedList(float(i), "c", "getSimilarSongs", {}, ()))
    assert len(explanations) <= MOST_IN_ALL
    assert explanations.of("user 99")[0].at_s == 2999
    assert len(explanations.of("user 99")) <= MOST_LISTS
    assert explanations.of("") == []
    explanations.forget(lambda user: user == "user 99")
    assert explanations.of("user 99") == []


async def test_a_clock_without_sense_costs_its_own_time_only(house: House) -> None:
    explanations = house.application._steering.explanations
    absurd = (1e13, -1e13, 1e300, float("nan"), float("inf"), -float("inf"))
    for at_s in (*absurd, time.time()):
        explanations.add("admin", ServedList(at_s, "c", "getRandomSongs", {}, ()))
    told = await why(house)
    assert isinstance(told, dict)
    sane, *others = told["lists"]
    assert sane["at"] is not None
    assert [one["at"] for one in others] == [None] * len(absurd)
    assert (await why_page(house)).count("<h2>") == 1 + len(absurd)
