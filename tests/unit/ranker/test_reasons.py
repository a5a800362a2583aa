"""Every term of the score has its words, and its place where terms are judged."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from bench import ablation
from ranker import reasons
from ranker.picks import Context, Seed
from ranker.rank import rank
from ranker.settings import RankingSettings
from tests.unit.ranker.library import styled

SETTINGS = RankingSettings()
TERMS = {entry.name for entry in fields(RankingSettings)} - {"explore", "breadth"}  # the knobs

#: Told by what they are made of; hub is a part of audio, and house only decides between equals.
WITHOUT_A_TEXT = {"audio", "tags", "hub", "house"}


def test_every_term_has_a_text() -> None:
    assert set(reasons._TEXTS) == TERMS - WITHOUT_A_TEXT | {"diversity"}  # the knob breadth's term
    assert all(any(texts) for texts in reasons._TEXTS.values())


def test_every_term_is_switched_off_once_by_the_benchmark() -> None:
    assert set(ablation.TERMS) == TERMS - {"audio"} | {"breadth"}
    assert len(ablation.TERMS) == len(set(ablation.TERMS))


def test_a_term_without_a_text_is_told_by_its_name(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, [0, 1])
    values = {"audio": 0.5, "weather": 0.25, "moon": -0.25}
    told = reasons.tell(snapshot, [], list, 0, values, SETTINGS)
    assert [(one.term, one.value) for one in told] == list(values.items())
    assert [one.text for one in told[1:]] == ["weather", "moon"]


def test_the_genre_in_common_is_named(tmp_path: Path) -> None:
    genres, names = [[0, 1], [1, -1], [2, -1], [-1, -1]], ("rock", "zydeco", "jazz")

    def text(folder: str, names: tuple[str, ...]) -> str:
        snapshot = styled(tmp_path / folder, [0] * 4, genres=genres, genre_names=names)
        (pick,) = rank(snapshot, [Seed(0)], Context(eligible=np.arange(4) == 1), SETTINGS, 1)
        return next(reason.text for reason in pick.reasons if reason.term == "genres")

    assert text("named", names) == "same genre: zydeco"
    assert text("of before", ()) == "same genre"  # published when names were not kept


def test_what_came_some_songs_before_is_not_told_as_just_before(tmp_path: Path) -> None:
    """The penalty reaches back a dozen songs, and the flow leaves out the seed, which plays."""
    snapshot = styled(tmp_path, [0] * 6, artists=[0, 1, 2, 3, 4, 3], albums=[0, 1, 2, 3, 4, 3])
    context = Context(heard=(0, 1, 2, 3), excluded=frozenset((1, 2, 3)))
    told = {
        reason.term: reason.text
        for pick in rank(snapshot, [Seed(0)], context, SETTINGS, 2)
        if pick.row == 5
        for reason in pick.reasons
    }
    assert told["artist_repetition"] == "same artist before"
    assert told["album_repetition"] == "same album before"
    assert told["flow"].endswith("what else was heard lately")


@pytest.mark.parametrize(
    ("age_s", "text"),
    [
        (-5, "just now"), (0, "just now"), (89, "just now"), (90, "2 minutes ago"),
        (2400, "40 minutes ago"), (3500, "58 minutes ago"), (3600, "an hour ago"),
        (3 * 3600 + 1, "3 hours ago"), (40 * 3600, "40 hours ago"), (3 * 86400, "3 days ago"),
        (1e18, "long ago"), (float("inf"), "long ago"), (float("nan"), "long ago"),
    ],
)  # fmt: skip
def test_ages_as_people_say_them(age_s: float, text: str) -> None:
    assert reasons.ago(age_s) == text


def test_when_a_song_was_heard_is_told(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, [0] * 4)
    context = Context(heard=(2, 1, 2), heard_ages_s=(60.0, 2400.0, 9000.0))
    picks = rank(snapshot, [Seed(0)], context, SETTINGS, 3)
    told = {pick.row: [reason.text for reason in pick.reasons] for pick in picks}
    assert "heard just now" in told[2]
    assert "heard 40 minutes ago" in told[1]
    assert not any("heard " in text and " ago" in text for text in told[3])
