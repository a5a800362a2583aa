"""What a client sends, read into requests: llhttp with the proxy's own rules.

What is different from uvicorn's reading: the raw target is kept (also where llhttp would refuse it:
raw UTF-8, methods it does not know), trailers are dropped, headers are limited in size, and an
upgrade that is not offered is no upgrade.
"""

from __future__ import annotations

import asyncio
import re
from abc import abstractmethod
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from proxy.targets import TargetError, origin_form

MAX_HEAD_BYTES: Final = 64 * 1024

_REQUEST_LINE: Final = re.compile(
    rb"(?:\r\n)*([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^\x00-\x20\x7f]+) HTTP/(1\.[01])\r\n"
)

#: What may stand in a URL's authority (RFC 3986 §3.2); where an absolute target names another host
#: the upstream would not see this one and could not refuse it.
_HOST: Final = re.compile(rb"[0-9A-Za-z!$%&'()*+,.:;=\[\]_~-]*")


class _RefusedError(Exception):
    """Raised inside a parser callback, to stop parsing."""


class Reader(HttpToolsProtocol):
    """The reading half of a client's connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._in_message = False
        #: A request has begun whose headers are not whole.
        self.in_head = False
        #: What has come of the head under way; None where its start is not known to the byte.
        self._head_so_far: bytes | None = b""
        #: A request line that llhttp refuses, until it is whole.
        self._odd_line = b""
        self._override: tuple[bytes, bytes] | None = None
        self._begun = 0
        self._head_bytes = 0
        self._silent_bytes = 0
        self._refusal = 0
        #: Nothing that still comes is read.
        self._deaf = False

    # What the other half does.

    @abstractmethod
    def _start(self, scope: dict[str, Any], *, upgrade: bool) -> None:
        """A request's head is whole."""

    @abstractmethod
    def refuse(self, status: int) -> None:
        """Answer what is no request of ours, after what was asked before it, and hang up."""

    @abstractmethod
    def _change_protocol(self, rest: bytes) -> bytes | None:
        """After the head of a request with an upgrade: what is to be parsed next."""

    @abstractmethod
    def _note_head(self) -> None:
        """The head that was awaited is there."""

    # Reading

    def _read(self, data: bytes) -> None:
        self._silent_bytes += len(data)
        if self._odd_line:
            self._feed_odd_request_line(self._odd_line + data)
        else:
            self._feed(data)
        if self._silent_bytes > MAX_HEAD_BYTES:  # a head, trailer or chunk extension without end
            self.refuse(431)

    def _feed(self, data: bytes) -> None:
        """Parse what came. Requests that are read again are so in turn, never within each other."""
        left: bytes | None = data
        while left is not None and not self._deaf:
            left = self._parse(left)

    def _parse(self, data: bytes) -> bytes | None:
        """Parse once; what is to be parsed next, with a request without its upgrade first."""
        starts_here = self.in_head or not self._in_message
        self._begun = 1 if self.in_head else 0
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._change_protocol(data[upgrade.args[0] :])
        except (httptools.HttpParserInvalidURLError, httptools.HttpParserInvalidMethodError):
            # Only where the request is known to begin: what a body holds is no request.
            if starts_here and self._begun == 1 and self._head_so_far is not None:
                self._feed_odd_request_line(self._head_so_far + data)
            else:
                self.refuse(400)
        except httptools.HttpParserError:
            self.refuse(self._refusal or 400)
        else:
            if self.in_head:
                known = starts_here and self._begun == 1 and self._head_so_far is not None
                self._head_so_far = (self._head_so_far or b"") + data if known else None
        return None

    def _feed_odd_request_line(self, data: bytes) -> None:
        """Navidrome serves raw UTF-8 in targets, and it is the upstream that knows its methods."""
        self._odd_line = b""
        line = _REQUEST_LINE.match(data)
        if line is not None and self._override is None:
            method, target, version = line.groups()
            self._override = (method, target)
            self._head_so_far = None
            self._restart_parser()
            self._feed(b"POST / HTTP/%b\r\n" % version + data[line.end() :])
        elif b"\n" not in data.lstrip(b"\r\n") and self._override is None:
            self._odd_line = data
            self.in_head = True
        else:
            self.refuse(400)

    def _without_upgrade(self, rest: bytes) -> bytes:
        """The request under way once more, as one that asks for no upgrade.

        An upgrade that is not offered (h2c, mostly) is no upgrade (RFC 9110 §7.8). llhttp has
        skipped the body, so the request is read again.
        """
        scope: Any = self.scope
        lines = [b"%b %b HTTP/1.1" % (scope["method"].encode("ascii"), scope["segue.target"])]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self._restart_parser()
        return b"\r\n".join([*lines, b"", b""]) + rest

    def _restart_parser(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self._in_message = self.in_head = False

    # llhttp

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._in_message = self.in_head = True
        self._begun += 1
        self._head_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.in_head:
            return  # a trailer: never a header, least of all a login
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refusal = 431
            raise _RefusedError
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self.in_head = False
        self._silent_bytes = 0
        self._head_so_far = b""
        self._note_head()
        method, target = self._override or (self.parser.get_method(), self.url)
        self._override = None
        if len(target) + self._head_bytes > MAX_HEAD_BYTES:
            self._refusal = 431
            raise _RefusedError
        version = self.parser.get_http_version()
        if version not in ("1.1", "1.0"):  # llhttp reads 0.9 and 2.0, too
            raise _RefusedError
        try:
            target, authority = origin_form(method, target)
        except TargetError as error:
            self._refusal = error.status
            raise _RefusedError from None
        hosts = 0
        coding = b""
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
                if not _HOST.fullmatch(value):
                    raise _RefusedError
            elif name == b"transfer-encoding":
                coding = coding + b"," + value.lower() if coding else value.lower()
        if hosts > 1 or (hosts == 0 and version != "1.0"):
            raise _RefusedError
        if coding and coding.strip() != b"chunked":
            # The body would lose its other coding here, where a hop ends (RFC 9112 §6.1); one that
            # does not end in chunks has no known end (§6.3).
            last = coding.rpartition(b",")[2].strip()
            self._refusal = 501 if last == b"chunked" else 400
            raise _RefusedError
        if authority:
            if not _HOST.fullmatch(authority):
                raise _RefusedError
            self.headers[:] = [h for h in self.headers if h[0] != b"host"] + [(b"host", authority)]
        scope = self._scope_of(method.decode("ascii"), target, version, self.headers)
        self._start(scope, upgrade=self.parser.should_upgrade())

    def _scope_of(
        self, method: str, target: bytes, version: str, headers: list[tuple[bytes, bytes]]
    ) -> dict[str, Any]:
        raw_path, _, query = target.partition(b"?")
        path = raw_path.partition(b"#")[0]
        scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "method": method,
            "path": (unquote_to_bytes(path) if b"%" in path else path).decode("utf-8", "replace"),
            "raw_path": raw_path,
            "query_string": query,
            "headers": headers,
            "state": {},
            "segue.target": target,
        }
        self.scope = scope  # type: ignore[assignment]
        return scope
