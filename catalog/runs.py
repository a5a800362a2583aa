"""What went wrong and how the runs ended: the library's failures, runs and publishing state."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields

from catalog.database import Database, plain_text
from catalog.tracks import Failure, FileFacts, RunReport


class Runs(Database):
    """The part of a library that tells how the embedding job fared."""

    def tracks_revision(self) -> int:
        """A number that grows whenever a track or its analyses change."""
        return int(self._noted("tracks_revision") or 0)

    def published(self) -> str:
        """What `note_published` was told last, "" when nothing."""
        return self._noted("published")

    def note_published(self, token: str) -> None:
        """Remember of what state of the library a snapshot was made."""
        self._note("published", token)

    def shard(self) -> str:
        """Which part of the music this library has, such as "1/2"; "" for all of it."""
        return self._noted("shard")

    def note_shard(self, shard: str) -> None:
        """Remember what `shard` gives."""
        if shard != self.shard():
            self._note("shard", shard)

    def retired(self) -> dict[str, str]:
        """Models (`Model.identity`) that are published no more, and each one's last snapshot."""
        return dict(json.loads(self._noted("retired") or "{}"))

    def note_retired(self, models: Mapping[str, str]) -> None:
        """Replace what `retired` gives."""
        self._note("retired", json.dumps(models))

    def _noted(self, key: str) -> str:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return "" if row is None else str(row[0])

    def _note(self, key: str, value: str) -> None:
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def record_failure(self, root_id: int, file: FileFacts, reason: str, detail: str) -> None:
        """Remember why a file gave no track; it is tried again when it changes."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?, ?, ?)",
                (root_id, os.fsencode(file.path), file.size_bytes, file.mtime_ns, reason,
                 plain_text(detail), time.time()),
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
                clear_failure(db, root_id, path)

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
        return None if row is None else _report(row[0])

    def last_complete_run(self) -> RunReport | None:
        """The report of the last run that did all it had to: not stopped, not failed."""
        row = self._db.execute(
            "SELECT report FROM runs WHERE json_extract(report, '$.error') = ''"
            " ORDER BY run_id DESC LIMIT 1"
        ).fetchone()
        return None if row is None else _report(row[0])


def _report(text: str) -> RunReport:
    known = {one.name for one in fields(RunReport)}
    return RunReport(**{name: value for name, value in json.loads(text).items() if name in known})


def clear_failure(db: sqlite3.Connection, root_id: int, path: str) -> None:
    """Forget a file's failure, within a transaction."""
    db.execute("DELETE FROM failures WHERE root_id = ? AND path = ?", (root_id, os.fsencode(path)))
