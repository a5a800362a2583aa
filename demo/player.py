"""A small Subsonic player that follows AutoDJ as Feishin does, over real sockets, in quicker time.

Feishin's habits, as recorded from the real one: calls are form POSTs; when a song starts and fewer
than `timing` songs are left after it, `getSimilarSongs` (without .view) asks for songs like it; the
seed and all that is queued are dropped from the answer, **the rest is shuffled**, and what is still
short is filled from `getRandomSongs`, first of the same genre. With one music folder selected,
`getSimilarSongs` is never called. A preloaded stream and the reports of what plays come afterwards.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from demo.errors import PlayerError
from demo.servers import Account

USER_AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/141.0.0.0 Safari/537.36"
)
#: How many songs Feishin asks of getRandomSongs, and how many of the last one in its folder form.
RANDOM_SIZE = 50
FOLDER_RANDOM_SIZE = 10

Source = Literal["similar", "genre", "random"]


@dataclass(frozen=True, slots=True)
class Song:
    """A song as the server describes it to this user."""

    song_id: str
    title: str
    artist: str
    album: str
    genre: str
    genre_id: str
    path: str

    @classmethod
    def of(cls, child: Mapping[str, Any]) -> Song:
        """From a Subsonic `Child`; only its id is required."""
        genre = str(child.get("genre", ""))
        return cls(
            song_id=str(child["id"]),
            title=str(child.get("title", "")),
            artist=str(child.get("artist", "")),
            album=str(child.get("album", "")),
            genre=genre,
            # Feishin sends the genre's id; Subsonic's own songs have no other than the name.
            genre_id=genre,
            path=str(child.get("path", "")),
        )


@dataclass(frozen=True, slots=True)
class Refill:
    """One time that AutoDJ added songs: after which song, which ones, and whose answer each was.

    asked: each call made for it, with the answer's X-Segue header ("" where there is none).
    """

    seed: Song
    added: tuple[tuple[Song, Source], ...]
    asked: tuple[tuple[str, str], ...]
    took_s: float

    @property
    def songs(self) -> tuple[Song, ...]:
        """The songs added, in the order they will play."""
        return tuple(song for song, _ in self.added)


@dataclass(slots=True)
class Player:
    """One listener's player, with its queue.

    url: the server, without /rest. item_count, timing: AutoDJ's settings, at Feishin's defaults.
    music_folder_id: the one folder selected, if any. legacy_login: the password itself instead of
    token and salt, for servers that know no other (supysonic). chance: what shuffles.
    """

    url: str
    account: Account
    item_count: int = 5
    timing: int = 1
    music_folder_id: str | None = None
    legacy_login: bool = False
    form_post: bool = True
    client: str = "Feishin"
    chance: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311
    timeout_s: float = 20.0
    queue: list[Song] = field(default_factory=list)
    position: int = -1
    bytes_streamed: int = 0
    _answer_headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def current(self) -> Song | None:
        """What plays now."""
        return self.queue[self.position] if 0 <= self.position < len(self.queue) else None

    # Calls

    def call(self, method: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One API call; the content of `subsonic-response`.

        Raises PlayerError for any HTTP status but 200, as Feishin does, and for an answer that is
        not ok or not JSON.
        """
        body, self._answer_headers = self._send(method, parameters or {})
        try:
            answer: dict[str, Any] = json.loads(body)["subsonic-response"]
        except (ValueError, KeyError, TypeError) as error:
            raise PlayerError(
                f"{method}: the answer is not a Subsonic one: {body[:80]!r}"
            ) from error
        if answer.get("status") != "ok":
            trouble = answer.get("error") or {}
            raise PlayerError(f"{method}: error {trouble.get('code')}: {trouble.get('message')}")
        return answer

    def songs(self, method: str, parameters: Mapping[str, Any]) -> list[Song]:
        """The songs of an answer such as getRandomSongs', getSimilarSongs' or search3's."""
        answer = self.call(method, parameters)
        # Subsonic's JSON drops empty lists, so any level may be missing.
        for content in answer.values():
            if isinstance(content, dict) and "song" in content:
                return [Song.of(child) for child in content["song"]]
        return []

    def library(self) -> list[Song]:
        """Every song this user may see, by an empty search."""
        found: list[Song] = []
        while True:
            page = self.songs(
                "search3.view",
                {
                    "query": "",
                    "songCount": 500,
                    "songOffset": len(found),
                    "artistCount": 0,
                    "albumCount": 0,
                },
            )
            found += page
            if len(page) < 500:
                return found

    def _send(
        self, method: str, parameters: Mapping[str, Any], *, get: bool = False
    ) -> tuple[bytes, Mapping[str, str]]:
        given = {"c": self.client, "f": "json", "v": "1.13.0", **self._login(), **parameters}
        if get:
            # Only covers and streams are always fetched so, and they have no format.
            del given["f"]
        encoded = urllib.parse.urlencode(given, doseq=True)
        target = f"{self.url}/rest/{method}"
        headers = {"User-Agent": USER_AGENT, "Accept": "application/json, text/plain, */*"}
        if get or not self.form_post:
            request = urllib.request.Request(f"{target}?{encoded}", headers=headers)  # noqa: S310
        else:
            request = urllib.request.Request(target, encoded.encode(), headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_s) as answer:  # noqa: S310
                return answer.read(), {k.lower(): v for k, v in answer.headers.items()}
        except urllib.error.HTTPError as error:
            said = _message(error.read())
            raise PlayerError(f"{method}: HTTP {error.code}{said}") from error
        except (urllib.error.URLError, OSError) as error:
            raise PlayerError(f"{method}: no answer from {self.url}: {error}") from error

    def _login(self) -> dict[str, str]:
        if self.legacy_login:
            return {"u": self.account.username, "p": self.account.password}
        salt = f"{self.chance.getrandbits(48):012x}"
        # Subsonic's token login is defined as this hash.
        token = hashlib.md5((self.account.password + salt).encode(), usedforsecurity=False)
        return {"u": self.account.username, "s": salt, "t": token.hexdigest()}

    # Playing

    def play(self, songs: Iterable[Song]) -> Refill | None:
        """Puts songs into an empty queue and starts the first."""
        self.queue = list(songs)
        self.position = -1
        return self.next()

    def next(self, *, heard: bool = True, listen_s: float = 0.0) -> Refill | None:
        """Ends the current song, starts the next one, and lets AutoDJ look at the queue.

        heard: the song before counts as listened to, not skipped. listen_s: how long the new song
        is left playing before this returns. Returns what AutoDJ added, if it did.
        """
        if heard and self.current is not None:
            self._report(self.current, submission=True)
        self.position += 1
        song = self.current
        if song is None:
            return None
        # The last queued song starts: AutoDJ asks before anything is reported about it.
        remaining = len(self.queue) - 1 - self.position
        refill = self._refill(song) if remaining < self.timing else None
        self.stream(song)
        self._report(song, submission=False)
        if listen_s:
            time.sleep(listen_s)
        return refill

    def stream(self, song: Song) -> int:
        """Fetches a song's audio as a player does; the number of bytes."""
        body, _ = self._send("stream.view", {"id": song.song_id}, get=True)
        self.bytes_streamed += len(body)
        return len(body)

    def _report(self, song: Song, *, submission: bool) -> None:
        self.call("scrobble.view", {"id": song.song_id, "submission": str(submission).lower()})

    # AutoDJ

    def _refill(self, seed: Song) -> Refill:
        began = time.monotonic()
        added: list[tuple[Song, Source]] = []
        asked: list[tuple[str, str]] = []
        for source, method, parameters in self._sources(seed):
            short = self.item_count - len(added)
            if short <= 0:
                break
            self._answer_headers = {}
            try:
                offered = self.songs(method, parameters)
            except PlayerError:
                # Feishin goes on to the next source.
                offered = []
            asked.append((method, self._answer_headers.get("x-segue", "")))
            known = {song.song_id for song in self.queue} | {song.song_id for song, _ in added}
            fresh = {song.song_id: song for song in offered if song.song_id not in known}
            chosen = list(fresh.values())
            self.chance.shuffle(chosen)
            added += [(song, source) for song in chosen[:short]]
        self.queue += [song for song, _ in added]
        return Refill(seed, tuple(added), tuple(asked), time.monotonic() - began)

    def _sources(self, seed: Song) -> list[tuple[Source, str, dict[str, Any]]]:
        genre = {"genre": seed.genre_id} if seed.genre_id else {}
        if self.music_folder_id is not None:
            folder = {"musicFolderId": self.music_folder_id}
            return [
                ("genre", "getRandomSongs.view", {**genre, **folder, "size": RANDOM_SIZE}),
                ("random", "getRandomSongs.view", {**folder, "size": FOLDER_RANDOM_SIZE}),
            ]
        similar = {"count": self.item_count, "id": seed.song_id}
        sources: list[tuple[Source, str, dict[str, Any]]] = [
            ("similar", "getSimilarSongs", similar)
        ]
        if genre:
            sources.append(("genre", "getRandomSongs.view", {**genre, "size": RANDOM_SIZE}))
        sources.append(("random", "getRandomSongs.view", {"size": RANDOM_SIZE}))
        return sources


def _message(body: bytes) -> str:
    """What a Subsonic error says, as ": …"; "" where it says nothing."""
    try:
        message = json.loads(body)["subsonic-response"]["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return ""
    return f": {message}"
