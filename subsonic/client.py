"""A small client for what Segue itself asks the server: linking, and looking around.

It uses the account in `[upstream]` and nothing else. Calls are form POSTs, so the login is in no
server's access log; servers that refuse token login (supysonic) get the password in the form.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, unquote, urlsplit

import httpx2

from subsonic.envelope import Answer, parse
from subsonic.errors import (
    MISSING_PARAMETER,
    TOKEN_UNSUPPORTED,
    WRONG_LOGIN,
    AnswerError,
    FailedAnswer,
    SubsonicError,
    UnreachableError,
)
from subsonic.login import CLIENT_NAME, login_parameters
from subsonic.settings import UpstreamSettings
from subsonic.songs import ServerSong

PAGE: Final = 500
NATIVE_PAGE: Final = 2000
_TIMEOUT_S: Final = 30.0
#: No page of songs is longer, with the lyrics of all of them, and no library has more songs: a
#: server that goes on has gone wrong.
_MOST_ANSWER_BYTES: Final = 128 * 2**20
_MOST_SONGS: Final = 3_000_000
#: An answer may take so many times as long as the server may be silent.
_MOST_TIMES: Final = 10


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server says of itself; text is "" where it says nothing."""

    version: str
    type: str
    server_version: str
    open_subsonic: bool


@dataclass(frozen=True, slots=True)
class ScanStatus:
    """Whether the server is scanning, how many songs it counts, and when it last scanned."""

    scanning: bool
    count: int
    last_scan: str


def read_password(settings: UpstreamSettings) -> str:
    """The password, from the settings or from the file that they name.

    Raises:
        SubsonicError: the file cannot be read.
    """
    if not settings.password_file:
        return settings.password
    try:
        return Path(settings.password_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SubsonicError(
            f"cannot read upstream.password_file {settings.password_file}: {why}"
        ) from error


class Client:
    """One login at one server. Use as an async context manager.

    Raises, from every call: UnreachableError, AnswerError, FailedAnswer.
    """

    def __init__(self, settings: UpstreamSettings, *, timeout_s: float = _TIMEOUT_S) -> None:
        parts = urlsplit(settings.url)
        transport = None
        self._base = settings.url.rstrip("/")
        if parts.scheme == "http+unix":
            transport = httpx2.AsyncHTTPTransport(uds=unquote(parts.netloc))
            self._base = f"http://localhost{parts.path.rstrip('/')}"
        self._http = httpx2.AsyncClient(
            timeout=timeout_s,
            transport=transport,
            headers={"User-Agent": CLIENT_NAME},
            trust_env=False,  # the one server that is configured, and no proxy from the environment
        )
        self._timeout_s = timeout_s
        self._username = settings.username
        self._password = read_password(settings)
        self._in_clear = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    def _login(self) -> dict[str, str]:
        return login_parameters(self._username, self._password, in_clear=self._in_clear)

    async def _post(self, url: str, **options: Any) -> httpx2.Response:
        return await self._send("POST", url, **options)

    async def _send(self, method: str, url: str, **options: Any) -> httpx2.Response:
        content = bytearray()
        try:
            async with (
                asyncio.timeout(_MOST_TIMES * self._timeout_s),
                self._http.stream(method, self._base + url, **options) as response,
            ):
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > _MOST_ANSWER_BYTES:
                        raise AnswerError(
                            f"{self._base} answered {url.partition('?')[0]} with more than"
                            f" {_MOST_ANSWER_BYTES >> 20} MiB: is upstream.url a Subsonic server?"
                        )
                return httpx2.Response(response.status_code, content=bytes(content))
        except TimeoutError as error:
            raise UnreachableError(
                f"no end of the answer from {self._base} in {_MOST_TIMES * self._timeout_s:g} s"
            ) from error
        except httpx2.HTTPError as error:
            raise UnreachableError(
                f"no answer from {self._base} ({_why(error)}): is the server running, and is"
                " upstream.url right, http or https?"
            ) from error

    async def call(self, endpoint: str, **parameters: str | int) -> Answer:
        """One call of the Subsonic API; returns the answer when it is ok."""
        try:
            return await self._call(endpoint, parameters)
        except FailedAnswer as error:
            refused = (MISSING_PARAMETER, WRONG_LOGIN, TOKEN_UNSUPPORTED)
            if self._in_clear or error.code not in refused:
                raise self._explained(error) from None
            self._in_clear = True
            try:
                return await self._call(endpoint, parameters)
            except FailedAnswer as other:
                if other.code not in refused:
                    raise  # the login was taken, and the call failed for a reason of its own
                self._in_clear = False
                told = other if other.code == WRONG_LOGIN else error
                raise self._explained(told) from None

    async def _call(self, endpoint: str, parameters: Mapping[str, str | int]) -> Answer:
        form = {**self._login(), **{name: str(value) for name, value in parameters.items()}}
        response = await self._post(f"/rest/{endpoint}.view", data=form)
        try:
            answer = parse(response.content, is_xml=False)
        except AnswerError as error:
            raise AnswerError(
                f"{self._base} answered {endpoint} with status {response.status_code} and no"
                " Subsonic answer: is upstream.url a Subsonic server?"
            ) from error
        if not answer.ok:
            raise FailedAnswer(*answer.error)
        return answer

    def _explained(self, error: FailedAnswer) -> FailedAnswer:
        """A refused login, with whose it was and what to do."""
        if error.code != WRONG_LOGIN:
            return error
        return FailedAnswer(
            error.code,
            f"{error.message}: {self._base} refused the account {self._username!r}; correct"
            " upstream.username and upstream.password",
        )

    async def ping(self) -> ServerFacts:
        """Log in; what the server says of itself."""
        root = (await self.call("ping")).root
        return ServerFacts(
            str(root.get("version", "")),
            str(root.get("type", "")),
            str(root.get("serverVersion", "")),
            root.get("openSubsonic") is True,
        )

    async def music_folders(self) -> dict[str, str]:
        """Names of the music folders that this account sees, by id."""
        folders = (await self.call("getMusicFolders")).payload("musicFolders") or {}
        return {str(f["id"]): str(f.get("name", "")) for f in folders.get("musicFolder") or ()}

    async def scan_status(self) -> ScanStatus:
        """Where the server's scan stands."""
        status = (await self.call("getScanStatus")).payload("scanStatus") or {}
        return ScanStatus(
            status.get("scanning") is True,
            int(status.get("count") or 0),
            str(status.get("lastScan", "")),
        )

    async def songs(self, folder_id: str = "") -> AsyncIterator[ServerSong]:
        """Every song that this account sees (of one music folder), by paging `search3`."""
        limits = {"musicFolderId": folder_id} if folder_id else {}
        known: set[str] = set()
        offset = 0
        while True:
            answer = await self.call(
                "search3", query="", artistCount=0, albumCount=0, songCount=PAGE,
                songOffset=offset, **limits,
            )  # fmt: skip
            page = (answer.payload("searchResult3") or {}).get("song") or []
            songs = [ServerSong.from_child(child, folder_id) for child in page]
            new = [song for song in songs if song.song_id and song.song_id not in known]
            # Not "shorter than a page": some servers give fewer than asked for. And one that
            # does not know songOffset gives the same page for ever.
            if not new:
                return
            for song in new:
                known.add(song.song_id)
                yield song
            offset += len(page)
            self._check_count(offset)

    async def native_songs(self) -> list[ServerSong] | None:
        """Every song with its true path, from Navidrome's own API; None where there is none."""
        login = {"username": self._username, "password": self._password}
        response = await self._post("/auth/login", json=login)
        token = _token(response)
        if token is None:
            return None
        songs: list[ServerSong] = []
        start = 0
        while True:
            # Sorted by id: a scan in between may move rows, but then links are made again anyway.
            response = await self._send(
                "GET",
                f"/api/song?_start={start}&_end={start + NATIVE_PAGE}&_sort=id&_order=ASC",
                headers={"X-ND-Authorization": f"Bearer {quote(token, safe='._-~+/=')}"},
            )
            page = _list(response)
            if page is None:
                return None
            songs += [ServerSong.from_native(row) for row in page if not row.get("missing")]
            if len(page) < NATIVE_PAGE:
                return songs
            start += len(page)
            self._check_count(start)

    def _check_count(self, songs: int) -> None:
        """Raise AnswerError where a server lists songs without end."""
        if songs > _MOST_SONGS:
            raise AnswerError(f"{self._base} lists more than {_MOST_SONGS} songs: it has no end")


def _why(error: httpx2.HTTPError) -> str:
    for kind, words in (
        (httpx2.TimeoutException, "it is too slow"),
        (httpx2.ConnectError, "no connection"),
        (httpx2.ProtocolError, "what answers does not speak HTTP"),
    ):
        if isinstance(error, kind):
            return words
    return "the connection broke"


def _document(response: httpx2.Response) -> Any:
    """What an answer says in JSON; None where it says nothing that can be read."""
    if response.status_code != httpx2.codes.OK:
        return None
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def _token(response: httpx2.Response) -> str | None:
    document = _document(response)
    token = document.get("token") if isinstance(document, dict) else None
    return token if isinstance(token, str) else None


def _list(response: httpx2.Response) -> list[dict[str, Any]] | None:
    document = _document(response)
    if not isinstance(document, list) or not all(isinstance(row, dict) for row in document):
        return None
    return document
