"""What was played, served and liked, on disk: `<data>/history.db`.

A file of its own, since the library is written by another job, maybe on another machine, and may
be copied over this one's. Users are kept under a salted hash: whoever copies the file does not
learn the names, and `forget` needs none of them in clear.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from catalog.database import Database, plain_text
from catalog.errors import HistoryError, advice
from catalog.schema import migrate
from catalog.users import fold_user

FILE_NAME: Final = "history.db"

#: Keys of users to forget, for a proxy that is running.
FORGOTTEN_NAME: Final = "history.forgotten"
TAKEN_NAME: Final = "history.taken"
_KEY: Final = re.compile(r"[0-9a-f]{32}")

#: "SEGH": another program's database is never touched.
APPLICATION_ID: Final = 0x53454748

#: The oldest events go when there are more: some years of a family's listening, some 40 MB.
MOST_EVENTS: Final = 500_000

#: A clock may be set back by so much and no time is doubted.
FUTURE_S: Final = 2 * 3600.0

#: What came after the clock had jumped came so long after what was kept before.
_NEXT_S: Final = 300.0

#: The kind of event that is a client's whole queue: of each player only the last is kept.
QUEUES: Final = "queues"

_MIGRATIONS: Final = (
    """
    CREATE TABLE salt (salt BLOB NOT NULL);
    CREATE TABLE events (
        event_id INTEGER PRIMARY KEY AUTOINCREMENT,
        at_s     REAL NOT NULL,
        user     BLOB NOT NULL,
        client   TEXT NOT NULL,
        place    BLOB NOT NULL,
        kind     TEXT NOT NULL,
        song_id  TEXT NOT NULL,
        value    REAL NOT NULL
    );
    CREATE INDEX events_by_user ON events (user, at_s);
    CREATE INDEX events_by_time ON events (at_s);
    """,
)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a song.

    Attributes:
        at_s: seconds since 1970 (wall clock).
        user: the user as the upstream knows it, in lower case.
        client: the client's name (`c`).
        agent, player: what else tells two players of one user apart.
        kind: of a session "starts" (value: whether the client said so itself), "reports" (it says
            so later), "pauses", "stops" (value: where, in seconds), "completes", "served",
            "offered" or "answers" (of the seed that was asked about); of a taste "plays" (the
            server took it as heard), "stars", "unstars" or "rates" (value: 0…5). Of `QUEUES`,
            `song_id` is the songs of a queue, one a line.
    """

    at_s: float
    user: str
    client: str
    agent: str
    player: str
    kind: str
    song_id: str
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """An event as it is kept: `user` and `place` (agent and player) are hashes."""

    at_s: float
    user: bytes
    client: str
    place: bytes
    kind: str
    song_id: str
    value: float


class History(Database):
    """An open history; a context manager, not to be shared between threads.

    Raises:
        HistoryError: from `open` and every write, when the file cannot be used.
    """

    _noun = "history"
    _error = HistoryError

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        super().__init__(connection, path)
        self._salt = bytes(connection.execute("SELECT salt FROM salt").fetchone()[0])

    @classmethod
    def open(cls, data: Path) -> History:
        """Open `<data>/history.db`, created when it is not there."""
        path = data / FILE_NAME
        try:
            data.mkdir(parents=True, exist_ok=True)
            # What people listen to is for whoever runs Segue; SQLite's other files take this over.
            path.touch(mode=0o600)
            connection = sqlite3.connect(path, timeout=10.0, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise cls._unopened(path, error) from error
        try:
            cls._prepare(connection, path)
            return cls(connection, path)
        except sqlite3.Error as error:
            connection.close()
            todo = "move it away, and a new one is begun"
            raise HistoryError(
                f"cannot use the history {path}: {error}; {advice(error, todo)}"
            ) from error
        except HistoryError:
            connection.close()
            raise

    @staticmethod
    def _prepare(connection: sqlite3.Connection, path: Path) -> None:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        application = int(connection.execute("PRAGMA application_id").fetchone()[0])
        if version and application != APPLICATION_ID:
            raise HistoryError(f"{path} is another program's database; set library.data elsewhere")
        if version > len(_MIGRATIONS):
            raise HistoryError(f"{path} was written by a newer Segue: update Segue")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        migrate(connection, _MIGRATIONS, APPLICATION_ID)
        if connection.execute("SELECT count(*) FROM salt").fetchone()[0] == 0:
            connection.execute("INSERT INTO salt VALUES (?)", (secrets.token_bytes(16),))

    def user_key(self, user: str) -> bytes:
        """What a user is kept under (16 bytes)."""
        return self._hash(fold_user(user))

    def place_key(self, agent: str, player: str) -> bytes:
        """What a player of a user is kept under (16 bytes)."""
        return self._hash(f"{agent}\0{player}")

    def _hash(self, text: str) -> bytes:
        data = text.encode("utf-8", "replace")
        return hashlib.blake2b(data, key=self._salt, digest_size=16).digest()

    def append(self, events: Sequence[Event], *, most: int = MOST_EVENTS) -> None:
        """Keep a batch, in one transaction; the oldest events beyond `most` go."""
        with self._transaction() as db:
            db.executemany(
                "DELETE FROM events WHERE user = ? AND kind = ? AND client = ? AND place = ?",
                (
                    (self.user_key(e.user), QUEUES, plain_text(e.client),
                     self.place_key(e.agent, e.player))
                    for e in events if e.kind == QUEUES
                ),
            )  # fmt: skip
            db.executemany(
                "INSERT INTO events (at_s, user, client, place, kind, song_id, value)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    (e.at_s, self.user_key(e.user), plain_text(e.client),
                     self.place_key(e.agent, e.player), e.kind, plain_text(e.song_id), e.value)
                    for e in events
                ),
            )  # fmt: skip
            last = db.execute("SELECT max(event_id) FROM events").fetchone()[0]
            if last is not None:
                db.execute("DELETE FROM events WHERE event_id <= ?", (last - most,))

    def since(self, at_s: float, now_s: float = math.inf) -> Iterator[KeptEvent]:
        """Events since then, in the order in which they came; `now_s` as for `of_kinds`."""
        rows = self._db.execute(
            "SELECT event_id, at_s, user, client, place, kind, song_id, value FROM events"
            " WHERE at_s >= ? ORDER BY event_id",
            (at_s,),
        )
        return (event for event in self._timed(rows, now_s) if event.at_s >= at_s)

    def of_kinds(self, kinds: Sequence[str], now_s: float = math.inf) -> Iterator[KeptEvent]:
        """Events of some kinds, in the order in which they came.

        What is of the future at `now_s` was kept while the clock was wrong: it gets the time of
        what was kept before it and goes on from there. What is on disk stays as it is, for it may
        be this clock that is wrong.
        """
        marks = ", ".join("?" * len(kinds))
        rows = self._db.execute(
            "SELECT event_id, at_s, user, client, place, kind, song_id, value FROM events"
            f" WHERE kind IN ({marks}) ORDER BY event_id",
            tuple(kinds),
        )
        return self._timed(rows, now_s)

    def _timed(self, rows: Iterable[tuple[Any, ...]], now_s: float) -> Iterator[KeptEvent]:
        began_s = -math.inf
        base_s = most_s = now_s
        for event_id, at_s, *rest in rows:
            if at_s <= now_s + FUTURE_S:
                began_s = -math.inf
                yield KeptEvent(at_s, *rest)
                continue
            if began_s == -math.inf:
                began_s = at_s
                base_s, most_s = self._around(event_id, now_s)
            yield KeptEvent(min(base_s + max(at_s - began_s, 0.0), most_s), *rest)

    def _around(self, event_id: int, now_s: float) -> tuple[float, float]:
        """Between which times an event of the future was kept, as far as others tell."""
        found = [
            self._db.execute(
                f"SELECT at_s FROM events WHERE event_id {side} ? AND at_s <= ?"
                f" ORDER BY event_id {order} LIMIT 1",
                (event_id, now_s + FUTURE_S),
            ).fetchone()
            for side, order in (("<", "DESC"), (">", "ASC"))
        ]
        before, after = (None if row is None else float(row[0]) for row in found)
        most_s = now_s if after is None else after
        return (most_s if before is None else min(before + _NEXT_S, most_s)), most_s

    def count(self) -> int:
        """How many events are kept."""
        return int(self._db.execute("SELECT count(*) FROM events").fetchone()[0])

    def forget(self, user: str) -> int:
        """Forget all of a user; returns how many events that were. The space is overwritten.

        A proxy that is running is told (see `purge_forgotten`), and before anything is removed:
        what it writes after that it removes itself.
        """
        key = self.user_key(user)
        try:
            with (self.path.parent / FORGOTTEN_NAME).open("a", encoding="ascii") as file:
                file.write(key.hex() + "\n")
        finally:
            removed = self.purge([key])
        return removed

    def purge(self, users: Collection[bytes]) -> int:
        """Remove all of some users, by their keys; returns how many events that were."""
        with self._told():
            self._db.execute("PRAGMA secure_delete = ON")
        with self._transaction() as db:
            removed = sum(
                db.execute("DELETE FROM events WHERE user = ?", (user,)).rowcount for user in users
            )
        # What was deleted also leaves the write-ahead log.
        with self._told():
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return removed


def purge_forgotten(data: Path) -> list[bytes]:
    """Who was forgotten since a proxy last asked: users' keys, told once.

    What was written of them meanwhile is removed first. If that fails they are told next time.

    Raises:
        HistoryError, OSError: the history, or the list of who was forgotten, cannot be used.
    """
    told, taken = data / FORGOTTEN_NAME, data / TAKEN_NAME
    found: list[bytes] = []
    while taken.exists() or told.exists():
        if not taken.exists():
            told.replace(taken)  # whoever is forgotten from here on is in a new file
        lines = taken.read_text(encoding="ascii", errors="replace").split()
        keys = [bytes.fromhex(line) for line in lines if _KEY.fullmatch(line)]
        with History.open(data) as history:
            history.purge(keys)
        taken.unlink()
        found += keys
    return found
