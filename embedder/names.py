"""Names of artists, albums and genres as they are compared, whoever spelled them."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

from catalog.tracks import Track

#: So many genres of a file count; what separates several in one tag.
MOST_GENRES: Final = 3
_GENRES: Final = re.compile(r"[;,/|\\]")

_FEATURING: Final = re.compile(r"[(\[]?\b(feat|ft|featuring)\b\.? .*")
_DISC_FOLDER: Final = re.compile(r"(cd|dis[ck])[ _-]*\d+")


def simplify(name: str) -> str:
    """A name as it is compared: compatible characters, no case, single spaces."""
    if name.isascii():
        return " ".join(name.lower().split())
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


# Tracks come album by album: the same names again and again.
_simplify = lru_cache(maxsize=4096)(simplify)


@lru_cache(maxsize=4096)
def _leading(name: str) -> str:
    name = simplify(name)
    return _FEATURING.sub("", name).strip() or name


def artist_name(track: Track) -> str:
    """The artist without guests, "" when unknown."""
    return _leading(track.tags.artist or track.tags.album_artist)


def album_name(track: Track) -> tuple[str, str] | None:
    """The album with its artist, or else with its folder: many albums are "Greatest Hits"."""
    album = _simplify(track.tags.album)
    if not album:
        return None
    artist = _simplify(track.tags.album_artist)
    if artist:
        return album, artist
    folder = track.file.path.rpartition("/")[0]
    above, _, name = folder.rpartition("/")
    if _DISC_FOLDER.fullmatch(name.casefold()):
        folder = above
    return album, f"/{track.root_id}/{folder or '.'}"


def genre_names(track: Track) -> list[str]:
    """At most `MOST_GENRES` genres, first named first; one tag often holds several."""
    names = (simplify(part) for tag in track.tags.genres for part in _GENRES.split(tag))
    return [name for name in dict.fromkeys(names) if name][:MOST_GENRES]
