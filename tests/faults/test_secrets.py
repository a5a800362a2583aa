"""Every kind of login through every kind of error: no trace of it in any log, metric or file."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import signal
from pathlib import Path

import pytest

from tests.contract.conftest import serving, write_catalog
from tests.contract.upstream import FakeServer
from tests.faults.flaky import FATAL, misbehaving
from tests.faults.process import served

pytestmark = pytest.mark.anyio

MARK = "Zq7"
BASIC = base64.b64encode(f"ann-{MARK}:secret-{MARK}".encode()).decode()
JWT = "e30." + base64.b64encode(f'{{"sub":"ann-{MARK}"}}'.encode()).decode() + f".{MARK}"
QUERY = (
    f"u=ann-{MARK}&p=enc:{MARK.encode().hex()}{MARK}&t=token-{MARK}&s=salt-{MARK}&jwt={JWT}"
    f"&apiKey=key-{MARK}&c=app&v=1.16.1&f=json&id=song0001&password=word-{MARK}"
)
HEADERS = (
    f"Authorization: Basic {BASIC}\r\nAuthorization: Bearer {JWT}\r\nCookie: nd-player-1={MARK}\r\n"
    f"X-ND-Authorization: Bearer {JWT}\r\nX-Api-Key: {MARK}\r\nRemote-User: ann-{MARK}\r\n"
    f"Proxy-Authorization: Basic {BASIC}\r\nReferer: http://a/?{QUERY}\r\n"
)
JSON = f'{{"username":"ann-{MARK}","password":"secret-{MARK}"}}'
#: A secret in any of the forms that it takes above.
TRACES = (MARK, BASIC, BASIC[:12], JWT[4:20], MARK.encode().hex())


def request(method: str, target: str, fault: str = "", body: str = "", kind: str = "") -> bytes:
    lines = f"{method} {target} HTTP/1.1\r\nHost: a\r\n{HEADERS}"
    if fault:
        lines += f"X-Fault: {fault}\r\n"
    if body:
        lines += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return f"{lines}\r\n{body}".encode()


def requests() -> list[bytes]:
    form = "application/x-www-form-urlencoded"
    made = []
    for fault in ("", "slow-body", *(f for f in FATAL if f != "hang")):
        for endpoint in ("getSimilarSongs", "getRandomSongs.view", "scrobble", "getSong"):
            made.append(request("GET", f"/rest/{endpoint}?{QUERY}", fault))
            made.append(request("POST", f"/rest/{endpoint}", fault, QUERY, form))
        made.append(request("POST", "/auth/login", fault, JSON, "application/json"))
        made.append(request("GET", f"/share/img/{MARK}", fault))
        made.append(request("GET", f"/api/events?jwt={JWT}", fault))
    whole = request("GET", f"/rest/ping?{QUERY}")
    made += [
        whole[:-2] + b"bad line " + MARK.encode() + b"\r\n\r\n",
        whole.replace(b"Host: a", b"Host: a\r\nHost: b"),
        whole.replace(b"HTTP/1.1", b"HTTP/7"),
        whole.replace(b"Cookie: ", b"Cookie: " + MARK.encode() * 30_000),
        whole.replace(b"GET /rest", b"GET http://ann:" + MARK.encode() + b"@a/rest"),
        whole.replace(b"GET ", b"CONNECT "),
        request("POST", "/rest/getSimilarSongs", "", QUERY, form)[:-20],  # never goes on
    ]
    return made


async def send(port: int, data: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        with contextlib.suppress(TimeoutError, OSError):
            await asyncio.wait_for(reader.read(65536), 0.5)
    finally:
        writer.close()


def written(folder: Path) -> str:
    """Every file below a folder."""
    return "\n".join(
        path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()
    )


async def test_no_login_is_ever_written(tmp_path: Path) -> None:
    server = FakeServer()
    (tmp_path / "data").mkdir()
    write_catalog(tmp_path / "data", server)
    log = tmp_path / "segue.log"
    debug = '[log]\nlevel = "debug"\nformat = "json"'
    metrics = b"GET /segue/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    async with (
        serving(server) as honest,
        misbehaving(int(honest.rpartition(":")[2])) as flaky,
        served(tmp_path, flaky.url, server=debug, log=log) as (process, port),
    ):
        for data in requests():
            await send(port, data)
        await flaky.stop()
        for data in requests()[:6]:
            await send(port, data)
        await flaky.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(metrics)
        counted = (await reader.read()).decode()
        writer.close()
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 10)
    found = await asyncio.to_thread(written, tmp_path)
    for trace in TRACES:
        assert trace not in counted
        assert trace not in found, found[found.index(trace) - 300 : found.index(trace) + 50]
    assert '"request": "' in found  # lines of a call carry its number
    assert 'kind="forward",outcome="error",group="reports"' in counted
