"""Where samples lie in a file whose frames or pages say which sample they hold.

A window's place is guessed from the marks known so far (a seek table, what earlier windows showed,
both ends), read in one piece with a margin, and mended where the guess was off.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Final

from embedder.framing import Mark
from embedder.reading import BLOCK_BYTES, CachedFile

#: The rate beside a mark is that of so many seconds, and counts for less and less away from it:
#: music's rate has lost two thirds of its memory after `_MEMORY_S`.
_BESIDE_S: Final = 4.0
_MEMORY_S: Final = 12.0

#: What a mend takes more than it needs, of the distance; a mend that misses is one more read.
_MEND: Final = 0.06
#: Grains differ: what is allowed for one, in the most seen so far at the rate there.
_GRAINS: Final = 1.2

#: A window that is not found in so many reads is left to FFmpeg.
_MOST_TRIES: Final = 12


class Marks:
    """What is known of where samples lie between two bytes of a file.

    `scan(content, offset)` gives the marks in bytes of the file. `margin` is what is read on either
    side of a guessed window, as a share of the distance to the nearest known mark: less costs
    reads, more costs bytes. `grain` is the most bytes from one mark to the next, as far as known;
    the most samples are learnt. `ragged`: there are marks up to where any content ends, so that
    nothing is read for the grain behind a window.
    """

    def __init__(
        self,
        file: CachedFile,
        bounds: tuple[int, int],
        total: int,
        rate_hz: int,
        scan: Callable[[bytes, int], Iterable[Mark]],
        *,
        known: Iterable[Mark] = (),
        grain: int = BLOCK_BYTES,
        margin: float,
        ragged: bool = False,
    ) -> None:
        self._file = file
        self._ragged = ragged
        self._start, self._end = bounds
        self._total = total
        self._rate_hz = rate_hz
        self._scan = scan
        self._margin = margin
        self._marks: list[Mark] = [(self._start, 0)]
        self._grain = grain
        self._grain_samples = 0
        self._mends = 0
        self._take(known)

    def _take(self, marks: Iterable[Mark]) -> None:
        """Add marks; those that would run backwards are chance, or a chained stream."""
        merged = sorted({*self._marks, *marks})
        self._marks = merged[:1]
        for mark in merged[1:]:
            if mark[1] > self._marks[-1][1] and mark[0] < self._end:
                self._marks.append(mark)

    def _guess(self, sample: int) -> tuple[int, int, int]:
        """About where a sample lies, how many bytes it is to the nearest mark, and the grain there.

        Between two marks, by their mean rate and by the rates seen beside them.
        """
        marks = self._marks
        i = bisect_right(marks, sample, key=lambda mark: mark[1])
        before = marks[i - 1]
        after = marks[i] if i < len(marks) else (self._end, max(self._total, before[1] + 1))
        span, length = after[0] - before[0], max(after[1] - before[1], 1)
        ahead = min(sample - before[1], length)
        mean, share = span / length, ahead / length
        left = ahead * self._fading(self._rate_before(i - 1), mean, ahead)
        right = (length - ahead) * self._fading(self._rate_after(i), mean, length - ahead)
        inside = (1 - share) * left + share * (span - right)
        inside = min(max(inside, 0.0), span)
        grain = self._grain
        if self._grain_samples:
            rate = (1 - share) * left / max(ahead, 1) + share * right / max(length - ahead, 1)
            grain = min(grain, round(_GRAINS * self._grain_samples * max(rate, mean)))
        return before[0] + round(inside), round(min(inside, span - inside)), grain

    def _fading(self, beside: float, mean: float, samples: int) -> float:
        """The rate to expect over so many samples from a mark on."""
        if not beside or samples <= 0:
            return mean
        away = samples / (_MEMORY_S * self._rate_hz)
        kept = -math.expm1(-away) / away
        return kept * beside + (1 - kept) * mean

    def _rate_before(self, i: int) -> float:
        """Bytes a sample in the seconds before a mark; 0 where they were not seen."""
        at, sample = self._marks[i]
        j = bisect_left(self._marks, sample - self._beside, hi=i, key=lambda mark: mark[1])
        begin, first = self._marks[j]
        return (at - begin) / (sample - first) if j < i and sample > first else 0.0

    def _rate_after(self, i: int) -> float:
        """Bytes a sample in the seconds after a mark; 0 where they were not seen."""
        if i >= len(self._marks):
            return 0.0
        at, sample = self._marks[i]
        j = bisect_right(self._marks, sample + self._beside, lo=i, key=lambda mark: mark[1]) - 1
        end, last = self._marks[j]
        return (end - at) / (last - sample) if j > i else 0.0

    @property
    def _beside(self) -> float:
        return _BESIDE_S * self._rate_hz

    def locate(self, first: int, last: int) -> list[Mark] | None:
        """The marks from the last before sample `first` to the first behind `last`, with all
        between; None where they are not found."""
        low, near, grain = self._guess(first)
        margin = self._margin * min(1 + self._mends * 0.5, 3)
        low -= round(margin * near) + grain
        high, near, grain = self._guess(last)
        high += round(margin * near) + (0 if self._ragged else grain)
        for _ in range(_MOST_TRIES):
            low, high = max(low, self._start), min(max(high, low + BLOCK_BYTES), self._end)
            self._file.fetch(low, high)
            found = sorted(self._scan(self._file.read_at(low, high - low), low))
            if low == self._start:
                found.insert(0, (self._start, 0))
            self._take(found)
            self._grain = max([self._grain, *(b[0] - a[0] for a, b in pairwise(found))])
            self._grain_samples = max(
                [self._grain_samples, *(b[1] - a[1] for a, b in pairwise(found))]
            )
            before = [mark for mark in found if mark[1] <= first]
            after = [mark for mark in found if mark[1] >= last]
            if before and (after or high >= self._end):
                end = after[0] if after else (self._end, max(self._total, found[-1][1] + 1))
                return [mark for mark in found if before[-1][1] <= mark[1] < end[1]] + [end]
            self._mends += 1
            low, high = self._mended(first, last, found, low, high)
        return None

    def _mended(
        self, first: int, last: int, found: list[Mark], low: int, high: int
    ) -> tuple[int, int]:
        """Where to read instead of `low` … `high`, in which these marks were found."""
        step = max(self._grain, BLOCK_BYTES)
        earlier, near, grain = self._guess(first)
        earlier -= round(_MEND * near) + grain
        later, near, grain = self._guess(last)
        later += round(_MEND * near) + (BLOCK_BYTES if self._ragged else grain)
        if not found:
            return min(earlier, low - step), max(later, high + step)
        if found[0][1] > last:  # all of it lies before what was read
            return min(earlier, low - step), later
        if found[-1][1] < first:
            return max(earlier, found[-1][0]), max(later, high + step)
        if found[0][1] > first:
            low = min(earlier, low - step)
        if found[-1][1] < last:
            high = max(later, high + step)
        return low, high
