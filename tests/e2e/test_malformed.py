"""Requests bent at random, straight to real servers and through Segue: no answer of its own."""

from __future__ import annotations

import asyncio
import os
import random
import re
from urllib.parse import urlsplit

import pytest
import uvloop

from tests.e2e.conftest import Front
from tests.fidelity.conftest import SOAK_SHARE
from tests.fidelity.test_malformed import OWN, bent, send

CALLS = int(10_000 * SOAK_SHARE)
CLIENTS = 8
#: Read leniently, as RFC 9112 §2.2 and §3 allow; Go refuses them.
_LENIENT = re.compile(rb"[\r\n]|[A-Z]+( \S+)? {2}")
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
#: 100 Continue may come or not.
MAY_COME = OWN | {100}


def _statuses(answer: bytes) -> set[int]:
    return {int(found) for found in _STATUS.findall(answer)}


async def compare(front: Front, seed: int, calls: int) -> dict[str, int]:
    ports = [urlsplit(url).port or 80 for url in (front.upstream_url, front.url)]
    counted = {"calls": 0, "same": 0, "refused here": 0}
    odd: list[tuple[object, ...]] = []

    async def client(number: int) -> None:
        chance = random.Random(seed * 1000 + number)
        for _ in range(calls // CLIENTS):
            request = bent(chance)
            state = chance.getstate()
            answers = []
            for port in ports:
                chance.setstate(state)  # cut at the same place
                answers.append(_statuses(await send(port, request, chance)))
            direct, through = answers
            counted["calls"] += 1
            counted["same"] += through == direct
            counted["refused here"] += bool(through & OWN - direct)
            for _ in range(3):  # whoever hangs up at once may take an answer along
                if through - MAY_COME <= direct or _LENIENT.match(request):
                    break
                direct |= _statuses(await send(ports[0], request, chance, close=False))
            else:
                odd.append((request, sorted(direct), sorted(through)))

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    for one in odd:
        print(one)
    assert not odd, odd[:5]
    return counted


def check(front: Front) -> None:
    counted = uvloop.run(compare(front, 4, CALLS))
    print(counted)
    assert counted["calls"] > 0.9 * CALLS
    assert front.health()["status"] == "ok"
    assert "Traceback" not in front.server.log.read_text("utf-8", "replace")
    open_files = len(os.listdir(f"/proc/{front.server.pid}/fd"))  # noqa: PTH208 - only a count
    assert open_files < 100, "connections are left open"


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_malformed_requests_to_supysonic(segue_server: Front) -> None:
    check(segue_server)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_malformed_requests_to_navidrome(navidrome_front: Front) -> None:
    check(navidrome_front)
