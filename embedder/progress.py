"""What the job tells while it works. The command line draws it; nothing here prints."""

from __future__ import annotations

from typing import Literal, Protocol

Result = Literal["embedded", "moved", "copied", "skipped"]


class Progress(Protocol):
    """Called from the job's own thread, in this order; `advanced` once a file."""

    def chosen(self, reason: str) -> None:
        """Which models run, and why: one line."""
        ...

    def planned(self, files: int, todo: int) -> None:
        """So many audio files there are, and so many of them are new or changed."""
        ...

    def advanced(self, path: str, result: Result, detail: str) -> None:
        """One file is done; `detail` says why it was skipped, or is ""."""
        ...

    def publishing(self, tracks: int) -> None:
        """The snapshot is being made, of so many tracks."""
        ...


class Silent:
    """Tells nobody."""

    def chosen(self, reason: str) -> None:
        """Nothing."""

    def planned(self, files: int, todo: int) -> None:
        """Nothing."""

    def advanced(self, path: str, result: Result, detail: str) -> None:
        """Nothing."""

    def publishing(self, tracks: int) -> None:
        """Nothing."""


SILENT: Progress = Silent()
