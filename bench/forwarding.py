"""What forwarding costs: Segue beside nginx, a naive proxy and no proxy, in one run.

Each proxy is a process of its own on one core; the origin (small JSON answers, or one big body) and
the load are on the others. Rounds alternate and ratios are taken within each round, because other
work on the machine changes; the median round counts. Processor time a call depends least on it.
`python -m bench.forwarding` prints the table.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

CONNECTIONS = 8
ROUNDS = 3
ROUND_S = 1.5
BIG_BYTES = 512 * 2**20
#: The crowd: event streams that say nothing, and songs that trickle (320 kbit/s each).
IDLE_STREAMS, SLOW_STREAMS = 500, 200
TRICKLE_BYTES, TRICKLE_S = 20_000, 0.5

JSON = (
    b'{"subsonic-response":{"status":"ok","version":"1.16.1","type":"navidrome",'
    b'"serverVersion":"0.58.0","openSubsonic":true}}'
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    b"Permissions-Policy: autoplay=(), camera=(), microphone=(), usb=()\r\n"
    b"Referrer-Policy: same-origin\r\nSet-Cookie: nd-player-61646d696e=player; Path=/; HttpOnly\r\n"
    b"Vary: Origin\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n"
    b"Date: Sat, 21 Nov 2026 04:29:18 GMT\r\nContent-Length: %d\r\n\r\n%b" % (len(JSON), JSON)
)
REQUEST = (
    b"GET /rest/getSong.view?u=admin&t=03911435427c5b3acfecd801f56aeae4&s=abcdef&v=1.16.1"
    b"&c=Feishin&f=json&id=0D4A9X2bpeamILAmXUCHvj HTTP/1.1\r\nHost: music.example\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Feishin/1.0\r\n"
    b"Accept: application/json, text/plain, */*\r\nAccept-Encoding: gzip, deflate, br\r\n"
    b"Accept-Language: en-GB\r\nCookie: nd-player-61646d696e=player\r\n"
    b"Referer: http://music.example/\r\n\r\n"
)
TARGET = "/rest/getSong.view?u=admin&t=03911435427c5b3acfecd801f56aeae4&s=abcdef&c=Feishin&id=1"
CLIENT_HEADERS = {
    "host": "music.example",
    "user-agent": "Feishin",
    "accept": "application/json",
    "accept-encoding": "gzip",
    "cookie": "nd-player-61646d696e=player",
}
Call = Callable[[], Awaitable[int]]
BIG_REQUEST = b"GET /rest/download?id=1 HTTP/1.1\r\nHost: music.example\r\n\r\n"

NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
  scgi_temp_path {folder}/s;
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $http_host; proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host;
      proxy_max_temp_file_size 0;
    }}
  }}
}}
"""


# What runs in the children.


class _Origin(asyncio.Protocol):
    """Answers as fast as Python can: it knows what is asked."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.can_write = asyncio.Event()
        self.can_write.set()
        self.head = b""
        self.task: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        self.head += data
        if not self.head.endswith(b"\r\n\r\n"):
            return
        if b"/rest/download" in self.head[:40]:
            self.task = asyncio.ensure_future(self._flood())
        elif b"/rest/stream" in self.head[:40]:
            self.task = asyncio.ensure_future(self._trickle())
        elif b"/api/events" in self.head[:40]:
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"
            )
        else:
            self.transport.write(ANSWER)
        self.head = b""

    def connection_lost(self, exc: Exception | None) -> None:
        if self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None:
        self.can_write.clear()

    def resume_writing(self) -> None:
        self.can_write.set()

    async def _trickle(self) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while not self.transport.is_closing():
            await self.can_write.wait()
            self.transport.write(bytes(TRICKLE_BYTES))
            await asyncio.sleep(TRICKLE_S)

    async def _flood(self) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG_BYTES)
        piece = bytes(256 * 1024)
        for _ in range(BIG_BYTES // len(piece)):
            await self.can_write.wait()
            self.transport.write(piece)


async def _serve_origin(port: int, _: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Origin, "127.0.0.1", port)
    await server.serve_forever()


def _serve_segue(port: int, origin: int) -> None:
    from proxy.application import create_application
    from proxy.server import serve
    from proxy.settings import ProxySettings, ServerSettings

    server = ServerSettings(host="127.0.0.1", port=port, drain_s=1)
    settings = ProxySettings(upstream_url=f"http://127.0.0.1:{origin}", server=server)
    serve(create_application(settings), server)


def _serve_naive(port: int, origin: int, client: str) -> None:
    """What one writes first: Starlette, and a well-known client."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    url = f"http://127.0.0.1:{origin}"
    hop = {"connection", "transfer-encoding", "keep-alive"}

    async def by_httpx2(request: Request) -> StreamingResponse:
        sent = _httpx2().build_request(
            request.method,
            f"{url}{request.url.path}?{request.url.query}",
            headers=request.headers.raw,
            content=request.stream() if "content-length" in request.headers else None,
        )
        answer = await _httpx2().send(sent, stream=True)
        headers = {k: v for k, v in answer.headers.items() if k not in hop}
        return StreamingResponse(answer.aiter_raw(), answer.status_code, headers)

    async def by_aiohttp(request: Request) -> StreamingResponse:
        answer = await _aiohttp().request(
            request.method,
            f"{url}{request.url.path}?{request.url.query}",
            headers=request.headers.items(),
        )
        headers = {k: v for k, v in answer.headers.items() if k.lower() not in hop}
        return StreamingResponse(answer.content.iter_any(), answer.status, headers)

    endpoint = by_httpx2 if client == "httpx2" else by_aiohttp
    app = Starlette(routes=[Route("/{path:path}", endpoint, methods=["GET"])])
    uvicorn.run(app, host="127.0.0.1", port=port, http="httptools", loop="uvloop",
                log_config=None, access_log=False)  # fmt: skip


_clients: dict[str, object] = {}


def _httpx2():  # type: ignore[no-untyped-def]
    import httpx2

    if "httpx2" not in _clients:
        _clients["httpx2"] = httpx2.AsyncClient()
    return _clients["httpx2"]


def _aiohttp():  # type: ignore[no-untyped-def]
    import aiohttp

    if "aiohttp" not in _clients:
        _clients["aiohttp"] = aiohttp.ClientSession(
            auto_decompress=False, connector=aiohttp.TCPConnector(limit=0)
        )
    return _clients["aiohttp"]


_CHILDREN: Mapping[str, Callable[[int, int], None]] = {
    "origin": lambda port, origin: uvloop.run(_serve_origin(port, origin)),
    "segue": _serve_segue,
    "httpx2": lambda port, origin: _serve_naive(port, origin, "httpx2"),
    "aiohttp": lambda port, origin: _serve_naive(port, origin, "aiohttp"),
}


# The clients alone.


@asynccontextmanager
async def _httpx2_calls(url: str) -> AsyncIterator[Call]:
    import httpx2

    async with httpx2.AsyncClient() as client:

        async def call() -> int:
            request = client.build_request("GET", url + TARGET, headers=CLIENT_HEADERS)
            answer = await client.send(request, stream=True)
            return sum([len(piece) async for piece in answer.aiter_raw()])

        yield call


@asynccontextmanager
async def _httpcore2_calls(url: str) -> AsyncIterator[Call]:
    import httpcore2

    async with httpcore2.AsyncConnectionPool() as pool:

        async def call() -> int:
            return len((await pool.request("GET", url + TARGET, headers=CLIENT_HEADERS)).content)

        yield call


@asynccontextmanager
async def _aiohttp_calls(url: str) -> AsyncIterator[Call]:
    import aiohttp

    async with aiohttp.ClientSession(auto_decompress=False) as client:

        async def call() -> int:
            async with client.get(url + TARGET, headers=CLIENT_HEADERS) as answer:
                return len(await answer.read())

        yield call


@asynccontextmanager
async def _our_calls(url: str) -> AsyncIterator[Call]:
    from proxy.upstream import HttpUpstream

    headers = [(name.encode(), value.encode()) for name, value in CLIENT_HEADERS.items()]
    async with HttpUpstream(url) as upstream:

        async def call() -> int:
            return len(await (await upstream.request(b"GET", TARGET.encode(), headers)).read(2**20))

        yield call


_CLIENTS = {
    "httpx2": _httpx2_calls,
    "httpcore2": _httpcore2_calls,
    "aiohttp": _aiohttp_calls,
    "proxy.upstream": _our_calls,
}


async def _time_client(name: str, origin: int, seconds: float) -> dict[str, str | int]:
    calls = 0

    async def repeat(call: Call, until_s: float) -> None:
        nonlocal calls
        while time.perf_counter() < until_s:
            if await call() != len(JSON):
                raise RuntimeError(f"{name} lost a part of the answer")
            calls += 1

    async def burst(call: Call, seconds: float) -> None:
        until_s = time.perf_counter() + seconds
        await asyncio.gather(*(repeat(call, until_s) for _ in range(CONNECTIONS)))

    async with _CLIENTS[name](f"http://127.0.0.1:{origin}") as call:
        await burst(call, 0.3)
        calls, cpu_s, started_s = 0, time.process_time(), time.perf_counter()
        await burst(call, seconds)
        taken_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    return {
        "client": name,
        "req/s": round(calls / taken_s),
        "CPU µs/req": round(cpu_s / calls * 1e6),
    }


def run_clients(seconds: float = ROUND_S) -> list[dict[str, str | int]]:
    """The clients without any server around them: what docs/adr/0002 decided by."""
    client_cores, other_cores = _cores()
    origin = _free_port()
    command = [sys.executable, "-m", "bench.forwarding", "--child", "origin", str(origin), "0"]
    best: dict[str, dict[str, str | int]] = {}
    with _running(command, origin, other_cores):
        os.sched_setaffinity(0, client_cores)
        try:
            for _ in range(ROUNDS):
                for name in _CLIENTS:
                    if name == "aiohttp" and find_spec("aiohttp") is None:
                        continue
                    row = uvloop.run(_time_client(name, origin, seconds))
                    if name not in best or int(row["req/s"]) > int(best[name]["req/s"]):
                        best[name] = row
        finally:
            os.sched_setaffinity(0, client_cores | other_cores)
    return list(best.values())


# The load.


class _Asker(asyncio.Protocol):
    """Asks the same again and again; an answer is known by its length, which is always the same."""

    def __init__(self, until_s: float, answer_bytes: int) -> None:
        self.until_s = until_s
        self.answer_bytes = answer_bytes
        self.missing = answer_bytes
        self.times_s: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.asked_s = time.perf_counter()
        self.transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self.missing -= len(data)
        if self.missing > 0:
            return
        now_s = time.perf_counter()
        self.times_s.append(now_s - self.asked_s)
        if now_s >= self.until_s:
            self.transport.close()
            return
        self.missing = self.answer_bytes
        self.asked_s = now_s
        self.transport.write(REQUEST)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def _ask(port: int, connections: int, seconds: float) -> list[float]:
    """Times in seconds of all calls that many connections made within so long."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise RuntimeError(f"port {port} answered {head[:40]!r}")
    length = next(
        (
            int(line[15:])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        ),
        None,
    )
    body = (
        await reader.readexactly(length)
        if length is not None
        else await reader.readuntil(b"0\r\n\r\n")
    )
    writer.close()
    loop = asyncio.get_running_loop()
    until_s = time.perf_counter() + seconds
    made = [
        (await loop.create_connection(
            lambda: _Asker(until_s, len(head) + len(body)), "127.0.0.1", port
        ))[1]
        for _ in range(connections)
    ]  # fmt: skip
    await asyncio.gather(*(asker.done for asker in made))
    return [taken for asker in made for taken in asker.times_s]


def _download(port: int) -> float:
    """Bytes a second of one big body."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(BIG_REQUEST)
        buffer = bytearray(2**20)
        left, started_s = BIG_BYTES, time.perf_counter()
        while left > 0 and (got := connection.recv_into(buffer)):
            left -= got
        return BIG_BYTES / (time.perf_counter() - started_s)


class _Listener(asyncio.Protocol):
    """Asks for a stream and takes what comes."""

    def __init__(self, target: bytes) -> None:
        self.target = target
        self.received = 0
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.transport.write(b"GET %b HTTP/1.1\r\nHost: music.example\r\n\r\n" % self.target)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if not self.begun.done():
            self.begun.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.begun.done():
            self.begun.set_exception(exc or ConnectionError("closed"))


def _quantiles(times_s: Sequence[float]) -> tuple[float, float]:
    """(p50, p99)"""
    ordered = sorted(times_s)
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]


async def _best(port: int, seconds: float, rounds: int) -> tuple[float, float]:
    """The best p50 and the best p99 of these rounds."""
    taken = [_quantiles(await _ask(port, 1, seconds)) for _ in range(rounds)]
    return min(p50 for p50, _ in taken), min(p99 for _, p99 in taken)


async def _crowd(
    port: int, seconds: float, rounds: int
) -> tuple[tuple[float, float], tuple[float, float]]:
    """(p50, p99) of small calls over one connection: alone, and beside a crowd of streams."""
    loop = asyncio.get_running_loop()
    alone = await _best(port, seconds, rounds)
    crowd: list[_Listener] = []
    for number in range(IDLE_STREAMS + SLOW_STREAMS):
        target = b"/api/events" if number < IDLE_STREAMS else b"/rest/stream?id=1"
        made = await loop.create_connection(
            lambda target=target: _Listener(target), "127.0.0.1", port
        )
        crowd.append(made[1])
        if number % 50 == 0:
            await asyncio.sleep(0.02)
    await asyncio.gather(*(one.begun for one in crowd))
    beside = await _best(port, seconds, rounds)
    live = sum(one.received > TRICKLE_BYTES for one in crowd[IDLE_STREAMS:])
    if live < SLOW_STREAMS:
        raise RuntimeError(f"only {live} of {SLOW_STREAMS} streams went on")
    for one in crowd:
        one.transport.abort()
    await asyncio.sleep(0.2)
    return alone, beside


def run_crowd(seconds: float = ROUND_S, rounds: int = ROUNDS) -> list[dict[str, object]]:
    """Small calls beside 500 idle event streams and 200 slow streams."""
    rows: list[dict[str, object]] = []
    with _peers() as peers:
        for peer in peers:
            if "Starlette" in peer.name:
                continue
            alone, beside = uvloop.run(_crowd(peer.port, seconds, rounds))
            rows.append(
                {
                    "path": peer.name,
                    "p50 alone ms": round(alone[0] * 1000, 3),
                    "p50 beside ms": round(beside[0] * 1000, 3),
                    "p99 alone ms": round(alone[1] * 1000, 3),
                    "p99 beside ms": round(beside[1] * 1000, 3),
                    "p99 x": round(beside[1] / alone[1], 2),
                    "MB resident": round(peer.resident_mb()) if peer.process else "–",
                }
            )
    return rows


# The run.


@dataclass
class Peer:
    """A way to the origin and what was measured on it."""

    name: str
    port: int
    process: subprocess.Popen[bytes] | None
    rates: list[float] = field(default_factory=list)
    calls: int = 0
    used_s: float = 0.0
    alone_s: list[float] = field(default_factory=list)
    big_bytes_per_s: float = 0.0

    def cpu_s(self) -> float:
        """Processor time that its process has used."""
        if self.process is None:
            return 0.0
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        """Memory its process holds now."""
        if self.process is None:
            return 0.0
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _cores() -> tuple[set[int], set[int]]:
    """(for the proxy, for everything else)."""
    cores = sorted(os.sched_getaffinity(0))
    return ({cores[-1]}, set(cores[:-1])) if len(cores) > 1 else (set(cores), set(cores))


@contextmanager
def _running(
    command: Sequence[str], port: int, cores: set[int]
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, preexec_fn=lambda: os.sched_setaffinity(0, cores))
    try:
        for _ in range(400):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended with {process.returncode}")
            time.sleep(0.025)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _peers() -> Iterator[list[Peer]]:
    proxy_cores, other_cores = _cores()

    def child(kind: str, port: int, origin: int) -> list[str]:
        return [sys.executable, "-m", "bench.forwarding", "--child", kind, str(port), str(origin)]

    with ExitStack() as stack:
        os.sched_setaffinity(0, other_cores)
        stack.callback(os.sched_setaffinity, 0, proxy_cores | other_cores)
        origin = _free_port()
        stack.enter_context(_running(child("origin", origin, 0), origin, other_cores))
        peers = [Peer("direct", origin, None)]
        nginx = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
        if nginx is not None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            port = _free_port()
            path = Path(folder) / "nginx.conf"
            path.write_text(NGINX.format(folder=folder, origin=origin, port=port))
            command = [nginx, "-p", folder, "-e", "stderr", "-c", str(path)]
            process = stack.enter_context(_running(command, port, proxy_cores))
            peers.append(Peer("nginx proxy_pass", port, process))
        kinds = [("Segue", "segue"), ("Starlette + httpx2", "httpx2")]
        if find_spec("aiohttp") is not None:
            kinds.append(("Starlette + aiohttp", "aiohttp"))
        for name, kind in kinds:
            port = _free_port()
            process = stack.enter_context(_running(child(kind, port, origin), port, proxy_cores))
            peers.append(Peer(name, port, process))
        yield peers


def run(rounds: int = ROUNDS, round_s: float = ROUND_S) -> list[dict[str, object]]:
    """Measure every peer; one row each, "–" for what does not apply."""
    with _peers() as peers:
        for peer in peers:
            uvloop.run(_ask(peer.port, CONNECTIONS, 0.5))  # warm
        for _ in range(rounds):
            for peer in peers:
                before_s, started_s = peer.cpu_s(), time.perf_counter()
                calls = len(uvloop.run(_ask(peer.port, CONNECTIONS, round_s)))
                taken_s = time.perf_counter() - started_s
                peer.rates.append(calls / taken_s)
                peer.calls += calls
                peer.used_s += peer.cpu_s() - before_s
                peer.alone_s += uvloop.run(_ask(peer.port, 1, round_s / 3))
                if "Starlette" not in peer.name:
                    peer.big_bytes_per_s = max(peer.big_bytes_per_s, _download(peer.port))
        return _rows(peers)


def _rows(peers: Sequence[Peer]) -> list[dict[str, object]]:
    by_name = {peer.name: peer for peer in peers}
    nginx, naive = by_name.get("nginx proxy_pass"), by_name["Starlette + httpx2"]
    direct_p50_s = statistics.median(by_name["direct"].alone_s)
    rows: list[dict[str, object]] = []
    for peer in peers:
        p50_s = statistics.median(peer.alone_s)
        proxied = peer.process is not None
        rows.append(
            {
                "path": peer.name,
                "req/s": round(statistics.median(peer.rates)),
                "of nginx": round(_ratio(peer, nginx), 2) if nginx and proxied else "–",
                "x naive": round(_ratio(peer, naive), 1) if proxied else "–",
                "CPU µs/req": round(peer.used_s / peer.calls * 1e6) if proxied else "–",
                "p50 ms": round(p50_s * 1000, 3),
                "added p50 ms": round((p50_s - direct_p50_s) * 1000, 3) if proxied else "–",
                "download MB/s": round(peer.big_bytes_per_s / 1e6) if peer.big_bytes_per_s else "–",
                "MB resident": round(peer.resident_mb()) if proxied else "–",
            }
        )
    return rows


def _ratio(peer: Peer, other: Peer) -> float:
    """Of their rates, in the median round."""
    return statistics.median(
        rate / beside for rate, beside in zip(peer.rates, other.rates, strict=True)
    )


def main() -> None:
    """Print the table, or be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", nargs=3, metavar=("KIND", "PORT", "ORIGIN"))
    parser.add_argument("--clients", action="store_true", help="the clients alone")
    parser.add_argument("--crowd", action="store_true", help="small calls beside many streams")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=ROUND_S, help="a round and peer")
    arguments = parser.parse_args()
    if arguments.child:
        kind, port, origin = arguments.child
        _CHILDREN[kind](int(port), int(origin))
        return
    if arguments.crowd:
        rows = run_crowd(arguments.seconds, arguments.rounds)
        title = (
            f"Small calls beside {IDLE_STREAMS} idle event streams and {SLOW_STREAMS} slow streams"
        )
        table = Table(title=title)
    elif arguments.clients:
        rows = run_clients(arguments.seconds)
        table = Table(title=f"Clients alone, small JSON answers, {CONNECTIONS} at once, one core")
    else:
        rows = run(arguments.rounds, arguments.seconds)
        table = Table(title=f"Forwarding small JSON answers, {CONNECTIONS} connections, one core")
    for number, column in enumerate(rows[0]):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
