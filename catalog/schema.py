"""The library's schema as a list of migrations: `PRAGMA user_version` counts those applied.

A migration, once released, is never edited; a change is a new one at the end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

#: Marks the file as ours ("SEGU"), so that another program's database is never touched.
APPLICATION_ID: Final = 0x53454755

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE roots (
        root_id INTEGER PRIMARY KEY,
        folder  BLOB NOT NULL UNIQUE
    );
    CREATE TABLE tracks (
        track_id     INTEGER PRIMARY KEY AUTOINCREMENT,
        root_id      INTEGER NOT NULL REFERENCES roots,
        path         BLOB NOT NULL,
        size_bytes   INTEGER NOT NULL,
        mtime_ns     INTEGER NOT NULL,
        content_key  TEXT NOT NULL,
        duration_s   REAL NOT NULL,
        title        TEXT NOT NULL,
        artist       TEXT NOT NULL,
        album        TEXT NOT NULL,
        album_artist TEXT NOT NULL,
        genres       TEXT NOT NULL,
        year         INTEGER,
        track_number INTEGER,
        disc_number  INTEGER,
        musicbrainz_recording_id TEXT NOT NULL,
        missing_runs INTEGER NOT NULL DEFAULT 0,
        UNIQUE (root_id, path)
    );
    CREATE INDEX tracks_by_content ON tracks (content_key);
    CREATE TABLE models (
        model_id INTEGER PRIMARY KEY,
        name     TEXT NOT NULL,
        version  TEXT NOT NULL,
        dim      INTEGER NOT NULL,
        labels   TEXT NOT NULL,
        UNIQUE (name, version)
    );
    CREATE TABLE vectors (
        model_id INTEGER NOT NULL REFERENCES models,
        track_id INTEGER NOT NULL REFERENCES tracks ON DELETE CASCADE,
        vector   BLOB NOT NULL,
        PRIMARY KEY (model_id, track_id)
    ) WITHOUT ROWID;
    CREATE TABLE scores (
        model_id INTEGER NOT NULL REFERENCES models,
        track_id INTEGER NOT NULL REFERENCES tracks ON DELETE CASCADE,
        scores   BLOB NOT NULL,
        PRIMARY KEY (model_id, track_id)
    ) WITHOUT ROWID;
    CREATE INDEX vectors_by_track ON vectors (track_id);
    CREATE INDEX scores_by_track ON scores (track_id);
    CREATE TABLE failures (
        root_id    INTEGER NOT NULL REFERENCES roots,
        path       BLOB NOT NULL,
        size_bytes INTEGER NOT NULL,
        mtime_ns   INTEGER NOT NULL,
        reason     TEXT NOT NULL,
        detail     TEXT NOT NULL,
        at_s       REAL NOT NULL,
        PRIMARY KEY (root_id, path)
    ) WITHOUT ROWID;
    CREATE TABLE runs (
        run_id     INTEGER PRIMARY KEY,
        started_s  REAL NOT NULL,
        finished_s REAL,
        report     TEXT
    );
    CREATE TABLE songs (
        song_id      TEXT PRIMARY KEY,
        track_id     INTEGER REFERENCES tracks ON DELETE SET NULL,
        path         TEXT NOT NULL,
        path_is_true INTEGER NOT NULL,
        root         TEXT NOT NULL,
        folder_id    TEXT NOT NULL,
        size_bytes   INTEGER NOT NULL,
        duration_s   REAL NOT NULL,
        title        TEXT NOT NULL,
        artist       TEXT NOT NULL,
        album        TEXT NOT NULL,
        album_id     TEXT NOT NULL,
        artist_ids   TEXT NOT NULL,
        genres       TEXT NOT NULL,
        year         INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX songs_by_track ON songs (track_id);
    CREATE TABLE meta (
        key   TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID;
    """,
    # What is published from the tracks is stale when this number has grown.
    """
    CREATE TRIGGER tracks_inserted AFTER INSERT ON tracks BEGIN
        INSERT INTO meta VALUES ('tracks_revision', '1')
            ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1;
    END;
    CREATE TRIGGER tracks_deleted AFTER DELETE ON tracks BEGIN
        INSERT INTO meta VALUES ('tracks_revision', '1')
            ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1;
    END;
    CREATE TRIGGER tracks_updated AFTER UPDATE OF root_id, path, content_key, duration_s, title,
        artist, album, album_artist, genres, year, track_number, disc_number,
        musicbrainz_recording_id ON tracks BEGIN
        INSERT INTO meta VALUES ('tracks_revision', '1')
            ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1;
    END;
    """,
    # When `missing_runs` was counted last: two looks within a minute are one.
    """
    ALTER TABLE tracks ADD COLUMN missing_s REAL NOT NULL DEFAULT 0;
    """,
)


def migrate(
    connection: sqlite3.Connection,
    migrations: Sequence[str] = MIGRATIONS,
    application_id: int = APPLICATION_ID,
) -> None:
    """Bring the schema up to date, one transaction a migration.

    A stop between two leaves a whole older schema, which the next start brings further.
    """
    for version in range(schema_version(connection) + 1, len(migrations) + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {migrations[version - 1]};"
            f" PRAGMA application_id = {application_id};"
            f" PRAGMA user_version = {version}; COMMIT;"
        )


def schema_version(connection: sqlite3.Connection) -> int:
    """How many migrations the open file has seen."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
