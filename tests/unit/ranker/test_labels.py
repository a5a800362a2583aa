"""Labels as reasons: what is said of music, and nothing twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ranker import labels, terms
from tests.unit.ranker.library import LABELS, styled

MODELS = Path(__file__).parents[3] / "embedder" / "models"


def known(name: str) -> set[str]:
    return set((MODELS / name).read_text(encoding="utf-8").splitlines())


def test_only_what_is_said_of_music_is_told() -> None:
    told = {label for label in known("audioset_labels.txt") if labels.tellable("audioset", label)}
    assert {"Jazz", "Piano", "Sad music", "Female singing"} <= told
    assert not told & {"Aircraft", "Fixed-wing aircraft, airplane", "White noise", "Cacophony",
                       "Outside, urban or manmade", "Music", "Christmas music"}  # fmt: skip
    moods = {label for label in known("jamendo_moods.txt") if labels.tellable("moods", label)}
    assert {"sad", "dream", "epic"} <= moods
    assert not moods & {"christmas", "soundscape", "advertising"}
    assert labels.tellable("own", "whatever")


def test_every_label_named_is_one_that_there_is() -> None:
    assert known("audioset_labels.txt") >= labels._AUDIOSET
    assert known("jamendo_moods.txt") >= labels._USES


def test_no_word_is_told_twice() -> None:
    told = labels.told(["Sad music", "sad", "Violin, fiddle", "Electronica", "Electronic music",
                        "Heavy metal"])  # fmt: skip
    assert told == ["sad", "violin", "electronica"]
    assert labels.told(["dramatic", "drama", "Middle Eastern music", "Keyboard (musical)"]) == [
        "dramatic", "Middle Eastern", "keyboard",
    ]  # fmt: skip


def test_songs_share_at_most_three_labels(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, [0, 1])
    wanted = [np.full(len(LABELS), 2, np.float32)]
    assert terms.shared_tags(snapshot, wanted, 0) == ["sad"]
