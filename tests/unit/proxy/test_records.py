"""Lines of one call share a number; paths show no secret."""

from __future__ import annotations

import asyncio
import logging

import pytest

from proxy.records import begin_request, loggable, name_requests, request_id


@pytest.mark.anyio
async def test_lines_of_a_call_share_its_number(caplog: pytest.LogCaptureFixture) -> None:
    made = logging.getLogRecordFactory()
    name_requests()
    name_requests()
    try:

        async def call() -> str:
            begin_request()
            logging.getLogger("a").warning("one")
            await asyncio.create_task(log_more())
            return request_id()

        async def log_more() -> None:
            logging.getLogger("b").warning("two")

        first = await asyncio.create_task(call())
        second = await asyncio.create_task(call())
        logging.getLogger("a").warning("outside")
    finally:
        logging.setLogRecordFactory(made)
    names = [getattr(record, "request", "") for record in caplog.records]
    assert names == [first, first, second, second, ""]
    assert first != second


def test_what_a_path_shows() -> None:
    assert loggable("/rest/ping.view") == "/rest/ping.view"
    assert loggable("/share/img/eyJhbGciOi") == "/share/…"
    assert loggable("/music/share/x") == "/music/share/…"
    assert loggable("/p/abc") == "/p/…"
    assert loggable("/a\nb\x1b[31m") == "/a?b?[31m"
    assert len(loggable("/" + "x" * 999)) == 200
