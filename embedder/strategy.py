"""Seek, or read the file in one go? Whatever was quicker for files of its kind on this mount.

A local disk rewards skipping. A blob mount with blocks of a megabyte downloads a lossy file whole
anyway, and jumping about in it only adds round trips. Nothing tells the one from the other but the
clock, so both ways are tried on the first files of a kind where reading is slow at all.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

#: Waiting for less than this a read is no mount: seek, and read least.
SLOW_READ_S: Final = 0.010

#: So many files of a kind are read each way before judging.
_TRIALS: Final = 2
#: One way is left for the other when that takes less than this share of its time.
_CLEARLY: Final = 0.97
#: Larger files are never read whole: they would have to be held in memory.
MOST_WHOLE_BYTES: Final = 16 * 2**20

Kind = tuple[str, int]


@dataclass(slots=True)
class _Tally:
    files: int = 0
    size_bytes: int = 0
    seconds: float = 0.0
    reads: int = 0

    @property
    def pace(self) -> float:
        """Seconds a byte of the file."""
        return self.seconds / max(self.size_bytes, 1)


@dataclass(slots=True)
class Strategy:
    """Learns from what reading cost; one for each worker, kept over a run."""

    _tallies: defaultdict[tuple[Kind, bool], _Tally] = field(
        default_factory=lambda: defaultdict(_Tally)
    )

    def whole(self, suffix: str, size_bytes: int) -> bool:
        """Whether to read this file in one go."""
        if size_bytes > MOST_WHOLE_BYTES:
            return False
        kind = _kind(suffix, size_bytes)
        seeking, whole = self._tallies[kind, False], self._tallies[kind, True]
        if seeking.files < _TRIALS or seeking.seconds < SLOW_READ_S * seeking.reads:
            return False
        return whole.files < _TRIALS or whole.pace < seeking.pace * _CLEARLY

    def learn(
        self, suffix: str, size_bytes: int, *, whole: bool, seconds: float, reads: int
    ) -> None:
        """Note what a file cost, in seconds of waiting for so many reads."""
        tally = self._tallies[_kind(suffix, size_bytes), whole]
        tally.files += 1
        tally.size_bytes += size_bytes
        tally.seconds += seconds
        tally.reads += reads


def _kind(suffix: str, size_bytes: int) -> Kind:
    """Files alike enough to learn from each other: of one format, within a factor of two."""
    return suffix.lower(), size_bytes.bit_length()
