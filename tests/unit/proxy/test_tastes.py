"""What users return to: learned, decayed, bounded, forgotten."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from catalog.history import Event, History
from catalog.links import Links
from proxy.calls import Identity
from proxy.knowledge import View
from proxy.recorder import Recorder
from proxy.tastes import HOUSE_S, LOOK_AGAIN_S, PLAY_HALF_LIFE_S, Tastes, Tasting
from ranker.taste import Taste
from tests.unit.ranker.library import styled

DAY_S = 86_400.0
NOW_S = 1_800_000_000.0


class Clock:
    def __init__(self, now_s: float = NOW_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> View:
    snapshot = styled(tmp_path_factory.mktemp("taste"), [0] * 20 + [1] * 20 + [2] * 20, noise=0.2)
    return View(snapshot, cast("Links", Numbered()), 1)


class Numbered:
    """Links in which song "s7" is row 7."""

    def row(self, song_id: str) -> int | None:
        return int(song_id[1:]) if song_id[1:].isdigit() and int(song_id[1:]) < 60 else None


def ready(tastes: Tastes, user: str, view: View) -> Taste:
    tastes.of(user, view)
    tastes.refresh(view)
    found = tastes.of(user, view)
    assert found is not None
    return found


def test_plays_stars_and_ratings_are_a_taste(view: View) -> None:
    tastes = Tastes(wall_clock=Clock())
    for song in ("s0", "s1", "s2"):
        tastes.note("bob", "plays", song, 1, NOW_S - DAY_S)
    tastes.note("bob", "stars", "s20", 0, NOW_S)
    tastes.note("bob", "rates", "s21", 5, NOW_S)
    tastes.note("bob", "rates", "s40", 1, NOW_S)
    tastes.note("bob", "plays", "unlinked", 1, NOW_S)
    taste = ready(tastes, "bob", view)
    assert taste.rows.tolist() == [0, 1, 2, 20, 21]
    assert taste.gated == frozenset({40})
    assert taste.near is not None
    assert taste.near[20:40].mean() > taste.near[:20].mean() > 0.1
    assert taste.near[40:].max() < 0.1


def test_a_star_taken_back_and_a_rating_set_anew_are_no_taste(view: View) -> None:
    tastes = Tastes(wall_clock=Clock())
    tastes.note("bob", "stars", "s1", 0, NOW_S)
    tastes.note("bob", "unstars", "s1", 0, NOW_S)
    tastes.note("bob", "rates", "s2", 1, NOW_S)
    tastes.note("bob", "rates", "s2", 0, NOW_S)
    taste = ready(tastes, "bob", view)
    assert not len(taste.rows)
    assert not taste.gated


def test_what_a_song_says_mends_what_was_kept(view: View) -> None:
    clock = Clock()
    tastes = Tastes(wall_clock=clock)
    tastes.note("bob", "stars", "s1", 0, NOW_S)
    tastes.note("bob", "rates", "s1", 1, NOW_S - DAY_S)
    clock.now_s += 1
    assert tastes.mended("bob", "s1", False, 4, NOW_S) == []  # seen before, maybe
    later = NOW_S + 0.5
    assert tastes.mended("bob", "s1", False, 4, later) == [("unstars", 0.0), ("rates", 4.0)]
    assert tastes.mended("bob", "s1", True, 1, later) == []
    assert tastes.mended("bob", "s2", True, 1, later) == []
    assert tastes.mended("eve", "s1", True, 1, later) == []


def test_songs_of_one_star_are_looked_at_in_turn_and_seldom() -> None:
    clock = Clock()
    tastes = Tastes(wall_clock=clock, most_songs=20)
    for song in ("s1", "s2", "s3"):
        tastes.note("bob", "rates", song, 1, NOW_S)
    tastes.note("bob", "rates", "s2", 3, NOW_S)
    looked = []
    for _ in range(int(LOOK_AGAIN_S) // 10):
        looked.append(tastes.doubted("bob"))
        clock.now_s += 10
    assert looked[0] == "s1"
    assert [song for song in looked if song] == ["s1", "s3"]
    clock.now_s += LOOK_AGAIN_S
    assert tastes.doubted("bob") == "s1"
    clock.now_s -= 1e8
    assert tastes.doubted("bob") == "s3"
    assert tastes.doubted("eve") is None
    tastes.forget("bob")
    assert tastes.doubted("bob") is None


def test_what_was_played_long_ago_counts_less(view: View) -> None:
    clock = Clock()
    tastes = Tastes(wall_clock=clock)
    for _ in range(3):
        tastes.note("bob", "plays", "s1", 1, clock.now_s)
    clock.now_s += 3 * PLAY_HALF_LIFE_S
    for _ in range(3):
        tastes.note("bob", "plays", "s30", 1, clock.now_s)
    taste = ready(tastes, "bob", view)
    assert taste.near is not None
    assert taste.near[20:40].mean() > 1.5 * taste.near[:20].mean()
    assert taste.due[0] > taste.due[1]  # but it may come back


@pytest.mark.parametrize("at_s", [float("nan"), float("inf"), -5.0, 9e99, NOW_S + 1e9])
def test_times_without_sense_are_now(at_s: float, view: View) -> None:
    tastes = Tastes(wall_clock=Clock())
    tastes.note("bob", "plays", "s1", 1, at_s)
    taste = ready(tastes, "bob", view)
    assert taste.rows.tolist() == [1]
    assert taste.due.tolist() == [0]


def test_a_clock_that_goes_back_does_no_harm(view: View) -> None:
    clock = Clock()
    tastes = Tastes(wall_clock=clock)
    tastes.note("bob", "plays", "s1", 1, clock.now_s)
    clock.now_s -= 1e8
    tastes.note("bob", "plays", "s1", 1, clock.now_s)
    assert ready(tastes, "bob", view).rows.tolist() == [1]


def test_the_house_counts_from_three_users_on(view: View) -> None:
    clock = Clock()
    tastes = Tastes(wall_clock=clock)
    for user in ("bob", "eve"):
        tastes.note(user, "stars", "s5", 0, NOW_S)
    assert ready(tastes, "new", view).house is None
    tastes.note("kim", "plays", "s5", 1, NOW_S)
    clock.now_s += HOUSE_S
    assert ready(tastes, "new2", view).house is None  # once is not returning
    tastes.note("kim", "plays", "s5", 1, clock.now_s)
    assert ready(tastes, "new2", view).house is None  # counted now and then only
    clock.now_s += HOUSE_S
    house = ready(tastes, "new3", view).house
    assert house is not None
    assert house[0].tolist() == [5]
    assert ready(tastes, "new3", view).near is None


def test_a_call_never_waits_and_an_old_view_is_not_used(view: View) -> None:
    tastes = Tastes(wall_clock=Clock())
    tastes.note("bob", "stars", "s5", 0, NOW_S)
    assert tastes.of("bob", view) is None
    assert tastes.of("", view) is None
    tastes.refresh(view)
    other = View(view.snapshot, view.links, 2)
    assert tastes.of("bob", view) is not None
    assert tastes.of("bob", other) is None


def test_users_and_songs_are_bounded_under_a_flood(view: View) -> None:
    tastes = Tastes(wall_clock=Clock(), most_songs=100, most_in_all=500)
    tastes.note("bob", "stars", "s1", 0, NOW_S)
    started = time.perf_counter()
    for i in range(10_000):
        tastes.note(f"user {i // 1000}", "plays", f"s{i}", 1, NOW_S)
        tastes.note("bob", "plays", f"x{i}", 1, NOW_S)
        assert len(tastes) <= 500
    assert time.perf_counter() - started < 5
    assert 1 in ready(tastes, "bob", view).rows  # the star outlasts what was heard once


def test_learning_costs_microseconds() -> None:
    tastes = Tastes()
    started = time.perf_counter()
    for i in range(10_000):
        tastes.note("bob", "plays", f"s{i % 500}", 1, NOW_S)
    assert time.perf_counter() - started < 1


def test_what_was_kept_is_a_taste_again_after_a_restart(tmp_path: Path, view: View) -> None:
    clock = Clock()
    timer = Clock(50.0)
    first = Tastes(wall_clock=clock)
    recorder = Recorder(tmp_path, timer, wall_clock=clock, tastes=first)
    recorder.load()
    keeper = Tasting(first, recorder, timer, wall_clock=clock)
    tell = keeper.journal(Identity("Bob", "c", "agent"))
    tell("stars", "s3", 0.0, 50.0)
    tell("rates", "s4", 1.0, 50.0)
    tell("plays", "s5", 1.0, 40.0)
    tell("starts", "s6", 0.0, 50.0)
    recorder.flush()
    again = Tastes(wall_clock=clock)
    Recorder(tmp_path, timer, wall_clock=clock, tastes=again).load()
    one, other = ready(first, "bob", view), ready(again, "BOB", view)
    assert one.rows.tolist() == other.rows.tolist() == [3, 5]
    assert one.gated == other.gated == {4}
    assert one.due == pytest.approx(other.due)


def test_who_is_forgotten_is_forgotten_by_a_running_proxy(tmp_path: Path, view: View) -> None:
    clock = Clock()
    tastes = Tastes(wall_clock=clock)
    recorder = Recorder(tmp_path, clock, wall_clock=clock, tastes=tastes)
    gone: list[bool] = []
    recorder.on_forgotten = lambda is_gone: gone.extend([is_gone("bob"), is_gone("eve")])
    recorder.load()
    keeper = Tasting(tastes, recorder, clock, wall_clock=clock)
    for user in ("bob", "eve"):
        tell = keeper.journal(Identity(user, "c", "agent"))
        tell("stars", "s3", 0.0, clock.now_s)
    recorder.flush()
    keeper.journal(Identity("bob", "c", "agent"))(
        "stars", "s9", 0.0, clock.now_s
    )  # not written yet
    with History.open(tmp_path) as history:
        assert history.forget("Bob") == 1
    recorder.drop(recorder._forgotten())
    recorder.flush()
    assert gone == [True, False]
    assert not len(ready(tastes, "bob", view).rows)
    assert ready(tastes, "eve", view).rows.tolist() == [3]
    with History.open(tmp_path) as history:
        assert {event.user for event in history.since(0)} == {history.user_key("eve")}
    recorder.drop(recorder._forgotten())  # nothing more
    assert len(gone) == 2


class Interrupted(Numbered):
    """Links that do something in the middle, as another thread may."""

    def __init__(self, after: int, act: Callable[[], None]) -> None:
        self.left = after
        self.act = act

    def row(self, song_id: str) -> int | None:
        self.left -= 1
        if self.left == 0:
            self.act()
        return super().row(song_id)


@pytest.mark.parametrize("after", range(1, 7))
def test_who_is_forgotten_while_tastes_are_made_does_not_come_back(view: View, after: int) -> None:
    """Three songs are looked at for the house, then three for the tastes."""
    tastes = Tastes(wall_clock=Clock())
    for user in ("bob", "eve", "kim"):
        tastes.note(user, "stars", "s5", 0, NOW_S)
    links = Interrupted(after, lambda: tastes.forget("bob"))
    other = View(view.snapshot, cast("Links", links), 2)
    tastes.refresh(other)
    assert links.left <= 0
    for user in ("eve", "kim", "bob"):
        taste = ready(tastes, user, other)
        assert taste.rows.tolist() == ([5] if user != "bob" else [])
        assert taste.house is None


def test_who_is_forgotten_is_no_longer_in_the_house(view: View) -> None:
    """At once for whoever is new, and for the others once their tastes are made again."""
    tastes = Tastes(wall_clock=Clock())
    for user in ("bob", "eve", "kim"):
        tastes.note(user, "stars", "s5", 0, NOW_S)
    assert ready(tastes, "new", view).house is not None
    tastes.forget("bob")
    tastes.refresh(view)
    for user in ("new", "eve", "kim"):
        taste = tastes.of(user, view)
        assert taste is not None
        assert taste.house is None
    assert ready(tastes, "another", view).house is None
    assert len(tastes) == 2


def test_old_events_are_a_taste_too(tmp_path: Path, view: View) -> None:
    with History.open(tmp_path) as history:
        history.append([Event(NOW_S - 200 * DAY_S, "bob", "c", "", "", "plays", "s7", 1.0)])
    tastes = Tastes(wall_clock=Clock())
    Recorder(tmp_path, Clock(), wall_clock=Clock(), tastes=tastes).load()
    taste = ready(tastes, "bob", view)
    assert taste.rows.tolist() == [7]
    assert taste.due[0] > 0.9
