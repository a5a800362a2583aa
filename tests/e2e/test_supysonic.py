"""Segue in front of a real supysonic over the demo's library."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping
from xml.etree import ElementTree

import pytest

from demo.player import Player, Song
from demo.servers import Account, Server
from tests.e2e.conftest import LISTENER, OTHER, Front
from tests.e2e.wire import opensonic, send

SONGS = 54
NAMESPACE = "{http://subsonic.org/restapi}"


@pytest.fixture(scope="module")
def songs(supysonic_server: Server) -> Mapping[str, Song]:
    """Every song by its title, as supysonic lists it."""
    listed = Player(supysonic_server.url, LISTENER, legacy_login=True).library()
    return {song.title: song for song in listed}


def test_every_song_is_linked(segue_server: Front) -> None:
    assert segue_server.linked == SONGS
    told = segue_server.health()
    assert (told["status"], told["tracks"], told["linked"]) == ("ok", SONGS, SONGS)
    known = segue_server.segue.run_json("info")
    assert (known["tracks"], known["linked"], known["model"]) == (SONGS, SONGS, "segue-1")
    report = segue_server.segue.run_json("link")
    assert report["linked"] == SONGS


def test_similar_songs_sound_alike(segue_server: Front, songs: Mapping[str, Song]) -> None:
    """The demo's promise: of five, at least four are of the seed's own manner."""
    precisions = []
    for seed in list(songs.values())[::3]:
        reply = send(
            segue_server.url,
            "getSimilarSongs",
            LISTENER,
            client=f"P@5 {seed.title}",
            id=seed.song_id,
            count=5,
        )
        assert reply.mark == "steered"
        answered = reply.content["similarSongs"]["song"]
        assert len({song["id"] for song in answered}) == 5
        assert seed.song_id not in {song["id"] for song in answered}
        precisions.append(sum(song["genre"] == seed.genre for song in answered) / 5)
    assert sum(precisions) / len(precisions) >= 0.8


def test_supysonic_alone_has_no_similar_songs(
    supysonic_server: Server, songs: Mapping[str, Song]
) -> None:
    seed = songs["Harbour Lights"]
    reply = send(supysonic_server.url, "getSimilarSongs", LISTENER, id=seed.song_id)
    assert reply.status == 404
    assert reply.error == (0, "Unknown method")


@pytest.mark.parametrize("seed", ["Night Shift", "Final Boss", "Level One"])
def test_autodj_follows_the_sound_and_never_repeats(
    segue_server: Front, songs: Mapping[str, Song], seed: str
) -> None:
    player = Player(
        segue_server.url,
        LISTENER,
        legacy_login=True,
        client=f"Feishin {seed}",
        chance=random.Random(5),
    )
    refill = player.play([songs[seed]])
    assert refill is not None
    assert refill.asked == (("getSimilarSongs", "steered"),)
    assert [source for _, source in refill.added] == ["similar"] * 5
    assert sum(song.genre == songs[seed].genre for song in refill.songs) >= 4

    for _ in range(15):
        refill = player.next()
        assert refill is None or [source for _, source in refill.added] == ["similar"] * 5
    ids = [song.song_id for song in player.queue]
    assert len(ids) == len(set(ids)) >= 20
    assert player.bytes_streamed > 1_000_000


@pytest.mark.parametrize("post", [False, True], ids=["get", "post"])
@pytest.mark.parametrize("method", ["getSimilarSongs", "getSimilarSongs2.view"])
def test_every_format(
    segue_server: Front, songs: Mapping[str, Song], method: str, *, post: bool
) -> None:
    listing = method.removesuffix(".view").replace("getS", "s")
    settings = {"id": songs["Barley Moon"].song_id, "count": 3}
    told = {}
    for f in ("json", "xml", "jsonp"):
        reply = send(
            segue_server.url,
            method,
            LISTENER,
            post=post,
            f=f,
            client=f"formats {method} {post} {f}",
            callback="hear.me" if f == "jsonp" else "",
            **settings,
        )
        assert reply.mark == "steered", f
        assert "segue;dur=" in reply.headers["server-timing"]
        if f == "xml":
            root = ElementTree.fromstring(reply.body)
            found = root.findall(f"{NAMESPACE}{listing}/{NAMESPACE}song")
            told[f] = [song.get("id") for song in found]
        elif f == "jsonp":
            text = reply.body.decode()
            assert text.startswith("hear.me(")
            inside = json.loads(text[text.index("(") + 1 : text.rindex(")")])
            told[f] = [song["id"] for song in inside["subsonic-response"][listing]["song"]]
        else:
            told[f] = [song["id"] for song in reply.content[listing]["song"]]
    assert len(told["json"]) == 3
    assert told["json"] == told["xml"] == told["jsonp"]


def test_a_steered_song_is_the_upstreams_own_description(
    segue_server: Front, songs: Mapping[str, Song]
) -> None:
    reply = send(
        segue_server.url, "getSimilarSongs", LISTENER, id=songs["Level One"].song_id, count=2
    )
    for song in reply.content["similarSongs"]["song"]:
        own = send(segue_server.upstream_url, "getSong", LISTENER, id=song["id"])
        assert song == own.content["song"]


def test_albums_and_artists_are_seeds(segue_server: Front, songs: Mapping[str, Song]) -> None:
    described = send(segue_server.url, "getSong", LISTENER, id=songs["Final Boss"].song_id)
    song = described.content["song"]
    for method, seed in (
        ("getSimilarSongs", song["albumId"]),
        ("getSimilarSongs2", song["artistId"]),
    ):
        reply = send(segue_server.url, method, LISTENER, client=method, id=seed, count=5)
        assert reply.mark == "steered", method
        (listing,) = (v for k, v in reply.content.items() if k.startswith("similarSongs"))
        genres = Counter(found["genre"] for found in listing["song"])
        # The artist works in two manners; the album is of one.
        wanted = {"Metal", "Chiptune"} if method == "getSimilarSongs2" else {"Metal"}
        assert sum(genres[genre] for genre in wanted) >= 3


def test_plain_random_stays_the_servers_own_shuffle(segue_server: Front) -> None:
    seen: Counter[str] = Counter()
    for _ in range(4):
        reply = send(segue_server.url, "getRandomSongs", LISTENER, client="Shuffler", size=20)
        assert reply.mark == "forwarded; reason=true-random"
        answered = reply.content["randomSongs"]["song"]
        assert len(answered) == 20
        seen.update(song["genre"] for song in answered)
    assert len(seen) == 9


def test_random_after_similar_continues_the_same_act(
    segue_server: Front, songs: Mapping[str, Song]
) -> None:
    seed = songs["Loading Bay"]
    known = {"client": "Substreamer", "post": True}
    send(segue_server.url, "scrobble", LISTENER, id=seed.song_id, submission="false", **known)
    reply = send(segue_server.url, "getSimilarSongs", LISTENER, id=seed.song_id, count=2, **known)
    given = {song["id"] for song in reply.content["similarSongs"]["song"]}
    reply = send(segue_server.url, "getRandomSongs", LISTENER, size=20, **known)
    assert reply.mark == "steered"
    found = reply.content["randomSongs"]["song"]
    assert not given & {song["id"] for song in found}
    # Six of the 54 songs are Techno: the seed, the two that were given, and these.
    assert sum(song["genre"] == "Techno" for song in found[:5]) == 3


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("ping", {}),
        ("getMusicFolders.view", {}),
        ("getArtists", {}),
        ("search3", {"query": "moon"}),
        ("getGenres", {}),
        ("noSuchMethod", {}),
        ("getSimilarSongs", {}),
        ("getSimilarSongs", {"id": "0b8a6b4e-0000-4000-8000-000000000000"}),
        ("getSimilarSongs", {"id": "not an id"}),
        ("getRandomSongs", {"size": "many"}),
        ("getRandomSongs", {"musicFolderId": "99"}),
    ],
)
@pytest.mark.parametrize("f", ["json", "xml"])
def test_everything_else_is_the_upstreams_answer(
    segue_server: Front, method: str, parameters: dict[str, str], f: str
) -> None:
    known = {"f": f, "client": "Untouched"}
    through = send(segue_server.url, method, LISTENER, **known, **parameters)
    direct = send(segue_server.upstream_url, method, LISTENER, **known, **parameters)
    assert (through.status, through.body) == (direct.status, direct.body)
    assert through.headers["content-type"] == direct.headers["content-type"]
    assert through.mark != "steered"


def test_a_wrong_password_is_the_upstreams_refusal(
    segue_server: Front, songs: Mapping[str, Song]
) -> None:
    stranger = Account(LISTENER.username, "guess")
    for method in ("getSimilarSongs", "getRandomSongs", "getSong"):
        through = send(segue_server.url, method, stranger, id=songs["Level One"].song_id)
        direct = send(segue_server.upstream_url, method, stranger, id=songs["Level One"].song_id)
        if method == "getSimilarSongs":
            assert direct.content["status"] == "failed"
        assert (through.status, through.body) == (direct.status, direct.body), method
        assert through.mark != "steered"


def test_one_users_stars_and_ratings_never_reach_another(
    segue_server: Front, songs: Mapping[str, Song]
) -> None:
    metal = [song for song in songs.values() if song.genre == "Metal"]
    for song in metal:
        send(segue_server.url, "star", LISTENER, id=song.song_id)
        send(segue_server.url, "setRating", LISTENER, id=song.song_id, rating=5)
    answers = {}
    # The owner first, so that anything kept would be the owner's; then both again.
    for account in (LISTENER, OTHER, LISTENER, OTHER):
        client = f"{account.username} {len(answers)}"
        reply = send(
            segue_server.url,
            "getSimilarSongs",
            account,
            client=client,
            id=metal[0].song_id,
            count=5,
        )
        assert reply.mark == "steered"
        answers[client] = account, reply.content["similarSongs"]["song"]
    for account, answered in answers.values():
        starred = {song["title"] for song in answered if "starred" in song}
        rated = {song["title"] for song in answered if "userRating" in song}
        if account is OTHER:
            assert not starred
            assert not rated
        else:
            assert starred == rated == {song["title"] for song in answered}


def test_a_stream_and_its_ranges_pass_untouched(
    segue_server: Front, songs: Mapping[str, Song]
) -> None:
    song = songs["Barley Moon"]
    through = send(segue_server.url, "stream", LISTENER, id=song.song_id)
    direct = send(segue_server.upstream_url, "stream", LISTENER, id=song.song_id)
    assert through.body == direct.body
    assert len(through.body) > 100_000


@pytest.mark.anyio
async def test_another_real_client_library(segue_server: Front, songs: Mapping[str, Song]) -> None:
    """py-opensonic, as Music Assistant uses it."""
    connection = opensonic(segue_server.url, LISTENER, legacy_login=True)
    try:
        assert await connection.ping()
        found = await connection.get_similar_songs2(songs["Window Seat"].song_id, count=5)
        assert len(found) == 5
        assert sum(song.genre == "Bossa Nova" for song in found) >= 3
        assert len(await connection.get_random_songs(size=7)) == 7
    finally:
        await connection.cleanup()
