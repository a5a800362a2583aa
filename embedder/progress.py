"""What the job tells while it works. The command line draws it; nothing here prints."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, Protocol

from catalog.tracks import FileFacts

Result = Literal["embedded", "moved", "copied", "skipped"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a run is. `left_s` is None until there is something to judge by.

    `audio_s` is the playing time of what was heard, `audio_left_s` what the rest will be, judged by
    its size. `album` is the folder at work.
    """

    done: int
    todo: int
    failed: int
    audio_s: float
    audio_left_s: float
    left_s: float | None
    album: str


class Progress(Protocol):
    """Called from the job's own thread, in this order; `advanced` and `standing` once a file."""

    def chosen(self, reason: str) -> None:
        """Which models run, and why: one line."""
        ...

    def planned(self, files: int, todo: int) -> None:
        """So many audio files there are, and so many of them are new or changed."""
        ...

    def advanced(self, path: str, result: Result, detail: str) -> None:
        """One file is done; `detail` says why it was skipped, or is ""."""
        ...

    def standing(self, standing: Standing) -> None:
        """How far it is after that file."""
        ...

    def stopping(self, in_hand: int) -> None:
        """A stop was asked for; so many files are finished first."""
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

    def standing(self, standing: Standing) -> None:
        """Nothing."""

    def stopping(self, in_hand: int) -> None:
        """Nothing."""

    def publishing(self, tracks: int) -> None:
        """Nothing."""


SILENT: Progress = Silent()


class Forecast:
    """Judges what is left by hours of audio, not by files: an audiobook is no jingle.

    The playing time of what is to come is judged by its size, at the bytes a second that files of
    its kind took so far.
    """

    def __init__(
        self, todo: Iterable[FileFacts], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._left: defaultdict[str, int] = defaultdict(int)
        self._heard: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._todo = 0
        for file in todo:
            self._left[_kind(file)] += file.size_bytes
            self._todo += 1
        self._done = self._failed = 0
        self._audio_s = 0.0
        self._started_s = clock()

    def advance(self, file: FileFacts, duration_s: float, *, failed: bool) -> Standing:
        """Note that a file is done, `duration_s` 0 where it gave none."""
        kind = _kind(file)
        self._done += 1
        self._failed += failed
        self._left[kind] -= file.size_bytes
        if duration_s > 0:
            known = self._heard[kind]
            known[0] += file.size_bytes
            known[1] += duration_s
        self._audio_s += duration_s
        now = self._clock()
        left_audio_s = self._audio_left_s()
        spent_s = now - self._started_s
        left_s = spent_s * left_audio_s / self._audio_s if self._audio_s > 0 else None
        album = PurePosixPath(file.path).parent.as_posix()
        return Standing(
            done=self._done,
            todo=self._todo,
            failed=self._failed,
            audio_s=self._audio_s,
            audio_left_s=left_audio_s,
            left_s=left_s,
            album="" if album == "." else album,
        )

    def _audio_left_s(self) -> float:
        size = sum(known[0] for known in self._heard.values())
        seconds = sum(known[1] for known in self._heard.values())
        left = 0.0
        for kind, size_bytes in self._left.items():
            known = self._heard.get(kind)
            rate = known[1] / known[0] if known and known[0] else seconds / size if size else 0.0
            left += max(size_bytes, 0) * rate
        return left


def _kind(file: FileFacts) -> str:
    return PurePosixPath(file.path).suffix.lower()
