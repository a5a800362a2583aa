"""Listeners for a long time, with steered calls of all kinds, and what memory does meanwhile.

`python -m bench.listeners --seconds 3600` prints a row every twentieth of the time. Four at once,
two users with fifty clients and new salts: similar songs, pools, reports, stars, queues, streams,
wrong logins. Growth as in `bench.soak`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from hashlib import md5
from pathlib import Path
from typing import Any, Final

import httpx2

from bench.soak import growth_per_hour
from proxy.linking import link_server
from subsonic.client import Client
from subsonic.settings import UpstreamSettings
from tests.contract.conftest import serving, write_catalog
from tests.contract.upstream import FakeServer
from tests.faults.process import served

SONGS: Final = 2000
AT_ONCE: Final = 4
_PASSWORDS: Final = {"admin": "sesame", "bob": "secret"}
_ASKED: Final = (
    "getSimilarSongs", "getSimilarSongs2", "getRandomSongs", "scrobble", "reportPlayback", "star",
    "setRating", "savePlayQueue", "stream", "getSong", "getTranscodeDecision", "ping",
)  # fmt: skip


def _call(chance: random.Random) -> tuple[str, dict[str, Any]]:
    """(endpoint, parameters) of what a listener asks next."""
    user = chance.choice(list(_PASSWORDS))
    salt = str(chance.random())
    password = _PASSWORDS[user] if chance.random() < 0.95 else "guess"
    song_id = f"song{chance.randrange(SONGS // 2):04d}"
    asked: dict[str, Any] = {
        "u": user, "s": salt, "t": md5((password + salt).encode()).hexdigest(),
        "v": "1.16.1", "c": f"client {chance.randrange(50)}", "f": chance.choice(["json", "xml"]),
        "id": song_id, "mediaId": song_id, "count": chance.choice([5, 20, 50]),
        "size": chance.choice([10, 50]), "submission": chance.choice(["true", "false"]),
        "state": "playing", "rating": chance.randrange(6),
    }  # fmt: skip
    endpoint = chance.choice(_ASKED)
    if endpoint == "savePlayQueue":
        asked["id"] = [f"song{number:04d}" for number in range(chance.randrange(500))]
    return endpoint, asked


async def _listen(seconds: float) -> tuple[list[tuple[float, float]], dict[str, int]]:
    counts = dict.fromkeys(("calls", "steered", "not 200"), 0)
    samples: list[tuple[float, float]] = []
    server = FakeServer(SONGS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "data"
        data.mkdir()
        write_catalog(data, server)
        async with serving(server) as upstream:
            async with Client(UpstreamSettings(upstream, "admin", "sesame")) as client:
                await link_server(client, data)
            async with served(folder, upstream, log=folder / "log") as (process, port):
                started_s = time.monotonic()

                async def listener(number: int) -> None:
                    chance = random.Random(number)
                    async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
                        while time.monotonic() - started_s < seconds:
                            endpoint, asked = _call(chance)
                            url = f"http://127.0.0.1:{port}/rest/{endpoint}"
                            agent = {"user-agent": f"agent {chance.randrange(20)}"}
                            by_form = chance.random() < 0.3 or endpoint == "savePlayQueue"
                            answer = await (
                                http.post(url, data=asked, headers=agent)
                                if by_form
                                else http.get(url, params=asked, headers=agent)
                            )
                            counts["calls"] += 1
                            counts["steered"] += answer.headers.get("x-segue") == "steered"
                            counts["not 200"] += answer.status_code != 200
                            server.calls.clear()

                listeners = [asyncio.create_task(listener(number)) for number in range(AT_ONCE)]
                while time.monotonic() - started_s < seconds:
                    await asyncio.sleep(seconds / 40)
                    samples.append((time.monotonic() - started_s, _resident_mb(process.pid)))
                await asyncio.gather(*listeners)
    return samples, counts


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    samples, counts = asyncio.run(_listen(parser.parse_args().seconds))
    for at_s, size_mb in samples[1::2]:
        print(f"after {at_s:.0f} s  {size_mb:.1f} MB")
    print(f"{counts}  {growth_per_hour(samples):+.2%}/h")


if __name__ == "__main__":
    main()
