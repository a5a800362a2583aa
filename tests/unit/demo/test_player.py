"""The player's logic against a real HTTP server of ours that answers from a table."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from demo.errors import PlayerError
from demo.player import Player, Song
from demo.servers import LOOPBACK, Account

Answer = Callable[[dict[str, str]], tuple[int, dict[str, Any] | bytes]]


class Upstream:
    """A Subsonic server of a few songs that notes every call it gets."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.calls: list[tuple[str, str, dict[str, str]]] = []
        self.answers: dict[str, Answer] = {
            "scrobble": lambda _: (200, {}),
            "stream": lambda _: (200, b"audio" * 100),
            "getSimilarSongs": lambda _: (200, listed("similarSongs", ["s1", "s2", "s3"])),
            "getRandomSongs": lambda p: (
                200,
                listed("randomSongs", [f"{'g' if 'genre' in p else 'r'}{i}" for i in range(20)]),
            ),
        }

    def asked(self, *methods: str) -> list[tuple[str, dict[str, str]]]:
        return [(m, p) for _, m, p in self.calls if m.removesuffix(".view") in methods]


def listed(name: str, ids: list[str]) -> dict[str, Any]:
    return {name: {"song": [{"id": i, "title": i.upper(), "genre": "Folk"} for i in ids]}}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self, parameters: str) -> None:
            method = urlsplit(self.path).path.removeprefix("/rest/")
            given = {k: v[0] for k, v in parse_qs(parameters, keep_blank_values=True).items()}
            known.calls.append((self.command, method, given))
            status, content = known.answers[method.removesuffix(".view")](given)
            body = (
                content
                if isinstance(content, bytes)
                else json.dumps({"subsonic-response": {"status": "ok", **content}}).encode()
            )
            self.send_response(status)
            self.send_header("X-Segue", "steered")
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.answer(urlsplit(self.path).query)

        def do_POST(self) -> None:
            self.answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    known = Upstream(f"http://{LOOPBACK}:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield known
    server.shutdown()
    thread.join()
    server.server_close()


def song(song_id: str, genre: str = "Folk") -> Song:
    return Song.of({"id": song_id, "title": song_id, "genre": genre})


def player(upstream: Upstream, **settings: Any) -> Player:
    return Player(upstream.url, Account("demo", "sesame"), **settings)


def test_autodj_asks_as_feishin_does(upstream: Upstream) -> None:
    refill = player(upstream, item_count=3).play([song("a")])

    assert refill is not None
    assert {s.song_id for s in refill.songs} == {"s1", "s2", "s3"}
    assert refill.asked == (("getSimilarSongs", "steered"),)
    # The question comes before the stream and the report of the song that raised it.
    assert [(m, method) for m, method, _ in upstream.calls] == [
        ("POST", "getSimilarSongs"),
        ("GET", "stream.view"),
        ("POST", "scrobble.view"),
    ]
    question = upstream.calls[0][2]
    assert question["c"] == "Feishin"
    assert (question["id"], question["count"], question["f"]) == ("a", "3", "json")
    assert question["u"] == "demo"
    assert len(question["t"]) == 32
    assert "p" not in question
    assert upstream.calls[2][2]["submission"] == "false"


def test_a_legacy_login_sends_the_password_itself(upstream: Upstream) -> None:
    player(upstream, legacy_login=True, form_post=False).play([song("a")])

    assert upstream.calls[0][0] == "GET"
    assert upstream.calls[0][2]["p"] == "sesame"
    assert "t" not in upstream.calls[0][2]


def test_only_the_last_song_of_the_queue_refills(upstream: Upstream) -> None:
    listener = player(upstream, item_count=3)
    assert listener.play([song("a"), song("b")]) is None
    refill = listener.next()
    assert refill is not None
    assert refill.seed.song_id == "b"
    assert len(listener.queue) == 5
    submissions = [p["submission"] for _, p in upstream.asked("scrobble")]
    assert submissions == ["false", "true", "false"]


def test_a_skipped_song_is_not_submitted(upstream: Upstream) -> None:
    listener = player(upstream)
    listener.play([song("a"), song("b")])
    listener.next(heard=False)
    assert [p["submission"] for _, p in upstream.asked("scrobble")] == ["false", "false"]


def test_seed_and_queued_songs_are_dropped_and_the_gap_is_filled_by_genre(
    upstream: Upstream,
) -> None:
    upstream.answers["getSimilarSongs"] = lambda _: (
        200,
        listed("similarSongs", ["a", "b", "s1", "s1"]),
    )
    listener = player(upstream, item_count=4)
    listener.play([song("a"), song("b")])
    refill = listener.next()

    assert refill is not None
    sources = [source for _, source in refill.added]
    assert sources == ["similar", "genre", "genre", "genre"]
    ((method, asked),) = upstream.asked("getRandomSongs")
    assert method == "getRandomSongs.view"
    assert (asked["genre"], asked["size"]) == ("Folk", "50")
    assert len({s.song_id for s in listener.queue}) == 6


def test_without_genre_and_similar_songs_plain_random_is_left(upstream: Upstream) -> None:
    upstream.answers["getSimilarSongs"] = lambda _: (404, b"Unknown method")
    refill = player(upstream).play([song("a", genre="")])

    assert refill is not None
    assert [source for _, source in refill.added] == ["random"] * 5
    assert [method for method, _ in refill.asked] == ["getSimilarSongs", "getRandomSongs.view"]


def test_with_a_folder_selected_similar_songs_are_never_asked(upstream: Upstream) -> None:
    upstream.answers["getRandomSongs"] = lambda p: (
        200,
        {} if "genre" in p else listed("randomSongs", [f"r{i}" for i in range(10)]),
    )
    refill = player(upstream, music_folder_id="1").play([song("a")])

    assert refill is not None
    assert [source for _, source in refill.added] == ["random"] * 5
    assert not upstream.asked("getSimilarSongs")
    sizes = [(p["size"], p["musicFolderId"]) for _, p in upstream.asked("getRandomSongs")]
    assert sizes == [("50", "1"), ("10", "1")]


def test_the_answers_order_is_lost(upstream: Upstream) -> None:
    ids = [f"s{i}" for i in range(20)]
    upstream.answers["getSimilarSongs"] = lambda _: (200, listed("similarSongs", ids))
    refill = player(upstream, item_count=20, chance=random.Random(7)).play([song("a")])

    assert refill is not None
    assert [s.song_id for s in refill.songs] != ids
    assert sorted(s.song_id for s in refill.songs) == sorted(ids)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((500, b"no"), "ping: HTTP 500"),
        ((200, b"<html>"), "ping: the answer is not a Subsonic one"),
        ((200, {"status": "failed", "error": {"code": 40, "message": "Wrong"}}), "error 40: Wrong"),
    ],
)
def test_errors_say_which_call_failed(
    upstream: Upstream, answer: tuple[int, Any], message: str
) -> None:
    upstream.answers["ping"] = lambda _: answer
    with pytest.raises(PlayerError, match=message):
        player(upstream).call("ping")


def test_no_server_at_all(upstream: Upstream) -> None:
    listener = player(upstream)
    listener.url = f"http://{LOOPBACK}:9"
    with pytest.raises(PlayerError, match="no answer from"):
        listener.call("ping")


def test_streams_are_counted(upstream: Upstream) -> None:
    listener = player(upstream)
    listener.play([song("a")])
    assert listener.bytes_streamed == 500


def test_its_calls_are_those_that_were_recorded(upstream: Upstream, shared_traces: Path) -> None:
    """Path, method and the names of the parameters, as the real Feishin sends them."""
    recorded = set()
    with (shared_traces / "feishin.jsonl").open() as lines:
        for line in lines:
            call = json.loads(line)
            path = urlsplit(call["target"]).path
            sent = urlsplit(call["target"]).query or call["request_body"] or ""
            recorded.add((call["method"], path.removeprefix("/rest/"), frozenset(parse_qs(sent))))

    upstream.answers["getSimilarSongs"] = lambda _: (200, {})
    upstream.answers["getRandomSongs"] = lambda _: (200, {})
    for folder in (None, "1"):
        listener = player(upstream, music_folder_id=folder)
        listener.play([song("a")])
        listener.next()

    asked = {(verb, method, frozenset(given)) for verb, method, given in upstream.calls}
    assert {method for _, method, _ in asked} == {
        "getSimilarSongs",
        "getRandomSongs.view",
        "stream.view",
        "scrobble.view",
    }
    assert asked <= recorded
