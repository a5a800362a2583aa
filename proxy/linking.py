"""Links the server's songs to tracks: at start, when the server has scanned, when tracks changed.

The songs are asked for with the account in `[upstream]`, the only thing it is used for.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Final

from catalog.errors import CatalogError
from catalog.library import Library
from catalog.linking import LinkReport, link
from catalog.snapshot import current_version
from catalog.tracks import Song
from subsonic.client import Client, ScanStatus
from subsonic.errors import (
    GENERIC,
    NOT_AUTHORISED,
    NOT_FOUND,
    AnswerError,
    FailedAnswer,
    SubsonicError,
)
from subsonic.listing import fetch_songs
from subsonic.settings import UpstreamSettings

POLL_S: Final = 20.0

#: Servers without getScanStatus are asked for all songs this often instead.
BLIND_RELINK_S: Final = 3600.0

RETRY_LEAST_S: Final = 5.0
RETRY_MOST_S: Final = 300.0

_log = logging.getLogger("segue.linking")


async def link_server(client: Client, data: Path) -> LinkReport:
    """Ask for every song, match, and store the links in the library.

    Raises:
        SubsonicError: the server cannot be asked.
        CatalogError: there is no library to link with.
    """
    with Library.open(data, read_only=True):
        pass  # there must be one before the server is troubled
    songs = [Song(**asdict(song)) for song in await fetch_songs(client)]
    return await asyncio.to_thread(_match, data, songs)


def _match(data: Path, songs: list[Song]) -> LinkReport:
    with Library.open(data) as library:
        report = link(songs, library.tracks())
        library.replace_songs(songs, report.links)
    return report


class Linker:
    """Keeps the links fresh while serving. Trouble is logged once and tried again, never raised."""

    def __init__(self, settings: UpstreamSettings, data: Path) -> None:
        self._settings = settings
        self._data = data
        self._told = ""

    async def follow(self) -> None:
        """Link for ever, when there is reason to."""
        if not self._settings.username:
            _log.warning(
                "upstream.username is not set: songs are not linked by serve; set it, or run"
                " `segue link` after every scan"
            )
            return
        linked_for: tuple[object, ...] | None = None
        delay_s = RETRY_LEAST_S
        linked_at_s = 0.0
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with Client(self._settings) as client:
                    scan = await self._scan_status(client)
                    tracks = await asyncio.to_thread(self._tracks_version)
                    reason = (tracks, scan.last_scan if scan else "", scan.count if scan else 0)
                    blind = scan is None and loop.time() - linked_at_s > BLIND_RELINK_S
                    scanning = scan is not None and scan.scanning
                    if tracks and not scanning and (reason != linked_for or blind):
                        report = await link_server(client, self._data)
                        linked_for, linked_at_s = reason, loop.time()
                        _log.info(
                            "linked %d of %d songs (%d by path, %d by facts, %d ambiguous)",
                            report.linked, report.songs, report.by_path, report.by_facts,
                            len(report.ambiguous),
                        )  # fmt: skip
                self._told = ""
                delay_s = RETRY_LEAST_S
                await asyncio.sleep(POLL_S if tracks else RETRY_LEAST_S)
            except (SubsonicError, CatalogError) as error:
                if str(error) != self._told:
                    self._told = str(error)
                    _log.warning("not linked: %s", error)
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, RETRY_MOST_S)
            except Exception:  # linking must never end serving
                _log.exception("linking failed")
                await asyncio.sleep(RETRY_MOST_S)

    async def _scan_status(self, client: Client) -> ScanStatus | None:
        try:
            return await client.scan_status()
        except AnswerError:
            return None  # not offered
        except FailedAnswer as error:
            if error.code in (GENERIC, NOT_AUTHORISED, NOT_FOUND):  # not offered to this account
                return None
            raise

    def _tracks_version(self) -> str:
        """Changes whenever tracks are published; "" before there are any."""
        return current_version(self._data) or ""
