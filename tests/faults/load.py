"""Clients that call again and again, and what of it went wrong that the server alone would have
answered well."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from tests.faults.flaky import FATAL, HARMLESS
from tests.unit.proxy.wire import Reply, read_reply

LOGIN: Final = "u=admin&p=sesame&v=1.16.1&c=faults&f=json"
#: Longer than every time-out of Segue's in these tests together: beyond this a call hangs.
PATIENCE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Call:
    """One call and the fault that is asked for."""

    target: str
    fault: str = ""
    #: Endpoints that the fault hits; "" for all of them.
    on: str = ""
    form: str = ""

    @property
    def endpoint(self) -> str:
        return self.target.partition("?")[0].rpartition("/")[2].removesuffix(".view")

    @property
    def fails_alone(self) -> bool:
        """Whether the server's own answer to this very call would fail."""
        return self.fault in FATAL and (not self.on or self.endpoint in self.on.split())

    def request(self) -> bytes:
        lines = [f"{'POST' if self.form else 'GET'} {self.target} HTTP/1.1", "Host: music.example"]
        if self.fault:
            lines.append(f"X-Fault: {self.fault}")
        if self.on:
            lines.append(f"X-Fault-On: {self.on}")
        if self.form:
            lines += ["Content-Type: application/x-www-form-urlencoded",
                      f"Content-Length: {len(self.form)}"]  # fmt: skip
        return "\r\n".join([*lines, "", self.form]).encode()


@dataclass
class Count:
    """What a load came to."""

    calls: int = 0
    steered: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    #: Calls that the server alone would have answered, and Segue did not.
    ours: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)


def choose(chance: random.Random, number: int) -> Call:
    """A call of a mixed load."""
    song = f"song{chance.randrange(60):04d}"
    fault = chance.choice((*HARMLESS, *HARMLESS, *FATAL))
    kind = chance.randrange(8)
    if kind < 3:  # steered; often only Segue's own calls fail
        on = chance.choice(("getSong", "getSong", ""))
        target = f"/rest/getSimilarSongs?{LOGIN}&id={song}&count=5"
        if kind == 2:
            return Call("/rest/getSimilarSongs2", fault, on, target.partition("?")[2])
        return Call(target, fault, on)
    if kind == 3:
        return Call(f"/rest/getRandomSongs.view?{LOGIN}&size=5", fault, "getSong")
    if kind == 4:
        playing = f"&id={song}&submission=false"
        return Call(f"/rest/scrobble?{LOGIN}{playing}&n={number}", chance.choice(HARMLESS))
    if kind == 5:
        return Call(f"/rest/getSong?{LOGIN}&id={song}", fault)
    if kind == 6:
        return Call(f"/app/{number}", fault)
    return Call(f"/rest/ping?{LOGIN}")


async def judge(call: Call, reply: Reply | None, count: Count) -> None:
    """Take an answer into the count. None: it did not come, or not as HTTP."""
    count.calls += 1
    problem = ""
    if reply is None:
        problem = "no answer"
    elif not reply.whole:
        problem = "cut short"
    elif reply.status != 200:
        problem = f"status {reply.status}"
    elif "/rest/" in call.target:
        envelope = json.loads(reply.body)["subsonic-response"]
        count.steered += reply.get(b"x-segue") == [b"steered"]
        if envelope["status"] != "ok":
            problem = f"failed: {envelope['error']}"
        elif "Songs" in call.endpoint:
            (listing,) = (v for v in envelope.values() if isinstance(v, dict))
            problem = "" if listing.get("song") else "no songs"
    count.outcomes[f"{call.fault or 'none'}: {problem or 'ok'}"] += 1
    if problem and not call.fails_alone:
        count.ours.append(f"{problem}: {call}")
    elif reply is None or reply.status not in (200, 502, 504):
        count.ours.append(f"{problem}: {call}")  # even then one of these is due


async def drive(port: int, seconds: float, clients: int = 12, seed: int = 1) -> Count:
    """Many clients for so long, each on kept-alive connections, in a mixed load."""
    count = Count()
    until_s = time.monotonic() + seconds

    async def client(number: int) -> None:
        chance = random.Random(seed * 1000 + number)
        reader = writer = None
        at = 0
        while time.monotonic() < until_s:
            at += 1
            call = choose(chance, number * 10**6 + at)
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
            assert reader is not None
            reply: Reply | None = None
            try:
                writer.write(call.request())
                reply = await asyncio.wait_for(read_reply(reader), PATIENCE_S)
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                pass
            await judge(call, reply, count)
            if "&n=" in call.target:
                count.writes.append(call.target.rpartition("&n=")[2])
            if reply is None or not reply.whole or reply.get(b"connection") == [b"close"]:
                writer.close()
                writer = None
        if writer is not None:
            writer.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return count
