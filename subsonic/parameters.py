"""The parameters of a call: the query and a form body, merged as servers merge them.

Navidrome (Go's `Request.ParseForm`) puts the form's values before the query's and takes the first
value of a name; an empty value counts as none. Both are followed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import parse_qsl, urlencode

#: What identifies the caller and the dialect; a call made on someone's behalf carries these.
IDENTITY: Final = ("u", "p", "t", "s", "jwt", "apiKey", "v", "c")

#: Parameters (and headers, in lower case) whose values must never be written anywhere in clear.
SECRET: Final = frozenset(
    ("p", "t", "s", "jwt", "apikey", "u", "password", "token", "salt", "authorization",
     "x-nd-authorization", "cookie", "set-cookie", "proxy-authorization")
)  # fmt: skip

#: A play queue of some thousand songs is one call.
_MAX_FIELDS: Final = 10_000


class ParameterError(ValueError):
    """A query or form that servers read differently; Segue leaves such a call alone."""


class Parameters:
    """An ordered multi-mapping of text to text."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._pairs = tuple(pairs)

    @classmethod
    def parse(cls, query: bytes, form: bytes = b"") -> Parameters:
        """Read a raw query and a raw `application/x-www-form-urlencoded` body.

        Raises:
            ParameterError: a semicolon as separator, a broken escape, bytes that are no UTF-8 or
                more than 1000 fields.
        """
        return cls([*_parse(form), *_parse(query)])

    def first(self, name: str, default: str = "") -> str:
        """The first value of a name; `default` where there is none or it is empty."""
        return next((v for n, v in self._pairs if n == name), "") or default

    def all(self, name: str) -> list[str]:
        """Every value of a name, in order."""
        return [v for n, v in self._pairs if n == name]

    def integer(self, name: str, default: int) -> int:
        """The first value as a decimal integer of 64 bits, else `default` (as Navidrome does)."""
        text = self.first(name)
        digits = text[1:] if text[:1] in ("+", "-") else text
        if not (digits.isascii() and digits.isdigit()) or len(digits) > 19:
            return default
        value = int(text)
        return value if -(2**63) <= value < 2**63 else default

    def boolean(self, name: str, default: bool) -> bool:
        """The first value as yes or no (as Navidrome does); `default` where it is missing or empty.

        "true", "on" and "1" are yes, in whatever case, and anything else is no.
        """
        text = self.first(name).lower()
        return text in ("true", "on", "1") if text else default

    def only(self, names: Iterable[str]) -> Parameters:
        """Those with these names, in their order."""
        wanted = frozenset(names)
        return Parameters(pair for pair in self._pairs if pair[0] in wanted)

    def with_values(self, **values: str) -> Parameters:
        """These, with some names set anew."""
        kept = [pair for pair in self._pairs if pair[0] not in values]
        return Parameters([*kept, *values.items()])

    def encode(self) -> bytes:
        """As a query or form, percent-encoded UTF-8."""
        return urlencode(self._pairs).encode("ascii")

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)

    def __repr__(self) -> str:
        shown = [(n, "…" if n.lower() in SECRET else v) for n, v in self._pairs]
        return f"Parameters({shown!r})"


def _parse(raw: bytes) -> list[tuple[str, str]]:
    if not raw:
        return []
    if b";" in raw:
        raise ParameterError("a semicolon separates nothing that servers agree on")
    _check_escapes(raw)
    try:
        return parse_qsl(
            raw.decode("utf-8"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError as error:  # UnicodeDecodeError is one
        raise ParameterError("not readable as UTF-8 parameters") from error


def _check_escapes(raw: bytes) -> None:
    hexadecimal = b"0123456789abcdefABCDEF"
    at = raw.find(b"%")
    while at >= 0:
        pair = raw[at + 1 : at + 3]
        if len(pair) != 2 or pair[0] not in hexadecimal or pair[1] not in hexadecimal:
            raise ParameterError("a broken percent escape")
        at = raw.find(b"%", at + 3)
