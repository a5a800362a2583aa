from __future__ import annotations

import pytest

from catalog.tracks import FileFacts
from embedder.progress import Forecast


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_what_is_left_is_judged_by_hours_of_audio() -> None:
    clock = Clock()
    # Two songs of 4 minutes at 1 MB a minute, and an audiobook of an hour at a fifth of that.
    songs = [FileFacts(f"A/B/{i}.mp3", 4_000_000, 1) for i in range(2)]
    book = [FileFacts(f"Book/{i}.m4a", 6_000_000, 1) for i in range(2)]
    forecast = Forecast([*songs, *book], clock=clock)
    clock.now_s += 1
    first = forecast.advance(songs[0], 240.0, failed=False)
    assert (first.done, first.todo, first.failed, first.album) == (1, 4, 0, "A/B")
    assert first.audio_left_s == pytest.approx(240 + 2 * 360)  # nothing is known of m4a yet
    clock.now_s += 1
    assert forecast.advance(songs[1], 240.0, failed=False).left_s == pytest.approx(2 * 720 / 480)
    clock.now_s += 8
    third = forecast.advance(book[0], 1800.0, failed=False)
    assert (third.audio_s, third.audio_left_s) == pytest.approx((2280.0, 1800.0))
    assert third.left_s == pytest.approx(10 * 1800 / 2280)
    last = forecast.advance(book[1], 0.0, failed=True)
    assert (last.failed, last.audio_left_s, last.left_s) == (1, 0.0, 0.0)


def test_nothing_is_judged_by_nothing() -> None:
    file = FileFacts("x.mp3", 0, 1)
    standing = Forecast([file], clock=Clock()).advance(file, 0.0, failed=True)
    assert (standing.left_s, standing.album) == (None, "")
