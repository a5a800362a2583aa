"""The matrix: three calls, three formats, GET and form POST, with and without `.view`."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from lxml import etree
from referencing import Registry, Resource

from catalog.library import Library
from catalog.tracks import Song
from proxy.settings import SteeringSettings
from tests.contract.conftest import House, keep_house, write_catalog
from tests.contract.upstream import FakeServer, User

pytestmark = pytest.mark.anyio

LISTINGS = {
    "getSimilarSongs": "similarSongs",
    "getSimilarSongs2": "similarSongs2",
    "getRandomSongs": "randomSongs",
}
SCHEMAS = {
    "getSimilarSongs": "SimilarSongs",
    "getSimilarSongs2": "SimilarSongs2",
    "getRandomSongs": "Songs",
}


@pytest.fixture(scope="session")
def valid(shared_contracts: Path) -> Callable[[str, object], None]:
    """Checks a value against one of OpenSubsonic's schemas."""

    def retrieve(uri: str) -> Resource[Any]:
        name = uri.rsplit("/", 1)[-1]
        found = next(shared_contracts.rglob(name))
        return Resource.from_contents(json.loads(found.read_text()), default_specification=_draft())

    registry: Registry[Any] = Registry(retrieve=retrieve)  # type: ignore[call-arg]

    def check(name: str, value: object) -> None:
        (path,) = shared_contracts.joinpath("schemas").rglob(f"{name}.json")
        schema = json.loads(path.read_text())
        Draft7Validator(schema, registry=registry).validate(value)

    return check


def _draft() -> Any:
    from referencing.jsonschema import DRAFT7

    return DRAFT7


@pytest.mark.parametrize("view", ["", ".view"])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("format_", ["xml", "json", "jsonp"])
@pytest.mark.parametrize("endpoint", list(LISTINGS))
async def test_the_matrix(
    endpoint: str, format_: str, method: str, view: str, tmp_path: Path
) -> None:
    async with keep_house(tmp_path, steering=SteeringSettings(random="always")) as house:
        await house.call("scrobble", id="song0002", submission="false")
        parameters: dict[str, Any] = {"f": format_, "callback": "a.cb"}
        parameters |= (
            {"size": 6} if endpoint == "getRandomSongs" else {"id": "song0002", "count": 6}
        )
        response = await house.call(endpoint + view, method=method, **parameters)
        assert response.status_code == 200
        assert response.headers["x-segue"] == "steered"
        assert response.headers["server-timing"].startswith("segue;dur=")
        own = await house.call("getSong", f=format_, callback="a.cb", id="song0002", direct=True)
        assert response.headers["content-type"] == own.headers["content-type"]
        for name in ("set-cookie", "x-frame-options", "vary", "referrer-policy"):
            assert response.headers.get_list(name) == own.headers.get_list(name)
        if format_ == "xml":
            root = etree.fromstring(response.content)
            assert dict(root.attrib) == dict(etree.fromstring(own.content).attrib)
            assert etree.QName(root).namespace == "http://subsonic.org/restapi"
            songs = root.findall(f"{{*}}{LISTINGS[endpoint]}/{{*}}song")
            ids = [song.get("id") for song in songs]
            assert all(song.find("{*}genres") is not None for song in songs)
        else:
            text = response.text
            if format_ == "jsonp":
                assert text.startswith("a.cb(")
                assert text.endswith(")")
                text = text[5:-1]
            envelope = json.loads(text)["subsonic-response"]
            listing = envelope.pop(LISTINGS[endpoint])
            assert envelope == {
                "status": "ok", "version": "1.16.1", "type": "navidrome", "serverVersion": "0.99",
                "openSubsonic": True,
            }  # fmt: skip
            ids = [song["id"] for song in listing["song"]]
        assert len(set(ids)) == 6
        assert "song0002" not in ids
        assert {house.server.songs[song_id]["_style"] for song_id in ids} == {2}


@pytest.mark.parametrize("endpoint", list(LISTINGS))
async def test_json_answers_keep_the_contract(
    endpoint: str, valid: Callable[[str, object], None], tmp_path: Path
) -> None:
    async with keep_house(tmp_path, steering=SteeringSettings(random="always")) as house:
        await house.call("scrobble", id="song0002", submission="false")
        response = await house.call(endpoint, id="song0002", count=5, size=5)
        assert response.headers["x-segue"] == "steered"
        envelope = response.json()["subsonic-response"]
        valid(SCHEMAS[endpoint], envelope[LISTINGS[endpoint]])
        for song in envelope[LISTINGS[endpoint]]["song"]:
            valid("Child", song)


async def test_songs_are_exactly_what_the_server_says_to_this_user(house: House) -> None:
    await house.call("star", id="song0006")
    by_id = {s["id"]: s for s in await house.songs("getSimilarSongs", id="song0002", count=14)}
    assert by_id["song0006"]["starred"]
    for song_id, song in by_id.items():
        own = await house.call("getSong", id=song_id, direct=True)
        assert song == own.json()["subsonic-response"]["song"]


@pytest.mark.parametrize(
    ("seed", "style"), [("song0003", {3}), ("album001", None), ("artist4", {0, 2})]
)
async def test_seeds_may_be_songs_albums_or_artists(
    house: House, seed: str, style: set[int] | None
) -> None:
    songs = await house.songs("getSimilarSongs2", id=seed, count=8)
    assert len(songs) == 8
    own = {
        s
        for s, song in house.server.songs.items()
        if seed in (s, song["albumId"], song["artistId"])
    }
    assert not own & {str(song["id"]) for song in songs}
    if style is not None:
        alike = [song for song in songs if house.styles([song]) <= style]
        assert len(alike) >= 6  # artists are spaced, so not all


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"id": "nope"}, 70),
        ({}, 10),
        ({"id": "song0001", "p": "wrong"}, 40),
        ({"id": "song0001", "u": "nobody"}, 40),
        ({"id": "song0001", "u": ""}, 10),
    ],
)
@pytest.mark.parametrize("format_", ["xml", "json"])
async def test_errors_are_the_servers_own(
    house: House, parameters: dict[str, str], code: int, format_: str
) -> None:
    response = await house.call("getSimilarSongs", f=format_, **parameters)
    assert response.headers["x-segue"] == "forwarded; reason=failed"
    direct = await house.call("getSimilarSongs", direct=True, f=format_, **parameters)
    assert response.content == direct.content
    assert str(code) in response.text


@pytest.mark.parametrize("count", ["0", "-1"])
async def test_asking_for_none_is_the_servers_own_empty_list(house: House, count: str) -> None:
    response = await house.call("getSimilarSongs", id="song0001", count=count)
    assert response.headers["x-segue"] == "forwarded; reason=count"
    assert response.json()["subsonic-response"]["similarSongs"] == {}


async def test_counts_that_are_no_numbers_are_the_default(house: House) -> None:
    assert len(await house.songs("getSimilarSongs", id="song0001", count="abc")) == 50
    assert len(await house.songs("getSimilarSongs", id="song0001", count="1000")) == 59


async def test_a_wrong_password_is_tried_once_not_once_a_song(house: House) -> None:
    """By one call: the refusal of the login is the answer, whatever was asked."""
    refused = await house.call("getSimilarSongs", id="song0001", count=50, p="wrong")
    assert len(house.server.calls) == 1
    own = await house.call("getSimilarSongs", id="song0001", count=50, p="wrong", direct=True)
    assert refused.content == own.content
    for name in ("content-type", "content-length", "vary", "x-frame-options"):
        assert refused.headers[name] == own.headers[name]


async def test_the_servers_own_similar_call_is_not_asked_without_need(house: House) -> None:
    await house.songs("getSimilarSongs", id="song0001", count=5)
    assert house.server.asked("getSimilarSongs") == 0
    assert house.server.asked("getSong") == 6


async def test_calls_on_a_users_behalf_are_the_users(house: House) -> None:
    headers = {"User-Agent": "Phone/1", "Cookie": "nd-player-61=PL", "Origin": "http://player"}
    response = await house.call(
        "getSimilarSongs", id="song0001", count=3, method="POST", headers=headers
    )
    assert response.headers["access-control-allow-origin"] == "*"
    asked = [(p, h) for endpoint, p, h in house.server.calls if endpoint == "getSong"]
    assert len(asked) == 4
    for parameters, sent in asked:
        assert (parameters["u"], parameters["c"], parameters["v"]) == ("admin", "test", "1.16.1")
        assert (sent["user-agent"], sent["cookie"]) == ("Phone/1", "nd-player-61=PL")
        assert sent["x-forwarded-for"] == "127.0.0.1"
        assert sent["content-type"] == "application/x-www-form-urlencoded"


async def test_what_a_user_may_not_see_never_appears(house: House) -> None:
    admin = {str(s["id"]) for s in await house.songs("getSimilarSongs", id="song0001", count=14)}
    assert any(house.server.songs[song_id]["_folder"] == 2 for song_id in admin)
    bob = await house.songs("getSimilarSongs", id="song0001", count=14, user="bob")
    assert bob
    assert all(house.server.songs[str(s["id"])]["_folder"] == 1 for s in bob)
    hidden_seed = await house.call("getSimilarSongs", id="song0059", count=5, user="bob")
    assert hidden_seed.headers["x-segue"] == "forwarded; reason=failed"
    assert hidden_seed.json()["subsonic-response"]["error"]["code"] == 70


async def test_songs_of_a_library_that_was_taken_away_are_gone_within_the_minute(
    tmp_path: Path,
) -> None:
    """As docs/operation.md says; a seed of that library is refused at once."""
    now_s = 1000.0
    async with keep_house(tmp_path, timer=lambda: now_s) as house:

        async def folders() -> set[int]:
            songs = await house.songs("getSimilarSongs", id="song0002", count=59)
            assert len(songs) >= 25
            return {house.server.songs[str(song["id"])]["_folder"] for song in songs}

        assert await folders() == {1, 2}
        house.server.users["admin"].folders = (1,)
        refused = await house.call("getSimilarSongs", id="song0046", count=5)
        assert refused.json()["subsonic-response"]["error"]["code"] == 70
        now_s += 60.1
        assert await folders() == {1}


async def test_songs_hidden_from_a_user_are_replaced_by_others(house: House) -> None:
    assert len(await house.songs("getSimilarSongs", id="song0001", count=25, user="bob")) == 25


async def test_one_users_stars_never_reach_another(house: House) -> None:
    for song_id in house.server.songs:
        await house.call("star", id=song_id)
    for _ in range(2):
        for user in ("admin", "bob"):
            songs = await house.songs("getSimilarSongs", id="song0001", count=5, user=user)
            assert all(("starred" in song) is (user == "admin") for song in songs)


async def test_bad_callbacks_and_odd_parameters_go_to_the_server(house: House) -> None:
    response = await house.call("getSimilarSongs", id="song0001", f="jsonp", callback="alert(1)")
    assert response.headers["x-segue"] == "forwarded; reason=failed"
    odd = await house.http.get(f"{house.url}/rest/getSimilarSongs?u=admin;p=sesame&id=%zz")
    assert odd.headers["x-segue"] == "forwarded; reason=failed"


async def test_only_get_and_post_are_steered(house: House) -> None:
    response = await house.http.head(f"{house.url}/rest/getSimilarSongs")
    assert "x-segue" not in response.headers


async def test_a_multipart_or_huge_form_is_handed_on_as_it_came(house: House) -> None:
    url = f"{house.url}/rest/getSimilarSongs"
    multipart = await house.http.post(url, files={"u": (None, "admin")})
    assert multipart.headers["x-segue"].startswith("forwarded")
    form = {"u": "admin", "p": "sesame", "v": "1", "c": "x", "id": "song0001", "pad": "x" * 300_000}
    huge = await house.http.post(url, data=form)
    assert huge.headers["x-segue"] == "forwarded; reason=odd-parameters"
    assert b'status="ok"' in huge.content
    assert house.server.calls[-1][1]["pad"] == "x" * 300_000


async def test_when_the_server_is_slow_to_show_songs_its_own_answer_comes(tmp_path: Path) -> None:
    async with keep_house(tmp_path, steering=SteeringSettings(deadline_ms=150)) as house:
        house.server.delay_s["getSong"] = 1.0
        response = await house.call("getSimilarSongs", id="song0001", count=5)
        assert response.headers["x-segue"] == "forwarded; reason=deadline"
        assert len(response.json()["subsonic-response"]["similarSongs"]["song"]) == 5


async def test_without_a_snapshot_or_links_everything_is_forwarded(tmp_path: Path) -> None:
    async with keep_house(tmp_path / "bare", embedded=False) as house:
        response = await house.call("getSimilarSongs", id="song0001", count=5)
        assert response.headers["x-segue"] == "forwarded; reason=no-snapshot"
        health = (await house.http.get(f"{house.url}/segue/health")).json()
        assert health["status"] == "forwarding"
        assert health["snapshot"] is None
    async with keep_house(tmp_path / "unlinked", linked=False) as house:
        response = await house.call("getSimilarSongs", id="song0001", count=5)
        assert response.headers["x-segue"] == "forwarded; reason=nothing-linked"


async def test_switches(tmp_path: Path) -> None:
    settings = SteeringSettings(similar=False, random="never")
    async with keep_house(tmp_path, steering=settings) as house:
        for endpoint in LISTINGS:
            response = await house.call(endpoint, id="song0001")
            assert response.headers["x-segue"] == "forwarded; reason=switched-off"


async def test_other_calls_carry_no_trace_of_segue(house: House) -> None:
    for path in ("/rest/ping", "/", "/app/"):
        response = await house.http.get(house.url + path)
        assert not [n for n in response.headers if "segue" in n or n == "server-timing"]


async def test_a_stranger_learns_nothing_of_the_library(house: House) -> None:
    """Ids that are linked and ids that are not are refused alike."""
    marks = {
        (response.headers["x-segue"], response.headers["server-timing"])
        for seed in ("song0001", "artist3", "album001", "nothing")
        for response in [await house.call("getSimilarSongs2", id=seed, p="guess")]
    }
    assert marks == {("forwarded; reason=failed", "segue;dur=0.0")}


async def test_a_user_who_sees_few_songs_costs_few_calls(tmp_path: Path) -> None:
    server = FakeServer(2000)
    for number, song in enumerate(server.songs.values()):
        song["_folder"] = 1 if number < 20 else 2
    async with keep_house(tmp_path, server=server) as house:
        songs = await house.songs("getSimilarSongs", id="song0004", count=5, user="bob")
        assert len(songs) == 5
        assert house.server.asked("getSong") <= 20


async def test_an_artist_whose_songs_lie_in_two_libraries(tmp_path: Path) -> None:
    server = FakeServer(60)
    server.users["carol"] = User("carol", (2,))
    async with keep_house(tmp_path, server=server) as house:
        for user, folder in (("bob", 1), ("carol", 2)):
            response = await house.call("getSimilarSongs2", id="artist3", count=5, user=user)
            assert response.headers["x-segue"] == "steered"
            songs = response.json()["subsonic-response"]["similarSongs2"]["song"]
            assert {server.songs[s["id"]]["_folder"] for s in songs} == {folder}


async def test_a_track_that_is_two_songs_is_given_as_the_one_that_shows(tmp_path: Path) -> None:
    server = FakeServer(60)  # songs 0-29 in folder 1, the same files again in folder 2
    server.users["carol"] = User("carol", (2,))
    write_catalog(tmp_path, server)
    with Library.open(tmp_path) as library:
        tracks = [track.track_id for track in library.tracks()]
        songs = [Song(s["id"], folder_id=str(s["_folder"])) for s in server.songs.values()]
        library.replace_songs(songs, {song.song_id: tracks[i % 30] for i, song in enumerate(songs)})
    async with keep_house(tmp_path, server=server, embedded=False) as house:
        for user, folder, seed in (("carol", 2, "song0034"), ("bob", 1, "song0004")):
            found = await house.songs("getSimilarSongs", id=seed, count=5, user=user)
            assert len(found) == 5
            assert {server.songs[str(s["id"])]["_folder"] for s in found} == {folder}


async def test_a_token_of_nonsense_changes_nothing(house: House) -> None:
    deep = "a." + base64.urlsafe_b64encode(b"[" * 6000).decode() + ".c"
    headers = {"X-ND-Authorization": f"Bearer {deep}"}
    response = await house.call("getSimilarSongs", id="song0001", count=5, headers=headers)
    assert response.headers["x-segue"] == "steered"
    assert (await house.call("scrobble", id="song0001", headers=headers)).status_code == 200


async def test_a_short_deadline_still_steers(tmp_path: Path) -> None:
    async with keep_house(tmp_path, steering=SteeringSettings(deadline_ms=100)) as house:
        response = await house.call("getSimilarSongs", id="song0001", count=3)
        assert response.headers["x-segue"] == "steered"


@pytest.mark.parametrize("odd", ["text", ["list"], {"id": "<script>"}, {"id": 7}, None])
async def test_one_odd_song_of_the_server_costs_only_itself(tmp_path: Path, odd: object) -> None:
    class Odd(FakeServer):
        def _answer(self, endpoint: str, p: dict[str, str], folders: list[str]) -> Any:
            status, payload = super()._answer(endpoint, p, folders)
            if endpoint == "getSong" and p.get("id") == "song0006":
                return status, {"song": odd}
            return status, payload

    async with keep_house(tmp_path, server=Odd()) as house:
        songs = await house.songs("getSimilarSongs", id="song0002", count=13)
        assert len(songs) == 13
        assert "song0006" not in {song["id"] for song in songs}


async def test_seeds_that_are_gone_or_not_linked_are_the_servers_matter(house: House) -> None:
    """Deleted since it was linked; added since; and a song of a list that is gone is replaced."""
    songs = house.server.songs
    new = {**songs["song0001"], "id": "song9999"}
    songs["song9999"] = new
    gone = songs.pop("song0002")
    for seed, marks in (
        ("song0002", "forwarded; reason=failed"),
        ("song9999", "forwarded; reason=seed-not-linked"),
    ):
        response = await house.call("getSimilarSongs", id=seed, count=5)
        direct = await house.call("getSimilarSongs", id=seed, count=5, direct=True)
        assert response.headers["x-segue"] == marks
        assert response.content == direct.content
    found = await house.songs("getSimilarSongs", id="song0006", count=50)
    assert len(found) == 50
    assert gone["id"] not in {song["id"] for song in found}


async def test_a_library_of_one_artist_is_played_all_the_same(tmp_path: Path) -> None:
    server = FakeServer(40)
    for song in server.songs.values():
        song.update(artistId="artist0", artist="Artist 0")
    async with keep_house(tmp_path, server=server) as house:
        seed, heard = "song0001", set[str]()
        for _ in range(4):
            found = await house.songs("getSimilarSongs", id=seed, count=5, client="Feishin")
            assert len({str(song["id"]) for song in found} - heard - {seed}) == 5
            heard |= {str(song["id"]) for song in found} | {seed}
            seed = str(found[0]["id"])


async def test_an_encoded_path_is_the_upstreams_to_judge(house: House) -> None:
    """Servers route by what was sent: what is unknown there must not be answered here."""
    for endpoint in ("%67etSimilarSongs2", "getSimilarSongs2%2Eview"):
        response = await house.call(endpoint, id="song0002", count=5)
        direct = await house.call(endpoint, id="song0002", count=5, direct=True)
        assert (response.status_code, response.content) == (direct.status_code, direct.content)
        assert "x-segue" not in response.headers
