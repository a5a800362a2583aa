"""What a client gets when the upstream fails, and what is never written down."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from proxy.settings import ServerSettings
from proxy.upstream import Timeouts
from tests.unit.proxy.wire import Exchange, RawUpstream, proxied

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("both_ways")]

DOWN = "http://127.0.0.1:1"
FORM = (b"Content-Type", b"application/x-www-form-urlencoded")
QUICK = Timeouts(headers_s=0.1)


async def test_refused_is_502_in_the_clients_own_format() -> None:
    async with proxied(url=DOWN) as proxy:
        page = await proxy.get(b"/app/")
        assert (page.status, page.get(b"content-type")) == (502, [b"text/plain; charset=utf-8"])
        assert page.body == b"Segue: the music server cannot be reached\n"

        xml = await proxy.get(b"/rest/ping.view?u=a&f=nonsense")
        assert (xml.status, xml.get(b"content-type")) == (502, [b"application/xml"])
        assert b'<error code="0" message="Segue: the music server cannot be reached"' in xml.body

        answer = await proxy.get(b"/rest/ping?f=json")
        assert (answer.status, answer.get(b"content-type")) == (502, [b"application/json"])
        assert json.loads(answer.body)["subsonic-response"]["status"] == "failed"

        called = await proxy.get(b"/rest/ping?f=jsonp&callback=cb")
        assert called.get(b"content-type") == [b"application/javascript"]
        assert called.body.startswith(b'cb({"subsonic-response"')

        evil = await proxy.get(b"/rest/ping?f=jsonp&callback=alert(1)")
        assert evil.get(b"content-type") == [b"application/json"]
        assert b"alert" not in evil.body

        head = await proxy.get(b"/rest/ping?f=json", method=b"HEAD")
        assert (head.status, head.body) == (502, b"")


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_a_status_that_is_none_is_no_answer(method: bytes) -> None:
    upstream = RawUpstream(answer=b"HTTP/1.1 000 None\r\nContent-Length: 2\r\n\r\nok")
    async with proxied(upstream) as proxy:
        client = await proxy.client()
        for _ in range(2):
            assert (await asyncio.wait_for(client.get(b"/x", method=method), 2)).status == 502


async def test_a_forms_own_format_counts() -> None:
    body = b"u=a&p=b&f=json"
    async with proxied(url=DOWN) as proxy:
        client = await proxy.client()
        reply = await client.get(
            b"/rest/ping", [FORM, (b"Content-Length", b"%d" % len(body))], b"POST", body
        )
        assert reply.get(b"content-type") == [b"application/json"]
        client.writer.write(
            b"POST /rest/ping HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\n" % len(body)
        )
        await asyncio.sleep(0.05)
        client.writer.write(body[:5])
        await asyncio.sleep(0.05)
        assert (await client.send(body[5:])).get(b"content-type") == [b"application/json"]


async def test_silence_is_504() -> None:
    async def silent(exchange: Exchange) -> None:
        await exchange.gone()

    async with proxied(RawUpstream(handler=silent), timeouts=QUICK) as proxy:
        assert (await proxy.get(b"/app")).status == 504
        answer = await proxy.get(b"/rest/ping?f=json")
        assert answer.status == 504
        assert b"in time" in answer.body
        assert proxy.application.metrics.upstream_errors == {"timeout": 2}


async def test_garbage_is_502() -> None:
    async with proxied(RawUpstream(answer=b"I am no server\r\n\r\n")) as proxy:
        assert (await proxy.get(b"/app")).status == 502
        assert (await proxy.get(b"/rest/ping")).status == 502


async def test_the_upstream_comes_back() -> None:
    upstream = RawUpstream()
    await upstream.start()
    async with proxied(upstream, url=upstream.url) as proxy:
        client = await proxy.client()
        assert (await client.get()).status == 200
        await upstream.stop()
        proxy.application.upstream._idle.clear()  # type: ignore[attr-defined]
        assert (await client.get()).status == 502
        await upstream.start(port=upstream.port)
        assert (await client.get()).status == 200


SECRETS = {
    "u": b"user-Zq1",
    "p": b"pass-Zq2",
    "t": b"token-Zq3",
    "s": b"salt-Zq4",
    "jwt": b"jwt-Zq5",
    "apiKey": b"key-Zq6",
}
SECRET_HEADERS = [
    (b"Authorization", b"Bearer auth-Zq7"),
    (b"Cookie", b"nd-player-x=cookie-Zq8"),
    (b"X-ND-Authorization", b"Bearer nd-Zq9"),
    (b"Remote-User", b"remote-Zq0"),
]


@pytest.mark.parametrize("kind", ["refused", "silent", "garbage", "half", "fault"])
async def test_no_secret_is_ever_written(
    kind: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    async def misbehave(exchange: Exchange) -> None:
        if kind == "silent":
            await exchange.gone()
            return
        # Even an upstream that shows what it was sent must not get it into a log.
        exchange.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" if kind == "half" else b""
        )
        exchange.write(exchange.seen.raw_head)
        await exchange.writer.drain()
        exchange.writer.close()

    class Faulty:
        def claims(self, scope: object) -> bool:
            raise RuntimeError("a fault of ours")

        def overhears(self, scope: object) -> None:
            raise RuntimeError("a fault of ours")

        async def __call__(self, *_: object) -> None:
            raise AssertionError

    caplog.set_level(logging.DEBUG)
    query = b"&".join(name.encode() + b"=" + value for name, value in SECRETS.items())
    async with proxied(
        RawUpstream(handler=misbehave),
        url=DOWN if kind == "refused" else "",
        timeouts=QUICK,
        steering=Faulty() if kind == "fault" else None,
    ) as proxy:
        answers = [
            await proxy.get(b"/rest/getSimilarSongs?" + query, SECRET_HEADERS),
            await proxy.get(b"/app?" + query, SECRET_HEADERS),
            await proxy.get(
                b"/rest/ping",
                [*SECRET_HEADERS, FORM, (b"Content-Length", b"%d" % len(query))],
                b"POST",
                query,
            ),
            await proxy.get(b"/segue/metrics", host=b"localhost"),
        ]
        shown = proxy.application.metrics.render({})
    said = [record.getMessage() + str(record.exc_text) for record in caplog.records]
    output = capfd.readouterr()
    written = "\n".join([*said, shown, output.out, output.err])
    assert "Zq" not in written
    if kind != "half":  # there the body is the upstream's own
        assert not any(b"Zq" in a.body or b"Zq" in repr(a.headers).encode() for a in answers)
    assert kind == "fault" or said  # something was logged at all


async def test_a_fault_in_steering_forwards() -> None:
    class Faulty:
        def claims(self, scope: object) -> bool:
            raise RuntimeError("a fault of ours")

        def overhears(self, scope: object) -> None:
            raise RuntimeError("a fault of ours")

        async def __call__(self, *_: object) -> None:
            raise AssertionError

    async with proxied(steering=Faulty()) as proxy:
        assert (await proxy.get(b"/rest/getRandomSongs")).body == b"ok"


async def test_an_exception_ends_one_call_only() -> None:
    class Broken:
        def claims(self, scope: dict[str, object]) -> bool:
            return scope["path"] == "/broken"

        def overhears(self, scope: object) -> None:
            return None

        async def __call__(self, *_: object) -> None:
            raise RuntimeError("a fault of ours")

    async with proxied(steering=Broken()) as proxy:
        client = await proxy.client()
        assert (await client.get(b"/broken")).status == 500
        assert (await proxy.get()).status == 200


async def test_remote_user_only_from_trusted_proxies() -> None:
    forged = [
        (b"Remote-User", b"admin"),
        (b"remote_user", b"admin"),
        (b"REMOTE-USER", b"admin"),
        (b"Connection", b"Remote-User"),
    ]
    async with proxied() as proxy:
        await proxy.get(b"/", forged)
        names = {name.replace(b"_", b"-") for name, _ in proxy.upstream.seen[0].headers}
        assert b"remote-user" not in names
    async with proxied(server=ServerSettings(trusted_proxies=("127.0.0.0/8",))) as proxy:
        await proxy.get(b"/", forged[:1])
        assert proxy.upstream.seen[0].get(b"remote-user") == [b"admin"]
    async with proxied(server=ServerSettings(user_header="X-Login")) as proxy:
        await proxy.get(b"/", [(b"X-Login", b"admin"), (b"Remote-User", b"kept")])
        assert proxy.upstream.seen[0].get(b"x-login") == []


async def test_the_clients_address_reaches_the_upstream() -> None:
    forged = [(b"X-Forwarded-For", b"6.6.6.6"), (b"X-Real-IP", b"6.6.6.6"),
              (b"True-Client-IP", b"6.6.6.6"), (b"X-Forwarded-Proto", b"https"),
              (b"Forwarded", b"for=6.6.6.6")]  # fmt: skip
    async with proxied() as proxy:
        await proxy.get(b"/", forged)
        seen = proxy.upstream.seen[0]
        assert seen.get(b"x-forwarded-for") == [b"127.0.0.1"]
        assert seen.get(b"x-real-ip") == [b"127.0.0.1"]
        assert seen.get(b"x-forwarded-proto") == [b"http"]
        assert seen.get(b"x-forwarded-host") == [b"music.example:4040"]
        assert seen.get(b"forwarded") == [b'for=127.0.0.1;host="music.example:4040";proto=http']
        assert seen.get(b"host") == [b"music.example:4040"]
        assert b"6.6.6.6" not in seen.raw_head
    async with proxied(server=ServerSettings(trusted_proxies=("127.0.0.1",))) as proxy:
        await proxy.get(b"/", forged)
        seen = proxy.upstream.seen[0]
        assert seen.get(b"x-forwarded-for") == [b"6.6.6.6, 127.0.0.1"]
        assert seen.get(b"x-real-ip") == [b"6.6.6.6"]
        assert seen.get(b"x-forwarded-proto") == [b"https"]
