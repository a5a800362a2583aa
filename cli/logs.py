"""Logging on stderr, in text or JSON, with secrets masked in whatever is logged."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from typing import TYPE_CHECKING, Any, Final, TextIO

from cli.console import printable

if TYPE_CHECKING:
    from cli.settings import LogSettings

_MASK: Final = "***"

#: Login parameters of the Subsonic API, in a query, a form or a log of either. A user's name is
#: no secret, but it says who listened to what.
_PARAMETERS: Final = re.compile(
    r"(?<![\w-])(u|p|t|s|jwt|apiKey|password|token)=[^&\s\"'<>]*", re.IGNORECASE
)

#: Headers that carry a login, in `Name: value` and in the repr of a list of pairs, up to the line's
#: or the string's end.
_HEADERS: Final = re.compile(
    r"\b((?:proxy-)?authorization|(?:set-)?cookie|x-nd-authorization|x-nd-client-unique-id"
    r"|remote-user|x-api-key)(['\"]?\s*[:,=]\s*(?:b?['\"])?)[^'\"\r\n]*",
    re.IGNORECASE,
)

#: The same in JSON bodies, such as Navidrome's own login.
_FIELDS: Final = re.compile(
    r"(\"(?:password|token|subsonicToken|subsonicSalt|jwt|apiKey|username)\"\s*:\s*)\"[^\"]*\"",
    re.IGNORECASE,
)

#: `http://user:password@host`.
_USER_INFO: Final = re.compile(r"(?<=://)[^/@\s]+@")


def redact(text: str) -> str:
    """The text with every login in it masked.

    >>> redact("GET /rest/ping?u=ann&t=26719a1196d2a940705a59634eb18eab&s=c19b2d&c=app")
    'GET /rest/ping?u=***&t=***&s=***&c=app'
    """
    text = _PARAMETERS.sub(rf"\1={_MASK}", text)
    text = _HEADERS.sub(rf"\1\2{_MASK}", text)
    text = _FIELDS.sub(rf'\1"{_MASK}"', text)
    return _USER_INFO.sub(f"{_MASK}@", text)


class TextFormatter(logging.Formatter):
    """One line for people; masked after formatting, so that arguments and traces are covered."""

    default_msec_format = "%s.%03d"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        return redact("\n".join(map(printable, super().format(record).split("\n"))))


#: What every LogRecord has; anything else was passed as `extra` and belongs in the JSON object.
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, then the record's extras."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        entry: dict[str, Any] = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        for name, value in record.__dict__.items():
            if name not in _STANDARD and not name.startswith("_"):
                plain = isinstance(value, (int, float, bool)) or value is None
                entry[name] = value if plain else redact(str(value))
        if record.exc_info:
            entry["trace"] = redact(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


def configure_logging(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send everything that is logged to one handler on stderr."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.format == "json" else TextFormatter())
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    if settings.level != "debug":
        # Every call and every step of theirs is a line at "info"; ours say what matters.
        for name in ("httpx", "httpx2", "httpcore", "httpcore2", "uvicorn"):
            logging.getLogger(name).setLevel(logging.WARNING)
