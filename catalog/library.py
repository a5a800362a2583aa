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
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

from catalog.analyses import Analyses
from catalog.database import plain_text
from catalog.errors import WHOSE_FOLDER, LibraryError, advice
from catalog.runs import Runs, clear_failure
from catalog.schema import APPLICATION_ID, MIGRATIONS, migrate, schema_version
from catalog.songs import Songs
from catalog.tracks import Analysis, FileFacts, KnownFile, Tags, Track

FILE_NAME: Final = "library.db"

#: A file must be absent from this many complete runs before its track is forgotten.
MISSING_RUNS_BEFORE_FORGOTTEN: Final = 3
#: Runs that follow sooner count as one: they have seen the same state of the same mount.
HOURS_BETWEEN_MISSING_RUNS: Final = 6.0

#: The oldest schema that all that is only read lies in as it does today: whoever serves goes on
#: doing so after an upgrade, until the next `segue embed` has brought the library up to date.
_LEAST_READABLE: Final = 2

_BUSY_TIMEOUT_S: Final = 30.0

#: Of a new library. In SQLite's default of 4 KiB each vector and each row of scores (2 KB) takes a
#: page of its own: 500,000 tracks were 7.3 GB instead of 3.5.
_PAGE_BYTES: Final = 16 * 1024

#: So many of a folder's files tell whether another folder is it.
_FILES_TO_KNOW_BY: Final = 50

_TRACK_COLUMNS: Final = (
    "track_id, root_id, path, size_bytes, mtime_ns, content_key, duration_s, title, artist, album,"
    " album_artist, genres, year, track_number, disc_number, musicbrainz_recording_id"
)


#: Begins the path of a track of no place; no file's can.
_ASIDE: Final = "\0"


def is_set_aside(path: str) -> bool:
    """Whether this is no file's path, but that of a track that was set aside."""
    return path.startswith(_ASIDE)


class Library(Analyses, Songs, Runs):
    """An open library. Use as a context manager; not to be shared between threads.

    Raises:
        LibraryError: from `open`, when the file is damaged, foreign, newer than this Segue,
            or (read-only) not there; from every write that the disk does not take.
    """

    _noun = "library"
    _error = LibraryError
    _advice = f"; is the disk full, and {WHOSE_FOLDER}"

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
            raise cls._unopened(path, error) from error
        try:
            cls._prepare(connection, path, read_only)
        except sqlite3.Error as error:
            connection.close()
            todo = "restore it from a copy, or move it away and run `segue embed` again"
            raise LibraryError(
                f"cannot use the library {path}: {error}; {advice(error, todo)}"
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
            if version < _LEAST_READABLE:
                raise LibraryError(
                    f"{path} has an older schema ({version}): run `segue embed` once to update it"
                )
            return
        if not version:
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
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

    # Music folders

    def root_id(
        self,
        folder: Path,
        *,
        remote: bool = False,
        listed: Collection[Path] = (),
        away: Callable[[Path], bool] | None = None,
    ) -> int:
        """The number of a music folder, registered when new.

        A folder that was moved as a whole (another machine, another mount point) is known again by
        what lies in it, if nothing lies at its old path any more and that is not `listed` itself:
        by any of 50 files where its name is the same, by half of them where it is not. One that is
        `remote`, as a server calls it, is known by its path alone. `away` tells whether nothing
        lies in a folder; the default, `is_away`, hangs where a mount does.
        """
        folder = folder if remote else folder.absolute()
        with self._transaction() as db:
            known = {Path(os.fsdecode(f)): int(i) for i, f in db.execute(
                "SELECT root_id, folder FROM roots ORDER BY root_id"
            )}  # fmt: skip
            if folder in known:
                return known[folder]
            same_name_first = sorted(known.items(), key=lambda one: one[0].name != folder.name)
            for old, root in same_name_first if not remote else ():
                named = old.name == folder.name
                if old not in listed and (away or is_away)(old) and _holds(db, root, folder, named):
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
        where = "WHERE path >= x'01'" + ("" if root_id is None else " AND root_id = ?")
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
        row = self._db.execute("SELECT count(*) FROM tracks WHERE path >= x'01'").fetchone()
        return int(row[0])

    def count_by_root(self) -> dict[int, int]:
        """How many tracks are known of each music folder that has any."""
        rows = self._db.execute(
            "SELECT root_id, count(*) FROM tracks WHERE path >= x'01' GROUP BY root_id"
        )
        return {int(root): int(count) for root, count in rows}

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
            clear_failure(db, root_id, file.path)
        return track_id

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
            clear_failure(db, root_id, file.path)

    def copy(self, content_key: str, root_id: int, file: FileFacts, tags: Tags) -> int:
        """Store a file whose content is that of a known track, with all its analyses.

        Returns its track's number.
        """
        track_id, duration_s = self._db.execute(
            # Of thousands of copies a few are asked how much was heard of them.
            "SELECT track_id, duration_s FROM"
            " (SELECT * FROM tracks WHERE content_key = ? ORDER BY track_id LIMIT 50) AS one"
            " ORDER BY (SELECT count(*) FROM vectors WHERE vectors.track_id = one.track_id)"
            " + (SELECT count(*) FROM scores WHERE scores.track_id = one.track_id) DESC,"
            " track_id LIMIT 1",
            (content_key,),
        ).fetchone()
        new = self.store(root_id, file, content_key, duration_s, tags, ())
        with self._transaction() as db:
            for table, column in (("vectors", "vector"), ("scores", "scores")):
                db.execute(
                    f"INSERT OR REPLACE INTO {table} (model_id, track_id, {column})"
                    f" SELECT model_id, ?, {column} FROM {table} WHERE track_id = ?",
                    (new, track_id),
                )
        return new

    def set_aside(self, root_id: int, path: str) -> None:
        """Keep what was heard of a file that has other content now, until `forget_set_aside`.

        Its track keeps number and place and loses its results to a track of no place, by which a
        file that was moved in its stead is known.
        """
        with self._transaction() as db:
            row = db.execute(
                "SELECT track_id, content_key FROM tracks WHERE root_id = ? AND path = ?",
                (root_id, os.fsencode(path)),
            ).fetchone()
            if row is None:
                return
            columns = _TRACK_COLUMNS.removeprefix("track_id, root_id, path, ")
            cursor = db.execute(
                f"INSERT OR REPLACE INTO tracks (root_id, path, {columns})"
                f" SELECT root_id, ?, {columns} FROM tracks WHERE track_id = ?",
                (os.fsencode(f"{_ASIDE}{row[0]} {row[1]}"), row[0]),
            )
            for table in ("vectors", "scores"):
                db.execute(
                    f"UPDATE {table} SET track_id = ? WHERE track_id = ?",
                    (cursor.lastrowid, row[0]),
                )

    def forget_set_aside(self) -> None:
        """Forget what was set aside: every file has had its turn, or has it in another run, which
        hears it again where nothing else has its content."""
        with self._transaction() as db:
            db.execute(  # by the index over folders and paths
                "DELETE FROM tracks WHERE root_id IN (SELECT root_id FROM roots)"
                " AND path >= x'00' AND path < x'01'"
            )

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

        Of runs within `HOURS_BETWEEN_MISSING_RUNS` the first one counts. Returns how many tracks
        were forgotten.
        """
        now_s, apart_s = time.time(), 3600.0 * HOURS_BETWEEN_MISSING_RUNS
        with self._transaction() as db:
            db.executemany(  # either way: a clock that was put back must not keep them for ever
                "UPDATE tracks SET missing_runs = missing_runs + 1, missing_s = ?1"
                " WHERE root_id = ?3 AND path = ?4"
                " AND (missing_runs = 0 OR abs(?1 - missing_s) >= ?2)",
                ((now_s, apart_s, root_id, os.fsencode(path)) for path in paths),
            )
            cursor = db.execute(
                "DELETE FROM tracks WHERE root_id = ? AND missing_runs >= ?",
                (root_id, MISSING_RUNS_BEFORE_FORGOTTEN),
            )
            return cursor.rowcount

    def missing(self) -> dict[int, int]:
        """Tracks whose files are gone, and in how many complete runs each was absent."""
        rows = self._db.execute(
            "SELECT track_id, missing_runs FROM tracks WHERE missing_runs > 0 ORDER BY track_id"
        )
        return {int(track): int(runs) for track, runs in rows}

    def forget(self, root_id: int, paths: Collection[str]) -> int:
        """Forget the tracks of these files at once. Returns how many there were."""
        with self._transaction() as db:
            cursor = db.executemany(
                "DELETE FROM tracks WHERE root_id = ? AND path = ?",
                ((root_id, os.fsencode(path)) for path in paths),
            )
            return max(cursor.rowcount, 0)


def is_away(folder: Path) -> bool:
    """Whether nothing lies in a folder: it is gone, or a mount point without its mount."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except PermissionError:
        return False
    except OSError:
        return True


def _holds(db: sqlite3.Connection, root_id: int, folder: Path, named: bool) -> bool:
    """Whether a music folder's known files lie in another folder, too: some where it is `named` as
    that one was, half where not.

    Two folders may share a name; the one that is not mounted now must keep its tracks.
    """
    rows = db.execute(
        "SELECT path, size_bytes FROM tracks WHERE root_id = ? LIMIT ?",
        (root_id, _FILES_TO_KNOW_BY),
    ).fetchall()
    if named:
        return any((folder / os.fsdecode(path)).exists() for path, _ in rows)
    there = [_size_bytes(folder / os.fsdecode(path)) == size for path, size in rows]
    return any(there) and 2 * sum(there) >= len(there)


def _size_bytes(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _tag_values(tags: Tags) -> tuple[object, ...]:
    return (
        plain_text(tags.title), plain_text(tags.artist), plain_text(tags.album),
        plain_text(tags.album_artist),
        json.dumps(tags.genres), tags.year, tags.track_number, tags.disc_number,
        plain_text(tags.musicbrainz_recording_id),
    )  # fmt: skip


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
