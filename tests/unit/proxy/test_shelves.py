"""What is kept of one user is that user's alone, for a short time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from proxy.calls import Headers, Identity
from proxy.shelves import TTL_S, SeenSong, Shelf, Shelves
from subsonic.parameters import Parameters

BOB = Identity("bob", "Feishin", "Mozilla")


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def seen(markup: bytes) -> SeenSong:
    return SeenSong(markup, "", "")


def shelf(
    shelves: Shelves, login: str = "u=bob&p=secret&c=Feishin&v=1", *, headers: Headers = (),
    identity: Identity = BOB, form: str = "json",
) -> Shelf:  # fmt: skip
    found = shelves.open(identity, Parameters.parse(login.encode()), headers, form)
    assert found is not None
    return found


def test_the_same_login_finds_what_it_was_shown() -> None:
    shelves = Shelves(Clock())
    shelf(shelves).put("a", seen(b"song a"))
    assert shelf(shelves).take("a") == seen(b"song a")
    assert shelf(shelves).take("b") is None
    extra = shelf(shelves, headers=[(b"Accept", b"x"), (b"If-None-Match", b"y")])
    assert extra.take("a") == seen(b"song a")


@pytest.mark.parametrize("proof", ["t=t1&s=s1", "t=t2&s=s2", "p=secret", "p=enc:736563726574"])
def test_a_new_salt_is_the_same_user(proof: str) -> None:
    """Shelves are opened for logins that the upstream has just said ok to: the proof is judged."""
    shelves = Shelves(Clock())
    shelf(shelves).put("a", seen(b"song a"))
    assert shelf(shelves, f"u=bob&{proof}&c=Feishin&v=1").take("a") == seen(b"song a")


@pytest.mark.parametrize(
    "login",
    [
        "u=Bob&p=secret&c=Feishin&v=1",
        "u=bob&p=secret&c=other&v=1",
        "u=bob&p=secret&c=Feishin&v=2",
        "u=bob&p=secret&c=Feishin&v=1&jwt=x",
        "apiKey=secret&c=Feishin&v=1",
        "u=bobp&p=secret&c=Feishin&v=1",
        "u=bob&u=bob&p=secret&c=Feishin&v=1",
    ],
)
def test_any_other_login_finds_nothing(login: str) -> None:
    shelves = Shelves(Clock())
    shelf(shelves).put("a", seen(b"song a"))
    assert shelf(shelves, login).take("a") is None


@pytest.mark.parametrize(
    "headers",
    [
        [(b"Authorization", b"Bearer x")],
        [(b"Cookie", b"jwt=x")],
        [(b"Remote-User", b"eve")],
        [(b"X-Authentik-Username", b"eve")],
        [(b"X-Forwarded-For", b"192.0.2.1")],
    ],
)
def test_whatever_else_may_tell_who_asks_counts_too(headers: Headers) -> None:
    shelves = Shelves(Clock())
    shelf(shelves).put("a", seen(b"song a"))
    assert shelf(shelves, headers=headers).take("a") is None


def test_another_user_or_format_finds_nothing() -> None:
    shelves = Shelves(Clock())
    shelf(shelves).put("a", seen(b"song a"))
    assert shelf(shelves, identity=Identity("eve", "Feishin", "Mozilla")).take("a") is None
    assert shelf(shelves, form="xml").take("a") is None
    assert shelves.open(Identity(""), Parameters(), (), "json") is None


def test_a_minute_later_it_is_asked_for_again() -> None:
    clock = Clock()
    shelves = Shelves(clock)
    shelf(shelves).put("a", seen(b"song a"))
    clock.now_s += TTL_S + 1
    assert shelf(shelves).take("a") is None
    clock.now_s -= 10 * TTL_S  # a clock that goes back, though it never should
    assert shelf(shelves).take("a") is None


def test_what_a_user_changes_clears_all_their_shelves_also_under_calls_under_way() -> None:
    shelves = Shelves(Clock())
    under_way = shelf(shelves)
    under_way.put("a", seen(b"song a"))
    shelf(shelves, form="xml").put("a", seen(b"<song/>"))
    eve = Identity("eve")
    shelf(shelves, "u=eve", identity=eve).put("a", seen(b"eve's a"))
    shelves.drop("bob")
    assert under_way.take("a") is None
    under_way.put("b", seen(b"song b as it looked before the star"))
    assert shelf(shelves).take("b") is None
    assert shelf(shelves, form="xml").take("a") is None
    assert shelf(shelves, "u=eve", identity=eve).take("a") == seen(b"eve's a")
    shelves.drop_where(lambda user: user == "eve")
    assert shelves.size_bytes == 0


@pytest.mark.parametrize("who", [lambda _: "bob", lambda i: f"user {i % 50}"])
def test_memory_is_bounded_for_one_and_for_all(who: Callable[[int], str]) -> None:
    shelves = Shelves(Clock(), most_bytes=100_000, most_bytes_of_a_user=20_000)
    for i in range(2000):
        shelf(shelves, identity=Identity(who(i))).put(str(i), seen(b"x" * 1000))
        assert shelves.size_bytes <= (20_000 if who(1) == who(2) else 100_000)
    assert shelf(shelves, identity=Identity(who(1999))).take("1999") is not None


def test_the_same_song_again_takes_no_more_room() -> None:
    shelves = Shelves(Clock())
    for _ in range(100):
        shelf(shelves).put("a", seen(b"x" * 1000))
    assert shelves.size_bytes < 2000


def test_a_shelf_is_empty_when_nothing_on_it_would_be_given() -> None:
    clock = Clock()
    shelves = Shelves(clock)
    own = shelf(shelves)
    assert own.is_empty
    own.put("a", seen(b"song a"))
    assert not shelf(shelves).is_empty
    clock.now_s += TTL_S + 1
    assert shelf(shelves).is_empty
    own.put("b", seen(b"song b"))
    assert not shelf(shelves).is_empty
    shelves.drop("bob")
    assert shelf(shelves).is_empty
