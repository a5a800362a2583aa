from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subsonic.parameters import ParameterError, Parameters


def test_the_form_comes_before_the_query_and_the_first_value_counts() -> None:
    merged = Parameters.parse(b"f=json&count=1&id=q", b"count=2&id=x&id=y")
    assert merged.first("count") == "2"
    assert merged.all("id") == ["x", "y", "q"]
    assert merged.first("f") == "json"


def test_an_empty_first_value_counts_as_none() -> None:
    assert Parameters.parse(b"f=&f=json").first("f", "xml") == "xml"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5), ("-1", -1), ("+7", 7), ("", 50), ("abc", 50), ("1.5", 50), (" 5", 50), ("٣", 50),
        ("9223372036854775807", 2**63 - 1), ("9223372036854775808", 50), ("9" * 5000, 50),
    ],
)  # fmt: skip
def test_numbers_are_read_as_the_server_reads_them(text: str, value: int) -> None:
    assert Parameters([("count", text)]).integer("count", 50) == value


@pytest.mark.parametrize("raw", [b"a=1;b=2", b"a=%zz", b"a=%4", b"a=%ff", b"\xff=1", b"&" * 2000])
def test_what_servers_read_differently_is_left_alone(raw: bytes) -> None:
    if raw.startswith(b"&"):
        raw = b"a=1&" * 15_000
    with pytest.raises(ParameterError):
        Parameters.parse(raw)


def test_secrets_do_not_show() -> None:
    text = repr(Parameters.parse(b"u=bob&p=sesame&t=abc&s=def&jwt=j&apiKey=k&id=42"))
    assert "42" in text
    assert not any(secret in text for secret in ("bob", "sesame", "abc", "def", "'j'", "'k'"))


@given(st.lists(st.tuples(st.text(min_size=1), st.text())))
def test_encoding_and_parsing_are_inverse(pairs: list[tuple[str, str]]) -> None:
    pairs = [(n, v) for n, v in pairs if not any("\ud800" <= c <= "\udfff" for c in n + v)]
    assert list(Parameters.parse(Parameters(pairs).encode())) == pairs


def test_subsets_and_changes() -> None:
    call = Parameters.parse(b"u=bob&id=1&id=2&c=x&size=5")
    assert list(call.only(("u", "c"))) == [("u", "bob"), ("c", "x")]
    assert call.with_values(id="9").encode() == b"u=bob&c=x&size=5&id=9"
