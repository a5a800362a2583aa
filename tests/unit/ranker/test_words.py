from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from catalog.kinds import LIVE, LONG, NAMES, SEASONAL, SHORT, SPOKEN
from catalog.snapshot import Snapshot, TagGroup
from ranker.errors import WordsError
from ranker.gates import in_season
from ranker.lexicon import LEXICON
from ranker.phrasing import _phrases
from ranker.picks import Context
from ranker.settings import RankingSettings
from ranker.wishes import _entries, wish
from ranker.words import _lifted_by_sound, rank_words
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
    weights = wish("calm less sad", snapshot).weights["moods"]
    assert weights[LABELS.index("sad")] < 0 < weights[LABELS.index("calm")]
    stronger = wish("calm not sad", snapshot).weights["moods"]
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
        wish("sad", styled(tmp_path / "plain", STYLES, tags=False))


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
        "sad", "late night", "drive", ",", "drum and bass",
    ]  # fmt: skip
    assert _phrases("not hip hop") == ["not", "hip hop"]


def test_what_sounds_like_the_answers_is_lifted(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, [0] * 12 + [1] * 12)
    alike = _lifted_by_sound(snapshot, np.float32([1.0] * 11 + [0.5] + [0.5] + [-1.0] * 11))
    assert 0.5 < alike[12] + 1e-9 < alike[11]
    assert alike[0] > 1
    assert alike[20] == -1


def tagged(folder: Path, scores: dict[str, list[float]], kind: list[int] | None = None) -> Snapshot:
    """A track for each score; labels with a capital are AudioSet's, the others are moods."""
    n = len(next(iter(scores.values())))
    groups = {
        group: TagGroup(labels, np.array([scores[label] for label in labels], np.float16).T)
        for group, labels in (
            ("audioset", tuple(label for label in scores if label[0].isupper())),
            ("moods", tuple(label for label in scores if label[0].islower())),
        )
        if labels
    }
    snapshot = styled(folder, [0] * n)
    return replace(
        snapshot, tag_groups=groups, kind=None if kind is None else np.array(kind, np.uint8)
    )


def rows(words: str, snapshot: Snapshot, count: int = 10, **context: int) -> list[int]:
    return [p.row for p in rank_words(words, snapshot, Context(**context), SETTINGS, count)]


#: Sad in falling order.
SADNESS = [2.0, 1.8, 1.6, 1.4, 1.2, 1.0]


@pytest.mark.parametrize("kind", [SEASONAL, SPOKEN, LIVE, SHORT, LONG])
def test_what_belongs_in_few_answers_comes_when_nothing_else_is_left(
    tmp_path: Path, kind: int
) -> None:
    snapshot = tagged(tmp_path, {"sad": SADNESS}, [kind, 0, 0, 0, 0, 0])
    assert rows("sad", snapshot, 5) == [1, 2, 3, 4, 5]
    assert rows("sad", snapshot)[-1] == 0


def test_carols_come_in_december_unless_they_are_not_wanted(tmp_path: Path) -> None:
    snapshot = tagged(tmp_path, {"sad": SADNESS}, [SEASONAL, 0, 0, 0, 0, 0])
    assert rows("sad", snapshot, open_kinds=in_season(12))[0] == 0
    assert rows("sad", snapshot, open_kinds=in_season(11))[0] == 1
    assert rows("sad no christmas", snapshot, open_kinds=in_season(12))[-1] == 0


@pytest.mark.parametrize(
    ("words", "kind"),
    [("christmas", SEASONAL), ("audiobook", SPOKEN), ("live", LIVE), ("intro", SHORT),
     ("dj mix", LONG)],
)  # fmt: skip
def test_words_may_ask_for_a_kind(tmp_path: Path, words: str, kind: int) -> None:
    snapshot = tagged(tmp_path, {"sad": SADNESS}, [0, 0, 0, 0, kind, kind])
    assert rows(words, snapshot) == [4, 5]
    assert rows(f"{words} sad", snapshot) == [4, 5, 0, 1, 2, 3]
    pick = rank_words(words, snapshot, Context(), SETTINGS, 1)[0]
    assert pick.reasons[0].text == NAMES[kind]
    with pytest.raises(WordsError, match=words):
        rank_words(words, tagged(tmp_path / "without", {"sad": SADNESS}), Context(), SETTINGS, 1)


def test_all_but_a_kind_is_a_wish_too(tmp_path: Path) -> None:
    snapshot = tagged(tmp_path, {"sad": [0.1, *SADNESS[1:]]}, [LIVE, 0, 0, 0, 0, 0])
    assert rows("not live", snapshot) == [5, 4, 3, 2, 1, 0]  # the most typical first
    pick = rank_words("not live", snapshot, Context(), SETTINGS, 1)[0]
    assert pick.reasons[0].text == "typical of this library"


def test_a_second_song_of_an_artist_gives_way_to_none_of_another_kind(tmp_path: Path) -> None:
    kind = [SEASONAL, SEASONAL, SEASONAL, 0, 0, 0]
    snapshot = tagged(tmp_path, {"christmas": [1, -1, -2, 2.5, 2.4, 2.3]}, kind)
    snapshot = replace(snapshot, artist=np.array([1, 1, 1, 2, 3, 4], np.int32))
    assert rows("christmas", snapshot, 3) == [0, 1, 2]


def test_what_is_wanted_and_not_wanted_is_no_wish(tmp_path: Path) -> None:
    snapshot = tagged(tmp_path, {"sad": SADNESS}, [LIVE, 0, 0, 0, 0, 0])
    for words in ("live not live", "sad not sad"):
        with pytest.raises(WordsError):
            rank_words(words, snapshot, Context(), SETTINGS, 1)


def test_versions_of_what_must_not_come_do_not_come_either(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, [0] * 5, recordings=[1, 1, 2, 2, 3])
    picks = rank_words("sad", snapshot, Context(excluded=frozenset({0})), SETTINGS, 10)
    assert [pick.row for pick in picks] == [2, 4]


def test_what_is_not_music_is_no_answer_to_what_is_not_wanted(tmp_path: Path) -> None:
    # The last is a test tone: less than anything of whatever is asked, and of music.
    snapshot = tagged(
        tmp_path,
        {"sad": [1, 0.2, -0.4, -1.6, -1.8, -2.9], "calm": [0, 0, 1, 0, 0.5, -2.9],
         "Music": [0, 1, 0.5, 0.2, -0.3, -2.9]},
    )  # fmt: skip
    assert rows("not sad", snapshot)[:2] == [3, 4]  # the most typical of those without it first
    assert rows("not sad", snapshot, 4)[-1] != 5
    assert rows("not sad not calm", snapshot)[0] == 3
    assert 5 not in rows("less sad", snapshot, 4)


def test_less_alone_asks_for_less_than_not(tmp_path: Path) -> None:
    sad = [2.0, 1.0, 0.0, -0.8, -1.6, -2.4]
    snapshot = tagged(tmp_path, {"sad": sad, "calm": [0] * 6})
    assert rows("less sad", snapshot)[0] == 3
    assert rows("not sad", snapshot)[0] == 4
