from __future__ import annotations

import base64
import json

import pytest

from catalog.users import fold_user
from proxy.calls import (
    Body,
    identify,
    identify_native,
    kind_of_body,
    native_song_id,
    rest_endpoint,
)
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


FORM = (b"content-type", b"application/x-www-form-urlencoded")
SOME = (b"content-length", b"10")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([FORM, SOME], Body.FORM),
        ([(b"content-type", b"Application/X-WWW-form-urlencoded; charset=utf-8"), SOME], Body.FORM),
        ([FORM, (b"transfer-encoding", b"chunked")], Body.FORM),
        ([FORM], Body.NONE),
        ([], Body.NONE),
        ([(b"content-length", b"0")], Body.NONE),
        ([(b"content-type", b"application/json"), SOME], Body.NONE),
        ([SOME], Body.UNREAD),
        ([(b"content-type", b"multipart/form-data; boundary=b"), SOME], Body.UNREAD),
        ([FORM, (b"content-length", b"700000")], Body.UNREAD),
        ([FORM, SOME, (b"content-encoding", b"identity")], Body.UNREAD),
        ([FORM, SOME, (b"content-encoding", b"gzip")], Body.UNREAD),
        ([(b"content-type", b"application/json"), FORM, SOME], Body.UNREAD),
    ],
)
def test_a_body_is_read_or_known_to_hold_no_parameters(
    headers: list[tuple[bytes, bytes]], expected: Body
) -> None:
    assert kind_of_body("POST", headers) is expected
    assert kind_of_body("GET", headers) is Body.NONE


def native(query: str, *headers: tuple[bytes, bytes]) -> str:
    return identify_native(Parameters.parse(query.encode()), headers).user


def test_the_native_api_takes_tokens_and_nothing_else() -> None:
    mine, yours = token(sub="eve"), token(sub="bob")
    header = (b"x-nd-authorization", f"Bearer {mine}".encode())
    assert native("", header) == native(f"jwt={mine}") == "eve"
    assert native("", (b"cookie", f"a=1; jwt={mine}; b=2".encode())) == "eve"
    assert native("u=bob", header) == "eve"
    assert native("", header, (b"authorization", f"Bearer {yours}".encode())) == "eve"
    assert native("u=bob") == ""
    assert native("", header, (b"cookie", f"jwt={yours}".encode())) == ""
    assert native(f"jwt={yours}", header) == ""


def test_a_cookie_is_found_as_leniently_as_servers_find_it() -> None:
    mine, forged = token(sub="eve"), token(sub="admin")
    for name in ("jwt =", "jwt\t=", " jwt = ", 'jwt="'):
        end = '"' if name.endswith('"') else ""
        cookie = (b"cookie", f"{name}{mine}{end}".encode())
        assert native("", cookie) == "eve", name
        both = (b"cookie", f"{name}{mine}{end}; jwt={forged}".encode())
        assert native("", both) == "", name
        assert native("", cookie, (b"cookie", f"jwt={forged}".encode())) == ""
        assert native(f"jwt={forged}", cookie) == ""


def test_nonsense_is_nobody() -> None:
    assert native("", (b"x-nd-authorization", b"Bearer nonsense")) == ""


def test_names_are_folded_as_servers_fold_them() -> None:
    assert fold_user("ADMIN") == "admin"
    assert fold_user("Änne") != fold_user("änne")
    assert fold_user("\u212aate") != fold_user("kate")  # the Kelvin sign
