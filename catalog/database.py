"""An SQLite file of ours while it is open: transactions, consistent reads, closing."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from catalog.errors import CatalogError, advice

#: A file of which less is free is not worth copying.
_LEAST_FREE: Final = 0.2


class Database:
    """An open file. Use as a context manager; not to be shared between threads.

    A subclass says what the file is called, what its writes raise, and what to do about it.
    """

    _noun: ClassVar[str]
    _error: ClassVar[type[CatalogError]]
    _advice: ClassVar[str] = ""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db = connection
        self.path = path

    def close(self) -> None:
        """Close the file; the write-ahead log is folded in by SQLite."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing.

        Raises:
            CatalogError: the room's error for this file: it does not take it; what was there stays.
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
        except sqlite3.Error as error:
            if self._db.in_transaction:  # the disk was full at the very end
                self._db.execute("ROLLBACK")
            raise self._refused(error) from error

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What SQLite says outside of a transaction, as the room's error for this file."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._refused(error) from error

    @classmethod
    def _unopened(cls, path: Path, error: OSError | sqlite3.Error) -> CatalogError:
        what = (isinstance(error, OSError) and error.strerror) or error
        todo = advice(error, "is library.data right, and is the disk there?")
        return cls._error(f"cannot open the {cls._noun} {path}: {what}; {todo}")

    def _refused(self, error: Exception) -> CatalogError:
        return self._error(f"cannot write the {self._noun} {self.path}: {error}{self._advice}")

    def writing(self) -> AbstractContextManager[sqlite3.Connection]:
        """A transaction for who joins two of these files."""
        return self._transaction()

    def rows(self, query: str, values: Sequence[object] = ()) -> Iterator[Any]:
        """What a query of this file gives, row by row."""
        return self._db.execute(query, values)

    def sync(self) -> None:
        """Have the disk itself hold all that was written: a power cut loses none of it then.

        A transaction alone does not wait for the disk, which would cost a card some 50 ms each.
        The log is enough: what SQLite moves from it into the file it forces to the disk itself.
        And the file must never be opened beside SQLite: closing any descriptor of it drops all
        locks that this process has on it, another then deletes the log under us, and the library
        is lost (https://www.sqlite.org/howtocorrupt.html, 2.2).
        """
        try:
            log = self.path.with_name(f"{self.path.name}-wal")
            if log.exists():
                descriptor = os.open(log, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as error:
            raise self._refused(error) from error

    def shrink(self) -> bool:
        """Give space that is free within the file back to the disk, where it is much and the disk
        has room for the copy that this takes. Returns whether it was done."""
        size, pages, free = (
            int(self._db.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_size", "page_count", "freelist_count")
        )
        room = shutil.disk_usage(self.path.parent).free
        if free < _LEAST_FREE * pages or room < 2 * size * (pages - free):
            return False
        try:
            self._db.execute("VACUUM")
        except sqlite3.Error as error:
            raise self._error(
                f"cannot shrink the {self._noun} {self.path}: {error}{self._advice}"
            ) from error
        return True

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view over several statements."""
        if self._db.in_transaction:
            yield self._db
            return
        self._db.execute("BEGIN")
        try:
            yield self._db
        finally:
            self._db.execute("COMMIT")


def plain_text(value: str) -> str:
    """Text that SQLite can hold: what is no character (a lone surrogate) becomes "?"."""
    return value.encode("utf-8", "replace").decode("utf-8")
