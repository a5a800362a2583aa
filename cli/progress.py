"""Progress: a bar on a terminal, a plain line now and then everywhere else. All on stderr."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final, Self

from cli.console import duration_text, printable, say, size_text

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: In a log, a line this often says that it goes on.
_LINE_EVERY_S: Final = 10.0


class ProgressBar:
    """How far something is, in bytes or in pieces. Use as a context manager.

    `update` may be called as often as one likes. `own_left`: what is left is told to `update`, in
    words, and not judged by the count.
    """

    def __init__(self, label: str, *, in_bytes: bool = False, own_left: bool = False) -> None:
        self._label = label
        self._own_left = own_left
        self._in_bytes = in_bytes
        self._rich: Progress | None = None
        self._task: TaskID | None = None
        self._start_s = time.monotonic()
        self._last_line_s = self._start_s

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
            )
            from rich.table import Column

            self._rich = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                DownloadColumn() if self._in_bytes else MofNCompleteColumn(),
                TextColumn("{task.fields[left]}", markup=False)
                if self._own_left
                else TimeRemainingColumn(),
                # What is left of the line; the counts must never be squeezed.
                TextColumn(
                    "{task.fields[note]}",
                    markup=False,
                    style="dim",
                    table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
                ),
                console=Console(stderr=True),
                expand=True,
                transient=True,
            )
            self._rich.start()
            self._task = self._rich.add_task(self._label, total=None, note="", left="")
        return self

    def update(self, done: int, total: int | None, note: str = "", left: str = "") -> None:
        """Say how much of it is done; `note` is what is at work now, `left` what remains."""
        if self._rich is not None and self._task is not None:
            self._rich.update(
                self._task, completed=done, total=total, note=printable(note), left=left
            )
            return
        now = time.monotonic()
        if now - self._last_line_s >= _LINE_EVERY_S:
            self._last_line_s = now
            rest = f", {left}" if self._own_left else self._left(done, total, now)
            if self._own_left and note:
                rest += f": {note}"
            self.say(f"{self._label}: {self._amount(done, total)}{rest}")

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        if self._rich is not None:
            self._rich.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
        else:
            say(line)

    def _amount(self, done: int, total: int | None) -> str:
        if self._in_bytes:
            return size_text(done) + (f" of {size_text(total)}" if total else "")
        return str(done) + (f" of {total}" if total else "")

    def _left(self, done: int, total: int | None, now_s: float) -> str:
        if not total or not done:
            return ""
        return f", {duration_text((now_s - self._start_s) * (total - done) / done)} left"

    def __exit__(self, *error: object) -> None:
        if self._rich is not None:
            self._rich.stop()
