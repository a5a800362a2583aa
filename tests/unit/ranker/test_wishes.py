"""What words are understood as, told as `segue vibe` tells it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from catalog.kinds import SEASONAL
from catalog.snapshot import Snapshot, TagGroup
from ranker.errors import WordsError
from ranker.lexicon import LEXICON
from ranker.phrasing import parse
from ranker.picks import Context
from ranker.settings import RankingSettings
from ranker.wishes import wish
from ranker.words import rank_words
from tests.unit.ranker.library import LABELS, styled


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return styled(tmp_path_factory.mktemp("words"), [0, 1, 2, 4])


@pytest.mark.parametrize(
    ("words", "understood"),
    [
        # A negation before, in whatever words.
        ("not sad", "not sad"), ("no violin", "not violin"), ("never sad", "not sad"),
        ("isn't sad", "not sad"), ("isn’t sad", "not sad"), ("isnt sad", "not sad"),
        ("nothing sad", "not sad"), ("don't want violin", "not violin"),
        ("I do not want to hear any violin", "not violin"), ("without a violin", "not violin"),
        ("none of that sad stuff", "not sad"), ("anything but sad", "not sad"),
        ("avoid violin", "not violin"), ("free of violin", "not violin"), ("-sad", "not sad"),
        ("calm instead of sad", "calm, not sad"), ("violin-free", "not violin"),
        ("non-sad", "not sad"), ("everything except violin", "not violin"),
        ("it isn't exactly sad", "not sad"), ("no more violin", "not violin"),
        # … and after.
        ("sad not", "not sad"), ("calm, violin no", "calm, not violin"), ("sad less", "less sad"),
        ("calm sad not", "calm, not sad"),
        # Whom it concerns.
        ("not sad calm", "not sad, calm"), ("not sad but calm", "not sad, calm"),
        ("calm but not sad", "calm, not sad"),
        ("no violin or heavy metal", "not violin, not heavy metal"),
        ("neither sad nor calm", "not sad, not calm"), ("sad or calm", "sad, calm"),
        ("sad, no vocals or violin", "sad, no vocals, not violin"),
        ("slightly sad or calm", "slightly sad, calm"),
        ("not, calm", "calm"), ("not xyzzy, calm", "calm"),
        # Twice is none, and what is no negation.
        ("not not sad", "sad"), ("isn't without violin", "violin"), ("nothing but sad", "sad"),
        ("not only sad, calm", "sad, calm"), ("not just sad", "sad"),
        # How much.
        ("very sad", "very sad"), ("really sad", "very sad"), ("a little sad", "slightly sad"),
        ("a bit sad", "slightly sad"), ("somewhat sad", "slightly sad"), ("less sad", "less sad"),
        ("not very sad", "less sad"), ("not too sad", "less sad"), ("isn't so sad", "less sad"),
        ("not at all sad", "not sad"), ("hardly any violin", "not violin"),
        ("fewer violin", "less violin"),
        # What is round it.
        ('"sad"', "sad"), ("'sad'", "sad"), ("Something SAD, please!", "sad"),
        ("late-night sad", "late night, sad"), ("", ""),
    ],
)  # fmt: skip
def test_negations_and_degrees(snapshot: Snapshot, words: str, understood: str) -> None:
    if not understood:
        with pytest.raises(WordsError):
            wish(words, snapshot)
        return
    assert ", ".join(wish(words, snapshot).known) == understood


def test_the_weights_are_what_was_understood(snapshot: Snapshot) -> None:
    sad = LABELS.index("sad")
    told = [
        float(wish(words, snapshot).weights["moods"][sad])
        for words in ("very sad", "sad", "a little sad", "not very sad", "sad less", "sad not")
    ]
    assert told == [2, 1, 0.5, -0.5, -0.5, -1]


def test_what_is_not_known_is_told(snapshot: Snapshot) -> None:
    asked = wish("sad, not xyzzy, not", snapshot)
    assert asked.known == ("sad",)
    assert asked.unknown == ("xyzzy", "not")


def test_what_this_library_has_none_of_is_told(snapshot: Snapshot) -> None:
    asked = wish("sad, no banjo, didgeridoo, audiobook, xyzzy", snapshot)
    assert (asked.known, asked.unknown) == (("sad", "not banjo"), ("xyzzy",))
    assert asked.absent == ("banjo", "didgeridoo", "audiobook")
    with pytest.raises(WordsError, match="not heard in this library: banjo, harp; not known: xy"):
        wish("banjo, harp, xy", snapshot)
    assert not np.any(asked.weights["moods"] < 0)


def test_of_a_word_with_several_labels_those_there_are_count(snapshot: Snapshot) -> None:
    assert wish("slow", snapshot).known == ("slow",)  # calm is there, slow is not


def test_words_that_cancel_each_other_are_told_as_such(snapshot: Snapshot) -> None:
    for words in ("sad not sad", "sad, not sad, xyzzy"):
        with pytest.raises(WordsError, match="cancel each other: sad, not sad; leave one"):
            wish(words, snapshot)


def test_at_a_miss_what_is_spelled_nearly_so_comes_first(snapshot: Snapshot) -> None:
    with pytest.raises(WordsError) as caught:
        wish("slowley", snapshot)
    said, _, tried = str(caught.value).partition("; try words such as ")
    assert said.endswith(": slowley")
    assert tried.startswith("slowly, ")
    assert len(tried.split(", ")) <= 12
    for word in tried.split(", "):
        assert wish(word, snapshot).known == (word,)  # what this library can answer


@pytest.mark.parametrize(
    ("words", "same"),
    [
        ("8 bit", "8-bit"), ("16 bit", "8-bit"), ("80's", "80s"), ("1980's", "80s"),
        ("’80s", "80s"), ("low fi", "lofi"), ("lo fi", "lofi"), ("dinner party", "dinner"),
    ],
)  # fmt: skip
def test_spellings_mean_the_same(words: str, same: str) -> None:
    (one,), unknown = parse(words, lambda _: False)
    assert unknown == []
    assert LEXICON[one.word] == LEXICON[same]


def test_a_word_said_of_no_music_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(WordsError, match="xyzzy"):
        wish("xyzzy", styled(tmp_path, [0]))


@pytest.mark.parametrize(
    ("words", "understood", "absent"),
    [
        ("no banjo", "not banjo", "banjo"), ("less banjo", "less banjo", "banjo"),
        ("no vocals", "no vocals", "singing, vocal, rapping"),
        ("instrumental", "instrumental", "singing, vocal, rapping"),
        ("not live, no audiobook", "not live, not audiobook", "live, audiobook"),
        ("no harp xyzzy", "not harp", "harp"),
    ],
)  # fmt: skip
def test_what_is_not_wanted_and_not_there_is_fulfilled_by_all(
    snapshot: Snapshot, words: str, understood: str, absent: str
) -> None:
    asked = wish(words, snapshot)
    assert asked.is_void
    assert (", ".join(asked.known), ", ".join(asked.absent)) == (understood, absent)
    picks = rank_words(words, snapshot, Context(), RankingSettings(), 10)
    assert len(picks) == snapshot.n
    assert picks[0].reasons[0].text == "typical of this library"


@pytest.mark.parametrize("words", ["banjo no harp", "not instrumental", "sad not sad no banjo"])
def test_what_is_wanted_and_not_there_is_not_fulfilled_by_lacking_more(
    snapshot: Snapshot, words: str
) -> None:
    with pytest.raises(WordsError):
        wish(words, snapshot)


def test_a_kind_that_nothing_is_of_is_told(tmp_path: Path) -> None:
    labels = TagGroup(("christmas", "sad"), np.array([[2, 0], [0, 2]], np.float16))
    snapshot = replace(styled(tmp_path, [0, 1]), tag_groups={"moods": labels})
    assert wish("christmas", snapshot).kinds_missing == SEASONAL
    assert not wish("no christmas", snapshot).kinds_missing
    for words, text in (("christmas", "nearest to the words"), ("christmas sad", "sad")):
        picks = rank_words(words, snapshot, Context(), RankingSettings(), 2)
        told = [pick.reasons[0].text for pick in picks]
        assert any(one.startswith(text) for one in told)
        assert not any("christmas" in one for one in told)  # nothing is known to be of it
    some = replace(snapshot, kind=np.array([SEASONAL, 0], np.uint8))
    (pick, _) = rank_words("christmas", some, Context(), RankingSettings(), 2)
    assert "christmas" in pick.reasons[0].text
    assert not wish("christmas", some).kinds_missing
