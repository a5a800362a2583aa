"""The upstream's word on a login comes before all else, whenever it is asked for.

A login that was good a moment ago may be looked at together with the songs: what a refused one
costs the upstream stays small, and nothing is shown or kept before the word has come.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from proxy.hydration import UNCONFIRMED
from tests.contract.conftest import House
from tests.contract.test_taste import steering

pytestmark = pytest.mark.anyio

ASKED = {"id": "song0002", "count": 50}


async def warm(house: House) -> None:
    """A known login with a session, and nothing kept of it."""
    await house.call("ping")
    await house.songs("getSimilarSongs", **ASKED)
    await house.call("scrobble", id="song0006")
    assert steering(house).shelves.size_bytes == 0
    house.server.calls.clear()


async def test_a_known_login_and_its_songs_are_asked_for_together(house: House) -> None:
    await warm(house)
    house.server.delay_s["getSong"] = 0.8
    call = asyncio.create_task(house.call("getSimilarSongs", **ASKED))
    async with asyncio.timeout(0.8):  # long before the first is answered
        while house.server.asked("getSong") < 1 + UNCONFIRMED:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert house.server.calls[0][1]["id"] == "song0002"
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)


async def test_what_came_before_the_word_is_kept_as_well(house: House) -> None:
    await warm(house)
    await house.songs("getSimilarSongs", **ASKED)
    asked = house.server.asked("getSong")
    again = await house.songs("getSimilarSongs", **ASKED)
    assert house.server.asked("getSong") < asked + len(again) / 2


async def test_a_login_that_is_no_longer_good_costs_few_calls_and_shows_nothing(
    house: House,
) -> None:
    await warm(house)
    house.server.users["admin"].password = "changed"
    for most in (1 + UNCONFIRMED, 1):  # from then on it is a stranger's
        house.server.calls.clear()
        refused = await house.call("getSimilarSongs", p="sesame", **ASKED)
        assert refused.json()["subsonic-response"]["error"]["code"] == 40
        await asyncio.sleep(0.05)
        assert len(house.server.calls) <= most
    assert steering(house).shelves.size_bytes == 0


async def test_a_login_that_was_never_seen_is_asked_about_alone(house: House) -> None:
    house.server.delay_s["getSong"] = 0.05
    call = asyncio.create_task(house.songs("getSimilarSongs", **ASKED))
    await asyncio.sleep(0.04)
    assert len(house.server.calls) == 1
    assert len(await call) >= 40


async def test_a_star_while_songs_are_asked_for_is_not_undone(house: House) -> None:
    """What was read before it must not be kept after it, though the login's word came later."""
    await warm(house)
    house.server.delay_s["getSong"] = 0.1
    call = asyncio.create_task(house.songs("getSimilarSongs", **ASKED))
    await asyncio.sleep(0.05)
    del house.server.delay_s["getSong"]
    await house.call("star", id="song0010")
    await call
    songs = await house.songs("getSimilarSongs", **ASKED)
    starred = [song["id"] for song in songs if "starred" in song]
    assert starred == (["song0010"] if "song0010" in {song["id"] for song in songs} else [])


async def test_the_players_cookie_of_a_known_login_goes_with_every_call(house: House) -> None:
    await warm(house)
    await house.songs("getSimilarSongs", **ASKED)
    cookies = [headers.get("cookie", "") for _, _, headers in house.server.calls]
    assert len(cookies) > 40
    assert all(cookie.startswith("nd-player-") for cookie in cookies)


async def test_who_goes_on_with_what_they_play_is_known_by_its_song(house: House) -> None:
    """Servers answer ping to anybody, and take reports of songs that their user may not see."""
    await warm(house)
    await house.songs("getRandomSongs", size=10)
    assert house.server.calls[0][0] == "getSong"
    assert house.server.asked("getSong") == 11
    house.server.users["admin"].password = "changed"
    refused = await house.call("getRandomSongs", p="sesame", size=10)
    assert refused.json()["subsonic-response"]["error"]["code"] == 40


@pytest.mark.parametrize("greets", [("ping",), ("ping", "getMusicFolders")])
async def test_a_stranger_whom_the_server_greets_changes_no_session(
    house: House, monkeypatch: pytest.MonkeyPatch, greets: tuple[str, ...]
) -> None:
    """A song plays, and the client has asked how to play the next one: a probe goes by that."""
    await house.call("scrobble", id="song0002", submission="false", client="Feishin")
    (session,) = steering(house).sessions._all.values()
    assert session.playing is not None
    session.playing = replace(session.playing, at_s=session.playing.at_s - 60)
    await house.call("getTranscodeDecision", mediaId="song0004", client="Feishin")
    before = session.playing
    answer = house.server._answer

    def greeting(endpoint: str, *rest: Any) -> tuple[str, dict[str, Any]]:
        return ("ok", {}) if endpoint in greets else answer(endpoint, *rest)

    monkeypatch.setattr(house.server, "_answer", greeting)
    house.server.calls.clear()
    form = {"genre": "%", "size": 50, "musicFolderId": "1", "client": "Feishin"}
    refused = await house.call("getRandomSongs", p="guess", **form)
    assert refused.json()["subsonic-response"]["error"]["code"] == 40
    assert session.playing == before
    assert house.server.asked("getSong") == len(greets) - 1
    steered = await house.call("getRandomSongs", **form)
    assert steered.headers["x-segue"] == "steered"
    assert session.playing.song_id == "song0004"
