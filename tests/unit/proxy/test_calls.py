from __future__ import annotations

import base64
import json

import pytest

from proxy.calls import identify, is_form, native_song_id, rest_endpoint
from subsonic.parameters import Parameters


def token(**claims: str) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{payload}.c2ln"


def user(query: str = "", *headers: tuple[bytes, bytes], trusted: str = "") -> str:
    return identify(Parameters.parse(query.encode()), headers, trusted).user


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/rest/getSimilarSongs", "getSimilarSongs"),
        ("/rest/getRandomSongs.view", "getRandomSongs"),
        ("/rest/", None), ("/rest/a/b", None), ("/rest/x.view.view", None), ("/api/song", None),
        ("//rest/ping", None), ("/rest/ping/", None), ("/REST/ping", None),
    ],
)  # fmt: skip
def test_endpoints(path: str, endpoint: str | None) -> None:
    assert rest_endpoint(path) == endpoint


def test_native_songs() -> None:
    assert native_song_id("/api/song/abc") == "abc"
    assert native_song_id("/api/song") is native_song_id("/api/song/a/b") is None


def test_every_kind_of_login_names_its_user() -> None:
    assert user("u=Bob&p=x") == "bob"
    assert user(f"jwt={token(sub='Bob')}") == "bob"
    assert user("", (b"x-nd-authorization", f"Bearer {token(sub='Bob')}".encode())) == "bob"
    assert user("", (b"authorization", b"Basic " + base64.b64encode(b"Bob:pa:ss"))) == "bob"
    assert user("", (b"remote-user", b"Bob"), trusted="Remote-User") == "bob"
    assert user("u=%C3%84ra") == "Ära"  # servers fold ASCII letters only
    assert user("u=%E2%84%AAate") != user("u=kate")
    key = user("apiKey=sesame")
    assert key.startswith("key:")
    assert "sesame" not in key


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("u=bob&u=eve", []),
        ("u=bob", [(b"authorization", b"Basic " + base64.b64encode(b"eve:x"))]),
        ("u=bob", [(b"x-nd-authorization", f"Bearer {token(sub='eve')}".encode())]),
        (f"u=bob&jwt={token(sub='eve')}", []),
        ("u=bob&apiKey=k", []),
        ("u=bob&jwt=garbage", []),
        ("u=bob", [(b"x-nd-authorization", b"Bearer a." + base64.b64encode(b"[" * 6000) + b".c")]),
        ("u=bob", [(b"authorization", b"Basic !!")]),
    ],
)
def test_a_call_that_names_two_users_is_nobodys(
    query: str, headers: list[tuple[bytes, bytes]]
) -> None:
    assert user(query, *headers) == ""


def test_the_login_header_counts_only_when_trusted() -> None:
    assert user("u=bob", (b"remote-user", b"eve")) == "bob"
    assert user("u=bob", (b"remote-user", b"eve"), trusted="Remote-User") == ""


def test_client_agent_and_player() -> None:
    found = identify(
        Parameters.parse(b"u=a&c=Feishin"),
        [(b"user-agent", b"Moz\xff"), (b"cookie", b"x=1; nd-player-61=PL; y=2")],
    )
    assert (found.client, found.agent, found.player) == ("Feishin", "Moz\ufffd", "PL")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"content-type", b"application/x-www-form-urlencoded")], True),
        ([(b"content-type", b"Application/X-WWW-form-urlencoded; charset=utf-8")], True),
        ([(b"content-type", b"multipart/form-data; boundary=b")], False),
        ([(b"content-type", b"application/json")], False),
        ([], False),
        (
            [
                (b"content-type", b"application/x-www-form-urlencoded"),
                (b"content-length", b"700000"),
            ],
            False,
        ),
        (
            [
                (b"content-type", b"application/x-www-form-urlencoded"),
                (b"content-encoding", b"gzip"),
            ],
            False,
        ),
    ],
)
def test_only_small_plain_forms_are_read(
    headers: list[tuple[bytes, bytes]], expected: bool
) -> None:
    assert is_form(headers) is expected
