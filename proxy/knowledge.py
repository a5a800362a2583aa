"""The snapshot and the links that are in force, renewed while serving, without a restart."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from catalog.errors import CatalogError, LibraryError
from catalog.library import Library
from catalog.links import Links
from catalog.snapshot import FOLDER, MANIFEST, Snapshot, current_version, open_snapshot

POLL_S: Final = 2.0

_log = logging.getLogger("segue.knowledge")


@dataclass(frozen=True, slots=True)
class View:
    """One snapshot with the links made against it: what a request sees from start to end."""

    snapshot: Snapshot
    links: Links
    links_revision: int


class Knowledge:
    """Holds the present `View`; `None` until something was published."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._told = ""
        self.view: View | None = None
        self.published_at_s: float = 0.0

    def refresh(self) -> bool:
        """Load what is new on disk. Blocking; True where the view changed.

        A snapshot that is damaged, or half copied from another machine, leaves the old view in
        force and is tried again; why is logged once.
        """
        try:
            version = current_version(self._data)
            if version is None:
                self._tell_once(
                    f"nothing is published in {self._data}: every call is passed on as it is;"
                    " run `segue embed`, or set library.data"
                )
                return False
            revision = self._links_revision()
            old = self.view
            if (
                old is not None
                and old.snapshot.version == version
                and old.links_revision == revision
            ):
                return False
            snapshot = (
                old.snapshot
                if old is not None and old.snapshot.version == version
                else open_snapshot(self._data, resident=True)
            )
            if snapshot is None:
                return False
            links = self._links(snapshot)
            if links is None and old is not None and old.snapshot is snapshot:
                return False  # what is linked goes on being served
            links = links or Links(snapshot, ())
            self.published_at_s = (self._data / FOLDER / version / MANIFEST).stat().st_mtime
            self.view = View(snapshot, links, revision)
        except Exception as error:  # whatever the disk holds, what is loaded goes on being served
            self._tell_once(str(error), None if isinstance(error, CatalogError) else error)
            return False
        self._told = ""
        _log.info(
            "snapshot %s: %d tracks, %d linked songs, model %s",
            version, snapshot.n, len(self.view.links), snapshot.model.name,
        )  # fmt: skip
        return True

    def _tell_once(self, what: str, surprise: Exception | None = None) -> None:
        """It is looked every two seconds; the log need not be told as often."""
        if what != self._told:
            self._told = what
            _log.warning("%s", what, exc_info=surprise)

    def _links_revision(self) -> int:
        try:
            with Library.open(self._data, read_only=True) as library:
                return library.links_revision()
        except (LibraryError, sqlite3.Error):
            return 0  # a snapshot without its library: nothing can be linked, all is forwarded

    def _links(self, snapshot: Snapshot) -> Links | None:
        try:
            with Library.open(self._data, read_only=True) as library:
                return Links(snapshot, library.linked_songs())
        except (LibraryError, sqlite3.Error) as error:
            self._tell_once(f"no links: {error}")
            return None

    async def follow(self) -> None:
        """Refresh for ever, off the event loop."""
        while True:
            await asyncio.to_thread(self.refresh)
            await asyncio.sleep(POLL_S)
