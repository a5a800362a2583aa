"""The links as the proxy needs them: song ids to snapshot rows and back, and the server's facts.

Arrays, not objects: 500,000 songs fit in some 40 MB, and a filter is one vector operation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.snapshot import Snapshot
from catalog.tracks import Song

#: Rows of so many songs are found without a search: some 4 MB.
_MOST_REMEMBERED: Final = 30_000

Int32 = NDArray[np.int32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Codes:
    """Names in order, and for each name the songs that bear it (compressed rows)."""

    names: tuple[str, ...]
    starts: Int32
    songs: Int32

    @classmethod
    def of(cls, per_song: Iterable[Iterable[str]]) -> _Codes:
        bearers: dict[str, list[int]] = {}
        for song, names in enumerate(per_song):
            for name in dict.fromkeys(names):
                if name:
                    bearers.setdefault(name, []).append(song)
        names = tuple(sorted(bearers))
        counts = np.array([0, *(len(bearers[name]) for name in names)], np.int32)
        songs = [song for name in names for song in bearers[name]]
        return cls(names, np.cumsum(counts, dtype=np.int32), np.array(songs, np.int32))

    def songs_of(self, code: int) -> Int32:
        return self.songs[self.starts[code] : self.starts[code + 1]]


class Links:
    """Linked songs against one snapshot. Songs are numbered 0…m-1 in order of their ids.

    Attributes:
        rows: (m,) int32, the snapshot row of each song.
        year: (m,) int32, the server's year, 0 unknown.
    """

    def __init__(self, snapshot: Snapshot, linked: Iterable[tuple[Song, int]]) -> None:
        found = [
            (song, row)
            for song, track_id in linked
            if (row := snapshot.row_of(track_id)) is not None
        ]
        found.sort(key=lambda pair: pair[0].song_id.encode())
        songs = [song for song, _ in found]
        self._ids = np.array([song.song_id.encode() for song in songs], dtype=np.bytes_)
        self.rows: Int32 = np.array([row for _, row in found], np.int32)
        self.year: Int32 = np.array([song.year for song in songs], np.int32)
        self._folders = _Codes.of((song.folder_id,) for song in songs)
        self._albums = _Codes.of((song.album_id,) for song in songs)
        self._artists = _Codes.of(song.artist_ids for song in songs)
        self._genres = _Codes.of(song.genres for song in songs)
        self._folder_codes = np.full(len(songs), -1, np.int32)
        for code in range(len(self._folders.names)):
            self._folder_codes[self._folders.songs_of(code)] = code
        self._album_codes = {name: code for code, name in enumerate(self._albums.names)}
        self._artist_codes = {name: code for code, name in enumerate(self._artists.names)}
        self._order = np.argsort(self.rows, kind="stable").astype(np.int32)
        self._sorted_rows = self.rows[self._order]
        self._row_memory: dict[str, int] = {}
        self._linked_rows: Mask | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def genres(self) -> tuple[str, ...]:
        """Every genre that a linked song has, as the server spells it."""
        return self._genres.names

    def song(self, song_id: str) -> int | None:
        """The number of a song, or None where it is not linked."""
        key = song_id.encode("utf-8", "replace")
        if not len(self) or len(key) > self._ids.dtype.itemsize or key.endswith(b"\0"):
            return None
        at = int(np.searchsorted(self._ids, np.bytes_(key)))
        return at if at < len(self) and self._ids[at] == key else None

    def song_id(self, song: int) -> str:
        """The id of a song."""
        song_id = bytes(self._ids[song]).decode()
        self._remember(song_id, int(self.rows[song]))  # sessions ask for what was served
        return song_id

    def row(self, song_id: str) -> int | None:
        """The snapshot row of a song id, or None."""
        # Sessions ask for the same songs at every call: a search costs a hundred look-ups.
        row = self._row_memory.get(song_id)
        if row is None:
            song = self.song(song_id)
            if song is None:
                return None
            row = int(self.rows[song])
            self._remember(song_id, row)
        return row

    def rows_of(self, song_ids: Sequence[str]) -> list[int]:
        """The snapshot rows of those of many song ids that are linked, in their order."""
        found: list[int | None] = list(map(self._row_memory.get, song_ids))
        if None in found:
            found = list(map(self.row, song_ids))
        return [row for row in found if row is not None]

    def _remember(self, song_id: str, row: int) -> None:
        if len(self._row_memory) >= _MOST_REMEMBERED:
            self._row_memory.clear()
        self._row_memory[song_id] = row

    def album(self, album_id: str) -> Int32:
        """The songs of an album, by its id; empty where it is unknown."""
        code = self._album_codes.get(album_id)
        return np.empty(0, np.int32) if code is None else self._albums.songs_of(code)

    def artist(self, artist_id: str) -> Int32:
        """The songs of an artist, by its id; empty where it is unknown."""
        code = self._artist_codes.get(artist_id)
        return np.empty(0, np.int32) if code is None else self._artists.songs_of(code)

    def folder(self, song: int) -> str:
        """The music folder of a song as the API numbers it, "" where it is unknown."""
        code = int(self._folder_codes[song])
        return self._folders.names[code] if code >= 0 else ""

    def songs_at(self, row: int) -> Int32:
        """The songs that are the track at a snapshot row (more than one if libraries overlap)."""
        left, right = np.searchsorted(self._sorted_rows, [row, row + 1])
        return self._order[left:right]

    def select(
        self,
        *,
        genre: str = "",
        from_year: int = 0,
        to_year: int = 0,
        folder_ids: Collection[str] = (),
    ) -> Mask:
        """(m,) bool: the songs that a call's limits allow, by the server's own rules.

        As Navidrome's `getRandomSongs`: `genre` is compared like SQL's LIKE (no case, `%` and
        `_` are wildcards); a year of 0 sets no limit, and a song without a year passes `to_year`
        but not `from_year`. "" among `folder_ids` stands for songs whose folder is unknown.
        """
        mask = np.ones(len(self), np.bool_)
        if genre:
            mask &= self._bearing(self._genres, _like(genre))
        if folder_ids:
            wanted = set(folder_ids)
            within = self._bearing(self._folders, lambda name: name in wanted)
            mask &= within | (self._folder_codes < 0) if "" in wanted else within
        if from_year:
            mask &= self.year >= from_year
        if to_year:
            mask &= self.year <= to_year
        return mask

    def _bearing(self, codes: _Codes, wanted: Callable[[str], bool]) -> Mask:
        mask = np.zeros(len(self), np.bool_)
        for code, name in enumerate(codes.names):
            if wanted(name):
                mask[codes.songs_of(code)] = True
        return mask

    def eligible_rows(self, mask: Mask, n: int) -> Mask:
        """(n,) bool over snapshot rows: those that some allowed song is. Not to be written to."""
        if not mask.all():
            return self._mark(self.rows[mask], n)
        if self._linked_rows is None or len(self._linked_rows) != n:
            self._linked_rows = self._mark(self.rows, n)
        return self._linked_rows

    def _mark(self, rows: Int32, n: int) -> Mask:
        marked = np.zeros(n, np.bool_)
        marked[rows] = True
        marked.flags.writeable = False
        return marked

    def choose(self, rows: Sequence[int], mask: Mask) -> list[int | None]:
        """For each of `rows` an allowed song that is this track: the first by id, or None."""
        if not rows:
            return []
        lefts = np.searchsorted(self._sorted_rows, rows).tolist()
        rights = np.searchsorted(self._sorted_rows, rows, "right").tolist()
        return [
            next((song for song in self._order[left:right].tolist() if mask[song]), None)
            for left, right in zip(lefts, rights, strict=True)
        ]

    def seeds(self, seed_id: str) -> Sequence[int]:
        """The songs that an id of a song, an album or an artist stands for; empty if unknown."""
        song = self.song(seed_id)
        if song is not None:
            return (song,)
        album = self.album(seed_id)
        return [int(s) for s in (album if len(album) else self.artist(seed_id))]


_FOLD: Final = str.maketrans(ascii_uppercase, ascii_lowercase)


def _like(pattern: str) -> Callable[[str], bool]:
    """SQL's LIKE, as SQLite has it: ASCII letters without case, `%` any run, `_` one character.

    Without a regular expression, whose backtracking a pattern of many `%` turns into hours.
    """
    folded = pattern.translate(_FOLD)
    least = len(folded) - folded.count("%")
    if "%" not in folded and "_" not in folded:
        return lambda name: name.translate(_FOLD) == folded

    def matches(name: str) -> bool:
        return len(name) >= least and _glob(folded, name.translate(_FOLD))

    return matches


def _glob(pattern: str, text: str) -> bool:
    """Whether text fits; time at most the product of both lengths.

    When a run chosen for one `%` fails, only the latest `%` need be tried longer: an earlier one
    that took more would leave less, never other, text to what follows.
    """
    p = t = 0
    star, resume = -1, 0
    while t < len(text):
        if p < len(pattern) and pattern[p] == "%":
            star, resume = p, t
            p += 1
        elif p < len(pattern) and pattern[p] in ("_", text[t]):
            p += 1
            t += 1
        elif star >= 0:
            resume += 1
            p, t = star + 1, resume
        else:
            return False
    return all(c == "%" for c in pattern[p:])
