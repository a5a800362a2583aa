"""The server's songs and the tracks that they are, as the library keeps them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from catalog.database import Database, plain_text
from catalog.tracks import Song


class Songs(Database):
    """The part of a library that links it to a server."""

    def replace_songs(self, songs: Iterable[Song], links: Mapping[str, int]) -> None:
        """Take the server's songs as they are now, with the tracks that they are.

        `links` maps song ids to track numbers; a song without one is kept unlinked.
        """
        with self._transaction() as db:
            db.execute("DELETE FROM songs")
            db.executemany(
                "INSERT OR REPLACE INTO songs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (s.song_id, links.get(s.song_id), plain_text(s.path), s.path_is_true,
                     plain_text(s.root), s.folder_id, s.size_bytes, s.duration_s,
                     plain_text(s.title), plain_text(s.artist), plain_text(s.album), s.album_id,
                     json.dumps(s.artist_ids), json.dumps(s.genres), s.year)
                    for s in songs
                ),
            )  # fmt: skip
            db.execute(
                "INSERT INTO meta VALUES ('links_revision', '1') ON CONFLICT (key)"
                " DO UPDATE SET value = CAST(value AS INTEGER) + 1"
            )

    def links_revision(self) -> int:
        """A number that grows whenever the links are replaced; 0 when never linked."""
        row = self._db.execute("SELECT value FROM meta WHERE key = 'links_revision'").fetchone()
        return 0 if row is None else int(row[0])

    def linked_songs(self) -> Iterator[tuple[Song, int]]:
        """Every linked song and its track, in order of song id."""
        rows = self._db.execute(
            "SELECT song_id, path, path_is_true, root, folder_id, size_bytes, duration_s, title,"
            " artist, album, album_id, artist_ids, genres, year, track_id FROM songs"
            " WHERE track_id IS NOT NULL ORDER BY song_id"
        )
        for *facts, artist_ids, genres, year, track_id in rows:
            values = [*facts, tuple(json.loads(artist_ids)), tuple(json.loads(genres)), year]
            yield Song(*values), int(track_id)

    def count_songs(self) -> tuple[int, int]:
        """(songs of the server, those linked to a track)."""
        songs, linked = self._db.execute("SELECT count(*), count(track_id) FROM songs").fetchone()
        return int(songs), int(linked)
