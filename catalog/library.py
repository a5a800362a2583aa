"""The library: everything Segue knows about the music, in one SQLite file.

One writer at a time (the embedding job; the linker writes only songs), any number of readers:
the file is in WAL mode. A track and all its analyses are one transaction, so a stop at any
instant loses at most the track in flight.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from catalog.errors import LibraryError
from catalog.schema import APPLICATION_ID, MIGRATIONS, migrate, schema_version
from catalog.tracks import (
    Analysis,
    Failure,
    FileFacts,
    Float32,
    Int64,
    KnownFile,
    Model,
    RunReport,
    Song,
    Tags,
    Track,
)

FILE_NAME: Final = "library.db"

#: A file must be absent from this many complete runs before its track is forgotten.
MISSING_RUNS_BEFORE_FORGOTTEN: Final = 3

_BUSY_TIMEOUT_S: Final = 30.0

_TRACK_COLUMNS: Final = (
    "track_id, root_id, path, size_bytes, mtime_ns, content_key, duration_s, title, artist, album,"
    " album_artist, genres, year, track_number, disc_number, musicbrainz_recording_id"
)


class Library:
    """An open library. Use as a context manager; not to be shared between threads.

    Raises:
        LibraryError: from `open`, when the file is damaged, foreign, newer than this Segue,
            or (read-only) not there.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db = connection
        self.path = path

    @classmethod
    def open(cls, data: Path, *, read_only: bool = False) -> Library:
        """Open `<data>/library.db`, creating and migrating it unless `read_only`."""
        path = data / FILE_NAME
        try:
            if read_only:
                if not path.exists():
                    raise LibraryError(
                        f"no library at {path}: run `segue embed` first, or set library.data"
                    )
                connection = sqlite3.connect(
                    f"{path.resolve().as_uri()}?mode=ro",
                    uri=True,
                    timeout=_BUSY_TIMEOUT_S,
                    isolation_level=None,
                )
            else:
                data.mkdir(parents=True, exist_ok=True)
                connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise LibraryError(f"cannot open the library {path}: {error}") from error
        try:
            cls._prepare(connection, path, read_only)
        except sqlite3.Error as error:
            connection.close()
            raise LibraryError(
                f"cannot use the library {path}: {error}; restore it from a copy, or move it away"
                " and run `segue embed` again"
            ) from error
        except LibraryError:
            connection.close()
            raise
        return cls(connection, path)

    @staticmethod
    def _prepare(connection: sqlite3.Connection, path: Path, read_only: bool) -> None:
        version = schema_version(connection)
        application = int(connection.execute("PRAGMA application_id").fetchone()[0])
        if version and application != APPLICATION_ID:
            raise LibraryError(f"{path} is another program's database; set library.data elsewhere")
        if version > len(MIGRATIONS):
            raise LibraryError(
                f"{path} was written by a newer Segue (schema {version}, this one knows"
                f" {len(MIGRATIONS)}): update Segue"
            )
        if read_only:
            if version < len(MIGRATIONS):
                raise LibraryError(
                    f"{path} has an older schema ({version}): run `segue embed` once to update it"
                )
            return
        # WAL needs shared memory; on a file system without it SQLite keeps its default journal,
        # which is slower, not less safe.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        migrate(connection)

    def check(self) -> list[str]:
        """What SQLite finds wrong with the file; empty when it is sound. Reads all of it."""
        found = [str(row[0]) for row in self._db.execute("PRAGMA integrity_check")]
        orphans = self._db.execute("PRAGMA foreign_key_check").fetchall()
        return [*(one for one in found if one != "ok"), *(f"orphan in {row[0]}" for row in orphans)]

    def tracks_revision(self) -> int:
        """A number that grows whenever a track or its analyses change."""
        row = self._db.execute("SELECT value FROM meta WHERE key = 'tracks_revision'").fetchone()
        return 0 if row is None else int(row[0])

    def published(self) -> str:
        """What `note_published` was told last, "" when nothing."""
        row = self._db.execute("SELECT value FROM meta WHERE key = 'published'").fetchone()
        return "" if row is None else str(row[0])

    def note_published(self, token: str) -> None:
        """Remember of what state of the library a snapshot was made."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('published', ?)", (token,))

    def close(self) -> None:
        """Close the file; the write-ahead log is folded in by SQLite."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing.

        Raises:
            LibraryError: the disk does not take it; what was there stays.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise LibraryError(
                f"cannot write the library {self.path}: {error}; is the disk full, and does the"
                " folder belong to the user that runs Segue?"
            ) from error

    # Music folders

    def root_id(self, folder: Path) -> int:
        """The number of a music folder, registered when new.

        A folder that was moved as a whole (another machine, another mount point) is known
        again by its base name and what lies in it, if its old path is no folder any more.
        """
        folder = folder.absolute()
        with self._transaction() as db:
            known = {Path(os.fsdecode(f)): int(i) for i, f in db.execute(
                "SELECT root_id, folder FROM roots ORDER BY root_id"
            )}  # fmt: skip
            if folder in known:
                return known[folder]
            for old, root in known.items():
                if old.name == folder.name and not old.is_dir() and _holds(db, root, folder):
                    db.execute(
                        "UPDATE roots SET folder = ? WHERE root_id = ?",
                        (os.fsencode(folder), root),
                    )
                    return root
            cursor = db.execute("INSERT INTO roots (folder) VALUES (?)", (os.fsencode(folder),))
            return int(cursor.lastrowid or 0)

    def roots(self) -> dict[int, str]:
        """Every music folder's number and path as last seen."""
        rows = self._db.execute("SELECT root_id, folder FROM roots ORDER BY root_id")
        return {int(root): os.fsdecode(folder) for root, folder in rows}

    # Tracks

    def tracks(self, root_id: int | None = None) -> Iterator[Track]:
        """All tracks in order of `track_id`, or those of one music folder."""
        where = "" if root_id is None else "WHERE root_id = ?"
        rows = self._db.execute(
            f"SELECT {_TRACK_COLUMNS} FROM tracks {where} ORDER BY track_id",
            () if root_id is None else (root_id,),
        )
        return (_track(row) for row in rows)

    def track(self, track_id: int) -> Track | None:
        """One track, or None."""
        row = self._db.execute(
            f"SELECT {_TRACK_COLUMNS} FROM tracks WHERE track_id = ?", (track_id,)
        ).fetchone()
        return None if row is None else _track(row)

    def count_tracks(self) -> int:
        """How many tracks are known."""
        return int(self._db.execute("SELECT count(*) FROM tracks").fetchone()[0])

    def files(self, root_id: int) -> dict[str, KnownFile]:
        """What is remembered of each file of a music folder, by path."""
        rows = self._db.execute(
            "SELECT path, track_id, size_bytes, mtime_ns, content_key FROM tracks"
            " WHERE root_id = ?",
            (root_id,),
        )
        return {os.fsdecode(path): KnownFile(*rest) for path, *rest in rows}

    def by_content(self, content_key: str) -> list[Track]:
        """Tracks with this very content, wherever they lie."""
        rows = self._db.execute(
            f"SELECT {_TRACK_COLUMNS} FROM tracks WHERE content_key = ? ORDER BY track_id",
            (content_key,),
        )
        return [_track(row) for row in rows]

    def store(
        self,
        root_id: int,
        file: FileFacts,
        content_key: str,
        duration_s: float,
        tags: Tags,
        analyses: Sequence[Analysis],
    ) -> int:
        """Insert or update a track with its analyses, in one transaction. Returns its number.

        A track whose content changed keeps its number and loses what was computed from the
        old content.
        """
        with self._transaction() as db:
            old = db.execute(
                "SELECT track_id, content_key FROM tracks WHERE root_id = ? AND path = ?",
                (root_id, os.fsencode(file.path)),
            ).fetchone()
            values = (
                file.size_bytes, file.mtime_ns, content_key, duration_s, *_tag_values(tags),
            )  # fmt: skip
            if old is None:
                cursor = db.execute(
                    "INSERT INTO tracks (root_id, path, size_bytes, mtime_ns, content_key,"
                    " duration_s, title, artist, album, album_artist, genres, year, track_number,"
                    " disc_number, musicbrainz_recording_id)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (root_id, os.fsencode(file.path), *values),
                )
                track_id = int(cursor.lastrowid or 0)
            else:
                track_id = int(old[0])
                db.execute(
                    "UPDATE tracks SET size_bytes = ?, mtime_ns = ?, content_key = ?,"
                    " duration_s = ?, title = ?, artist = ?, album = ?, album_artist = ?,"
                    " genres = ?, year = ?, track_number = ?, disc_number = ?,"
                    " musicbrainz_recording_id = ?, missing_runs = 0 WHERE track_id = ?",
                    (*values, track_id),
                )
                if old[1] != content_key:
                    db.execute("DELETE FROM vectors WHERE track_id = ?", (track_id,))
                    db.execute("DELETE FROM scores WHERE track_id = ?", (track_id,))
            for analysis in analyses:
                self._store_analysis(db, track_id, analysis)
            _clear_failure(db, root_id, file.path)
        return track_id

    def _store_analysis(self, db: sqlite3.Connection, track_id: int, analysis: Analysis) -> None:
        model_id = self._model_id(db, analysis.model)
        for table, column, values, length in (
            ("vectors", "vector", analysis.vector, analysis.model.dim),
            ("scores", "scores", analysis.scores, len(analysis.model.labels)),
        ):
            if values is None:
                continue
            if values.shape != (length,) or not np.isfinite(values).all():
                raise ValueError(
                    f"{analysis.model.name}: {column} must be {length} finite numbers,"
                    f" got shape {values.shape}"
                )
            db.execute(
                f"INSERT OR REPLACE INTO {table} (model_id, track_id, {column}) VALUES (?, ?, ?)",
                (model_id, track_id, np.ascontiguousarray(values, "<f4").tobytes()),
            )

    @staticmethod
    def _model_id(db: sqlite3.Connection, model: Model) -> int:
        row = db.execute(
            "SELECT model_id FROM models WHERE name = ? AND version = ?",
            (model.name, model.version),
        ).fetchone()
        if row is not None:
            return int(row[0])
        cursor = db.execute(
            "INSERT INTO models (name, version, dim, labels) VALUES (?, ?, ?, ?)",
            (model.name, model.version, model.dim, json.dumps(model.labels)),
        )
        return int(cursor.lastrowid or 0)

    def move(self, track_id: int, root_id: int, file: FileFacts, tags: Tags | None) -> None:
        """Record that known content now lies elsewhere, or was retagged or touched.

        Whatever track was known at the new path is replaced.
        """
        with self._transaction() as db:
            db.execute(
                "DELETE FROM tracks WHERE root_id = ? AND path = ? AND track_id != ?",
                (root_id, os.fsencode(file.path), track_id),
            )
            db.execute(
                "UPDATE tracks SET root_id = ?, path = ?, size_bytes = ?, mtime_ns = ?,"
                " missing_runs = 0 WHERE track_id = ?",
                (root_id, os.fsencode(file.path), file.size_bytes, file.mtime_ns, track_id),
            )
            if tags is not None:
                db.execute(
                    "UPDATE tracks SET title = ?, artist = ?, album = ?, album_artist = ?,"
                    " genres = ?, year = ?, track_number = ?, disc_number = ?,"
                    " musicbrainz_recording_id = ? WHERE track_id = ?",
                    (*_tag_values(tags), track_id),
                )
            _clear_failure(db, root_id, file.path)

    def copy(self, track_id: int, root_id: int, file: FileFacts, tags: Tags) -> int:
        """Store a file whose content is that of a known track, with all its analyses.

        Returns the new track's number.
        """
        source = self.track(track_id)
        if source is None:
            raise ValueError(f"there is no track {track_id}")
        new = self.store(root_id, file, source.content_key, source.duration_s, tags, ())
        with self._transaction() as db:
            for table, column in (("vectors", "vector"), ("scores", "scores")):
                db.execute(
                    f"INSERT OR REPLACE INTO {table} (model_id, track_id, {column})"
                    f" SELECT model_id, ?, {column} FROM {table} WHERE track_id = ?",
                    (new, track_id),
                )
        return new

    def mark_seen(self, root_id: int, paths: Collection[str]) -> None:
        """These files are there: whatever was counted against their tracks is taken back."""
        with self._transaction() as db:
            db.executemany(
                "UPDATE tracks SET missing_runs = 0"
                " WHERE root_id = ? AND path = ? AND missing_runs > 0",
                ((root_id, os.fsencode(path)) for path in paths),
            )

    def mark_missing(self, root_id: int, paths: Collection[str]) -> int:
        """Count a complete run in which these files were absent; forget those absent too often.

        Returns how many tracks were forgotten.
        """
        with self._transaction() as db:
            db.executemany(
                "UPDATE tracks SET missing_runs = missing_runs + 1 WHERE root_id = ? AND path = ?",
                ((root_id, os.fsencode(path)) for path in paths),
            )
            cursor = db.execute(
                "DELETE FROM tracks WHERE root_id = ? AND missing_runs >= ?",
                (root_id, MISSING_RUNS_BEFORE_FORGOTTEN),
            )
            return cursor.rowcount

    def forget(self, root_id: int, paths: Collection[str]) -> int:
        """Forget the tracks of these files at once. Returns how many there were."""
        with self._transaction() as db:
            cursor = db.executemany(
                "DELETE FROM tracks WHERE root_id = ? AND path = ?",
                ((root_id, os.fsencode(path)) for path in paths),
            )
            return max(cursor.rowcount, 0)

    # Failures and runs

    def record_failure(self, root_id: int, file: FileFacts, reason: str, detail: str) -> None:
        """Remember why a file gave no track; it is tried again when it changes."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?, ?, ?)",
                (root_id, os.fsencode(file.path), file.size_bytes, file.mtime_ns, reason,
                 _text(detail), time.time()),
            )  # fmt: skip

    def failures(self, root_id: int | None = None) -> list[Failure]:
        """Every remembered failure, in order of path."""
        where = "" if root_id is None else "WHERE root_id = ?"
        rows = self._db.execute(
            "SELECT root_id, path, size_bytes, mtime_ns, reason, detail, at_s FROM failures"
            f" {where} ORDER BY root_id, path",
            () if root_id is None else (root_id,),
        )
        return [Failure(root, os.fsdecode(path), *rest) for root, path, *rest in rows]

    def forget_failures(self, root_id: int, paths: Iterable[str]) -> None:
        """Forget failures of files that are gone."""
        with self._transaction() as db:
            for path in paths:
                _clear_failure(db, root_id, path)

    def start_run(self) -> int:
        """Note that a run of the job begins. Returns its number."""
        with self._transaction() as db:
            cursor = db.execute("INSERT INTO runs (started_s) VALUES (?)", (time.time(),))
            return int(cursor.lastrowid or 0)

    def finish_run(self, run_id: int, report: RunReport) -> None:
        """Note how a run ended."""
        with self._transaction() as db:
            db.execute(
                "UPDATE runs SET finished_s = ?, report = ? WHERE run_id = ?",
                (time.time(), json.dumps(asdict(report)), run_id),
            )

    def last_run(self) -> RunReport | None:
        """The report of the last run that came to its end."""
        row = self._db.execute(
            "SELECT report FROM runs WHERE report IS NOT NULL ORDER BY run_id DESC LIMIT 1"
        ).fetchone()
        return None if row is None else RunReport(**json.loads(row[0]))

    # What the models said

    def models(self) -> list[Model]:
        """Every model that has left something here."""
        rows = self._db.execute("SELECT name, version, dim, labels FROM models ORDER BY model_id")
        return [Model(n, v, int(dim), tuple(json.loads(labels))) for n, v, dim, labels in rows]

    def analysed(self, model: Model) -> set[int]:
        """The tracks for which this model's results are stored."""
        table = "vectors" if model.dim else "scores"
        rows = self._db.execute(
            f"SELECT track_id FROM {table} JOIN models USING (model_id)"
            " WHERE name = ? AND version = ?",
            (model.name, model.version),
        )
        return {int(track_id) for (track_id,) in rows}

    def vectors(self, model: Model) -> tuple[Int64, Float32]:
        """Raw vectors of a model: track numbers ascending (n,) int64, vectors (n, dim) float32."""
        return self._matrix("vectors", "vector", model, model.dim)

    def scores(self, model: Model) -> tuple[Int64, Float32]:
        """Scores of a model: track numbers ascending (n,) int64, scores (n, n_labels) float32."""
        return self._matrix("scores", "scores", model, len(model.labels))

    def _matrix(self, table: str, column: str, model: Model, width: int) -> tuple[Int64, Float32]:
        key = (model.name, model.version)
        source = f"FROM {table} JOIN models USING (model_id) WHERE name = ? AND version = ?"
        with self._reading() as db:
            n = int(db.execute(f"SELECT count(*) {source}", key).fetchone()[0])
            ids = np.empty(n, np.int64)
            matrix = np.empty((n, width), np.float32)
            rows = db.execute(f"SELECT track_id, {column} {source} ORDER BY track_id", key)
            for i, (track_id, blob) in enumerate(rows):
                ids[i] = track_id
                matrix[i] = np.frombuffer(blob, "<f4")
        return ids, matrix

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view over several statements."""
        if self._db.in_transaction:
            yield self._db
            return
        self._db.execute("BEGIN")
        try:
            yield self._db
        finally:
            self._db.execute("COMMIT")

    # Songs and their links

    def replace_songs(self, songs: Iterable[Song], links: Mapping[str, int]) -> None:
        """Take the server's songs as they are now, with the tracks that they are.

        `links` maps song ids to track numbers; a song without one is kept unlinked.
        """
        with self._transaction() as db:
            db.execute("DELETE FROM songs")
            db.executemany(
                "INSERT OR REPLACE INTO songs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (s.song_id, links.get(s.song_id), _text(s.path), s.path_is_true,
                     _text(s.root), s.folder_id, s.size_bytes, s.duration_s, _text(s.title),
                     _text(s.artist), _text(s.album), s.album_id, json.dumps(s.artist_ids),
                     json.dumps(s.genres), s.year)
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


def _holds(db: sqlite3.Connection, root_id: int, folder: Path) -> bool:
    """Whether some of a music folder's known files lie in another folder, too.

    Two folders may share a name; the one that is not mounted now must keep its tracks.
    """
    paths = db.execute("SELECT path FROM tracks WHERE root_id = ? LIMIT 50", (root_id,)).fetchall()
    return not paths or any((folder / os.fsdecode(path)).exists() for (path,) in paths)


def _text(value: str) -> str:
    """Text that SQLite can hold: what is no character (a lone surrogate) becomes "?"."""
    return value.encode("utf-8", "replace").decode("utf-8")


def _tag_values(tags: Tags) -> tuple[object, ...]:
    return (
        _text(tags.title), _text(tags.artist), _text(tags.album), _text(tags.album_artist),
        json.dumps(tags.genres), tags.year, tags.track_number, tags.disc_number,
        _text(tags.musicbrainz_recording_id),
    )  # fmt: skip


def _clear_failure(db: sqlite3.Connection, root_id: int, path: str) -> None:
    db.execute("DELETE FROM failures WHERE root_id = ? AND path = ?", (root_id, os.fsencode(path)))


def _track(row: Sequence[object]) -> Track:
    (track_id, root_id, path, size, mtime, key, duration,
     title, artist, album, album_artist, genres, year, number, disc, mbid) = row  # fmt: skip
    return Track(
        track_id,  # type: ignore[arg-type]
        root_id,  # type: ignore[arg-type]
        FileFacts(os.fsdecode(path), size, mtime),  # type: ignore[arg-type]
        key,  # type: ignore[arg-type]
        duration,  # type: ignore[arg-type]
        Tags(title, artist, album, album_artist, tuple(json.loads(genres)),  # type: ignore[arg-type]
             year, number, disc, mbid),  # type: ignore[arg-type]
    )  # fmt: skip
