"""How an account tells a server who it is."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from subsonic.envelope import API_VERSION

CLIENT_NAME: Final = "Segue"


def login_parameters(username: str, password: str, *, in_clear: bool) -> dict[str, str]:
    """What every call of an account carries: a salted token, or `in_clear` the password itself."""
    login = {"u": username, "v": API_VERSION, "c": CLIENT_NAME, "f": "json"}
    if in_clear:
        return {**login, "p": "enc:" + password.encode().hex()}
    salt = secrets.token_hex(8)
    # MD5 because the protocol says so (token authentication, API 1.13).
    token = hashlib.md5((password + salt).encode(), usedforsecurity=False).hexdigest()
    return {**login, "t": token, "s": salt}
