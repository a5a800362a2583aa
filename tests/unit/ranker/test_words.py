from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ranker.errors import WordsError
from ranker.lexicon import LEXICON
from ranker.picks import Context
from ranker.settings import RankingSettings
from ranker.words import _entries, _lifted_by_sound, _phrases, profile, rank_words
from tests.unit.ranker.library import LABELS, styled

SETTINGS = RankingSettings()
MODELS = Path(__file__).parents[3] / "embedder" / "models"
STYLES = [0] * 6 + [1] * 6 + [2] * 6 + [4] * 2


def styles(folder: Path, words: str, count: int = 4) -> set[int]:
    snapshot = styled(folder, STYLES)
    return {STYLES[p.row] for p in rank_words(words, snapshot, Context(), SETTINGS, count)}


def test_words_find_what_they_mean(tmp_path: Path) -> None:
    assert styles(tmp_path, "sad") == {0}
    assert styles(tmp_path, "heavy metal please") == {2}
    assert styles(tmp_path, "violin", 2) == {4}


def test_not_and_less_turn_a_word_round(tmp_path: Path) -> None:
    assert 0 not in styles(tmp_path, "calm not sad", 14)
    snapshot = styled(tmp_path, STYLES)
    weights = profile("calm less sad", snapshot)["moods"]
    assert weights[LABELS.index("sad")] < 0 < weights[LABELS.index("calm")]
    stronger = profile("calm not sad", snapshot)["moods"]
    assert stronger[LABELS.index("sad")] < weights[LABELS.index("sad")]


def test_reasons_name_the_labels(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, STYLES)
    pick = rank_words("sad", snapshot, Context(), SETTINGS, 1)[0]
    assert pick.reasons[0].term == "words"
    assert "sad" in pick.reasons[0].text


def test_limits_hold(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, STYLES)
    eligible = np.zeros(snapshot.n, np.bool_)
    eligible[:3] = True
    picks = rank_words("sad", snapshot, Context(eligible, frozenset({0})), SETTINGS, 10)
    assert {p.row for p in picks} == {1, 2}


def test_unknown_words_and_missing_tags_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WordsError, match="xyzzy"):
        styles(tmp_path, "xyzzy")
    with pytest.raises(WordsError, match="nothing"):
        styles(tmp_path, "")
    with pytest.raises(WordsError, match="gives no tags"):
        profile("sad", styled(tmp_path / "plain", STYLES, tags=False))


def test_the_lexicon_is_large_and_names_labels_that_there_are() -> None:
    labels = {
        label.lower()
        for name in ("audioset_labels.txt", "jamendo_moods.txt")
        for label in (MODELS / name).read_text(encoding="utf-8").splitlines()
    }
    assert len(LEXICON) >= 300
    for word in LEXICON:
        unknown = set(_entries(word, labels)) - labels
        assert not unknown, f"{word}: {unknown}"
        assert word == word.lower().strip()


def test_phrases_mean_more_than_their_words() -> None:
    assert _phrases("sad Late Night drive, drum and bass") == [
        "sad", "late night", "drive", "drum and bass",
    ]  # fmt: skip
    assert _phrases("not hip hop") == ["not", "hip hop"]


def test_what_sounds_like_the_answers_is_lifted(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, [0] * 12 + [1] * 12)
    alike = _lifted_by_sound(snapshot, np.float32([1.0] * 11 + [0.5] + [0.5] + [-1.0] * 11))
    assert 0.5 < alike[12] + 1e-9 < alike[11]
    assert alike[0] > 1
    assert alike[20] == -1
