"""A long mixed load through Segue, and what its memory does meanwhile.

`python -m bench.soak --seconds 3600` prints a row every twentieth of the time. The load: small
calls, forms, downloads that are broken off, uploads, event streams that come and go, requests that
are none. Growth is the slope of a line through the second half, so that what is filled once
(caches, the allocator's arenas) does not count.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import time
from collections.abc import Sequence

import numpy as np
import uvloop
from rich.console import Console
from rich.table import Table

from bench.forwarding import REQUEST, Peer, _cores, _free_port, _running

CLIENTS = 16
#: Of the first part nothing is said: caches fill.
WARM_SHARE = 0.5

_FORM = b"u=admin&t=0391&s=abcdef&v=1.16.1&c=Feishin&f=json&id=%d"


def _form(number: int) -> bytes:
    body = _FORM % number
    return (
        b"POST /rest/getSong HTTP/1.1\r\nHost: music.example\r\nContent-Length: %d\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n\r\n%b" % (len(body), body)
    )


async def _small(port: int, chance: random.Random, pause_s: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        calls = chance.randrange(1, 200)
        for _ in range(calls):
            target = b"GET /rest/getSong?id=%d&x=%d" % (chance.randrange(10**6), calls)
            writer.write(REQUEST.replace(b"GET /rest/getSong.view?", target + b"&", 1))
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            await reader.readexactly(length)
            if pause_s:
                await asyncio.sleep(pause_s)
        return calls
    finally:
        writer.close()


async def _odd(port: int, chance: random.Random, pause_s: float) -> int:
    """One call that ends in an unusual way."""
    await asyncio.sleep(pause_s * 100)  # as rarely as without pauses
    kind = chance.randrange(5)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        if kind == 0:  # a download, broken off
            writer.write(b"GET /rest/download?id=1 HTTP/1.1\r\nHost: a\r\n\r\n")
            for _ in range(chance.randrange(1, 200)):
                await reader.read(65536)
        elif kind == 1:  # a song that is skipped
            writer.write(b"GET /rest/stream?id=1 HTTP/1.1\r\nHost: a\r\n\r\n")
            await reader.read(1000)
            await asyncio.sleep(chance.random())
        elif kind == 2:
            writer.write(b"GET /api/events HTTP/1.1\r\nHost: a\r\n\r\n")
            await reader.read(1000)
            await asyncio.sleep(chance.random())
        elif kind == 3:
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            await reader.read()
        else:  # a cover, of which the client sends half
            writer.write(b"POST /api/x HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n")
            writer.write(bytes(chance.randrange(499_999)))
            await writer.drain()
    finally:
        writer.close()
    return 1


async def _load(
    peer: Peer, seconds: float, samples: list[tuple[float, float]], pause_s: float
) -> int:
    started_s = time.monotonic()
    calls = 0

    async def client(number: int) -> None:
        nonlocal calls
        chance = random.Random(number)
        while time.monotonic() - started_s < seconds:
            try:
                ask = _odd if chance.random() < 0.3 else _small
                calls += await ask(peer.port, chance, pause_s)
            except (ConnectionError, asyncio.IncompleteReadError):
                continue

    clients = [asyncio.create_task(client(number)) for number in range(CLIENTS)]
    while time.monotonic() - started_s < seconds:
        await asyncio.sleep(seconds / 40)
        samples.append((time.monotonic() - started_s, peer.resident_mb()))
    await asyncio.gather(*clients)
    return calls


def growth_per_hour(samples: Sequence[tuple[float, float]]) -> float:
    """The share by which memory grows in an hour, by the second half of (seconds, MB)."""
    times_s, sizes_mb = np.array(samples[int(len(samples) * WARM_SHARE) :]).T
    slope = np.polyfit(times_s, sizes_mb, 1)[0]
    return float(slope * 3600 / sizes_mb.mean())


def run_samples(seconds: float, pause_s: float = 0.0) -> tuple[list[tuple[float, float]], int]:
    """((seconds, MB) over the time, calls made). `pause_s`: of each client, between its calls."""
    proxy_cores, other_cores = _cores()
    origin, port = _free_port(), _free_port()
    child = [sys.executable, "-m", "bench.forwarding", "--child"]
    samples: list[tuple[float, float]] = []
    os.sched_setaffinity(0, other_cores)
    try:
        with (
            _running([*child, "origin", str(origin), "0"], origin, other_cores),
            _running([*child, "segue", str(port), str(origin)], port, proxy_cores) as process,
        ):
            calls = uvloop.run(_load(Peer("Segue", port, process), seconds, samples, pause_s))
    finally:
        os.sched_setaffinity(0, proxy_cores | other_cores)
    return samples, calls


def run(seconds: float = 60.0, pause_s: float = 0.0) -> list[dict[str, object]]:
    """Memory over the time, and its growth."""
    samples, calls = run_samples(seconds, pause_s)
    rows: list[dict[str, object]] = [
        {"after s": round(at_s), "MB resident": round(size_mb, 1)}
        for at_s, size_mb in samples[1::4]
    ]
    rows.append({"after s": f"{calls} calls", "MB resident": f"{growth_per_hour(samples):+.2%}/h"})
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument(
        "--pause", type=float, default=0.0, help="seconds between the calls of each client"
    )
    arguments = parser.parse_args()
    rows = run(arguments.seconds, arguments.pause)
    table = Table(title="Segue in a mixed load")
    for column in rows[0]:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
