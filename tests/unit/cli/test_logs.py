"""What is logged, in both formats, and that no login is ever in it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from cli.logs import configure_logging, redact
from cli.settings import LogSettings


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """The root logger as pytest had it, afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def logged(settings: LogSettings, message: str, *arguments: object, **options: object) -> str:
    stream = io.StringIO()
    configure_logging(settings, stream)
    logging.getLogger("proxy.test").warning(message, *arguments, **options)  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("GET /rest/ping?u=ann&p=hunter2&c=x", "hunter2"),
        ("GET /rest/ping?c=x&t=deadbeef&s=salty", "deadbeef"),
        ("GET /rest/ping?c=x&t=deadbeef&s=salty", "salty"),
        ("body b'c=x&jwt=eyJhbGci.x.y'", "eyJhbGci"),
        ("?apiKey=k3y", "k3y"),
        ("Authorization: Basic YW5uOmh1bnRlcjI=", "YW5u"),
        ("(b'authorization', b'Bearer abc.def')", "abc.def"),
        ("{'Cookie': 'nd-player-1=xyz; other=1'}", "xyz"),
        ("Set-Cookie: nd-player-1=xyz; Path=/", "xyz"),
        ("x-nd-authorization: Bearer abc.def", "abc.def"),
        ('{"username":"ann","password": "hunter2"}', "hunter2"),
        ("http://ann:hunter2@host:4533/", "hunter2"),
    ],
)
def test_logins_are_masked(text: str, secret: str) -> None:
    assert secret not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "GET /rest/getSong?id=42&size=50&c=Feishin",
        "seeds=12 steps=3 tops=1",
        "linked 165 of 165 songs in 0.3 s",
        "http://host:4533/path@home",
    ],
)
def test_what_is_no_login_stays(text: str) -> None:
    assert redact(text) == text


def test_text_is_one_line_with_arguments_masked() -> None:
    line = logged(LogSettings(), "forwarded %s", "/rest/ping?u=ann&p=hunter2")
    assert "WARNING proxy.test: forwarded /rest/ping?u=***&p=***" in line
    assert line.count("\n") == 1


def test_json_is_one_object_with_extras_and_a_masked_trace() -> None:
    try:
        raise ValueError("bad ?p=hunter2")
    except ValueError:
        line = logged(
            LogSettings(format="json"),
            "failed",
            exc_info=True,
            extra={"elapsed_ms": 3.5, "target": "/x?t=abc"},
        )
    entry = json.loads(line)
    assert entry["level"] == "warning"
    assert entry["logger"] == "proxy.test"
    assert entry["elapsed_ms"] == 3.5
    assert entry["target"] == "/x?t=***"
    assert "ValueError" in entry["trace"]
    assert "hunter2" not in line


def test_level_is_kept() -> None:
    assert logged(LogSettings(level="error"), "quiet") == ""
