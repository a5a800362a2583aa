"""The same odd calls straight to a raw upstream and through Segue: nobody can tell them apart."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.headers import FORWARDING, HOP_BY_HOP
from tests.fidelity.conftest import SOAK_SHARE
from tests.unit.proxy.wire import Exchange, RawUpstream, Reply, Seen, proxied, read_reply

SEGMENTS = [b"rest", b"a%2Fb", b"%2e%2e", b"..", b".", b"", b";v=1", b"b;w", b"+", b"%", b"%zz",
            b"\xc3\xa9", b"\xff", b"~x", b"a:b", b"@", b"*", b"'\"<>{}|\\^`[]",
            b"ping.view"]  # fmt: skip
QUERIES = [b"", b"?", b"??", b"?a", b"?a=", b"?a=&a=&a", b"?a=1;b=2", b"?&&", b"?a=b+c%20d",
           b"?u=\xc3\xbc&p=%00", b"?x=/../", b"?f=json&callback=a.b", b"?#",
           b"?a=b=c?d"]  # fmt: skip
NAMES = [b"accept", b"Accept", b"cookie", b"authorization", b"range", b"if-none-match", b"x-a",
         b"x_b", b"X-Odd~!", b"user-agent", b"via", b"te", b"keep-alive",
         b"accept-encoding"]  # fmt: skip
VALUES = [b"", b"a", b"b, c", b"  spaced\t ", b"\xe9", b'W/"x"', b"bytes=0-1,5-", b"a=b; c=d", b","]
ANSWER_HEADERS = [(b"Vary", b"Origin"), (b"vary", b"Accept"), (b"Set-Cookie", b"a=1; Path=/"),
                  (b"Set-Cookie", b"a=2"), (b"Date", b"x"), (b"Server", b"y"), (b"ETag", b'"\xe9"'),
                  (b"Content-Encoding", b"gzip"), (b"Location", b"/app/?x=y#z"), (b"X-A", b""),
                  (b"Connection", b"X-A"), (b"Keep-Alive", b"timeout=5")]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A request and the answer that the upstream gives it."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    chunks: int  # 0: with a length
    status: int
    answer_headers: tuple[tuple[bytes, bytes], ...]
    answer: bytes
    answer_chunks: int  # 0: with a length; -1: until the connection closes

    def request(self, port: int) -> bytes:
        lines = [b"%b %b HTTP/1.1" % (self.method, self.target), b"Host: music.example"]
        lines += [b"%b: %b" % header for header in self.headers]
        body = self.body
        if self.chunks:
            lines.append(b"Transfer-Encoding: chunked")
            body = chunked(body, self.chunks)
        elif body or self.method == b"POST":
            lines.append(b"Content-Length: %d" % len(body))
        return b"\r\n".join([*lines, b"", b""]) + body

    def reply(self) -> bytes:
        lines = [b"HTTP/1.1 %d Odd" % self.status]
        lines += [b"%b: %b" % header for header in self.answer_headers]
        body = self.answer
        if self.method == b"HEAD" or self.status in (204, 304):
            body = b""
            if self.answer_chunks == 0 and self.status != 204:
                lines.append(b"Content-Length: %d" % len(self.answer))
        elif self.answer_chunks > 0:
            lines.append(b"Transfer-Encoding: chunked")
            body = chunked(body, self.answer_chunks)
        elif self.answer_chunks == 0:
            lines.append(b"Content-Length: %d" % len(body))
        return b"\r\n".join([*lines, b"", b""]) + body

    @property
    def closes(self) -> bool:
        has_no_body = self.method == b"HEAD" or self.status in (204, 304)
        return self.answer_chunks < 0 and not has_no_body


def chunked(body: bytes, pieces: int) -> bytes:
    step = max(1, -(-len(body) // pieces))
    parts = [body[at : at + step] for at in range(0, len(body), step)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def pairs(names: list[bytes], values: list[bytes]) -> st.SearchStrategy[tuple[bytes, bytes]]:
    return st.tuples(st.sampled_from(names), st.sampled_from(values))


bodies = st.one_of(
    st.binary(max_size=64), st.integers(1, 300_000).map(lambda n: bytes(n % 251 for _ in range(n)))
)
cases = st.builds(
    Case,
    method=st.sampled_from([b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"BREW"]),
    target=st.builds(
        lambda parts, query: b"/" + b"/".join(parts) + query,
        st.lists(st.sampled_from(SEGMENTS), max_size=4),
        st.sampled_from(QUERIES),
    ).filter(lambda target: not target.startswith(b"/segue/")),
    headers=st.lists(pairs(NAMES, VALUES), max_size=6).map(tuple),
    body=st.one_of(st.just(b""), bodies),
    chunks=st.integers(0, 3),
    status=st.sampled_from([200, 201, 204, 206, 301, 304, 401, 404, 416, 500, 503, 599]),
    answer_headers=st.lists(st.sampled_from(ANSWER_HEADERS), max_size=6).map(tuple),
    answer=st.one_of(st.just(b""), bodies),
    answer_chunks=st.integers(-1, 3),
)


_RELAXED = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)


@given(st.lists(cases, min_size=30, max_size=30))
@settings(max_examples=10, deadline=None, suppress_health_check=_RELAXED)
def test_direct_and_through_segue_are_the_same(made: list[Case]) -> None:
    uvloop.run(compare(made))


@pytest.mark.soak
@pytest.mark.timeout(3600)
@given(st.lists(cases, min_size=50, max_size=50))
@settings(max_examples=int(60 * SOAK_SHARE), deadline=None, suppress_health_check=_RELAXED)
def test_thousands_are_the_same(made: list[Case]) -> None:
    uvloop.run(compare(made))


async def compare(made: list[Case]) -> None:
    current = made[0]

    async def answer(exchange: Exchange) -> None:
        exchange.write(current.reply())
        if current.closes:
            await exchange.writer.drain()
            exchange.writer.close()

    async with proxied(RawUpstream(handler=answer)) as proxy:
        client = await proxy.client()  # one connection, as players have, until it is closed
        for current in made:
            seen = proxy.upstream.seen
            seen.clear()
            straight = await call(current, proxy.upstream.port)
            client.writer.write(current.request(proxy.port))
            through = await asyncio.wait_for(read_reply(client.reader, current.method), 5)
            if b"close" in through.get(b"connection") or not through.whole:
                client = await proxy.client()
            assert len(seen) == 2, current
            assert as_seen(seen[0]) == as_seen(seen[1])
            assert as_answered(straight) == as_answered(through)


async def call(case: Case, port: int) -> Reply:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(case.request(port))
        return await asyncio.wait_for(read_reply(reader, case.method), 5)
    finally:
        writer.close()


def as_seen(seen: Seen) -> tuple[object, ...]:
    ours = FORWARDING | HOP_BY_HOP
    headers = [(n.lower(), v) for n, v in seen.headers if n.lower().replace(b"_", b"-") not in ours]
    chunked = b"transfer-encoding" in {name.lower() for name, _ in seen.headers}
    return seen.method, seen.target, headers, chunked, seen.body


def as_answered(reply: Reply) -> tuple[object, ...]:
    named = {
        t.strip().lower() for n, v in reply.headers if n.lower() == b"connection"
        for t in v.split(b",")
    } | {b"x-a"}  # fmt: skip
    headers = [h for h in reply.headers if h[0].lower() not in HOP_BY_HOP | named]
    return reply.status, headers, reply.body, reply.whole
