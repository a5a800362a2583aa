"""Sessions of AutoDJ as the benchmark plays them: it counts what comes, so it can fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.autodj import Figures, simulate
from bench.feishin import SONG_S
from bench.servers import Picker, Plain, Servers, all_knowing, steered
from catalog.links import Links, Mask
from catalog.snapshot import Snapshot
from proxy.decisions import Leave
from proxy.session import Session
from ranker.picks import Context, Seed
from ranker.rank import rank
from ranker.settings import RankingSettings
from tests.unit.ranker.library import styled

TRACKS = 120
SESSIONS = 6
SONGS = 20
SEGUE = steered(RankingSettings())


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    artists = [row % 40 for row in range(TRACKS)]
    folder: Path = tmp_path_factory.mktemp("library")
    return styled(folder, [row % 6 for row in range(TRACKS)], artists=artists)


@pytest.fixture(scope="module")
def folder() -> NDArray[np.bool_]:
    return np.arange(TRACKS) % 7 < 4


def figures(
    snapshot: Snapshot,
    servers: Servers,
    folder: NDArray[np.bool_] | None = None,
    jumps: float = 0.0,
    played: list[list[int]] | None = None,
) -> Figures:
    judge = np.asarray(snapshot.vectors, np.float32)
    return simulate(
        snapshot, judge, servers, SESSIONS, folder, songs=SONGS, jumps=jumps, played=played
    )


@pytest.mark.parametrize("jumps", [0.0, 0.5])
@pytest.mark.parametrize("selected", [False, True])
def test_the_proxy_repeats_nothing_and_leaves_no_fall_back(
    snapshot: Snapshot, folder: NDArray[np.bool_], selected: bool, jumps: float
) -> None:
    found = figures(snapshot, SEGUE, folder if selected else None, jumps)
    assert (found.repeats, found.fall_backs, found.outside, found.thrice) == (0, 0, 0, 0)
    assert found.asked >= SESSIONS * SONGS // 5
    assert found.played < SESSIONS * SONGS if jumps else found.played == SESSIONS * SONGS
    assert found.share > 0.3


@pytest.mark.parametrize("selected", [False, True])
def test_the_proxy_chooses_as_who_knows_the_whole_queue(
    snapshot: Snapshot, folder: NDArray[np.bool_], selected: bool
) -> None:
    """It knows from the calls alone what plays and what was heard when."""

    def pick(playing: int, context: Context, count: int) -> list[int]:
        picks = rank(snapshot, [Seed(playing)], context, RankingSettings(), count)
        return [one.row for one in picks]

    picker: Picker = pick
    both: list[list[list[int]]] = []
    for servers in (steered(RankingSettings(), chance=False), all_knowing(picker)):
        both.append([])
        figures(snapshot, servers, folder if selected else None, played=both[-1])
    assert both[0] == both[1]


def test_a_proxy_that_forgets_what_was_served_repeats(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "note_served", lambda *_, **__: None)
    found = figures(snapshot, SEGUE, jumps=0.5)
    assert found.repeats > SESSIONS
    assert found.fall_backs > SESSIONS // 2


def test_a_proxy_that_forgets_what_was_heard_repeats(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "served_rows", lambda *_: frozenset())
    assert figures(snapshot, SEGUE).repeats == 0  # all of the queue was heard
    monkeypatch.setattr("proxy.session.HEARD_TTL_S", SONG_S)
    monkeypatch.setattr("proxy.choosing.RECENTLY_HEARD", 3)
    assert figures(snapshot, SEGUE).repeats > SESSIONS


def test_a_proxy_that_forgets_the_folder_plays_others(
    snapshot: Snapshot, folder: NDArray[np.bool_], monkeypatch: pytest.MonkeyPatch
) -> None:
    def select(links: Links, **_: object) -> Mask:
        return np.ones(len(links), np.bool_)

    monkeypatch.setattr(Links, "select", select)
    assert figures(snapshot, SEGUE, folder).outside > SESSIONS


def test_a_plain_server_repeats_and_leaves_fall_backs(
    snapshot: Snapshot, folder: NDArray[np.bool_]
) -> None:
    anything = figures(snapshot, Plain)
    assert anything.repeats > 0
    assert 0 < anything.fall_backs < anything.asked
    # It knows no genre by the id that Feishin sends, so that a folder is always asked for twice.
    inside = figures(snapshot, Plain, folder)
    assert (inside.outside, inside.fall_backs) == (0, inside.asked)


def test_what_the_proxy_leaves_is_answered_by_the_server(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.servers.decide", lambda *_: Leave("switched-off"))
    both: list[list[list[int]]] = []
    for servers in (SEGUE, Plain):
        both.append([])
        assert figures(snapshot, servers, played=both[-1]).repeats > 0
    assert both[0] == both[1]
