"""Header rules as pure functions, over many made-up requests."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.headers import (
    FORWARDING,
    HOP_BY_HOP,
    is_insider,
    is_trusted,
    request_headers,
    response_headers,
)
from proxy.settings import ServerSettings

OURS = {b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip", b"forwarded"}
NGINX = ServerSettings(trusted_proxies=("10.0.0.0/8", "::1", "unix"))
NOBODY = ServerSettings()

names = st.sampled_from(
    [*sorted(HOP_BY_HOP), *sorted(FORWARDING), b"remote-user", b"remote_user", b"x_forwarded_for",
     b"host", b"cookie", b"set-cookie", b"vary", b"accept", b"x-a", b"x-b", b"content-length"]
)  # fmt: skip
values = st.sampled_from(
    [b"", b"close", b"x-a, cookie", b"Remote-User", b"1.2.3.4", b"10.1.1.1, 6.6.6.6", b"a;b=c",
     b"for=1.2.3.4;proto=https", b"upgrade, x-b", b"unknown", b"[2001:db8::1]:80", b'"', b","]
)  # fmt: skip
requests = st.lists(st.tuples(names, values), max_size=12)


def scope(peer: str | None, headers: Any = ()) -> dict[str, Any]:
    client = (peer, 1234) if peer is not None else None
    return {"type": "http", "client": client, "scheme": "http", "headers": list(headers)}


@given(requests, st.sampled_from(["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::5"]))
def test_nobodys_word_counts(raw: list[tuple[bytes, bytes]], peer: str) -> None:
    sent = request_headers(raw, scope(peer), NOBODY)
    plain = [name.replace(b"_", b"-") for name, _ in sent]
    assert b"remote-user" not in plain
    assert not HOP_BY_HOP.intersection(plain)
    address = b"2001:db8::5" if peer == "2001:db8::5" else b"192.0.2.7"
    assert [v for n, v in sent if n == b"x-forwarded-for"] == [address]
    assert [v for n, v in sent if n == b"x-real-ip"] == [address]
    assert [v for n, v in sent if n == b"x-forwarded-proto"] == [b"http"]
    assert all(plain.count(name) == (name in OURS - {b"x-forwarded-host"})
               for name in FORWARDING - {b"x-forwarded-host"})  # fmt: skip


@given(requests, st.sampled_from(["192.0.2.7", "10.0.0.2"]))
def test_the_rest_passes_in_order(raw: list[tuple[bytes, bytes]], peer: str) -> None:
    named = {t.strip().lower() for n, v in raw if n == b"connection" for t in v.split(b",")}
    named -= {b"host", b"content-length"}
    trusted = peer == "10.0.0.2"
    expected = [
        (n, v)
        for n, v in raw
        if n not in HOP_BY_HOP
        and n.replace(b"_", b"-") not in FORWARDING
        and n not in named
        and (trusted or n.replace(b"_", b"-") != b"remote-user")
    ]
    sent = request_headers(raw, scope(peer), NGINX)
    assert [h for h in sent if h[0].replace(b"_", b"-") not in FORWARDING] == expected


@given(requests)
def test_answers_keep_all_but_their_own_hop(raw: list[tuple[bytes, bytes]]) -> None:
    named = {t.strip().lower() for n, v in raw if n == b"connection" for t in v.split(b",")}
    named -= {b"host", b"content-length"}
    cased = [(name.title(), value) for name, value in raw]
    assert response_headers(cased) == [
        (n, v) for n, v in cased if n.lower() not in HOP_BY_HOP and n.lower() not in named
    ]


@given(requests, st.one_of(st.none(), st.sampled_from(["10.0.0.2", "::1", "", "weird"])))
def test_header_lines_stay_lines(raw: list[tuple[bytes, bytes]], peer: str | None) -> None:
    for name, value in request_headers(raw, scope(peer), NGINX):
        assert name == name.lower()
        assert b"\n" not in value
        assert b"\r" not in value


def test_a_trusted_proxy_is_continued() -> None:
    raw = [
        (b"host", b"segue:4040"),
        (b"x-forwarded-for", b"203.0.113.9"),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"music.example"),
        (b"forwarded", b"for=6.6.6.6"),  # what nginx passes on as the client made it up
    ]
    assert request_headers(raw, scope("10.0.0.2"), NGINX) == [
        (b"host", b"segue:4040"),
        (b"x-forwarded-for", b"203.0.113.9, 10.0.0.2"),
        (b"x-real-ip", b"203.0.113.9"),
        (b"x-forwarded-host", b"music.example"),
        (b"x-forwarded-proto", b"https"),
        (
            b"forwarded",
            b"for=203.0.113.9;host=music.example;proto=https, "
            b'for=10.0.0.2;host="segue:4040";proto=http',
        ),
    ]


def test_a_chain_of_trusted_proxies_tells_the_caller() -> None:
    raw = [(b"x-forwarded-for", b"6.6.6.6, 203.0.113.9, 10.0.0.9")]
    sent = dict(request_headers(raw, scope("10.0.0.2"), NGINX))
    assert sent[b"x-real-ip"] == b"203.0.113.9"  # 6.6.6.6 is what the client wrote itself
    only = [(b"forwarded", b'for="[2001:db8::1]:80";proto=https')]
    sent = dict(request_headers(only, scope("::1"), NGINX))
    assert sent[b"x-real-ip"] == b"2001:db8::1"
    assert sent[b"forwarded"] == b'for="[2001:db8::1]:80";proto=https, for="[::1]";proto=http'


def test_ipv6_and_unknown_peers_in_forwarded() -> None:
    sent = dict(request_headers([(b"host", b"[::1]:4040")], scope("2001:db8::5"), NOBODY))
    assert sent[b"forwarded"] == b'for="[2001:db8::5]";host="[::1]:4040";proto=http'
    sent = dict(request_headers([], scope(None), NOBODY))
    assert sent == {b"x-forwarded-proto": b"http", b"forwarded": b"for=unknown;proto=http"}


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("10.9.9.9", True),
        ("::ffff:10.9.9.9", True),
        ("11.0.0.1", False),
        ("::1", True),
        ("::2", False),
        ("", True),
        ("not an address", False),
    ],
)
def test_who_is_trusted(address: str, trusted: bool) -> None:
    assert is_trusted(address, NGINX.trusted_proxies) is trusted
    assert is_trusted(address, ()) is False


@pytest.mark.parametrize(
    ("peer", "headers", "settings", "insider"),
    [
        ("127.0.0.1", {b"host": b"localhost:4040"}, NOBODY, True),
        ("127.0.0.1", {b"host": b"127.0.0.1"}, NOBODY, True),
        ("::1", {b"host": b"[::1]:4040"}, NOBODY, True),
        ("127.0.0.1", {}, NOBODY, True),
        # A tunnel or nginx on this machine, serving the world:
        ("127.0.0.1", {b"host": b"localhost", b"x-forwarded-for": b"6.6.6.6"}, NOBODY, False),
        ("127.0.0.1", {b"host": b"localhost", b"cf-ray": b"1"}, NOBODY, False),
        ("127.0.0.1", {b"host": b"localhost", b"via": b"1.1 x"}, NOBODY, False),
        ("127.0.0.1", {b"host": b"music.example"}, NOBODY, False),
        ("127.0.0.1", {b"host": b"localhost", b"x_real_ip": b"127.0.0.1"}, NOBODY, False),
        ("192.0.2.7", {b"host": b"localhost"}, NOBODY, False),
        ("192.0.2.7", {b"x-forwarded-for": b"127.0.0.1"}, NOBODY, False),
        # Trusted proxies: themselves, and whom they speak for.
        ("10.0.0.2", {b"host": b"music.example"}, NGINX, True),
        ("10.0.0.2", {b"x-forwarded-for": b"203.0.113.9"}, NGINX, False),
        ("10.0.0.2", {b"x-forwarded-for": b"127.0.0.1, 203.0.113.9"}, NGINX, False),
        ("10.0.0.2", {b"x-forwarded-for": b"10.1.2.3"}, NGINX, True),
        ("10.0.0.2", {b"x-forwarded-for": b"127.0.0.1"}, NGINX, True),
        ("10.0.0.2", {b"via": b"1.1 x"}, NGINX, True),
        (None, {b"host": b"a"}, NGINX, True),
        (None, {b"host": b"a"}, NOBODY, False),
    ],
)
def test_who_sees_details(
    peer: str | None, headers: dict[bytes, bytes], settings: ServerSettings, insider: bool
) -> None:
    assert is_insider(scope(peer, headers.items()), settings) is insider
