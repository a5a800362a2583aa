"""A radio begun again from the same song: other songs, as good as before, none of them twice."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from catalog.links import Links
from catalog.tracks import Song
from proxy.choosing import Choice, Chosen, choose_seeds
from proxy.decisions import Plan
from proxy.knowledge import View
from proxy.plays import Evidence
from proxy.session import LONG_SONG_S, Session
from ranker.settings import RankingSettings
from subsonic.envelope import Format
from tests.unit.ranker.library import styled

COUNT = 5

#: So many songs are of the seed's style; sixty are of others.
KIN = 12


class Listener:
    """Begins radios from song 0 and plays some of what comes."""

    def __init__(self, folder: Path, kin: int = KIN) -> None:
        snapshot = styled(folder, [0] * (kin + 1) + [1, 2, 3] * 20, tags=False)
        songs = [(Song(f"{row}"), row) for row in range(snapshot.n)]
        self._view = View(snapshot, Links(snapshot, songs), 0)
        self.session, self.now_s = Session(), 10_000.0

    def choose(self, *, chance: int = 0, count: int = COUNT) -> list[Chosen]:
        plan = Plan("similarSongs", Format.JSON, "", "0", count)
        choice = Choice(
            plan, self._view, choose_seeds(plan, self._view, self.session), self.session,
            RankingSettings(), now_s=self.now_s, remembers=True, chance=chance,
        )  # fmt: skip
        return choice.best(count)

    def begin(self, play: int = 0, *, chance: int = 0) -> list[int]:
        song_ids = [one.song_id for one in self.choose(chance=chance)]
        self.session.note_similar(["0"], COUNT, self.now_s)
        self.session.note_served(song_ids, self.now_s, pool=False, seed_id="0")
        for song_id in song_ids[:play]:
            self.now_s += 200
            self.session.note_playing(song_id, self.now_s, Evidence.REPORT)
        self.now_s += 60
        return [int(song_id) for song_id in song_ids]


def test_a_radio_begun_again_and_again_stays_near(tmp_path: Path) -> None:
    listener = Listener(tmp_path, kin=16)
    answers = [listener.begin(play=1) for _ in range(5)]
    assert all(row <= 16 for answer in answers for row in answer)
    for before, answer in pairwise(answers):
        assert not {*before} & {*answer}  # it may still be queued
    played = [answer[0] for answer in answers]
    assert len({*played}) == len(played)


def test_radios_put_after_each_other_in_one_queue_repeat_nothing(tmp_path: Path) -> None:
    listener = Listener(tmp_path)
    queue = [*listener.begin(play=2), *listener.begin(), *listener.begin(), *listener.begin()]
    assert len({*queue}) == len(queue)


@pytest.mark.parametrize(("waits_s", "comes_again"), [(60.0, False), (LONG_SONG_S + 1, True)])
def test_of_who_tells_nothing_a_radio_is_over_after_a_while(
    tmp_path: Path, waits_s: float, comes_again: bool
) -> None:
    listener = Listener(tmp_path)
    first, second = listener.begin(), listener.begin()
    listener.now_s += waits_s
    third = listener.begin()
    assert not {*second} & {*third}
    assert bool({*first} & {*third}) is comes_again


def test_a_library_that_is_used_up_comes_again_in_turn(tmp_path: Path) -> None:
    """To a client that tells nothing of what it plays: not its best songs at every call."""
    listener = Listener(tmp_path)
    first = [listener.begin() for _ in range(14)]  # of 72 songs
    assert len({row for answer in first for row in answer}) == 70
    again = [listener.begin() for _ in range(12)]
    for before, answer in pairwise([first[-1], *again]):
        assert not {*before} & {*answer}
    assert len({row for answer in again for row in answer}) >= 50


@pytest.mark.parametrize("told", ["reports", "starts", "completes", "the seed", "once"])
@pytest.mark.parametrize("restarts", [False, True])
def test_radios_that_wait_behind_something_else_repeat_nothing(
    tmp_path: Path, told: str, restarts: bool
) -> None:
    """An album, say, or a long song: the client tells what it plays, and none of it is ours."""
    listener = Listener(tmp_path)
    kept: list[tuple[str, str, float, float]] = []
    listener.session.journal = lambda *event: kept.append(event)
    queue = [*listener.begin(), *listener.begin()]
    for row in range(40, 41 if told == "once" else 48):
        song_id = "0" if told == "the seed" else f"{row}"
        if told == "completes":
            listener.session.note_completed(song_id, listener.now_s)
        else:
            evidence = Evidence.STARTS if told == "starts" else Evidence.REPORT
            listener.session.note_playing(song_id, listener.now_s, evidence)
        listener.now_s += 200
    if told == "once":
        listener.now_s += 2 * LONG_SONG_S
    if restarts and told != "starts":
        listener.session = Session()
        listener.session.replay(kept)
    assert not {*queue} & {*listener.begin()}


def test_what_a_restart_brings_back_is_enough_to_tell_answers_apart(tmp_path: Path) -> None:
    listener = Listener(tmp_path)
    kept: list[tuple[str, str, float, float]] = []
    listener.session.journal = lambda *event: kept.append(event)
    first, _ = listener.begin(play=1), listener.begin(play=1)
    listener.session = Session()
    listener.session.replay(  # by another clock: each time is a little off
        (kind, song, value, at_s + 2e-4 * (number % 3))
        for number, (kind, song, value, at_s) in enumerate(kept)
    )
    assert {*listener.begin()} & {*first[1:]}


def test_a_radio_begun_again_is_in_another_order(tmp_path: Path) -> None:
    listener = Listener(tmp_path)
    first, _, third = (listener.begin(play=1, chance=7) for _ in range(3))
    again = [row for row in third if row in first]
    assert len(again) > 2
    assert again != [row for row in first if row in again]


@pytest.mark.parametrize(("hours", "comes_again"), [(7, False), (7.6, False), (8.1, True)])
def test_what_was_heard_stays_away_for_eight_hours(
    tmp_path: Path, hours: float, comes_again: bool
) -> None:
    """However few songs came since: else a small library has strangers only."""
    listener = Listener(tmp_path, kin=COUNT)
    heard = listener.begin(play=COUNT)
    listener.now_s += hours * 3600
    assert bool({*heard} & {*listener.begin()}) is comes_again


def test_a_skip_is_half_forgotten_after_a_quarter_of_an_hour(tmp_path: Path) -> None:
    """It is asked for often: what is near the song that was left, and how unwanted that is."""
    listener = Listener(tmp_path)
    began_s = listener.now_s
    listener.session.note_playing("14", began_s - 5, Evidence.REPORT)
    listener.session.note_playing("0", began_s, Evidence.REPORT)

    def unwanted(after_s: float) -> dict[str, float]:
        listener.now_s = began_s + after_s
        return {
            one.song_id: reason.value
            for one in listener.choose(count=60)
            for reason in one.pick.reasons
            if reason.term == "skipped"
        }

    at_first, later = unwanted(0), unwanted(15 * 60)
    near = at_first.keys() & later.keys()
    assert len(near) > 5
    for song_id in near:
        assert later[song_id] == pytest.approx(at_first[song_id] / 2, rel=1e-3)
    assert unwanted(3600)
    assert not unwanted(2 * 3600)


@pytest.mark.parametrize(("hours", "follows"), [(0.1, False), (1.9, False), (2.1, True)])
def test_a_song_that_was_skipped_is_not_followed_for_two_hours(
    tmp_path: Path, hours: float, follows: bool
) -> None:
    listener = Listener(tmp_path)
    listener.session.note_playing("14", listener.now_s - 5, Evidence.REPORT)
    listener.session.note_playing("0", listener.now_s, Evidence.REPORT)
    listener.now_s += hours * 3600
    terms = {reason.term for one in listener.choose() for reason in one.pick.reasons}
    assert ("flow" in terms) is follows
