from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest

from proxy.observation import OkTap

OK_JSON = b'{"subsonic-response":{"status":"ok","version":"1.16.1"}}'
OK_XML = b'<subsonic-response status="ok" version="1.16.1"/>'


async def told(
    pieces: list[bytes], *, status: int = 200, is_xml: bool = False, encoding: bytes = b"",
    song_id: str = "",
) -> bool:  # fmt: skip
    """Whether the tap says ok, having checked that everything was passed on as it came."""
    passed: list[Any] = []
    called: list[bool] = []

    async def send(message: Any) -> None:
        passed.append(message)

    tap = OkTap(send, is_xml=is_xml, song_id=song_id, on_ok=lambda: called.append(True))
    headers = [(b"Content-Encoding", encoding)] if encoding else []
    messages: list[Any] = [{"type": "http.response.start", "status": status, "headers": headers}]
    messages += [{"type": "http.response.body", "body": p, "more_body": True} for p in pieces]
    messages.append({"type": "http.response.body", "body": b"", "more_body": False})
    for message in messages:
        await tap(message)
    assert passed == messages
    return called == [True]


@pytest.mark.anyio
async def test_only_an_ok_answer_is_ok() -> None:
    assert await told([OK_JSON[:20], OK_JSON[20:]])
    assert await told([OK_XML], is_xml=True)
    assert await told([b"cb(" + OK_JSON + b")"])
    assert not await told([OK_JSON.replace(b"ok", b"failed")])
    assert not await told([OK_JSON], status=500)
    assert not await told([b"nonsense"])
    assert not await told([])


@pytest.mark.anyio
async def test_compressed_answers_are_looked_into() -> None:
    assert await told([gzip.compress(OK_JSON)], encoding=b"gzip")
    assert await told([zlib.compress(OK_JSON)], encoding=b"deflate")
    assert await told([zlib.compress(OK_JSON)[2:-4]], encoding=b"deflate")  # as many send it
    assert not await told([b"not gzip"], encoding=b"gzip")
    assert not await told([OK_JSON], encoding=b"zstd")


@pytest.mark.anyio
async def test_bombs_and_long_answers_are_not_kept() -> None:
    assert not await told([gzip.compress(b" " * 10_000_000 + OK_JSON)], encoding=b"gzip")
    assert await told([OK_JSON + b" " * 70_000])  # its beginning tells
    late = OK_JSON.replace(b'{"status"', b'{"pad":"' + b"x" * 70_000 + b'","status"')
    assert not await told([late])


@pytest.mark.anyio
async def test_the_native_api_must_describe_the_song_asked_for() -> None:
    assert await told([b'{"id":"x","title":"T"}'], song_id="x")
    assert not await told([b'{"id":"y"}'], song_id="x")
    assert not await told([b"<html>a page for every path</html>"], song_id="x")
    assert not await told([b'{"id":"x"}'], song_id="x", status=401)
    assert not await told([b"[" * 60_000], song_id="x")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "encoding", "failed"),
    [
        (OK_JSON, b"", False),
        (OK_JSON.replace(b"ok", b"failed"), b"", True),
        (gzip.compress(OK_JSON, mtime=0), b"gzip", False),
        (b"whatever this is", b"zstd", True),
        (b'{"subsonic-response":{"songs":"' + b"x" * 5000, b"", False),
        (b"", b"", True),
    ],
)
async def test_only_what_was_seen_to_be_ok_is_told_of(
    body: bytes, encoding: bytes, failed: bool
) -> None:
    heads: list[Any] = []

    async def send(message: Any) -> None:
        heads.append(message)

    tap = OkTap(
        send,
        is_xml=False,
        on_ok=lambda: None,
        marks=lambda failed: [(b"X-Failed", str(failed).encode())],
    )
    headers = [(b"Content-Encoding", encoding)] if encoding else []
    await tap({"type": "http.response.start", "status": 200, "headers": headers})
    assert heads == []
    await tap({"type": "http.response.body", "body": body, "more_body": True})
    assert heads[0]["headers"][-1] == (b"X-Failed", str(failed).encode())
