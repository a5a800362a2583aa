"""Calls as bytes: what a test of "the same as the upstream's" compares."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from libopensonic import AsyncConnection

from demo.servers import Account


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content(self) -> dict[str, Any]:
        """A JSON answer's `subsonic-response`."""
        content: dict[str, Any] = json.loads(self.body)["subsonic-response"]
        return content

    @property
    def error(self) -> tuple[int, str]:
        """A failed JSON answer's code and message."""
        error = self.content["error"]
        return error["code"], error["message"]

    @property
    def mark(self) -> str:
        """The X-Segue header; "" where there is none."""
        return self.headers.get("x-segue", "")


def send(
    url: str,
    method: str,
    account: Account,
    *,
    post: bool = False,
    client: str = "wire",
    f: str = "json",
    **parameters: Any,
) -> Reply:
    """One call with the password itself, which every server takes."""
    encoded = urllib.parse.urlencode(
        {
            "u": account.username,
            "p": account.password,
            "v": "1.16.1",
            "c": client,
            "f": f,
            **parameters,
        },
        doseq=True,
    )
    target = f"{url}/rest/{method}"
    request = (
        urllib.request.Request(target, encoded.encode())
        if post
        else urllib.request.Request(f"{target}?{encoded}")
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return Reply(answer.status, _lower(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        return Reply(error.code, _lower(error.headers), error.read())


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def opensonic(url: str, account: Account, *, legacy_login: bool = False) -> AsyncConnection:
    """py-opensonic's connection to a server; `cleanup()` it in the end."""
    host, port = url.rsplit(":", 1)
    return AsyncConnection(
        host,
        username=account.username,
        password=account.password,
        port=int(port),
        legacy_auth=legacy_login,
        app_name="Music Assistant",
    )
