"""Finding the track that somebody means: by song id, by path, by words of "artist title"."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from catalog.library import Library
from catalog.snapshot import Snapshot
from cli.console import printable
from cli.errors import UsageError

#: How many candidates an ambiguous seed lists.
_MOST_LISTED: Final = 10


class Finder:
    """Resolves seeds against one library and its snapshot."""

    def __init__(self, library: Library, snapshot: Snapshot) -> None:
        self._library = library
        self._snapshot = snapshot
        self._songs: dict[str, int] | None = None
        self._names: list[str] | None = None

    def row(self, seed: str) -> int:
        """The snapshot row of a seed.

        Raises:
            UsageError: nothing fits, or several tracks do (they are listed), or the track is
                known but not in the snapshot.
        """
        track_id = self._song(seed)
        if track_id is None:
            track_id = self._file(seed)
        if track_id is not None:
            row = self._snapshot.row_of(track_id)
            if row is None:
                raise UsageError(
                    f"{seed!r} is known but not in the snapshot: run `segue embed` to publish it"
                )
            return row
        return self._only(seed, self._ending(seed) or self._named(seed))

    def song_ids(self) -> dict[int, str]:
        """Track number -> song id; the first, where the server has a track more than once."""
        ids: dict[int, str] = {}
        for song_id, track_id in self._linked().items():
            ids.setdefault(track_id, song_id)
        return ids

    def _linked(self) -> dict[str, int]:
        if self._songs is None:
            self._songs = {
                song.song_id: track_id for song, track_id in self._library.linked_songs()
            }
        return self._songs

    def _song(self, seed: str) -> int | None:
        return self._linked().get(seed)

    def _file(self, seed: str) -> int | None:
        """A path of this machine, absolute or from here, below one of the music folders."""
        # Not resolved: the folders are kept as they were named, with the links in their paths.
        path = Path(os.path.normpath(Path(seed).expanduser().absolute()))
        for root_id, folder in self._library.roots().items():
            if path.is_relative_to(folder):
                known = self._library.files(root_id).get(path.relative_to(folder).as_posix())
                if known is not None:
                    return known.track_id
        return None

    def _ending(self, seed: str) -> list[int]:
        """A path below a music folder, or its end: "Album/01 - Song.flac"."""
        if "/" not in seed and "." not in seed:
            return []
        paths = [self._snapshot.text("path", row) for row in range(self._snapshot.n)]
        exact = [row for row, path in enumerate(paths) if path == seed]
        end = "/" + seed.lstrip("./")
        return exact or [row for row, path in enumerate(paths) if ("/" + path).endswith(end)]

    def _named(self, seed: str) -> list[int]:
        """Rows whose artist and title hold all the words.

        The whole name comes before the whole title, and both before a part of them.
        """
        words = plain_words(seed)
        if not words:
            return []
        text = self._snapshot.text
        if self._names is None:
            self._names = [
                " ".join(plain_words(f"{text('artist', row)} {text('title', row)}"))
                for row in range(self._snapshot.n)
            ]
        wanted = " ".join(words)
        ending = [row for row, name in enumerate(self._names) if f" {name}".endswith(f" {wanted}")]
        whole = [row for row in ending if self._names[row] == wanted]
        titled = [row for row in ending if plain_words(text("title", row)) == words]
        if whole or titled:
            return whole or titled
        return [
            row for row, name in enumerate(self._names) if all(w in name.split() for w in words)
        ] or [row for row, name in enumerate(self._names) if all(w in name for w in words)]

    def _only(self, seed: str, rows: Sequence[int]) -> int:
        if not rows:
            raise UsageError(
                f"nothing fits {seed!r}: expected a song id, a path, or words of artist and title"
            )
        families = {
            (row, -1) if code < 0 else (-1, code)
            for row, code in ((row, int(self._snapshot.recording[row])) for row in rows)
        }
        if len(families) == 1:
            return rows[0]
        listed = [f"  {printable(self._describe(row))}" for row in rows[:_MOST_LISTED]]
        if len(rows) > _MOST_LISTED:
            listed.append(f"  and {len(rows) - _MOST_LISTED} more")
        raise UsageError(
            "\n".join([f"{seed!r} fits {len(rows)} tracks; give more words, or a path:", *listed])
        )

    def _describe(self, row: int) -> str:
        text = self._snapshot.text
        return f"{text('artist', row)} - {text('title', row)}  ({text('path', row)})"


def plain_words(text: str) -> list[str]:
    """The words of a name without case, accents or punctuation.

    >>> plain_words("Beyoncé: Déjà-Vu")
    ['beyonce', 'deja', 'vu']
    """
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    bare = (c for c in decomposed if not unicodedata.combining(c))
    return "".join(c if c.isalnum() else " " for c in bare).split()
