from __future__ import annotations

import pytest

from proxy.calls import Identity
from proxy.observation import observe
from proxy.plays import Evidence
from proxy.session import (
    HEARD_KEPT,
    HEARD_TTL_S,
    OFFERED_KEPT,
    SERVED_KEPT,
    SERVED_TTL_S,
    Session,
)
from proxy.sessions import (
    MAX_SESSIONS,
    MAX_SESSIONS_OF_A_USER,
    MOST_SONGS,
    MOST_SONGS_OF_A_USER,
    Sessions,
)
from subsonic.parameters import Parameters


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


FEISHIN = Identity("bob", "Feishin", "Mozilla")
NATIVE = Identity("bob", "", "Mozilla")


def playing(session: Session) -> str | None:
    return session.playing.song_id if session.playing else None


def report(
    sessions: Sessions, endpoint: str, at_s: float, identity: Identity = FEISHIN, **p: str
) -> None:
    observe(sessions, identity, endpoint, Parameters(list(p.items())), at_s)


def test_a_native_call_tells_every_session_of_the_user_and_agent() -> None:
    sessions = Sessions(Clock())
    assert sessions.get(FEISHIN) is not None
    other_user = Identity("eve", "Feishin", "Mozilla")
    other_agent = Identity("bob", "Feishin", "Electron")
    for identity in (other_user, other_agent):
        sessions.get(identity)
    report(sessions, "song", 5, NATIVE, id="x")
    assert playing(sessions.peek(FEISHIN)) == "x"
    assert playing(sessions.peek(other_user)) is playing(sessions.peek(other_agent)) is None


def test_what_native_calls_told_before_the_first_own_call_is_known() -> None:
    sessions = Sessions(Clock())
    report(sessions, "song", 5, NATIVE, id="x")
    assert playing(sessions.peek(FEISHIN)) == "x"
    session = sessions.get(FEISHIN)
    assert session is not None
    assert playing(session) == "x"


def test_a_session_keeps_its_memory_when_the_player_cookie_is_set() -> None:
    sessions = Sessions(Clock())
    first = sessions.get(FEISHIN)
    with_cookie = Identity("bob", "Feishin", "Mozilla", "player-1")
    assert sessions.peek(with_cookie) is first
    assert sessions.get(with_cookie) is first
    other_player = Identity("bob", "Feishin", "Mozilla", "player-2")
    assert sessions.get(other_player) is not first


def test_two_players_of_one_user_are_two_sessions() -> None:
    sessions = Sessions(Clock())
    phone = Identity("bob", "Symfonium", "Android", "p1")
    report(sessions, "scrobble", 1, FEISHIN, id="a", submission="false")
    report(sessions, "scrobble", 2, phone, id="b", submission="false")
    assert [playing(sessions.peek(i)) for i in (FEISHIN, phone)] == ["a", "b"]


def test_peeking_begins_no_session() -> None:
    sessions = Sessions(Clock())
    sessions.peek(FEISHIN).note_playing("x", 1, Evidence.STARTS)
    assert len(sessions) == 0
    assert playing(sessions.peek(FEISHIN)) is None


def test_a_caller_who_names_nobody_has_no_session() -> None:
    sessions = Sessions(Clock())
    report(sessions, "song", 5, Identity(""), id="x")
    assert sessions.get(Identity("")) is None
    assert len(sessions) == 0


def test_sessions_are_bounded_in_number_and_time() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    for i in range(MAX_SESSIONS + 10):
        sessions.get(Identity(f"user {i}", "c"))
    assert len(sessions) == MAX_SESSIONS
    clock.now_s += 13 * 3600
    assert playing(sessions.peek(Identity("user 2005", "c"))) is None


def test_a_user_with_many_clients_does_not_push_others_out() -> None:
    sessions = Sessions(Clock())
    sessions.note_playing(FEISHIN, "x", 1, Evidence.STARTS)
    for i in range(500):
        sessions.get(Identity("eve", f"client {i}"))
    assert playing(sessions.peek(FEISHIN)) == "x"
    assert len(sessions) == MAX_SESSIONS_OF_A_USER + 1


def full(sessions: Sessions, identity: Identity) -> None:
    session = sessions.get(identity)
    assert session is not None
    session.note_queue([f"q{i}" for i in range(5000)], 1)
    session.note_served([f"s{i}" for i in range(5000)], 1, pool=False)
    sessions.get(identity)


def test_memory_is_bounded_for_one_user_and_in_all() -> None:
    """Whatever clients send: the songs remembered in all sessions have an end."""
    sessions = Sessions(Clock())
    report(sessions, "scrobble", 1, id="a", submission="false")
    for i in range(60):
        full(sessions, Identity("eve", f"client {i}"))
    own = [session for who, session in sessions._all.items() if who.user == "eve"]
    assert sum(session.weight for session in own) <= MOST_SONGS_OF_A_USER
    assert own
    assert playing(sessions.peek(FEISHIN)) == "a"  # eve pushed nobody out
    for i in range(100):
        full(sessions, Identity(f"user {i}", "c"))
    assert sum(session.weight for session in sessions._all.values()) <= MOST_SONGS
    assert sessions.peek(Identity("user 99", "c")).queue


def test_a_decision_about_the_next_song_does_not_hide_what_plays() -> None:
    session = Session()
    session.note_playing("now", 1, Evidence.STARTS)
    session.note_playing("next", 2, Evidence.DECISION)
    assert playing(session) == "now"
    fresh = Session()
    fresh.note_playing("first", 1, Evidence.DECISION)
    assert playing(fresh) == "first"
    assert list(fresh.heard) == []


def test_stale_reports_do_not_bring_an_ended_song_back() -> None:
    session = Session()
    session.note_playing("a", 0, Evidence.STARTS)
    session.note_playing("b", 10, Evidence.STARTS)
    session.note_playing("a", 15, Evidence.REPORT)
    assert playing(session) == "b"
    session.note_playing("a", 400, Evidence.REPORT)  # minutes later it is really played again
    assert playing(session) == "a"


def test_scrobbles_of_a_client_without_other_reports_are_followed() -> None:
    sessions = Sessions(Clock())
    for i, song_id in enumerate("abcd"):
        report(sessions, "scrobble", i * 30.0, id=song_id, submission="false")
        assert playing(sessions.peek(FEISHIN)) == song_id
    report(sessions, "scrobble", 200, id="x", submission="true")
    report(sessions, "scrobble", 201, id="y")
    assert playing(sessions.peek(FEISHIN)) == "d"
    # What was only called heard counts as heard, but is not what plays.
    heard = sessions.peek(FEISHIN).heard_lately(2, 201)
    assert heard == [
        ("d", 111.0),
        ("y", 0.0),
        ("x", 1.0),
        *zip("cba", (141, 171, 201), strict=True),
    ]


@pytest.mark.parametrize(("submission", "heard"), [
    ("true", True), ("TRUE", True), ("1", True), ("on", True), ("", True), (None, True),
    ("false", False), ("False", False), ("0", False), ("no", False), ("off", False),
    ("nonsense", False),
])  # fmt: skip
def test_a_scrobble_is_a_listen_where_the_server_takes_it_for_one(
    submission: str | None, heard: bool
) -> None:
    notebook = Notebook()
    sessions = Sessions(Clock(), notebook)
    word = {} if submission is None else {"submission": submission}
    report(sessions, "scrobble", 5, id="x", **word)
    told = {kind for _, kind, *_ in notebook.kept}
    assert ("plays" in told) is ("completes" in told) is heard
    assert (playing(sessions.peek(FEISHIN)) == "x") is not heard


def test_what_was_heard_counts_for_hours_and_is_bounded() -> None:
    session = Session()
    for number in range(3 * HEARD_KEPT):
        session.note_playing(f"s{number}", number, Evidence.STARTS)
    last = 3.0 * HEARD_KEPT - 1
    assert len(session.heard) == len(session.heard_lately(30, last)) == HEARD_KEPT
    assert len(session.heard_lately(30, last + HEARD_TTL_S - 99)) == 100
    assert len(session.heard_lately(30, last + HEARD_TTL_S + 1)) == 30


def test_what_was_heard_offline_long_ago_is_not_of_this_session() -> None:
    sessions = Sessions(Clock())
    observe(sessions, FEISHIN, "scrobble", Parameters([("id", "x"), ("time", "1000")]), 5, 7200)
    assert not sessions.peek(FEISHIN).heard


def test_what_waits_in_the_queue_is_what_came_with_or_after_the_song_that_plays() -> None:
    session = Session()
    session.note_served(["a", "b", "c"], 10, pool=False)
    assert session.waiting(11) == ["a", "b", "c"]
    session.note_playing("b", 12, Evidence.STARTS)
    assert session.waiting(13) == ["a", "c"]
    session.note_served(["d", "e"], 14, pool=False)
    assert session.waiting(15) == ["a", "c", "d", "e"]
    session.note_playing("d", 16, Evidence.STARTS)
    assert session.waiting(17) == ["e"]
    assert session.waiting(14 + SERVED_TTL_S + 1) == []


@pytest.mark.parametrize("state", ["stopped", "paused", ""])
def test_only_playing_reports_tell_what_plays(state: str) -> None:
    sessions = Sessions(Clock())
    report(sessions, "reportPlayback", 1, mediaId="x", state=state)
    assert playing(sessions.peek(FEISHIN)) is None
    report(sessions, "reportPlayback", 2, mediaId="x", state="starting")
    assert playing(sessions.peek(FEISHIN)) == "x"


def test_nonsense_in_a_report_is_no_crash() -> None:
    sessions = Sessions(Clock())
    report(sessions, "scrobble", 1, submission="false")
    report(sessions, "reportPlayback", 1, state="playing")
    report(sessions, "getTranscodeDecision", 1, mediaType="podcast", mediaId="p")
    assert playing(sessions.peek(FEISHIN)) is None


def test_what_was_served_is_remembered_for_a_while_and_bounded() -> None:
    session = Session()
    session.note_served(["a", "b"], 10, pool=False)
    session.note_served(["c"], 20, pool=True)
    session.note_served([f"s{i}" for i in range(3000)], 30, pool=True)
    assert list(session.served) == ["a", "b"]
    session.note_served([f"t{i}" for i in range(3000)], 31, pool=False)
    assert (len(session.offered), len(session.served)) == (OFFERED_KEPT, SERVED_KEPT)


def test_the_seed_of_a_similar_call_is_the_truth() -> None:
    session = Session()
    session.note_playing("old", 1, Evidence.STARTS)
    session.note_similar(["new"], 5, 2)
    assert (playing(session), session.similar_at_s, session.similar_count) == ("new", 2, 5)
    session.note_similar(["a", "b"], 20, 3)
    assert playing(session) == "new"


def skips(session: Session, now_s: float) -> list[str]:
    return [song for song, _ in session.skipped_lately(now_s)]


def test_a_song_left_soon_and_never_called_heard_is_skipped() -> None:
    session = Session()
    for song, at_s in (("a", 0), ("b", 10), ("c", 15), ("d", 200), ("e", 205)):
        session.note_playing(song, at_s, Evidence.REPORT)
    assert skips(session, 206) == ["d", "b", "a"]  # c played for three minutes
    assert session.skipped_lately(206)[0] == ("d", 1.0)
    session.note_completed("d", 207)  # said late: it was heard after all
    assert skips(session, 208) == ["b", "a"]
    assert skips(session, 3 * 3600.0) == []


def test_the_last_time_that_a_song_was_played_tells_whether_it_is_skipped() -> None:
    session = Session()
    session.note_playing("a", 0, Evidence.REPORT)
    session.note_completed("a", 200)
    session.note_playing("b", 200, Evidence.REPORT)
    session.note_playing("a", 205, Evidence.REPORT)
    assert skips(session, 206) == ["b"]
    session.note_playing("c", 290, Evidence.REPORT)
    session.note_playing("a", 500, Evidence.REPORT)
    session.note_playing("d", 505, Evidence.REPORT)
    assert skips(session, 506) == ["a", "b"]  # heard in full an hour ago, not wanted now
    session.note_playing("b", 800, Evidence.REPORT)
    assert skips(session, 801) == ["a"]  # taken up again
    session.note_playing("d", 1000, Evidence.REPORT)
    assert skips(session, 1001) == ["a"]  # and listened to


def test_a_song_that_nobody_said_was_playing_is_not_skipped() -> None:
    """A queue that is restored, a radio begun from a song that does not play."""
    session = Session()
    session.note_playing("restored", 0, Evidence.STARTS)
    session.note_similar(["seed"], 20, 10)
    session.note_playing("a", 15, Evidence.REPORT)
    assert skips(session, 16) == []
    session.note_playing("seed", 17, Evidence.REPORT)  # late, but it did play
    assert skips(session, 18) == ["seed"]


def test_a_song_that_is_resumed_begins_then() -> None:
    session = Session()
    session.note_playing("restored", 0, Evidence.STARTS)
    session.note_playing("restored", 300, Evidence.REPORT)
    session.note_playing("b", 308, Evidence.REPORT)
    assert skips(session, 309) == ["restored"]


def heard_for(session: Session, now_s: float, duration_s: float) -> list[str]:
    return [song for song, _ in session.skipped_lately(now_s, lambda _: duration_s)]


@pytest.mark.parametrize(("stopped_ms", "duration_s", "skipped"), [
    ("27000", 27.0, []), ("25000", 27.0, []), ("9000", 27.0, ["a"]), ("0", 28.0, []),
    ("0", 300.0, ["a"]), ("299000", 300.0, []),
])  # fmt: skip
def test_a_short_song_heard_to_its_end_is_not_skipped(
    stopped_ms: str, duration_s: float, skipped: list[str]
) -> None:
    """It lasts less than what counts as left soon. A position of 0 tells nothing."""
    sessions = Sessions(Clock())
    elapsed_s = 9 if stopped_ms == "9000" else 27
    report(sessions, "scrobble", 0, id="a", submission="false")
    report(sessions, "reportPlayback", elapsed_s, mediaId="a", state="stopped",
           positionMs=stopped_ms)  # fmt: skip
    report(sessions, "scrobble", elapsed_s, id="b", submission="false")
    assert heard_for(sessions.peek(FEISHIN), 30, duration_s) == skipped


def test_a_song_that_waited_is_judged_by_what_was_heard_of_it() -> None:
    """Five seconds, a pause of five minutes, two seconds: it is skipped."""
    notebook = Notebook()
    sessions = Sessions(Clock(), notebook)
    report(sessions, "scrobble", 0, id="a", submission="false")
    report(sessions, "reportPlayback", 5, mediaId="a", state="paused", positionMs="5000")
    report(sessions, "reportPlayback", 305, mediaId="a", state="playing", positionMs="5000")
    report(sessions, "reportPlayback", 307, mediaId="a", state="stopped", positionMs="7000")
    report(sessions, "scrobble", 308, id="b", submission="false")
    again = Sessions(Clock(), notebook).peek(FEISHIN)  # after a restart, too
    for session in (sessions.peek(FEISHIN), again):
        assert heard_for(session, 309, 200.0) == ["a"]
    report(sessions, "reportPlayback", 310, mediaId="b", state="paused", positionMs="2000")
    report(sessions, "reportPlayback", 320, mediaId="b", state="stopped", positionMs="2000")
    report(sessions, "scrobble", 900, id="c", submission="false")  # who comes back skips nothing
    assert heard_for(sessions.peek(FEISHIN), 901, 200.0) == ["a"]


def test_positions_that_lag_are_not_believed_against_the_clock() -> None:
    sessions = Sessions(Clock())
    report(sessions, "scrobble", 0, id="a", submission="false")
    report(sessions, "reportPlayback", 110, mediaId="a", state="stopped", positionMs="45000")
    report(sessions, "scrobble", 110, id="b", submission="false")
    assert heard_for(sessions.peek(FEISHIN), 111, 300.0) == []


def test_what_plays_now_is_not_skipped_yet() -> None:
    session = Session()
    session.note_playing("a", 0, Evidence.STARTS)
    assert skips(session, 5) == []


class Notebook:
    """A keeper in memory."""

    def __init__(self) -> None:
        self.kept: list[tuple[Identity, str, str, float, float]] = []
        self.recalled = 0

    def journal(self, identity: Identity):  # type: ignore[no-untyped-def]
        return lambda kind, song, value, at_s: self.kept.append((identity, kind, song, value, at_s))

    def recall(self, identity: Identity) -> list[tuple[str, str, float, float]]:
        self.recalled += 1
        return [kept[1:] for kept in self.kept if kept[0] == identity]


def test_a_session_is_found_again_by_what_was_kept() -> None:
    notebook = Notebook()
    sessions = Sessions(Clock(), notebook)
    report(sessions, "scrobble", 10, id="a", submission="false")
    report(sessions, "scrobble", 20, id="a")
    report(sessions, "scrobble", 21, id="b", submission="false")
    report(sessions, "scrobble", 25, id="c", submission="false")
    session = sessions.get(FEISHIN)
    assert session is not None
    session.note_served(["x", "y"], 26, pool=False)
    session.note_served(["z"], 27, pool=True)
    again = Sessions(Clock(), notebook).peek(FEISHIN)
    assert (playing(again), skips(again, 30)) == ("c", ["b"])
    assert list(again.served) == ["x", "y"]
    assert list(again.offered) == ["z"]
    assert len(notebook.kept) == 8  # recalling is not told again
    assert playing(Sessions(Clock(), notebook).peek(Identity("eve", "Feishin", "Mozilla"))) is None


def test_whoever_asks_as_somebody_has_what_was_kept_replayed_once() -> None:
    """It takes long, and strangers may ask for it without end: nobody has heard their login yet."""
    notebook = Notebook()
    report(Sessions(Clock(), notebook), "scrobble", 10, id="a", submission="false")
    sessions = Sessions(Clock(), notebook)
    before = notebook.recalled
    assert [playing(sessions.peek(FEISHIN)) for _ in range(5)] == ["a"] * 5
    assert notebook.recalled == before + 1
    assert not len(sessions)
    session = sessions.get(FEISHIN)
    assert session is not None
    assert playing(session) == "a"
    assert notebook.recalled == before + 1
    session.note_playing("b", 20, Evidence.STARTS)
    assert playing(sessions.peek(FEISHIN)) == "b"
    assert notebook.kept[-1][:3] == (FEISHIN, "starts", "b")


def test_what_was_found_again_of_who_is_forgotten_is_forgotten() -> None:
    notebook = Notebook()
    report(Sessions(Clock(), notebook), "scrobble", 10, id="a", submission="false")
    sessions = Sessions(Clock(), notebook)
    assert playing(sessions.peek(FEISHIN)) == "a"
    notebook.kept.clear()
    sessions.forget(lambda user: user == FEISHIN.user)
    assert playing(sessions.peek(FEISHIN)) is None
