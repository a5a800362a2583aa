"""A real Navidrome over two libraries, for tests: started, scanned, with two users."""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.errors import ServerError
from demo.player import Player
from demo.servers import LOOPBACK, Account, Server, free_port, start_server

ADMIN = Account("admin", "sesame", admin=True)
#: Navidrome's user names are case-insensitive: this one logs in as `bob`, too.
BOB = Account("Bob", "opensesame")

#: Nothing leaves this machine; nothing is scanned unless asked; loopback only.
SETTINGS = {
    "ND_ADDRESS": LOOPBACK,
    "ND_LOGLEVEL": "warn",
    "ND_AUTHREQUESTLIMIT": "0",
    "ND_ENABLEEXTERNALSERVICES": "false",
    "ND_ENABLEINSIGHTSCOLLECTOR": "false",
    "ND_ENABLEM3UEXTERNALALBUMART": "false",
    "ND_ENABLEGRAVATAR": "false",
    "ND_LASTFM_ENABLED": "false",
    "ND_LISTENBRAINZ_ENABLED": "false",
    "ND_DEEZER_ENABLED": "false",
    "ND_PLUGINS_ENABLED": "false",
    "ND_ENABLEARTWORKPRECACHE": "false",
    "ND_SCANNER_SCHEDULE": "0",
    "ND_SCANNER_WATCHERWAIT": "0",
    "ND_AUTOIMPORTPLAYLISTS": "false",
}


@dataclass(frozen=True, slots=True)
class Navidrome:
    """A running Navidrome: its server, its two libraries' folders and ids."""

    server: Server
    folders: tuple[Path, Path]
    library_ids: tuple[str, str]

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.server.url


@contextmanager
def navidrome(
    folder: Path, first: Path, second: Path, *, timeout_s: float = 60.0
) -> Iterator[Navidrome]:
    """Starts it over two music folders; Bob may use the second library only."""
    binary = shutil.which("navidrome")
    if binary is None:
        raise ServerError("no navidrome on PATH")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    server = start_server(
        "navidrome",
        [binary, "--nobanner"],
        url=f"http://{LOOPBACK}:{port}",
        ready_path="/ping",
        log=folder / "navidrome.log",
        folder=folder,
        environment={
            **{k: v for k, v in os.environ.items() if not k.startswith("ND_")},
            **SETTINGS,
            "ND_PORT": str(port),
            "ND_MUSICFOLDER": str(first),
            "ND_DATAFOLDER": str(folder / "data"),
            "ND_CACHEFOLDER": str(folder / "cache"),
            "ND_DEVAUTOCREATEADMINPASSWORD": ADMIN.password,
        },
    )
    with server:
        token = _call(server.url, "POST", "/auth/login", "", _credentials(ADMIN))["token"]
        made = _call(
            server.url, "POST", "/api/library", token, {"name": "Second", "path": str(second)}
        )
        bob = {"userName": BOB.username, "name": "Bob", "email": "", "isAdmin": False}
        user = _call(server.url, "POST", "/api/user", token, {**bob, "password": BOB.password})
        allowed = {"libraryIds": [int(made["id"])]}
        _call(server.url, "PUT", f"/api/user/{user['id']}/library", token, allowed)
        songs = sum(1 for root in (first, second) for file in root.rglob("*") if file.is_file())
        _wait_for_songs(Player(server.url, ADMIN), songs, timeout_s)
        yield Navidrome(server, (first, second), ("1", str(made["id"])))


def native_songs(url: str, account: Account) -> list[dict[str, Any]]:
    """What `/api/song` lists for this user: true paths, roots and exact sizes."""
    token = _call(url, "POST", "/auth/login", "", _credentials(account))["token"]
    listed: list[dict[str, Any]] = _call(url, "GET", "/api/song?_start=0&_end=0", token)
    return listed


def _credentials(account: Account) -> dict[str, str]:
    return {"username": account.username, "password": account.password}


def _call(url: str, method: str, path: str, token: str, content: Any = None) -> Any:
    request = urllib.request.Request(
        url + path,
        None if content is None else json.dumps(content).encode(),
        {"Content-Type": "application/json", "X-ND-Authorization": f"Bearer {token}"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def _wait_for_songs(admin: Player, songs: int, timeout_s: float) -> None:
    """Until both libraries are scanned. Not scanning is no proof: it may not have begun."""
    deadline = time.monotonic() + timeout_s
    while True:
        status = admin.call("getScanStatus.view")["scanStatus"]
        if not status["scanning"] and len(admin.library()) >= songs:
            return
        if time.monotonic() > deadline:
            raise ServerError(
                f"navidrome found {status['count']} of {songs} songs in {timeout_s} s"
            )
        admin.call("startScan.view")
        time.sleep(0.5)
