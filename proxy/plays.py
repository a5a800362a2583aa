"""One song that plays or was played: how calls tell, and whether it was skipped."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: A song left sooner than this is skipped, unless the client says that it was heard, or it was
#: played nearly to its end.
SKIP_MOST_S: Final = 60.0
HEARD_SHARE: Final = 0.9


class Evidence(enum.IntEnum):
    """How far a call tells what is playing."""

    STREAM = 0
    DECISION = 1
    REPORT = 2
    STARTS = 3


@dataclass(frozen=True, slots=True)
class Playing:
    """A song that is playing, since when it was known, and how."""

    song_id: str
    at_s: float
    evidence: Evidence


@dataclass(slots=True)
class Play:
    """A song that was played: from when to when, as far as calls tell.

    Attributes:
        completed: the client said that it was heard.
        reported: the client said that it plays. Else it may wait in a queue that was restored, or
            be the song that a radio was begun from.
        paused: the client said that it waits.
        stopped_s, position_s: when the client said that it stopped, and where in the song; a
            position of 0 is not believed (Feishin's lag).
    """

    song_id: str
    started_s: float
    ended_s: float | None = None
    completed: bool = False
    reported: bool = False
    paused: bool = False
    stopped_s: float = 0.0
    position_s: float = 0.0

    def is_skipped(self, duration_of: Callable[[str], float]) -> bool:
        """Whether it was left soon; `duration_of` tells how many seconds a song lasts."""
        if self.ended_s is None or self.completed or not self.reported:
            return False
        heard_s = max(self.ended_s - self.started_s, self.position_s)
        if self.paused and self.position_s:
            if self.ended_s - self.stopped_s > SKIP_MOST_S:
                return False  # somebody left, and came back to something else
            heard_s = self.position_s
        return heard_s <= SKIP_MOST_S and heard_s < HEARD_SHARE * duration_of(self.song_id)
