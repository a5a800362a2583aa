"""A small OpenSubsonic server that answers as the recorded Navidrome does, over real sockets.

It has two music folders, two users with private stars, one of whom sees only one folder, and
counts what it is asked. For tests of the wire only: behaviour with real servers is in tests/e2e.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import quoteattr

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

ENVELOPE = {
    "version": "1.16.1", "type": "navidrome", "serverVersion": "0.99", "openSubsonic": True,
}  # fmt: skip
SECURITY = [
    ("Permissions-Policy", "autoplay=(), camera=(), microphone=(), usb=()"),
    ("Referrer-Policy", "same-origin"),
    ("Vary", "Origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
]


@dataclass
class User:
    password: str
    folders: tuple[int, ...]
    stars: dict[str, str] = field(default_factory=dict)
    ratings: dict[str, int] = field(default_factory=dict)
    bookmarks: dict[str, int] = field(default_factory=dict)


def child(i: int, n: int) -> dict[str, Any]:
    """Song number `i` of `n`: the first half lies in folder 1, the rest in folder 2."""
    style, folder = i % 4, 1 if i < n // 2 else 2
    genre = ("Rock", "Jazz & Blues", "Electronic", "Classical")[style]
    artist = f"Artist {i % 10}"
    return {
        "id": f"song{i:04d}", "parent": f"album{i // 5:03d}", "isDir": False,
        "title": f"Title {i} <ü&>", "album": f"Album {i // 5}", "artist": artist,
        "track": i % 5 + 1, "year": 1980 + i % 40 if i % 7 else 0, "genre": genre, "size": 1000 + i,
        "contentType": "audio/mpeg", "suffix": "mp3", "duration": 100 + i, "bitRate": 128,
        "path": f"{artist}/Album {i // 5}/{i}.mp3", "created": "2026-11-21T03:45:12.557310185Z",
        "albumId": f"album{i // 5:03d}", "artistId": f"artist{i % 10}", "type": "music", "bpm": 0,
        "comment": "", "sortName": f"title {i}", "mediaType": "song", "musicBrainzId": "",
        "isrc": [], "genres": [{"name": genre}], "replayGain": {}, "channelCount": 2,
        "samplingRate": 44100, "bitDepth": 0, "moods": [],
        "artists": [{"id": f"artist{i % 10}", "name": artist}], "displayArtist": artist,
        "albumArtists": [{"id": f"artist{i % 10}", "name": artist}],
        "displayAlbumArtist": artist, "contributors": [], "displayComposer": "",
        "explicitStatus": "", "groupings": [], "works": [], "movements": [],
        "_folder": folder, "_style": style,
    }  # fmt: skip


class FakeServer:
    """The application, and what it saw."""

    def __init__(self, n: int = 60, ids: Sequence[str] = ()) -> None:
        songs = [child(i, n) for i in range(n)]
        for song, song_id in zip(songs, ids, strict=False):
            song["id"] = song_id
        self.songs = {song["id"]: song for song in songs}
        #: As Navidrome did of old, and other servers do.
        self.takes_any_callback = False
        self.users = {
            "admin": User("sesame", (1, 2)),
            "bob": User("secret", (1,)),
        }
        self.calls: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.delay_s: dict[str, float] = {}
        self.random = random.Random(1)

    def application(self) -> Starlette:
        methods = ["GET", "POST"]
        return Starlette(
            routes=[
                Route("/rest/{endpoint}", self._rest, methods=methods),
                Route("/auth/login", self._login, methods=["POST"]),
                Route("/api/song", self._native_songs),
                Route("/api/song/{id}", self._native_song),
                Route("/{rest:path}", self._else, methods=["GET", "POST", "PUT", "DELETE"]),
            ]
        )

    def asked(self, endpoint: str) -> int:
        return sum(called == endpoint for called, _, _ in self.calls)

    def token(self, name: str) -> str:
        claims = base64.urlsafe_b64encode(json.dumps({"sub": name}).encode()).decode().rstrip("=")
        return f"e30.{claims}.signature"

    async def _else(self, request: Request) -> Response:
        return PlainTextResponse(f"page {request.url.path}", headers=dict(SECURITY))

    async def _login(self, request: Request) -> Response:
        login = await request.json()
        user = self.users.get(login["username"].lower())
        if user is None or user.password != login["password"]:
            return JSONResponse({"error": "no"}, 401)
        return JSONResponse({"token": self.token(login["username"].lower())})

    def _native_user(self, request: Request) -> User | None:
        header = request.headers.get("x-nd-authorization", "")
        return next(
            (u for name, u in self.users.items() if header == f"Bearer {self.token(name)}"), None
        )

    def _row(self, song: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **{k: song[k] for k in ("id", "title", "artist", "album", "albumId", "artistId", "year",
                                    "size", "duration", "path")},
            "libraryId": song["_folder"], "libraryPath": f"/music{song['_folder']}",
            "albumArtistId": song["artistId"], "tags": {"genre": [song["genre"]]},
            "genre": song["genre"], "missing": False,
        }  # fmt: skip

    async def _native_songs(self, request: Request) -> Response:
        user = self._native_user(request)
        if user is None:
            return JSONResponse({"error": "no"}, 401)
        rows = [self._row(s) for s in self.songs.values() if s["_folder"] in user.folders]
        start, end = int(request.query_params["_start"]), int(request.query_params["_end"])
        return JSONResponse(rows[start:end], headers={"X-Total-Count": str(len(rows))})

    async def _native_song(self, request: Request) -> Response:
        if self._native_user(request) is None:
            return JSONResponse({"error": "no"}, 401)
        return JSONResponse(self._row(self.songs[request.path_params["id"]]))

    async def _rest(self, request: Request) -> Response:
        endpoint = request.path_params["endpoint"].removesuffix(".view")
        is_form = request.headers.get("content-type", "").startswith("application/x-www-form")
        form = parse_qsl((await request.body()).decode()) if is_form else []
        pairs = [*form, *request.query_params.multi_items()]
        first: dict[str, str] = {}
        for name, value in pairs:
            first.setdefault(name, str(value))
        self.calls.append((endpoint, first, dict(request.headers)))
        if endpoint in self.delay_s:
            await asyncio.sleep(self.delay_s[endpoint])
        folders = [str(v) for n, v in pairs if n == "musicFolderId"]
        status, payload = self._answer(endpoint, first, folders)
        if status == "ok" and endpoint in ("stream", "download"):
            return Response(b"sound" * 100, media_type="audio/mpeg")
        return self._respond(request, first, status, payload)

    def _answer(
        self, endpoint: str, p: dict[str, str], folders: list[str]
    ) -> tuple[str, dict[str, Any]]:
        for name in ("u", "v", "c"):
            if not p.get(name):
                return "failed", _error(10, f"missing parameter: '{name}'")
        user = self.users.get(p["u"].lower())
        if user is None or not _password_fits(user.password, p):
            return "failed", _error(40, "Wrong username or password")
        visible = [s for s in self.songs.values() if s["_folder"] in user.folders]
        if folders:
            wanted = [int(f) for f in folders if f.isdigit()]
            if not set(wanted) <= set(user.folders):
                return "failed", _error(70, "Library not found or not accessible")
            visible = [s for s in visible if s["_folder"] in wanted]
        ids = {s["id"] for s in visible}

        def shown(song: Mapping[str, Any]) -> dict[str, Any]:
            public = {k: v for k, v in song.items() if not k.startswith("_")}
            if song["id"] in user.stars:
                public["starred"] = user.stars[song["id"]]
            if song["id"] in user.ratings:
                public["userRating"] = user.ratings[song["id"]]
            if song["id"] in user.bookmarks:
                public["bookmarkPosition"] = user.bookmarks[song["id"]]
            return public

        if endpoint in ("stream", "download") and p.get("id") not in ids:
            return "failed", _error(70, "Song not found")
        if endpoint in ("ping", "scrobble", "reportPlayback", "savePlayQueue", "stream",
                        "download", "savePlayQueueByIndex"):  # fmt: skip
            return "ok", {}
        if endpoint == "star":
            user.stars[p["id"]] = "2026-11-21T03:45:12Z"
            return "ok", {}
        if endpoint == "unstar":
            user.stars.pop(p["id"], None)
            return "ok", {}
        if endpoint == "setRating":
            user.ratings[p["id"]] = int(p["rating"])
            return "ok", {}
        if endpoint == "createBookmark":
            user.bookmarks[p["id"]] = int(p["position"])
            return "ok", {}
        if endpoint == "deleteBookmark":
            user.bookmarks.pop(p["id"], None)
            return "ok", {}
        if endpoint == "getTranscodeDecision":
            return "ok", {"transcodeDecision": {"canDirectPlay": True}}
        if endpoint == "getMusicFolders":
            entries = [{"id": f, "name": f"Folder {f}"} for f in user.folders]
            return "ok", {"musicFolders": {"musicFolder": entries}}
        if endpoint == "getScanStatus":
            return "ok", {"scanStatus": {"scanning": False, "count": len(self.songs),
                                         "lastScan": "2026-11-21T03:45:12Z"}}  # fmt: skip
        if endpoint == "getSong":
            if not p.get("id"):
                return "failed", _error(10, "missing parameter: 'id'")
            if p["id"] not in ids:
                return "failed", _error(70, "Song not found")
            return "ok", {"song": shown(self.songs[p["id"]])}
        if endpoint == "search3":
            start, count = int(p.get("songOffset", 0)), int(p.get("songCount", 20))
            page = [shown(s) for s in visible[start : start + count]]
            return "ok", {"searchResult3": {"song": page} if page else {}}
        if endpoint in ("getSimilarSongs", "getSimilarSongs2"):
            if not p.get("id"):
                return "failed", _error(10, "missing parameter: 'id'")
            known = ids | {s["albumId"] for s in visible} | {s["artistId"] for s in visible}
            if p["id"] not in known:
                return "failed", _error(70, "data not found")
            songs = [shown(s) for s in visible][: max(int(p.get("count", 50)), 0)]
            name = "similarSongs" + endpoint.removeprefix("getSimilarSongs")
            return "ok", {name: {"song": songs} if songs else {}}
        if endpoint == "getRandomSongs":
            if p.get("genre"):
                visible = [s for s in visible if s["genre"].lower() == p["genre"].lower()]
            self.random.shuffle(visible)
            songs = [shown(s) for s in visible][: int(p.get("size", 10)) or None]
            return "ok", {"randomSongs": {"song": songs} if songs else {}}
        return "failed", _error(0, "no such call")

    def _respond(
        self, request: Request, p: dict[str, str], status: str, payload: dict[str, Any]
    ) -> Response:
        headers = list(SECURITY)
        if request.headers.get("origin"):
            headers.insert(0, ("Access-Control-Allow-Origin", "*"))
        if status == "ok" or payload["error"]["code"] not in (10, 40):
            cookie = f"nd-player-{p['u'].encode().hex()}=PLAYER; Path=/; HttpOnly"
            headers.append(("Set-Cookie", cookie))
        form = p.get("f")
        envelope = {"status": status, **ENVELOPE, **payload}
        if form in ("json", "jsonp"):
            body, media_type = json.dumps({"subsonic-response": envelope}), "application/json"
            if form == "jsonp":
                callback = p.get("callback", "")
                good = callback.replace(".", "").isidentifier()
                if not (good or self.takes_any_callback):
                    envelope = {"status": "failed", **ENVELOPE, **_error(0, "invalid callback")}
                    body = json.dumps({"subsonic-response": envelope})
                else:
                    body, media_type = f"{callback}({body})", "application/javascript"
        else:
            body, media_type = (
                _xml("subsonic-response", envelope, namespace=True),
                "application/xml",
            )
        response = Response(body, media_type=None)
        response.raw_headers = [
            (b"Content-Type", media_type.encode()),
            *((n.encode(), v.encode()) for n, v in headers),
            (b"Content-Length", str(len(response.body)).encode()),
        ]
        return response


def _error(code: int, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def _password_fits(password: str, p: Mapping[str, str]) -> bool:
    if p.get("t"):
        token = hashlib.md5((password + p.get("s", "")).encode()).hexdigest()
        return p["t"] == token
    given = p.get("p", "")
    if given.startswith("enc:"):
        given = bytes.fromhex(given[4:]).decode()
    return given == password


def _xml(name: str, value: Mapping[str, Any], *, namespace: bool = False) -> str:
    attributes = ' xmlns="http://subsonic.org/restapi"' if namespace else ""
    inside = ""
    for key, item in value.items():
        if isinstance(item, dict):
            inside += _xml(key, item)
        elif isinstance(item, list):
            inside += "".join(_xml(key, entry) for entry in item if isinstance(entry, dict))
        elif item != "" and item != []:
            text = str(item).lower() if isinstance(item, bool) else str(item)
            attributes += f" {key}={quoteattr(text)}"
    return f"<{name}{attributes}>{inside}</{name}>"
