"""Who listens with what: modes of Feishin, several players and users, and input without sense."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest

from proxy.calls import Identity
from proxy.observation import observe
from proxy.session import HEARD_KEPT
from proxy.sessions import Sessions
from proxy.settings import SteeringSettings
from proxy.steering import Steering
from subsonic.ids import genre_id
from subsonic.parameters import Parameters
from tests.contract.conftest import House, keep_house
from tests.contract.upstream import FakeServer

pytestmark = pytest.mark.anyio


async def ids(house: House, endpoint: str, **options: object) -> list[str]:
    return [str(song["id"]) for song in await house.songs(endpoint, **options)]


async def test_album_mode_asks_for_four_times_as_many_and_takes_their_albums(house: House) -> None:
    songs = await house.songs("getSimilarSongs", id="song0002", count=20, client="Feishin")
    assert len(songs) == 20
    assert all(song["albumId"] for song in songs)
    assert house.styles(songs[:8]) == {2}


@pytest.mark.parametrize(
    ("endpoint", "seed"),
    [("getSimilarSongs", "album003"), ("getSimilarSongs2", "artist3"),
     ("getSimilarSongs", "song0003")],
)  # fmt: skip
async def test_radios_of_album_artist_and_track(house: House, endpoint: str, seed: str) -> None:
    songs = await house.songs(endpoint, id=seed, count=20, client="Feishin")
    found = [str(song["id"]) for song in songs]
    assert len(set(found)) == 20
    own = {i for i, s in house.server.songs.items() if seed in (i, s["albumId"], s["artistId"])}
    assert not own & set(found)
    # A radio is queued as it is: what it served does not come again in the next.
    more = await ids(house, endpoint, id=seed, count=10, client="Feishin")
    assert not set(more) & set(found)


@pytest.mark.parametrize(("mode", "marked"), [
    ("autodj", "forwarded; reason=true-random"), ("always", "steered"),
    ("never", "forwarded; reason=switched-off"),
])  # fmt: skip
async def test_library_random_is_steered_by_option_only(
    tmp_path: Path, mode: str, marked: str
) -> None:
    settings = SteeringSettings(random=mode)  # type: ignore[arg-type]
    async with keep_house(tmp_path, steering=settings) as house:
        await house.call("scrobble", id="song0002", submission="false", client="Feishin")
        response = await house.call("getRandomSongs", size=50, client="Feishin")
        assert response.headers["x-segue"] == marked


async def test_two_players_of_one_user_do_not_disturb_each_other(house: House) -> None:
    kitchen, desk = {"User-Agent": "kitchen"}, {"User-Agent": "desk"}
    first = await ids(house, "getSimilarSongs", id="song0002", count=5, headers=kitchen)
    other = await ids(house, "getSimilarSongs", id="song0001", count=5, headers=desk)
    again = await ids(house, "getSimilarSongs", id="song0002", count=5, headers=kitchen)
    assert not set(first) & set(again)
    assert {house.server.songs[song]["_style"] for song in first} == {2}
    assert {house.server.songs[song]["_style"] for song in other} == {1}
    at_desk = await ids(house, "getSimilarSongs", id="song0002", count=5, headers=desk)
    assert set(at_desk) & set(first)  # what the kitchen was served says nothing at the desk


async def test_two_players_that_nothing_tells_apart_are_one_session(house: House) -> None:
    """Two Feishins of one version and one account: see docs/clients.md."""
    agent = {"User-Agent": "Feishin/1.0"}
    first = await ids(house, "getSimilarSongs", id="song0002", count=5, headers=agent)
    other = await ids(house, "getSimilarSongs", id="song0002", count=5, headers=agent)
    assert not set(first) & set(other)
    await house.call("scrobble", id="song0001", submission="false", client="Feishin", headers=agent)
    await ids(house, "getSimilarSongs", id="song0001", count=5, client="Feishin", headers=agent)
    await house.call("scrobble", id="song0002", submission="false", client="Feishin", headers=agent)
    await ids(house, "getSimilarSongs", id="song0002", count=5, client="Feishin", headers=agent)
    more = await house.songs("getRandomSongs", size=50, client="Feishin", headers=agent)
    assert house.styles(more[:6]) == {2}  # what was started last, on whichever


async def test_two_users_of_one_player_are_two_listeners(house: House) -> None:
    agent = {"User-Agent": "living room"}
    first = await ids(house, "getSimilarSongs", id="song0002", count=5, headers=agent)
    bobs = await ids(house, "getSimilarSongs", id="song0002", count=5, headers=agent, user="bob")
    assert all(house.server.songs[song]["_folder"] == 1 for song in bobs)
    again = await ids(house, "getSimilarSongs", id="song0002", count=5, headers=agent)
    assert not set(first) & set(again)


async def test_a_shared_account_is_told_apart_by_client_and_device(house: House) -> None:
    """One login, a phone and a browser: two sessions, one taste."""
    phone, web = {"User-Agent": "phone"}, {"User-Agent": "web"}
    await house.call("scrobble", id="song0002", submission="false", client="app", headers=phone)
    await house.call("scrobble", id="song0001", submission="false", client="Feishin", headers=web)
    for client, agent, style in (("app", phone, 2), ("Feishin", web, 1)):
        seed = f"song000{style}"
        await ids(house, "getSimilarSongs", id=seed, count=5, client=client, headers=agent)
        more = await house.songs("getRandomSongs", size=50, client=client, headers=agent)
        assert house.styles(more[:6]) == {style}
    await house.call("star", id="song0008", client="app", headers=phone)
    steering = house.application._steering
    assert isinstance(steering, Steering)
    assert steering._tastes is not None
    assert len(steering._tastes._users) == 1


async def test_a_client_that_reports_nothing_still_gets_a_session(house: House) -> None:
    """Its seeds are all that tells what plays; what it was served does not come twice."""
    seed, came = "song0002", set[str]()
    for _ in range(2):
        found = await ids(house, "getSimilarSongs", id=seed, count=5, client="quiet")
        assert not came & set(found)
        came |= {*found, seed}
        seed = found[-1]
    pool = await house.songs("getRandomSongs", size=40, client="quiet")
    assert not came & {str(song["id"]) for song in pool}


async def listen(house: House, steps: int) -> list[str]:
    """What is heard by who always takes the first song of eight, and reports both ways."""
    heard = ["song0000"]
    for _ in range(steps - 1):
        now = heard[-1]
        await house.call("scrobble", id=now, submission="false", client="radio")
        await house.call("scrobble", id=now, submission="true", client="radio")
        found = await ids(house, "getSimilarSongs2", id=now, count=8, client="radio")
        assert len(found) == 8
        heard.append(next(song for song in found if song != now))
    return heard


async def test_a_session_repeats_nothing_while_something_is_unheard(tmp_path: Path) -> None:
    """Twenty answers of eight name the whole library, but only the first songs were heard."""
    async with keep_house(tmp_path, server=FakeServer(150)) as house:
        heard = await listen(house, 60)
        assert len(set(heard)) == 60


async def test_when_all_was_heard_the_longest_ago_comes_again(tmp_path: Path) -> None:
    async with keep_house(tmp_path, server=FakeServer(40)) as house:
        heard = await listen(house, 70)
        for at, song in enumerate(heard):
            assert song not in heard[max(at - 20, 0) : at]
        why = await house.http.get(
            f"{house.url}/segue/why", params={"u": "admin", "p": "sesame", "f": "json"}
        )
        (latest, *_) = why.json()["lists"]
        terms = {reason["term"] for song in latest["songs"] for reason in song["why"]}
        assert "heard_lately" in terms


@pytest.mark.parametrize("n", [1, 2, 3])
async def test_libraries_of_a_few_songs(tmp_path: Path, n: int) -> None:
    async with keep_house(tmp_path, server=FakeServer(n)) as house:
        response = await house.call("getSimilarSongs", id="song0000", count=5)
        if n == 1:  # nothing else there is
            assert response.headers["x-segue"] == "forwarded; reason=no-songs"
        else:
            (songs,) = response.json()["subsonic-response"]["similarSongs"].values()
            assert {song["id"] for song in songs} == {f"song000{i}" for i in range(1, n)}


async def test_where_every_song_has_one_star_the_server_answers(house: House) -> None:
    user = house.server.users["admin"]
    user.ratings = dict.fromkeys(house.server.songs, 1)
    response = await house.call("getSimilarSongs", id="song0002", count=5)
    assert response.headers["x-segue"] == "forwarded; reason=no-songs"
    assert response.json()["subsonic-response"]["status"] == "ok"


@pytest.mark.parametrize("count", ["1000000000", "99999999999999999999", "1e9", "5.5"])
async def test_counts_without_sense_get_what_there_is(tmp_path: Path, count: str) -> None:
    async with keep_house(tmp_path, steering=SteeringSettings(deadline_ms=10_000)) as house:
        songs = await house.songs("getSimilarSongs", id="song0002", count=count)
        assert len(songs) == (59 if count.startswith("1000") else 50)


def test_a_flood_of_events_is_taken_and_bounded() -> None:
    """Ten thousand reports in a second, of songs and times without end."""
    sessions = Sessions(lambda: 1.0)
    identity = Identity("bob", "Feishin", "agent")
    random = np.random.default_rng(1)
    times = random.integers(-(2**62), 2**62, 10_000).tolist()
    started = time.perf_counter()
    for number in range(10_000):
        asked = Parameters([("id", f"s{number}"), ("submission", "true" if number % 2 else "false"),
                            ("time", str(times[number]))])  # fmt: skip
        observe(sessions, identity, "scrobble", asked, float(number % 7), 1.7e9)
    # A tenth of a second on a quiet machine: ten thousand a second leave the proxy at work.
    assert time.perf_counter() - started < 3
    session = sessions.get(identity)
    assert session is not None
    assert len(session.heard) <= HEARD_KEPT
    assert len(session.plays) <= 100
    assert session.skipped_lately(10.0) is not None


async def test_clocks_that_jump_and_times_without_sense_change_no_answer(tmp_path: Path) -> None:
    now = [1000.0]
    async with keep_house(tmp_path, timer=lambda: now[0]) as house:
        for number, jump in enumerate((0.0, 1e7, -2e7, 1e12, -1e12)):
            now[0] += jump
            nonsense = str(10**number * 7 - 5)
            await house.call("scrobble", id=f"song000{number}", submission="false", time=nonsense)
            await house.call("scrobble", id=f"song000{number}", time=nonsense)
            songs = await house.songs("getSimilarSongs", id=f"song000{number}", count=5)
            assert len(songs) == 5


async def test_answers_asked_for_at_once_by_many_are_each_whole(house: House) -> None:
    calls = [
        house.songs("getSimilarSongs", id=f"song00{i:02}", count=5, client=f"client {i % 3}")
        for i in range(12)
    ]
    answers = await asyncio.gather(*calls)
    assert all(len(songs) == 5 for songs in answers)


async def test_streams_tell_what_plays_where_nothing_else_does(tmp_path: Path) -> None:
    """Of a client that reports nothing; whatever was seen of a better kind counts for more."""
    steered = SteeringSettings(random="always")
    async with keep_house(tmp_path, steering=steered, server=FakeServer(400)) as house:

        async def pool(client: str) -> set[int]:
            found = await house.call("getRandomSongs", size=10, client=client)
            if found.headers["x-segue"] != "steered":
                return set()
            return house.styles(found.json()["subsonic-response"]["randomSongs"]["song"][:3])

        for _ in range(2):  # over a connection of its own, and relayed over a kept one
            for number, endpoint in ((1, "stream"), (3, "download.view")):
                sound = await house.call(endpoint, id=f"song000{number}", client="quiet")
                assert sound.content == b"sound" * 100
                assert await pool("quiet") == {number}
        await house.call("stream", id="song0002", client="quiet", p="wrong")
        await house.call("stream", id="nothing", client="quiet")
        assert await pool("quiet") == {3}
        assert await pool("other") == set()
        await house.call("scrobble", id="song0002", submission="false", client="quiet")
        await house.call("stream", id="song0000", client="quiet")  # preloads
        assert await pool("quiet") == {2}


async def test_a_queue_that_a_client_sends_is_believed_in_either_form(house: House) -> None:
    for endpoint in ("savePlayQueue", "savePlayQueueByIndex"):
        queued = [f"song{number:04d}" for number in range(2, 30, 4)]
        await house.call(endpoint, id=queued, currentIndex=0, client=endpoint, method="POST")
        found = await ids(house, "getSimilarSongs", id="song0030", count=6, client=endpoint)
        assert len(found) == 6
        assert not set(found) & set(queued)


async def test_pools_do_not_exhaust_a_small_library_and_what_is_queued_does(house: House) -> None:
    """Of a pool the client takes a few: what it left may come again, what it queued may not."""
    asked = {"id": "song0002", "count": 50, "client": "pools"}
    pools = [await ids(house, "getSimilarSongs", **asked) for _ in range(4)]
    assert [len(set(pool)) for pool in pools] == [50] * 4  # of 59
    queued: list[str] = []
    for _ in range(11):
        queued += await ids(house, "getSimilarSongs", id="song0002", count=5, client="queues")
    assert len(set(queued)) == len(queued) == 55
    last = await ids(house, "getSimilarSongs", id="song0002", count=5, client="queues")
    assert len(set(last)) == 5  # four are left; one comes again rather than none
    assert len(set(last) - set(queued)) == 4


async def test_the_second_and_third_question_of_feishin_are_the_same_act(tmp_path: Path) -> None:
    """Similar songs, then by genre (by its id), then any: nothing twice, all near the seed."""
    async with keep_house(tmp_path, server=FakeServer(400)) as house:
        seed = house.server.songs["song0002"]
        similar = await ids(house, "getSimilarSongs", id="song0002", count=5, client="Feishin")
        second = await ids(
            house, "getRandomSongs", genre=genre_id(str(seed["genre"])), size=50, client="Feishin"
        )
        third = await ids(house, "getRandomSongs", size=50, client="Feishin")
        assert (len(similar), len(second), len(third)) == (5, 20, 20)
        assert not set(similar) & {*second, *third, "song0002"}
        assert not set(second) & set(third)  # held back while there are others
        for found in (similar, second, third):
            near = [song for song in found if house.server.songs[song]["_style"] == 2]
            assert len(near) >= 0.7 * len(found)
        assert {house.server.songs[song]["genre"] for song in second} == {seed["genre"]}
