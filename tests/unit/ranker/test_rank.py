from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from catalog.kinds import LIVE, NAMES, SEASONAL
from ranker import gates, spacing, terms
from ranker.picks import Context, Pick, Seed
from ranker.query import Query
from ranker.rank import rank
from ranker.settings import RankingSettings
from tests.unit.ranker.library import styled

STYLES = [0] * 10 + [1] * 10 + [2] * 10
SETTINGS = RankingSettings()


def rows(picks: list[Pick]) -> list[int]:
    return [pick.row for pick in picks]


def test_the_nearest_come_first_and_the_seed_never(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, STYLES)
    picks = rank(snapshot, [Seed(12)], Context(), SETTINGS, 9)
    assert set(rows(picks)) == set(range(10, 20)) - {12}
    plain = rank(snapshot, [Seed(12)], Context(), SETTINGS, 9, plain=True)
    assert [p.score for p in plain] == sorted((p.score for p in plain), reverse=True)


def test_a_score_is_the_sum_of_its_reasons(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, STYLES, artists=[i % 3 for i in range(30)])
    context = Context(held_back=frozenset({1, 2}), heard=(3, 4))
    settings = replace(SETTINGS, explore=0.1)
    for pick in rank(snapshot, [Seed(0)], context, settings, 30):
        assert pick.score == pytest.approx(sum(reason.value for reason in pick.reasons))
        assert pick.reasons[0].term == "audio"


def test_every_term_has_its_reason_and_zero_switches_each_off(tmp_path: Path) -> None:
    snapshot = styled(
        tmp_path, STYLES, artists=[i % 2 for i in range(30)], albums=[i % 4 for i in range(30)]
    )
    context = Context(
        held_back=frozenset(range(5, 30)),
        heard=(3, 20),
        heard_ages_s=(10, 1000),
        skipped=(14,),
        skipped_ages_s=(60,),
    )
    settings = replace(SETTINGS, explore=0.0, breadth=1.0, flow=0.2)
    seeds = [Seed(0), Seed(25, -1)]
    weighted = {
        "audio", "tags", "flow", "unlike", "skipped", "familiar", "heard_lately", "held_back",
        "artist_repetition", "album_repetition",
    }  # fmt: skip
    terms = {r.term for p in rank(snapshot, seeds, context, settings, 20) for r in p.reasons}
    assert terms == {*weighted, "diversity"}
    for term in weighted - {"audio"}:
        without = replace(settings, **{term: 0.0})
        terms = {r.term for p in rank(snapshot, seeds, context, without, 20) for r in p.reasons}
        assert terms == {*weighted, "diversity"} - {term}


def test_one_track_per_recording_and_no_version_of_the_seed(tmp_path: Path) -> None:
    recordings = [i // 2 for i in range(30)]
    snapshot = styled(tmp_path, STYLES, recordings=recordings)
    picks = rows(rank(snapshot, [Seed(0)], Context(), SETTINGS, 30))
    assert 1 not in picks
    assert len({recordings[row] for row in picks}) == len(picks) == 14


def test_many_versions_do_not_make_the_answer_short(tmp_path: Path) -> None:
    recordings = [0] * 180 + list(range(1, 21))
    snapshot = styled(tmp_path, [0] * 180 + [1] * 20, recordings=recordings)
    assert len(rank(snapshot, [Seed(190)], Context(), SETTINGS, 10)) == 10
    assert len(rank(snapshot, [Seed(0)], Context(), SETTINGS, 10)) == 10


def test_artists_are_spaced(tmp_path: Path) -> None:
    artists = [0] * 8 + [1, 2] + [3] * 20
    snapshot = styled(tmp_path, STYLES, artists=artists, noise=0.2)
    spaced = rows(rank(snapshot, [Seed(0)], Context(), replace(SETTINGS, artist_repetition=1), 3))
    assert {artists[row] for row in spaced} == {0, 1, 2}
    context = Context(heard=(0, 1, 2))
    after = rank(snapshot, [Seed(0)], context, replace(SETTINGS, artist_repetition=1), 2)
    assert {artists[pick.row] for pick in after} == {1, 2}


def test_another_artist_goes_first_where_that_costs_little() -> None:
    placed = [spacing.Placed(at) for at in range(4)]
    artists = np.array([7, 7, 8, -1], np.int32)
    scores = np.array([1.0, 0.9, 0.5, 0.4], np.float32)

    def order(before: int, most: float) -> list[int]:
        return [one.at for one in spacing._alternated(placed, artists, scores, before, most)]

    assert order(7, 0.6) == [2, 0, 3, 1]
    assert order(7, 0.1) == [0, 1, 2, 3]
    assert order(-1, 0.6) == order(8, 0.6) == [0, 2, 1, 3]


@pytest.mark.parametrize(
    ("heard", "count", "most"),
    [((29,), 5, 2), ((0,), 5, 1), ((0, 1), 5, 0), ((0, 29), 10, 1), ((29,), 20, 3)],
)
def test_no_shuffle_of_an_answer_can_bring_an_artist_three_times_in_a_row(
    heard: tuple[int, ...], count: int, most: int, tmp_path: Path
) -> None:
    artists = [0] * 10 + list(range(1, 21))
    snapshot = styled(tmp_path, [0] * 30, artists=artists, noise=0.1)
    settings = replace(SETTINGS, artist_repetition=0.01)
    context = Context(heard=heard, excluded=frozenset(heard))
    picks = rows(rank(snapshot, [Seed(heard[0])], context, settings, count))
    others = [artists[row] for row in picks]
    assert others.count(0) <= most
    assert len(picks) == count


def test_where_a_kind_has_one_artist_others_come_all_the_same(tmp_path: Path) -> None:
    artists = [0] * 10 + list(range(1, 21))
    snapshot = styled(tmp_path, STYLES, artists=artists, noise=0.0)
    seeds = [Seed(0), Seed(1)]

    def theirs(*heard: int) -> int:
        context = Context(heard=heard, excluded=frozenset(heard))
        return sum(artists[row] == 0 for row in rows(rank(snapshot, seeds, context, SETTINGS, 5)))

    assert [theirs(29), theirs(0, 29), theirs(0, 1)] == [2, 1, 0]


def test_what_an_answer_has_already_counts(tmp_path: Path) -> None:
    artists = [0] * 10 + list(range(1, 21))
    snapshot = styled(tmp_path, [0] * 30, artists=artists, noise=0.1)
    settings = replace(SETTINGS, artist_repetition=0.01)
    for chosen, most in (((), 2), ((1,), 1), ((1, 2), 0)):
        context = Context(heard=(29,), excluded=frozenset({29, *chosen}), chosen=chosen)
        picks = rows(rank(snapshot, [Seed(0)], context, settings, 5 - len(chosen)))
        assert sum(artists[row] == 0 for row in picks) <= most
        assert len(picks) == 5 - len(chosen)


def test_others_are_looked_for_where_one_artist_fills_the_best(tmp_path: Path) -> None:
    artists = [0] * 700 + list(range(1, 21))
    snapshot = styled(tmp_path, [0] * 700 + [1] * 20, artists=artists, noise=0.3)
    picks = rows(rank(snapshot, [Seed(0)], Context(), SETTINGS, 5))
    assert 1 <= sum(artists[row] == 0 for row in picks) <= 2


def test_a_long_answer_has_no_artist_three_times_in_a_row(tmp_path: Path) -> None:
    artists = [0] * 20 + [1 + i // 2 for i in range(40)]
    snapshot = styled(tmp_path, [0] * 20 + [0] * 40, artists=artists, noise=0.6)
    settings = replace(SETTINGS, artist_repetition=0.001)
    found = [artists[row] for row in rows(rank(snapshot, [Seed(0)], Context(), settings, 30))]
    assert len(found) == 30
    assert not any(a == b == c for a, b, c in zip(found, found[1:], found[2:], strict=False))


def test_one_artist_for_all_is_still_a_library(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, STYLES, artists=[7] * 30)
    assert len(rank(snapshot, [Seed(0)], Context(heard=(0, 1)), SETTINGS, 10)) == 10


def test_limits_exclusions_and_held_back(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, STYLES)
    eligible = np.zeros(30, np.bool_)
    eligible[5:25] = True
    context = Context(eligible, frozenset({5, 6}), frozenset({7, 8}))
    picks = rows(rank(snapshot, [Seed(0)], context, SETTINGS, 30))
    assert set(picks) == set(range(7, 25))
    assert rows(rank(snapshot, [Seed(0)], context, SETTINGS, 1)) == [9]


def test_breadth_moves_away_from_the_seed_monotonously(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, [0] * 40 + [1] * 40, noise=1.5)
    nearness = []
    for breadth in (0.0, 0.5, 1.0):
        picks = rank(snapshot, [Seed(0)], Context(), replace(SETTINGS, breadth=breadth), 10)
        nearness.append(
            float(np.mean([snapshot.vectors[p.row] @ snapshot.vectors[0] for p in picks]))
        )
    assert nearness[0] > nearness[1] > nearness[2]


def test_explore_moves_from_heard_artists_to_others(tmp_path: Path) -> None:
    artists = [i % 5 for i in range(40)]
    snapshot = styled(tmp_path, [0] * 40, artists=artists)
    heard = (0, 5, 1, 6)
    shares = []
    for explore in (0.0, 0.5, 1.0):
        settings = replace(SETTINGS, explore=explore, familiar=1.0, artist_repetition=0)
        picks = rank(snapshot, [Seed(2)], Context(heard=heard), settings, 10)
        shares.append(sum(artists[p.row] in (0, 1) for p in picks))
    assert shares[0] > shares[1] > shares[2]


def test_several_seeds_and_weights(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, STYLES)
    picks = rows(rank(snapshot, [Seed(0, 3.0), Seed(10, 1.0)], Context(), SETTINGS, 5))
    assert all(row < 10 for row in picks)
    both = rows(rank(snapshot, [Seed(0), Seed(10)], Context(), SETTINGS, 18))
    assert all(row < 20 for row in both)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_tiny_libraries(tmp_path: Path, n: int) -> None:
    snapshot = styled(tmp_path, [0] * n)
    picks = rank(snapshot, [Seed(0)] if n else [], Context(), SETTINGS, 5)
    assert len(picks) == max(n - 1, 0)


@pytest.mark.parametrize("count", [0, -1])
def test_asking_for_nothing_gives_nothing(tmp_path: Path, count: int) -> None:
    assert rank(styled(tmp_path, STYLES), [Seed(0)], Context(), SETTINGS, count) == []


def test_asking_for_a_billion_gives_what_there_is(tmp_path: Path) -> None:
    assert len(rank(styled(tmp_path, STYLES), [Seed(0)], Context(), SETTINGS, 10**9)) == 29


def test_equal_input_gives_equal_output(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, STYLES)
    first, second = (rank(snapshot, [Seed(3)], Context(), SETTINGS, 20) for _ in range(2))
    assert first == second


def test_a_library_without_tags_ranks_by_sound_alone(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, STYLES, tags=False)
    picks = rank(snapshot, [Seed(0)], Context(), replace(SETTINGS, breadth=0), 5)
    assert {reason.term for pick in picks for reason in pick.reasons} == {"audio"}
    assert all(pick.row < 10 for pick in picks)


@pytest.mark.parametrize(
    "bad", [{"breadth": 1.1}, {"explore": -0.1}, {"audio": float("nan")}, {"tags": -1}]
)
def test_settings_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        RankingSettings(**bad)


def test_gated_kinds_come_last_unless_a_seed_is_of_that_kind(tmp_path: Path) -> None:
    kind = [SEASONAL if i % 2 else 0 for i in range(10)] + [LIVE] * 10 + [0] * 10
    snapshot = styled(tmp_path, STYLES, kind=kind)
    ungated = [i for i in range(1, 30) if not kind[i]]
    assert set(rows(rank(snapshot, [Seed(0)], Context(), SETTINGS, 14))) == set(ungated)
    everything = rows(rank(snapshot, [Seed(0)], Context(), SETTINGS, 29))
    assert set(everything[:14]) == set(ungated)
    assert len(set(everything)) == 29
    carols = rows(rank(snapshot, [Seed(1)], Context(), SETTINGS, 9))
    assert set(carols) == set(range(10)) - {1}
    in_season = Context(open_kinds=SEASONAL)
    assert set(rows(rank(snapshot, [Seed(0)], in_season, SETTINGS, 9))) == set(range(1, 10))
    live = rows(rank(snapshot, [Seed(0), Seed(12, -1)], Context(), SETTINGS, 14))
    assert not set(live) & set(range(10, 20))


@pytest.mark.parametrize("flag", NAMES)
def test_each_kind_comes_only_after_a_seed_of_it(flag: int, tmp_path: Path) -> None:
    snapshot = styled(tmp_path, [0] * 20, kind=[0] * 10 + [flag] * 10)
    assert set(rows(rank(snapshot, [Seed(0)], Context(), SETTINGS, 9))) == set(range(1, 10))
    after = rows(rank(snapshot, [Seed(10)], Context(), SETTINGS, 19))
    assert len(after) == 19
    few = rows(rank(snapshot, [Seed(10)], Context(excluded=frozenset(range(10))), SETTINGS, 9))
    assert set(few) == set(range(11, 20))


def test_carols_come_in_december_only() -> None:
    assert [gates.in_season(month) for month in range(1, 13)] == [0] * 11 + [SEASONAL]


def test_a_genre_in_common_is_weak_evidence_and_a_rare_one_more(tmp_path: Path) -> None:
    everywhere, rare = [[0, -1, -1]] * 30, [[0, 1, -1], [0, 1, -1]]
    snapshot = styled(tmp_path, [0] * 32, noise=0.0, genres=[*rare, *everywhere])
    found = terms.genres(snapshot, np.arange(32), terms.rarities(snapshot, [Seed(0)]))
    assert snapshot.genre_shares == {0: 1.0, 1: 2 / 32}
    assert found[1] > 0.9
    assert found[2:].max() < 0.05
    assert rows(rank(snapshot, [Seed(0)], Context(), SETTINGS, 1)) == [1]
    assert not terms.rarities(styled(tmp_path, [0] * 3), [Seed(0)])


def test_everything_gated_is_still_an_answer(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, STYLES, kind=[0] + [LIVE] * 29)
    assert len(rank(snapshot, [Seed(0)], Context(), SETTINGS, 10)) == 10


def test_unwanted_seeds_push_their_kind_away(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, [0] * 10 + [1] * 10, noise=2.0)
    shares = []
    for unlike in (0.0, 0.5, 1.0):
        settings = replace(SETTINGS, unlike=unlike)
        picks = rows(rank(snapshot, [Seed(0), Seed(10, -1)], Context(), settings, 9))
        shares.append(float((snapshot.vectors[picks] @ snapshot.vectors[10]).mean()))
    assert shares[0] > shares[1] >= shares[2]


def test_what_was_skipped_is_not_followed(tmp_path: Path) -> None:
    """It was among what was heard: the flow would lead on from the very songs that were left."""
    snapshot = styled(tmp_path, [0] * 10 + [1] * 10 + [2] * 10, noise=0.6)

    def flows(heard: tuple[int, ...], skipped: tuple[int, ...]) -> dict[int, float]:
        context = Context(heard=heard, skipped=skipped, excluded=frozenset({0, 1, 10, 11, 12}))
        picks = rank(snapshot, [Seed(0)], context, SETTINGS, 25)
        return {p.row: r.value for p in picks for r in p.reasons if r.term == "flow"}

    left = flows((0, 11, 10, 1), (11, 10))
    assert left == pytest.approx(flows((0, 1), (11, 10)))
    listened = flows((0, 11, 10, 1), ())
    assert all(listened[row] > left.get(row, 0.0) + 0.05 for row in range(13, 20))
    assert not flows((10,), (10,))  # nothing was listened to yet


def test_a_seed_that_was_heard_counts_once(tmp_path: Path) -> None:
    """As the seed: the flow is of the songs before it."""
    snapshot = styled(tmp_path, [0] * 8 + [1] * 8, profiled=True)

    def told(seeds: list[int], heard: tuple[int, ...]) -> list[dict[str, float]]:
        wanted = [Seed(row) for row in seeds]
        picks = rank(snapshot, wanted, Context(heard=heard), SETTINGS, 5)
        return [{reason.term: reason.value for reason in pick.reasons} for pick in picks]

    assert told([0], (0,)) == told([0], ())
    assert not any("flow" in terms for terms in told([0, 9], (9, 0)))
    before = np.asarray(snapshot.vectors[9])
    for pick in rank(snapshot, [Seed(0)], Context(heard=(0, 9)), SETTINGS, 5):
        flow = next(reason.value for reason in pick.reasons if reason.term == "flow")
        assert flow == pytest.approx(SETTINGS.flow * float(snapshot.vectors[pick.row] @ before))


def test_a_skip_turns_from_its_kind_and_is_forgotten(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, [0] * 12 + [1] * 12 + [*range(2, 14)] * 6, noise=1.0)
    seeds, settings = [Seed(0), Seed(12)], replace(SETTINGS, tags=0)
    base = sum(row < 12 for row in rows(rank(snapshot, seeds, Context(), settings, 10)))
    assert base >= 3
    shares = []
    for age_s in (0.0, 900.0, 1e9):
        context = Context(excluded=frozenset({1, 2}), skipped=(1, 2), skipped_ages_s=(age_s, age_s))
        picks = rows(rank(snapshot, seeds, context, settings, 10))
        shares.append(sum(row < 12 for row in picks))
    assert shares[0] < base
    assert shares[0] <= shares[1] <= shares[2]
    assert shares[2] >= base - 1


@pytest.mark.parametrize("age_s", [float("nan"), float("inf"), -1e12])
def test_a_clock_that_jumps_does_no_harm(age_s: float, tmp_path: Path) -> None:
    snapshot = styled(tmp_path, STYLES)
    context = Context(
        heard=(1, 99, -4), heard_ages_s=(age_s,) * 3, skipped=(2, 77), skipped_ages_s=(age_s,) * 2
    )
    picks = rank(snapshot, [Seed(0), Seed(50), Seed(3, float("nan"))], context, SETTINGS, 10)
    assert len(picks) == 10
    assert np.isfinite([pick.score for pick in picks]).all()


def test_only_unwanted_seeds_are_nothing_to_go_by(tmp_path: Path) -> None:
    assert rank(styled(tmp_path, STYLES), [Seed(0, -1)], Context(), SETTINGS, 5) == []


def test_looks_find_what_scoring_everything_finds(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, [i % 16 for i in range(20_000)], profiled=True)
    near = rows(rank(snapshot, [Seed(5)], Context(), SETTINGS, 6, plain=True))
    skipped = Context(heard=(5,), skipped=(near[2], near[5]), skipped_ages_s=(30.0, 60.0))
    many = tuple(rows(rank(snapshot, [Seed(5)], Context(), SETTINGS, 900, plain=True)))
    long = Context(heard=many, heard_ages_s=(600.0,) * len(many))
    for seeds, context in (
        ([Seed(5)], Context()),
        ([Seed(5)], long),
        ([Seed(5), Seed(6)], Context()),
        ([Seed(5), Seed(9, -1)], Context()),
        ([Seed(5), Seed(near[3], -1)], Context()),
        ([Seed(5)], skipped),
    ):
        found = rank(snapshot, seeds, context, SETTINGS, 20, plain=True)
        exact = rank(snapshot, seeds, context, SETTINGS, 20, plain=True, exact=True)
        assert len(set(rows(found)) & set(rows(exact))) >= 18
        assert rows(found)[0] == rows(exact)[0]


def test_several_seeds_mean_what_is_near_all(tmp_path: Path) -> None:
    snapshot = styled(tmp_path, [0] * 5 + [1] * 5, noise=0.1)
    query = Query.of(snapshot, [Seed(0), Seed(5)], Context(), SETTINGS)
    between = snapshot.vectors[0] + snapshot.vectors[5]
    probes = np.stack([between / np.linalg.norm(between), snapshot.vectors[1]])
    both, one = terms.audio(query.likeness(probes.astype(np.float32)), query)
    assert both > one + 0.2


@pytest.mark.parametrize("size", [0, 3, 500])
def test_codes_are_told_from_few_and_from_many_alike(size: int) -> None:
    chance = np.random.default_rng(2)
    codes = chance.integers(-1, 900, 300).astype(np.int32)
    known = chance.integers(0, 900, size).astype(np.int32)
    assert gates.is_one_of(codes, known).tolist() == np.isin(codes, known).tolist()
