"""What can go wrong with what is kept on disk.

::

    CatalogError
    ├── LibraryError      the library cannot be opened, is newer than this Segue, or is not one
    │   └── MergeError    two libraries cannot be joined
    ├── HistoryError      the listening history cannot be used
    └── SnapshotError     a published snapshot is damaged or of another format
"""


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
