"""AutoDJ's second questions: random calls that continue what is playing, and those that do not."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from hashlib import md5
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from proxy.settings import SteeringSettings
from subsonic.ids import genre_id
from tests.contract.conftest import House, keep_house
from tests.contract.upstream import FakeServer

pytestmark = pytest.mark.anyio


async def test_a_true_shuffle_is_the_servers_own(house: House) -> None:
    await house.call("scrobble", id="song0002", submission="false")
    for size in (10, 50, 100, 500):
        response = await house.call("getRandomSongs", size=size, client="Feishin")
        assert response.headers["x-segue"] == "forwarded; reason=true-random"


async def test_a_random_call_after_a_similar_one_continues_it(house: House) -> None:
    similar = await house.songs("getSimilarSongs", id="song0002", count=5, client="Feishin")
    more = await house.call("getRandomSongs", size=50, method="POST", client="Feishin")
    assert more.headers["x-segue"] == "steered"
    pool = more.json()["subsonic-response"]["randomSongs"]["song"]
    assert len(pool) == 20
    served = {str(song["id"]) for song in similar}
    assert not served & {song["id"] for song in pool}
    assert "song0002" not in {song["id"] for song in pool}
    assert house.styles(pool[:9]) == {2}
    other_client = await house.call("getRandomSongs", size=50, client="another")
    assert other_client.headers["x-segue"] == "forwarded; reason=true-random"
    other_user = await house.call("getRandomSongs", size=50, user="bob", client="Feishin")
    assert other_user.headers["x-segue"] == "forwarded; reason=true-random"


@pytest.mark.parametrize("asked", [
    {"size": 100}, {"size": 500}, {"size": 50, "fromYear": 1980, "toYear": 2026},
])  # fmt: skip
async def test_a_shuffle_right_after_autodj_is_whole(house: House, asked: dict[str, int]) -> None:
    await house.songs("getSimilarSongs", id="song0002", count=5, client="Feishin")
    shuffled = await house.call("getRandomSongs", client="Feishin", **asked)  # type: ignore[arg-type]
    assert shuffled.headers["x-segue"] == "forwarded; reason=true-random"
    assert len(shuffled.json()["subsonic-response"]["randomSongs"]["song"]) >= 50


async def test_limits_of_a_random_call_are_kept(tmp_path: Path) -> None:
    async with keep_house(tmp_path, steering=SteeringSettings(random="always")) as house:
        await house.call("scrobble", id="song0002", submission="false")
        by_id = house.server.songs
        jazz = await house.songs("getRandomSongs", size=50, genre="jazz & blues")
        assert {by_id[str(s["id"])]["genre"] for s in jazz} == {"Jazz & Blues"}
        by_hash = await house.songs("getRandomSongs", size=50, genre=genre_id("Jazz & Blues"))
        assert {s["id"] for s in by_hash} == {s["id"] for s in jazz}
        years = await house.songs("getRandomSongs", size=50, fromYear=1985, toYear=1990)
        assert {by_id[str(s["id"])]["year"] for s in years} <= set(range(1985, 1991))
        folder = await house.songs("getRandomSongs", size=50, musicFolderId="2")
        assert {by_id[str(s["id"])]["_folder"] for s in folder} == {2}
        both = await house.songs("getRandomSongs", size=60, musicFolderId=["1", "2"])
        assert {by_id[str(s["id"])]["_folder"] for s in both} == {1, 2}
        nothing = await house.call("getRandomSongs", genre="nothing")
        assert nothing.headers["x-segue"] == "forwarded; reason=no-songs"
        unknown = await house.call("getRandomSongs", genre=genre_id("unheard of"))
        assert unknown.headers["x-segue"] == "forwarded; reason=unknown-genre"
        for folders in ("99", ["1", "99"]):
            response = await house.call("getRandomSongs", musicFolderId=folders)
            assert response.headers["x-segue"] == "forwarded; reason=failed"
            assert response.json()["subsonic-response"]["error"]["code"] == 70
        mine = await house.call("getRandomSongs", musicFolderId="2", user="bob")
        assert mine.json()["subsonic-response"]["error"]["code"] == 70


def feishin(house: House, **parameters: str) -> dict[str, str]:
    return {"u": "admin", "p": "sesame", "v": "1.13.0", "c": "Feishin", "f": "json", **parameters}


async def folder_act(
    house: House, playing: str, delay_s: float, genre: str = "Rock"
) -> list[httpx2.Response]:
    """Feishin with a folder selected: the random call, 20 ms later what plays, then the second."""
    headers = {"User-Agent": "Electron"}
    native = {**headers, "X-ND-Authorization": f"Bearer {house.server.token('admin')}"}
    probe = feishin(house, genre=genre_id(genre), size="50", musicFolderId="1")
    first = asyncio.create_task(
        house.http.post(f"{house.url}/rest/getRandomSongs.view", data=probe, headers=headers)
    )
    await asyncio.sleep(delay_s)
    await house.http.get(f"{house.url}/api/song/{playing}", headers=native)
    answers = [await first]
    form = feishin(house, size="10", musicFolderId="1")
    url = f"{house.url}/rest/getRandomSongs.view"
    answers.append(await house.http.post(url, data=form, headers=headers))
    return answers


async def test_feishin_with_a_folder_follows_the_song_that_has_just_begun(
    tmp_path: Path,
) -> None:
    async with keep_house(tmp_path, server=FakeServer(400)) as house:
        old = feishin(house, id="song0001", submission="false")
        await house.http.post(
            f"{house.url}/rest/scrobble", data=old, headers={"User-Agent": "Electron"}
        )
        await asyncio.sleep(1.1)  # what played before is no answer to what plays now
        first, second = await folder_act(house, "song0004", 0.02)
        assert first.headers["x-segue"] == second.headers["x-segue"] == "steered"
        for response in (first, second):
            songs = response.json()["subsonic-response"]["randomSongs"]["song"]
            assert all(house.server.songs[s["id"]]["_folder"] == 1 for s in songs)
            assert "song0004" not in {s["id"] for s in songs}
        pool = first.json()["subsonic-response"]["randomSongs"]["song"]
        assert {s["genre"] for s in pool} == {"Rock"}
        rest = second.json()["subsonic-response"]["randomSongs"]["song"]
        assert house.styles(rest[:5]) == {0}
        assert len(rest) == 10


async def test_without_any_word_of_what_plays_the_folder_form_is_left_alone(house: House) -> None:
    form = feishin(house, genre=genre_id("Rock"), size="50", musicFolderId="1")
    response = await house.http.post(f"{house.url}/rest/getRandomSongs.view", data=form)
    assert response.headers["x-segue"] == "forwarded; reason=no-seed"


async def test_a_genre_that_gives_nothing_leads_on_to_the_second_question(tmp_path: Path) -> None:
    """The only song of its genre plays: the first call finds none, the second is steered."""
    server = FakeServer(400)
    server.songs["song0004"].update(genre="Zydeco", genres=[{"name": "Zydeco"}])
    async with keep_house(tmp_path, server=server) as house:
        first, second = await folder_act(house, "song0004", 0.02, genre="Zydeco")
        assert first.headers["x-segue"] == "forwarded; reason=no-songs"
        assert second.headers["x-segue"] == "steered"
        songs = second.json()["subsonic-response"]["randomSongs"]["song"]
        assert house.styles(songs[:5]) == {0}


async def test_a_similar_call_that_was_late_begins_an_act_all_the_same(tmp_path: Path) -> None:
    async with keep_house(tmp_path, steering=SteeringSettings(deadline_ms=150)) as house:
        house.server.delay_s["getSong"] = 1.0
        similar = await house.call("getSimilarSongs", id="song0002", count=5)
        assert similar.headers["x-segue"] == "forwarded; reason=deadline"
        house.server.delay_s.clear()
        more = await house.call("getRandomSongs", size=50)
        assert more.headers["x-segue"] == "steered"
        pool = more.json()["subsonic-response"]["randomSongs"]["song"]
        assert house.styles(pool[:5]) == {2}


async def test_a_decision_alone_tells_what_has_just_begun(tmp_path: Path) -> None:
    async with keep_house(tmp_path, server=FakeServer(400)) as house:
        await house.call("scrobble", id="song0001", submission="false", client="Feishin")
        await asyncio.sleep(1.1)
        probe = house.call(
            "getRandomSongs", genre="%", size=50, musicFolderId="1", client="Feishin"
        )
        answer = asyncio.create_task(probe)
        await asyncio.sleep(0.02)
        await house.call("getTranscodeDecision", mediaId="song0004", client="Feishin")
        pool = (await answer).json()["subsonic-response"]["randomSongs"]["song"]
        assert house.styles(pool[:8]) == {0}


async def test_a_queue_of_thousands_is_believed(tmp_path: Path) -> None:
    async with keep_house(tmp_path, server=FakeServer(3000)) as house:
        ids = list(house.server.songs)
        await house.call("savePlayQueue", method="POST", id=ids[:2500], client="Feishin")
        songs = await house.songs("getSimilarSongs", id=ids[2600], count=20, client="Feishin")
        assert not {song["id"] for song in songs} & set(ids[:2500])


async def test_a_radio_comes_though_the_whole_library_is_queued(house: House) -> None:
    """Whoever begins one leaves the queue behind. While anything else is left, that comes alone."""
    ids = list(house.server.songs)
    await house.call("savePlayQueue", method="POST", id=ids[:-3], client="Feishin")
    few = await house.songs("getSimilarSongs", id="song0002", count=20, client="Feishin")
    assert {song["id"] for song in few} == set(ids[-3:])
    await house.call("savePlayQueue", method="POST", id=ids, client="Feishin")
    songs = await house.songs("getSimilarSongs", id="song0002", count=20, client="Feishin")
    assert len({str(song["id"]) for song in songs} - {"song0002"}) == 20
    album = house.server.songs["song0002"]["albumId"]
    assert len(await house.songs("getSimilarSongs", id=album, count=5, client="Feishin")) == 5
    shuffled = await house.call("getRandomSongs", size=50, client="Feishin")
    assert shuffled.headers["x-segue"] == "forwarded; reason=no-songs"


async def test_a_genre_of_wildcards_holds_nobody_up(house: House) -> None:
    await house.call("scrobble", id="song0004", submission="false", client="Feishin")
    for pattern in ("%" * 500 + "zq", "%c%l%" * 2000, "_%" * 1000):
        started = asyncio.get_running_loop().time()
        await house.call(
            "getRandomSongs", genre=pattern, size=50, musicFolderId="1", client="Feishin",
            method="POST",
        )  # fmt: skip
        assert asyncio.get_running_loop().time() - started < 2


async def test_reports_that_the_server_refused_are_not_believed(house: House) -> None:
    await house.call("scrobble", id="song0002", submission="false", p="wrong")
    native = {"X-ND-Authorization": "Bearer " + house.server.token("admin") + "x"}
    await house.http.get(f"{house.url}/api/song/song0002", headers=native)
    form = {"musicFolderId": "1", "genre": "Rock", "size": 50, "client": "Feishin"}
    response = await house.call("getRandomSongs", **form)
    assert response.headers["x-segue"] == "forwarded; reason=no-seed"


async def probe(house: House) -> str:
    """What the victim's AutoDJ gets: `steered` tells that something is believed to play."""
    response = await house.call(
        "getRandomSongs", genre="%", size=50, musicFolderId="1", client="Feishin",
        headers={"User-Agent": "Electron"},
    )  # fmt: skip
    return response.headers["x-segue"]


POISON = "u=admin&v=1&c=Feishin&id=song0002&submission=false&f=json"
BOB = {"u": "bob", "p": "secret", "v": "1", "c": "Feishin", "id": "song0002", "submission": "false"}


@pytest.mark.parametrize(
    "disguise",
    [
        {"Content-Encoding": "identity"},
        {"Content-Type": "application/x-www-form-urlencoded", "X-Pad": "300000"},
        {"Content-Type": "multipart/form-data; boundary=b"},
    ],
)
async def test_a_login_in_a_body_that_is_not_read_is_nobodys(
    house: House, disguise: dict[str, str]
) -> None:
    """The upstream may take Bob's form; the query names the victim, and must not be believed."""
    headers = {"User-Agent": "Electron", "Content-Type": "application/x-www-form-urlencoded"}
    pad = "x" * int(disguise.get("X-Pad", "0"))
    body = urlencode({**BOB, "pad": pad}).encode()
    url = f"{house.url}/rest/scrobble?{POISON}"
    await house.http.post(url, content=body, headers={**headers, **disguise})
    assert await probe(house) == "forwarded; reason=no-seed"


async def test_the_native_api_believes_tokens_only(house: House) -> None:
    """Bob's own token is what the upstream takes; whom else the call names is of no account."""
    bob, admin = house.server.token("bob"), house.server.token("admin")
    url = f"{house.url}/api/song/song0002"
    agent = {"User-Agent": "Electron"}
    mine = {"X-ND-Authorization": f"Bearer {bob}", **agent}
    await house.http.get(f"{url}?u=admin", headers=mine)
    await house.http.get(url, headers={**mine, "Authorization": f"Bearer {admin}"})
    await house.http.get(url, headers={**mine, "Cookie": f"jwt={admin}"})
    dropped = {"X-ND-Authorization": f"Bearer {admin}", "Connection": "X-ND-Authorization", **agent}
    await house.http.get(f"{url}?jwt={bob}", headers=dropped)
    await house.http.get(f"{url}?u=admin", headers=agent)
    assert await probe(house) == "forwarded; reason=no-seed"
    await house.http.get(url, headers={"X-ND-Authorization": f"Bearer {admin}", **agent})
    assert await probe(house) == "steered"


async def test_a_web_page_for_every_path_is_no_song(tmp_path: Path) -> None:
    class Page(FakeServer):
        async def _native_song(self, request: Request) -> Response:
            return PlainTextResponse("<html>the player's page</html>")

    async with keep_house(tmp_path, server=Page()) as house:
        token = {"X-ND-Authorization": f"Bearer {house.server.token('admin')}"}
        headers = {"User-Agent": "Electron", **token}
        await house.http.get(f"{house.url}/api/song/song0002", headers=headers)
        assert await probe(house) == "forwarded; reason=no-seed"


async def test_texts_that_are_no_ids_are_not_kept(house: House) -> None:
    long = "🎵" * 20_000
    await house.call("scrobble", id=long, submission="false", method="POST")
    await house.call("savePlayQueue", id=[long, "song0001"], method="POST")
    (session,) = house.application._steering.sessions._all.values()  # type: ignore[attr-defined,union-attr]
    assert session.playing is None
    assert session.queue == ("song0001",)


async def test_a_stranger_who_names_a_user_learns_nothing_and_changes_nothing(house: House) -> None:
    """Not even whether that user is listening: the answers are the same with and without."""
    calls: list[dict[str, str]] = [
        {"size": "50"},
        {"size": "50", "musicFolderId": "1", "genre": "Rock"},
        {"size": "10", "musicFolderId": "1"},
    ]

    async def answers() -> list[tuple[bytes, str]]:
        stolen = [
            await house.call("getRandomSongs", p="guess", client="Feishin", **call)  # type: ignore[arg-type]
            for call in calls
        ]
        told = ("x-segue", "server-timing")
        return [(r.content, "|".join(r.headers[name] for name in told)) for r in stolen]

    before = await answers()
    assert all(b'"code": 40' in body for body, _ in before)
    await house.songs("getSimilarSongs", id="song0002", count=5, client="Feishin")
    assert await answers() == before
    more = await house.call("getRandomSongs", size=50, client="Feishin")
    assert more.headers["x-segue"] == "steered"


async def test_reports_in_a_compressed_answer_and_all_formats_count(house: House) -> None:
    for number, format_ in enumerate(("xml", "json", "jsonp")):
        await house.call(
            "scrobble", id=f"song000{number}", submission="false", f=format_, callback="cb",
            client="Feishin",
        )  # fmt: skip
        songs = await house.songs(
            "getRandomSongs", musicFolderId="1", genre="%", size=50, client="Feishin"
        )
        assert house.styles(songs[:4]) == {number}


async def test_a_long_session_never_repeats_while_there_is_choice(house: House) -> None:
    seed, heard = "song0000", {"song0000"}
    for _ in range(8):
        songs = await house.songs("getSimilarSongs", id=seed, count=5, client="Feishin")
        ids = {str(song["id"]) for song in songs}
        assert len(ids) == 5
        assert not ids & heard
        heard |= ids
        seed = str(songs[-1]["id"])
    assert len(heard) == 41


async def test_a_small_library_goes_on_playing(tmp_path: Path) -> None:
    async with keep_house(tmp_path, server=FakeServer(8)) as house:
        seed = "song0000"
        for _ in range(10):
            songs = await house.songs("getSimilarSongs", id=seed, count=5)
            assert len(songs) == 5
            assert seed not in {song["id"] for song in songs}
            seed = str(songs[0]["id"])


# The recorded sessions of a real Feishin


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def login(text: str, server: FakeServer) -> str:
    token = md5(b"sesame" + b"SALT").hexdigest()
    return text.replace("TOKEN", token).replace("JWT", server.token("admin"))


async def replay(
    house: House, calls: list[Mapping[str, Any]], clock: Clock
) -> list[httpx2.Response]:
    """Send recorded calls in their order, those close together at once; the clock runs ahead."""
    tasks = []
    at_s = calls[0]["at_s"]
    for call in calls:
        gap_s = call["at_s"] - at_s
        at_s = call["at_s"]
        if gap_s > 0.1 and tasks:
            await asyncio.gather(*tasks)
        clock.now_s = at_s
        await asyncio.sleep(min(max(gap_s, 0.0), 0.03))
        headers = {
            name: login(value, house.server) for name, value in call["request_headers"].items()
        }
        body = login(call["request_body"] or "", house.server).encode()
        url = house.url + login(call["target"], house.server)
        request = house.http.request(call["method"], url, headers=headers, content=body)
        tasks.append(asyncio.create_task(request))
    return await asyncio.gather(*tasks)


@pytest.fixture(scope="session")
def scenarios(shared_traces: Path) -> dict[str, list[dict[str, Any]]]:
    """The recorded calls, by scenario, in the order in which they were sent."""
    found: dict[str, list[dict[str, Any]]] = {}
    with (shared_traces / "feishin.jsonl").open() as lines:
        for line in lines:
            call = json.loads(line)
            found.setdefault(call["scenario"], []).append(call)
    return {name: sorted(calls, key=lambda c: c["at_s"]) for name, calls in found.items()}


OTHER = "true-random"

#: Latest first; in no other scenario was any song skipped. The last of these played when the
#: scenario began, and was left after eight seconds. A song of a restored queue that never played is
#: not skipped, nor is one that ended or goes on.
SKIPPED = {
    "skip three songs, listen, like one": [
        "7c8pbQ0CBQj3rcOounGXEH", "3KuQrkCgU83oHMmWOereJO", "0bMvt6bE6r58TVUDs6d7p5",
        "2gGgkdezsREG8OezaVG2ij",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("scenario", "outcomes", "playing"),
    [
        ("play one song, AutoDJ off", [], "2dlVyEcP9GfkInw8P4vNKG"),
        ("restart: queue restored, played again", [], "2dlVyEcP9GfkInw8P4vNKG"),
        ("AutoDJ on, defaults", ["steered"], "44qkBp8KK4aORmsntYdyfK"),
        ("AutoDJ asking for 160 songs: every fallback", ["steered"] * 3, "2gGgkdezsREG8OezaVG2ij"),
        ("AutoDJ, library random strategy", [OTHER], "3dO9hd4WG9vdRCwBead3Ev"),
        ("AutoDJ with one music folder selected", ["steered"] * 2, "2gGgkdezsREG8OezaVG2ij"),
        ("skip three songs, listen, like one", ["steered"], "1kg880NexPboOiFr4kqX7v"),
        ("track radio", ["steered"], "3dO9hd4WG9vdRCwBead3Ev"),
    ],
)
async def test_recorded_sessions(
    scenarios: dict[str, list[dict[str, Any]]],
    scenario: str,
    outcomes: list[str],
    playing: str,
    tmp_path: Path,
) -> None:
    calls = scenarios[scenario]
    text = json.dumps([[c["target"], c["request_body"]] for c in calls])
    ids = list(dict.fromkeys(re.findall(r"(?:[Ii]d=|/api/song/)([0-9A-Za-z]{22})\b", text)))
    server = FakeServer(400, ids)
    for song in server.songs.values():
        song.update(genre="Soundtrack", genres=[{"name": "Soundtrack"}])
    clock = Clock()
    patient = SteeringSettings(deadline_ms=20_000)  # not about speed
    async with keep_house(tmp_path, server=server, timer=clock, steering=patient) as house:
        responses = await replay(house, calls, clock)
        marked = [(c, r) for c, r in zip(calls, responses, strict=True) if "x-segue" in r.headers]
        found = [r.headers["x-segue"].removeprefix("forwarded; reason=") for _, r in marked]
        assert found == outcomes
        for call, response in marked:
            if response.headers["x-segue"] != "steered":
                continue
            (listing,) = (
                v for v in response.json()["subsonic-response"].values() if isinstance(v, dict)
            )
            songs = listing["song"]
            asked = dict(re.findall(r"(count|size|musicFolderId)=(\d+)", call["request_body"]))
            if "count" in asked:
                assert len(songs) == int(asked["count"])
            if "musicFolderId" in asked:
                assert all(server.songs[s["id"]]["_folder"] == 1 for s in songs)
            seed = re.findall(r"[&?]id=(\w{22})", call["request_body"]) or [playing]
            assert seed[0] not in {s["id"] for s in songs}
            if response is marked[0][1]:  # later ones bring what is left
                # A style has five artists: of ten songs each has two at most, the one playing one.
                sure = 9 if "musicFolderId" in asked else 10
                assert house.styles(songs[:sure]) == {server.songs[seed[0]]["_style"]}
        steering = house.application._steering  # type: ignore[attr-defined]
        (session,) = [s for i, s in steering.sessions._all.items() if i.client == "Feishin"]
        assert session.playing is not None
        assert session.playing.song_id == playing
        skipped = [song for song, _ in session.skipped_lately(clock.now_s)]
        assert skipped == SKIPPED.get(scenario, [])
