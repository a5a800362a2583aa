"""The music as a server has it: listed and read through the Subsonic API, without any mount."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Final, Self

from catalog.tracks import FileFacts
from embedder.errors import SourceError
from embedder.folders import AUDIO_SUFFIXES
from embedder.scouts import FEWEST_TRIED
from embedder.source import Listing
from subsonic.client import Client
from subsonic.download import Downloads
from subsonic.errors import SubsonicError
from subsonic.listing import fetch_songs
from subsonic.settings import UpstreamSettings
from subsonic.songs import ServerSong

#: What a music folder is known by when the server does not tell where it lies.
_FOLDER: Final = "server:"


class ServerMusic:
    """Everything that the account in `[upstream]` may hear. Use as a context manager.

    Tracks are known by the true paths that Navidrome tells, below the same roots as if its folders
    were read; elsewhere by the paths that the server shows.
    """

    def __init__(
        self, settings: UpstreamSettings, *, connections: int = 2, bytes_per_s: float = 0.0
    ) -> None:
        if not settings.username:
            raise SourceError(
                'library.source is "server", but upstream.username is not set: an ordinary account'
                " that may download is needed"
            )
        self._settings = settings
        self._songs: dict[tuple[Path, str], ServerSong] = {}
        try:
            self._downloads = Downloads(settings, connections=connections, bytes_per_s=bytes_per_s)
        except SubsonicError as error:
            raise SourceError(str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._downloads.close()

    def listings(self) -> list[Listing]:
        """As in `embedder.source.MusicSource`; videos and what has no size are left out.

        Raises:
            SourceError: the server does not answer, refuses the account, or has no songs.
        """
        try:
            songs, names = asyncio.run(self._ask())
        except SubsonicError as error:
            raise SourceError(f"{error}; nothing was changed") from error
        self._songs = {}
        found: dict[Path, dict[str, FileFacts]] = {}
        for song in sorted(songs, key=lambda song: song.song_id):
            suffix = PurePosixPath(song.path).suffix.lower()
            if suffix not in AUDIO_SUFFIXES or song.size_bytes <= 0:
                continue
            name = names.get(song.folder_id, song.folder_id)
            folder = Path(song.root) if song.root else Path(f"{_FOLDER}{name.replace('/', '_')}")
            files = found.setdefault(folder, {})
            if song.path not in files:
                files[song.path] = FileFacts(song.path, song.size_bytes, _stamp(song))
                self._songs[folder, song.path] = song
        if not found:
            raise SourceError(
                f"{self._settings.url} lists no songs for {self._settings.username}: has it"
                " scanned, and may the account hear its music?"
            )
        return [
            Listing(folder, sorted(files.values(), key=lambda file: file.path), remote=True)
            for folder, files in sorted(found.items())
        ]

    async def _ask(self) -> tuple[list[ServerSong], dict[str, str]]:
        async with Client(self._settings) as client:
            songs = await fetch_songs(client)
            try:
                names = await client.music_folders()
            except SubsonicError:
                names = {}
            return songs, names

    def open(self, folder: Path, file: FileFacts) -> ServerFile:
        """As in `MusicSource`."""
        song = self._songs[folder, file.path]
        return ServerFile(self._downloads, song.song_id, song.size_bytes)

    def trouble(self, folder: Path, paths: Sequence[str], stop: threading.Event) -> str:
        """As in `MusicSource`: a login that may read nothing any more reads none of them."""
        why = ""
        for path in paths:
            if stop.is_set():
                return ""
            try:
                self.open(folder, FileFacts(path, 0, 0)).read_at(0, 1)
            except OSError as error:
                why = error.strerror or str(error)
            else:
                return ""
        return why if len(paths) >= FEWEST_TRIED else ""


class ServerFile:
    """One song's file, as `embedder.reading.Source`."""

    def __init__(self, downloads: Downloads, song_id: str, size_bytes: int) -> None:
        self._downloads = downloads
        self._song_id = song_id
        self.size_bytes = size_bytes

    def read_at(self, offset: int, size: int) -> bytes:
        """As in `Source`.

        Raises:
            OSError: as `Downloads.read`.
        """
        return self._downloads.read(self._song_id, offset, size, self.size_bytes)

    def close(self) -> None:
        """As in `Source`."""


def _stamp(song: ServerSong) -> int:
    """In place of a time, which servers do not tell: another when the server's own facts change."""
    facts = (song.size_bytes, song.duration_s, song.title, song.artist, song.album, song.genres,
             song.year)  # fmt: skip
    return int.from_bytes(blake2b(repr(facts).encode(), digest_size=7).digest(), "little")
