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
    subsonic: bool = True,
) -> bool:  # fmt: skip
    """Whether the tap says ok, having checked that everything was passed on as it came."""
    passed: list[Any] = []
    called: list[bool] = []

    async def send(message: Any) -> None:
        passed.append(message)

    tap = OkTap(send, is_xml=is_xml, subsonic=subsonic, on_ok=lambda: called.append(True))
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
    assert not await told([b"not gzip"], encoding=b"gzip")
    assert not await told([OK_JSON], encoding=b"zstd")


@pytest.mark.anyio
async def test_bombs_and_long_answers_are_not_kept() -> None:
    assert not await told([gzip.compress(b" " * 10_000_000 + OK_JSON)], encoding=b"gzip")
    assert await told([OK_JSON + b" " * 70_000])  # its beginning tells
    late = OK_JSON.replace(b'{"status"', b'{"pad":"' + b"x" * 70_000 + b'","status"')
    assert not await told([late])


@pytest.mark.anyio
async def test_other_answers_count_by_their_status() -> None:
    assert await told([b"anything"], subsonic=False)
    assert not await told([b"anything"], subsonic=False, status=401)
