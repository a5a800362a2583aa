"""What a session remembers, and the rows of it, which are kept up rather than looked up."""

from __future__ import annotations

import gc
import random
import weakref
from typing import cast

from catalog.links import Links
from proxy.lately import Lately


class Rows:
    """Links for this purpose: song "7" is row 7 // 2, so that two songs are one row."""

    def __init__(self, shift: int = 0) -> None:
        self.asked = 0
        self._shift = shift

    def row(self, song_id: str) -> int | None:
        self.asked += 1
        number = int(song_id)
        return None if number % 5 == 0 else number // 2 + self._shift

    def rows_of(self, song_ids: list[str]) -> list[int]:
        return [row for song_id in song_ids if (row := self.row(song_id)) is not None]


def links(rows: Rows) -> Links:
    return cast("Links", rows)


def test_the_latest_are_kept_in_order() -> None:
    lately = Lately(3)
    for at_s, song_id in enumerate("1234"):
        lately.touch(song_id, at_s)
    lately.touch("2", 9)
    assert list(lately.items()) == [("3", 2), ("4", 3), ("2", 9)]
    assert (lately["2"], lately.get("1"), "4" in lately, len(lately)) == (9, None, True, 3)
    lately.forget_before(3)
    assert list(lately) == ["4", "2"]


def test_rows_are_those_of_a_fresh_look_after_any_change() -> None:
    chance = random.Random(4)
    lately, rows = Lately(40), Rows()
    for at_s in range(2000):
        lately.touch(str(chance.randrange(120)), at_s)
        if chance.random() < 0.05:
            lately.forget_before(at_s - chance.randrange(100))
        if chance.random() < 0.01:
            rows = Rows(shift=at_s)  # a new snapshot
        if chance.random() < 0.3:
            assert lately.rows(links(rows)) == set(Rows.rows_of(rows, list(lately)))


def test_only_what_changes_is_looked_up() -> None:
    lately, rows = Lately(1000), Rows()
    for number in range(1000):
        lately.touch(str(number), 0)
    lately.rows(links(rows))
    rows.asked = 0
    for number in range(500, 1010):
        lately.touch(str(number), 1)
    lately.rows(links(rows))
    assert rows.asked == 20  # ten came, ten went


def test_links_that_are_no_longer_in_force_are_not_kept_alive() -> None:
    lately, rows = Lately(10), Rows()
    lately.touch("1", 0)
    lately.rows(links(rows))
    gone = weakref.ref(rows)
    del rows
    gc.collect()
    assert gone() is None
    lately.touch("2", 1)
    assert lately.rows(links(Rows())) == {0, 1}
