from __future__ import annotations

import pytest

from proxy.decisions import Leave, Plan, decide, is_probe
from proxy.session import Session
from proxy.settings import ClientSettings, SteeringSettings
from subsonic.envelope import Format
from subsonic.parameters import Parameters

NOW_S = 1000.0
SETTINGS = SteeringSettings()


def decided(
    endpoint: str, query: str, session: Session | None = None,
    settings: SteeringSettings = SETTINGS,
) -> Plan | Leave:  # fmt: skip
    parameters = Parameters.parse(query.encode())
    return decide(endpoint, parameters, session or Session(), settings, NOW_S)


def similar_before(seconds: float, count: int = 5) -> Session:
    session = Session()
    session.note_similar(["s"], count, NOW_S - seconds)
    return session


@pytest.mark.parametrize(
    ("query", "count"),
    [("id=x", 50), ("id=x&count=5", 5), ("id=x&count=abc", 50), ("id=x&count=1000000", 500)],
)
def test_similar_calls_are_steered_with_the_servers_counts(query: str, count: int) -> None:
    plan = decided("getSimilarSongs", query)
    assert isinstance(plan, Plan)
    assert (plan.listing, plan.seed_id, plan.count) == ("similarSongs", "x", count)
    second = decided("getSimilarSongs2", query)
    assert isinstance(second, Plan)
    assert second.listing == "similarSongs2"


@pytest.mark.parametrize(
    ("endpoint", "query", "reason"),
    [
        ("getSimilarSongs", "", "no-id"),
        ("getSimilarSongs", "id=", "no-id"),
        ("getSimilarSongs", "id=x&count=0", "count"),
        ("getSimilarSongs", "id=x&count=-1", "count"),
        ("getSimilarSongs", "id=x&f=jsonp", "bad-callback"),
        ("getSimilarSongs", "id=x&f=jsonp&callback=alert(1)", "bad-callback"),
        ("getRandomSongs", "", "true-random"),
        ("getRandomSongs", "size=100", "true-random"),
        ("getRandomSongs", "c=Feishin&size=50", "true-random"),
        ("getRandomSongs", "c=Feishin&size=50&genre=x", "true-random"),
        ("getRandomSongs", "c=Feishin&size=50&musicFolderId=1", "true-random"),
        ("getRandomSongs", "c=Feishin&size=10&musicFolderId=1", "true-random"),
        ("getRandomSongs", "c=Other&size=50&genre=x&musicFolderId=1", "true-random"),
        ("getRandomSongs", "c=Feishin&size=50&genre=x&musicFolderId=1x", "odd-folder"),
        ("getRandomSongs", "size=0", "count"),
        ("getRandomSongs", "size=-5", "count"),
    ],
)
def test_everything_else_is_left_to_the_server(endpoint: str, query: str, reason: str) -> None:
    assert decided(endpoint, query) == Leave(reason)


def test_random_within_ten_seconds_of_a_similar_call_continues_it() -> None:
    plan = decided("getRandomSongs", "c=Feishin&genre=g&size=50", similar_before(9.9))
    assert isinstance(plan, Plan)
    assert (plan.genre, plan.count, plan.seed_id) == ("g", 20, "")
    assert decided("getRandomSongs", "size=50", similar_before(10.1)) == Leave("true-random")


@pytest.mark.parametrize("query", [
    "c=Feishin&size=100", "c=Feishin&size=500", "c=Feishin&size=20", "c=Feishin",
    "c=Feishin&size=50&fromYear=1980&toYear=2026", "c=feishin-fork&size=50&toYear=2026",
    "c=Other&size=51", "c=Other&size=500", "c=Other&size=20&fromYear=1990",
])  # fmt: skip
def test_a_shuffle_is_the_servers_own_however_soon_it_follows_a_radio(query: str) -> None:
    """Feishin's AutoDJ goes on with fifty songs and names no years; its dialog may do both."""
    for asked in (5, 20, 50):
        session = similar_before(1, asked)
        assert decided("getRandomSongs", query, session) == Leave("true-random")


@pytest.mark.parametrize("size", [10, 20, 50])
def test_who_may_not_choose_from_a_pool_gets_all_songs_asked_for(size: int) -> None:
    plan = decided("getRandomSongs", f"c=Substreamer&size={size}", similar_before(1))
    assert isinstance(plan, Plan)
    assert plan.count == size
    assert plan.is_pool == (size > 10)  # what gets queued whole comes once


def test_a_pool_is_no_larger_than_what_can_all_be_good() -> None:
    counts = []
    for asked in (1, 5, 10, 160):
        plan = decided("getRandomSongs", "c=Feishin&size=50", similar_before(1, asked))
        assert isinstance(plan, Plan)
        counts.append(plan.count)
    assert counts == [10, 20, 40, 50]


def test_feishin_with_a_folder_selected() -> None:
    probe = "c=Feishin&genre=6voh8cQvRZQJzTQYlj1qZp&musicFolderId=1&size=50"
    assert is_probe(Parameters.parse(probe.encode()))
    plan = decided("getRandomSongs", probe)
    assert isinstance(plan, Plan)
    assert plan.probe
    assert plan.folder_ids == ("1",)
    follow = "c=Feishin&musicFolderId=1&size=10"
    after = decided("getRandomSongs", follow, Session(probe_at_s=NOW_S - 1.9))
    assert isinstance(after, Plan)
    assert (after.count, after.probe) == (10, False)
    other = decided("getRandomSongs", "c=Other&musicFolderId=1&size=10", Session(probe_at_s=NOW_S))
    assert other == Leave("true-random")
    late = decided("getRandomSongs", follow, Session(probe_at_s=NOW_S - 2.1))
    assert late == Leave("true-random")


def test_limits_are_taken_over() -> None:
    plan = decided(
        "getRandomSongs",
        "size=7&fromYear=1990&toYear=x&musicFolderId=1&musicFolderId=2&musicFolderId=1",
        settings=SteeringSettings(random="always"),
    )
    assert isinstance(plan, Plan)
    assert (plan.count, plan.from_year, plan.to_year) == (7, 1990, 0)
    assert plan.folder_ids == ("1", "2")


def test_switches_and_clients_of_their_own() -> None:
    settings = SteeringSettings(
        similar=False, random="never",
        clients={"DJ": ClientSettings(similar=True, random="always")},
    )  # fmt: skip
    assert decided("getSimilarSongs", "id=x&c=App", settings=settings) == Leave("switched-off")
    assert decided("getRandomSongs", "c=App", similar_before(1), settings) == Leave("switched-off")
    assert isinstance(decided("getSimilarSongs", "id=x&c=DJ", settings=settings), Plan)
    everything = decided("getRandomSongs", "c=DJ&size=600", settings=settings)
    assert isinstance(everything, Plan)
    assert everything.count == 500


def test_formats() -> None:
    plan = decided("getSimilarSongs", "id=x&f=jsonp&callback=cb")
    assert isinstance(plan, Plan)
    assert (plan.format, plan.callback) == (Format.JSONP, "cb")
