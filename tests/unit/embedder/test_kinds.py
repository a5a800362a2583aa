from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from catalog.kinds import LIVE, LONG, SEASONAL, SHORT, SPOKEN
from catalog.tracks import FileFacts, Float32, Tags, Track
from embedder import kinds as told
from embedder.kinds import read_kinds


def track(seconds: float = 200.0, **tags: object) -> Track:
    return Track(1, 1, FileFacts("a.mp3", 1, 1), "k", seconds, Tags(**tags))  # type: ignore[arg-type]


def kinds(tracks: list[Track], heard: dict[str, Float32]) -> Any:
    written = np.array([read_kinds(one) for one in tracks], np.uint8)
    return told.kinds(written, np.array([one.duration_s for one in tracks], np.float32), heard)


@pytest.mark.parametrize(
    ("tags", "flag"),
    [
        ({"title": "White Christmas"}, SEASONAL),
        ({"title": "Carol", "genres": ("Xmas",)}, SEASONAL),
        ({"title": "Noël blanc"}, SEASONAL),
        ({"title": "Novel"}, 0),
        ({"title": "Chapter 1", "genres": ("Audiobook",)}, SPOKEN),
        ({"title": "The Speech"}, 0),
        ({"title": "Song (Live)"}, LIVE),
        ({"title": "Song - Live at Wembley"}, LIVE),
        ({"title": "Song", "album": "Live in Paris [live]"}, LIVE),
        ({"title": "MTV Unplugged"}, LIVE),
        ({"title": "Live and Let Die"}, 0),
        ({"title": "Live Forever"}, 0),
        ({"title": "Olive (remix)"}, 0),
    ],
)
def test_what_is_written_tells_the_kind(tags: dict[str, object], flag: int) -> None:
    assert kinds([track(**tags)], {}).tolist() == [flag]


def test_short_and_long_are_so_in_this_library() -> None:
    songs = [track(200) for _ in range(5)]
    assert kinds([*songs, track(20), track(3600)], {}).tolist() == [0] * 5 + [SHORT, LONG]
    assert not kinds([track(30) for _ in range(5)], {}).any()
    assert not kinds([track(3600) for _ in range(5)], {}).any()
    assert len(kinds([], {})) == 0


def test_what_is_heard_counts_only_where_sure() -> None:
    heard = {
        "Speech": np.float32([0.9, 0.9, np.nan, 0.2]),
        "Music": np.float32([0.1, 0.9, np.nan, 0.1]),
        "Applause": np.float32([0, 0.9, np.nan, 0.1]),
    }
    assert kinds([track()] * 4, heard).tolist() == [SPOKEN, LIVE, 0, 0]
