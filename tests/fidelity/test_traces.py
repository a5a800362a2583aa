"""Every call that was recorded, straight to a server that answers as then, and through Segue."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.fidelity.test_odd_calls import as_answered, as_seen
from tests.unit.proxy.wire import Exchange, RawUpstream, Reply, proxied, read_reply

pytestmark = pytest.mark.anyio

#: What a recorder computes anew, because it recorded bodies decoded.
_REFRAMED = ("content-length", "content-encoding", "transfer-encoding")


def pairs(headers: Any) -> list[tuple[str, str]]:
    found = headers.items() if isinstance(headers, dict) else headers
    return [(name, value) for name, value in found if name.lower() not in _REFRAMED]


def request(call: dict[str, Any]) -> bytes:
    target = call.get("target") or call["path"]
    body = (call.get("request_body") or "").encode()
    headers = [h for h in pairs(call.get("request_headers", {})) if h[0].lower() != "host"]
    lines = [f"{call['method']} {target} HTTP/1.1", "Host: music.example"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body or call["method"] in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def answer(call: dict[str, Any]) -> bytes:
    body = (call.get("response_body") or "").encode("utf-8", "surrogatepass")
    lines = [f"HTTP/1.1 {call['status']} Recorded"]
    lines += [f"{name}: {value}" for name, value in pairs(call["response_headers"])]
    if call["status"] not in (204, 304):
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([*lines, "", ""]).encode()
    return head if call["method"] == "HEAD" or call["status"] in (204, 304) else head + body


async def once(port: int, call: dict[str, Any]) -> Reply:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    try:
        writer.write(request(call))
        return await asyncio.wait_for(read_reply(reader, call["method"].encode()), 5)
    finally:
        writer.close()


@pytest.mark.parametrize("name", ["feishin.jsonl", "navidrome.jsonl"])
async def test_recorded_calls_are_the_same(shared_traces: Path, name: str) -> None:
    text = await asyncio.to_thread((shared_traces / name).read_text, "utf-8")
    calls = [json.loads(line) for line in text.splitlines()]
    current: dict[str, Any] = {}

    async def respond(exchange: Exchange) -> None:
        exchange.write(answer(current))

    async with proxied(RawUpstream(handler=respond)) as proxy:
        for current in calls:
            proxy.upstream.seen.clear()
            straight = await once(proxy.upstream.port, current)
            through = await once(proxy.port, current)
            direct, forwarded = proxy.upstream.seen
            assert as_seen(direct) == as_seen(forwarded)
            assert as_answered(straight) == as_answered(through)
            assert straight.whole
    assert len(calls) > 50
