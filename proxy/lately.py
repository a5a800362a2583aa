"""Songs that a session remembers: when each was last so, and which rows of the snapshot they are.

An evening's session remembers a thousand and more, each call looks at all of them, and from one
call to the next few of them change: so their rows are kept up as songs come and go.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Set

from catalog.links import Links


class Lately(Mapping[str, float]):
    """Song id → when, in the order of that; the latest `most` of them."""

    __slots__ = ("_links", "_most", "_rows", "_times")

    def __init__(self, most: int) -> None:
        self._most = most
        self._times: dict[str, float] = {}
        #: How many of the songs are a row; counted against these links, which it does not keep.
        self._rows: dict[int, int] = {}
        self._links: weakref.ref[Links] | None = None

    def __getitem__(self, song_id: str) -> float:
        return self._times[song_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._times)

    def __len__(self) -> int:
        return len(self._times)

    def touch(self, song_id: str, at_s: float) -> None:
        """It is the latest now; the oldest is forgotten where there are too many."""
        if self._times.pop(song_id, None) is None:
            self._count(song_id, 1)
        self._times[song_id] = at_s
        if len(self._times) > self._most:
            self._drop(next(iter(self._times)))

    def forget_before(self, since_s: float) -> None:
        """Whatever was so before that time, as far as it is at the beginning."""
        while self._times:
            oldest = next(iter(self._times))
            if self._times[oldest] >= since_s:
                return
            self._drop(oldest)

    def rows(self, links: Links) -> Set[int]:
        """The rows of those songs that are linked. Not to be kept: it changes with the songs."""
        if self._links is None or self._links() is not links:
            self._links = weakref.ref(links)
            self._rows = {}
            for row in links.rows_of(list(self._times)):
                self._rows[row] = self._rows.get(row, 0) + 1
        return self._rows.keys()

    def _drop(self, song_id: str) -> None:
        del self._times[song_id]
        self._count(song_id, -1)

    def _count(self, song_id: str, by: int) -> None:
        links = None if self._links is None else self._links()
        row = None if links is None else links.row(song_id)
        if row is None:
            return
        many = self._rows.get(row, 0) + by  # two songs may be one row
        if many:
            self._rows[row] = many
        else:
            del self._rows[row]
