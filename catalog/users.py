"""How users' names are compared."""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase
from typing import Final

_LOWER: Final = str.maketrans(ascii_uppercase, ascii_lowercase)


def fold_user(name: str) -> str:
    """A user's name as servers compare it: SQLite's NOCASE knows ASCII's letters only.

    "Änne" and "änne" are two users there, and must be two here.
    """
    return name.translate(_LOWER)
