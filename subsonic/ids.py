"""Ids that clients send where the protocol says names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LENGTH: Final = 22
_SEPARATOR: Final = "\u200b"


def genre_id(name: str) -> str:
    """Navidrome's id of a genre: base62(md5("genre", name in lower case)), 22 characters.

    Its native API gives genres these ids, and Feishin sends them to `getRandomSongs`, which
    knows names only.
    """
    text = f"genre{_SEPARATOR}{name.lower()}{_SEPARATOR}"
    # MD5 as an id, not as a protection: it is the server's choice.
    number = int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest(), "big")
    digits = ""
    while number:
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits.rjust(_LENGTH, _ALPHABET[0])


def looks_like_genre_id(text: str) -> bool:
    """Whether this may be a genre's id rather than its name."""
    return len(text) == _LENGTH and all(c in _ALPHABET for c in text)


def resolve_genre(genre: str, names: Iterable[str]) -> str | None:
    """The name behind a genre given as name or id; None where an id is of no known genre.

    A genre that really has a name of 22 letters and digits is taken by its name.
    """
    known = tuple(names)
    if not looks_like_genre_id(genre) or any(genre.lower() == name.lower() for name in known):
        return genre
    return next((name for name in known if genre_id(name) == genre), None)
