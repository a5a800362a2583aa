"""What can go wrong with what is kept on disk.

::

    CatalogError
    ├── LibraryError      the library cannot be opened, is newer than this Segue, or is not one
    │   └── MergeError    two libraries cannot be joined
    ├── HistoryError      the listening history cannot be used
    └── SnapshotError     a published snapshot is damaged or of another format
"""

import sqlite3
from typing import Final

#: What to do where this user may not use a file or a folder.
WHOSE_FOLDER: Final = "does the folder belong to the user that runs Segue?"


def advice(error: BaseException, otherwise: str) -> str:
    """What to do about an error of the system or of SQLite: `otherwise`, unless this user may not.

    SQLite tells a file that may not be opened from a damaged one, not why it may not.
    """
    refused = ("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")
    if isinstance(error, PermissionError) or (
        isinstance(error, sqlite3.Error)
        and getattr(error, "sqlite_errorname", "").startswith(refused)
    ):
        return WHOSE_FOLDER
    return otherwise


class CatalogError(Exception):
    """Root of the room; the message says what, which file, and what to do."""


class LibraryError(CatalogError):
    """`library.db` cannot be used."""


class MergeError(LibraryError):
    """Libraries that do not go together; nothing was written."""


class SnapshotError(CatalogError):
    """A published snapshot cannot be used."""


class HistoryError(CatalogError):
    """`history.db` cannot be used."""
