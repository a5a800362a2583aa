"""The Caddyfile of docs/proxies.md in front of Segue, as it stands there; needs a Caddy."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from proxy.settings import ServerSettings
from tests.faults.process import free_port
from tests.unit.proxy.wire import (
    Exchange,
    Proxied,
    RawClient,
    RawUpstream,
    Reply,
    proxied,
)

pytestmark = pytest.mark.anyio

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "proxies.md"


@contextmanager
def caddy_in_front(folder: Path, port: int, segue: int, navidrome: int) -> Iterator[None]:
    program = shutil.which("caddy")
    if program is None:
        pytest.skip("needs Caddy (Debian: apt install caddy)")
    found = re.search(r"```caddyfile\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    assert found is not None
    text = found.group(1)
    for old, new in {
        "music.example.org {": f"http://:{port} {{\n\tbind 127.0.0.1",
        "127.0.0.1:4040": f"127.0.0.1:{segue}",
        "127.0.0.1:4533": f"127.0.0.1:{navidrome}",
        "fail_duration 5s": "fail_duration 1s",
    }.items():
        assert old in text
        text = text.replace(old, new)
    path = folder / "Caddyfile"
    path.write_text("{\n\tadmin off\n}\n" + text)
    process = subprocess.Popen(
        [program, "run", "--config", str(path), "--adapter", "caddyfile"],
        env={**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        deadline_s = time.monotonic() + 10
        while time.monotonic() < deadline_s:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
            if _listens(port):
                break
        yield
    finally:
        process.kill()  # at a polite stop it waits for streams without an end
        process.communicate(timeout=10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@asynccontextmanager
async def front(folder: Path, upstream: RawUpstream) -> AsyncIterator[tuple[int, Proxied]]:
    port = await free_port()
    server = ServerSettings(trusted_proxies=("127.0.0.1",))
    async with proxied(upstream, server=server) as proxy:
        with caddy_in_front(folder, port, proxy.port, proxy.upstream.port):
            yield port, proxy


async def ask(port: int, target: bytes, *headers: tuple[bytes, bytes], body: bytes = b"") -> Reply:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = RawClient(reader, writer)
    try:
        more = [(b"Content-Length", b"%d" % len(body))] if body else []
        method = b"POST" if body else b"GET"
        return await asyncio.wait_for(client.get(target, [*headers, *more], method, body), 10)
    finally:
        client.close()


async def test_calls_pass_with_the_callers_address_and_without_a_login_header(
    tmp_path: Path,
) -> None:
    async with front(tmp_path, RawUpstream()) as (port, proxy):
        await ask(port, b"/rest/getSong?u=a&id=1%2F2", (b"Remote-User", b"admin"))
        await ask(port, b"/rest/scrobble", (b"Remote-User", b"admin"), body=b"id=1")
        for seen in proxy.upstream.seen:
            assert seen.get(b"remote-user") == []
            assert seen.get(b"x-forwarded-host") == [b"music.example:4040"]
            assert seen.get(b"x-real-ip") == [b"127.0.0.1"]
            assert seen.get(b"forwarded") != []
        read, write = proxy.upstream.seen
        assert (read.target, write.body) == (b"/rest/getSong?u=a&id=1%2F2", b"id=1")


async def test_events_come_at_once(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def events(exchange: Exchange) -> None:
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await go_on.wait()
        exchange.writer.close()

    async with front(tmp_path, RawUpstream(handler=events)) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /api/events HTTP/1.1\r\nHost: a\r\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"data: 1\n\n"), 5)
        go_on.set()
        writer.close()


async def test_the_server_stands_in_while_segue_is_down(tmp_path: Path) -> None:
    upstream = RawUpstream()
    await upstream.start()
    port, nobody = await free_port(), await free_port()
    try:
        with caddy_in_front(tmp_path, port, nobody, upstream.port):
            for _ in range(3):
                assert (await ask(port, b"/rest/getSong?id=1")).status == 200
            lost = await ask(port, b"/rest/scrobble?id=1")
            assert lost.status == 502  # as the document says; never sent twice
            assert [seen.target for seen in upstream.seen] == [b"/rest/getSong?id=1"] * 3
    finally:
        with contextlib.suppress(Exception):
            await upstream.stop()
