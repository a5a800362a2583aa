"""A song as a server describes it, from either of the two APIs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class ServerSong:
    """One song with the facts that linking and limits need; absent ones are "" or 0.

    `path` is below `root`; it is the file's true path only where `path_is_true`.
    """

    song_id: str
    path: str = ""
    path_is_true: bool = False
    root: str = ""
    folder_id: str = ""
    size_bytes: int = 0
    duration_s: float = 0.0
    title: str = ""
    artist: str = ""
    album: str = ""
    album_id: str = ""
    artist_ids: tuple[str, ...] = ()
    genres: tuple[str, ...] = ()
    year: int = 0

    @classmethod
    def from_child(cls, child: Mapping[str, Any], folder_id: str = "") -> Self:
        """From a Subsonic `Child`, with OpenSubsonic's lists where the server gives them."""
        genres = _names(child.get("genres")) or (_text(child.get("genre")),)
        artist_ids = [_text(child.get("artistId"))]
        for people in ("artists", "albumArtists"):
            artist_ids += _values(child.get(people), "id")
        return cls(
            song_id=_text(child.get("id")),
            path=_text(child.get("path")),
            folder_id=folder_id,
            size_bytes=_integer(child.get("size")),
            duration_s=float(_integer(child.get("duration"))),
            title=_text(child.get("title")),
            artist=_text(child.get("artist")),
            album=_text(child.get("album")),
            album_id=_text(child.get("albumId")),
            artist_ids=_distinct(artist_ids),
            genres=_distinct(genres),
            year=_integer(child.get("year")),
        )

    @classmethod
    def from_native(cls, row: Mapping[str, Any]) -> Self:
        """From a row of Navidrome's `/api/song`: true path, library root and library id."""
        people = row.get("participants")
        artist_ids = [_text(row.get("artistId")), _text(row.get("albumArtistId"))]
        if isinstance(people, dict):
            for role in ("artist", "albumartist"):
                artist_ids += _values(people.get(role), "id")
        tags = row.get("tags")
        genres = tags.get("genre") if isinstance(tags, dict) else None
        named = [_text(g) for g in genres] if isinstance(genres, list) else []
        return cls(
            song_id=_text(row.get("id")),
            path=_text(row.get("path")),
            path_is_true=True,
            root=_text(row.get("libraryPath")),
            folder_id=_text(row.get("libraryId")),
            size_bytes=_integer(row.get("size")),
            duration_s=_seconds(row.get("duration")),
            title=_text(row.get("title")),
            artist=_text(row.get("artist")),
            album=_text(row.get("album")),
            album_id=_text(row.get("albumId")),
            artist_ids=_distinct(artist_ids),
            genres=_distinct(named or _names(row.get("genres")) or (_text(row.get("genre")),)),
            year=_integer(row.get("year")),
        )


def _text(value: object) -> str:
    if isinstance(value, str):
        # What is no character (a lone surrogate) could be sent to no server and no database.
        return value.encode("utf-8", "replace").decode("utf-8")
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _integer(value: object) -> int:
    try:
        number = int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return 0
    return number if 0 <= number < 2**62 else 0


def _seconds(value: object) -> float:
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return 0.0
    return float(value)


def _values(items: object, key: str) -> list[str]:
    if not isinstance(items, list):
        return []
    return [_text(item.get(key)) for item in items if isinstance(item, dict)]


def _names(items: object) -> tuple[str, ...]:
    return tuple(name for name in _values(items, "name") if name)


def _distinct(values: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(v for v in values if v))  # type: ignore[attr-defined]
