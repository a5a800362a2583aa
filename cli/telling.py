"""What `segue embed` tells while it works: a bar, plain lines, or events as JSON. On stderr."""

from __future__ import annotations

import json
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cli.console import count_text, duration_text
from cli.progress import ProgressBar

if TYPE_CHECKING:
    from embedder.progress import Result, Standing


class Drawn:
    """Draws what the job tells. Use as a context manager."""

    def __init__(self) -> None:
        self._bar = ProgressBar("embedding", own_left=True)
        self._todo = 0
        self._done = 0

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def chosen(self, reason: str) -> None:
        """As in `embedder.progress.Progress`."""
        self._bar.say(reason)

    def planned(self, files: int, todo: int) -> None:
        """As in `Progress`."""
        self._todo, self._done = todo, 0
        self._bar.say(f"{count_text(files, 'audio file')}, {todo} to analyse")
        self._bar.update(0, todo)

    def advanced(self, path: str, result: Result, detail: str) -> None:
        """As in `Progress`."""

    def standing(self, standing: Standing) -> None:
        """As in `Progress`."""
        self._done = standing.done
        self._bar.update(standing.done, standing.todo, standing.album, standing_text(standing))

    def stopping(self, in_hand: int) -> None:
        """As in `Progress`."""
        self._bar.say(
            f"stopping: {count_text(in_hand, 'file')} in hand to be finished first;"
            " again ends at once"
        )

    def publishing(self, tracks: int) -> None:
        """As in `Progress`."""
        self._bar.update(self._done, self._todo, f"publishing {count_text(tracks, 'track')}")


class Events:
    """Tells each thing as a JSON object in a line of its own: `event` says what it is."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def chosen(self, reason: str) -> None:
        """As in `embedder.progress.Progress`."""
        _tell("chosen", reason=reason)

    def planned(self, files: int, todo: int) -> None:
        """As in `Progress`."""
        _tell("planned", files=files, todo=todo)

    def advanced(self, path: str, result: Result, detail: str) -> None:
        """As in `Progress`."""
        _tell("file", path=path, result=result, detail=detail)

    def standing(self, standing: Standing) -> None:
        """As in `Progress`."""
        left = standing.left_s
        _tell(
            "standing",
            done=standing.done,
            todo=standing.todo,
            failed=standing.failed,
            audio_s=round(standing.audio_s, 1),
            audio_left_s=round(standing.audio_left_s, 1),
            left_s=None if left is None else round(left, 1),
            album=standing.album,
        )

    def stopping(self, in_hand: int) -> None:
        """As in `Progress`."""
        _tell("stopping", in_hand=in_hand)

    def publishing(self, tracks: int) -> None:
        """As in `Progress`."""
        _tell("publishing", tracks=tracks)


def standing_text(standing: Standing) -> str:
    """What is left, in words: "12.5 of 340 h, 3 h left, 2 failed"."""
    total_s = standing.audio_s + standing.audio_left_s
    parts = [f"{standing.audio_s / 3600:.1f} of {total_s / 3600:.1f} h"]
    if standing.left_s is not None:
        parts.append(f"{duration_text(standing.left_s)} left")
    if standing.failed:
        parts.append(f"{standing.failed} failed")
    return ", ".join(parts)


def _tell(event: str, **facts: object) -> None:
    # ASCII: names that are not UTF-8 hold lone surrogates, and a log may be anything.
    print(json.dumps({"event": event, **facts}), file=sys.stderr, flush=True)
