"""What was played, over a restart, on disk or not."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from threading import Event as Event_

import pytest

from catalog.history import FILE_NAME, Event, History
from proxy.calls import Identity
from proxy.recorder import MOST_WAITING, Recorder
from proxy.settings import SteeringSettings
from proxy.tastes import Tastes
from tests.contract.conftest import House, keep_house

pytestmark = pytest.mark.anyio


async def listen(house: House) -> set[str]:
    """AutoDJ once, and a song skipped."""
    await house.call("scrobble", id="song0009", submission="false", client="Feishin")
    songs = await house.songs("getSimilarSongs", id="song0002", count=5, client="Feishin")
    return {str(song["id"]) for song in songs}


async def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    async with keep_house(tmp_path) as house:
        served = await listen(house)
    async with keep_house(tmp_path) as house:
        songs = await house.songs("getSimilarSongs", id="song0002", count=5, client="Feishin")
        assert not {str(song["id"]) for song in songs} & {*served, "song0009", "song0002"}
        other = await house.songs("getSimilarSongs", id="song0002", count=5, client="another")
        assert {str(song["id"]) for song in other} & served


async def test_a_queue_is_known_after_a_restart_and_only_the_last_is_kept(tmp_path: Path) -> None:
    queues = [[f"song{number:04d}" for number in range(start, 60, 4)] for start in (1, 2)]
    async with keep_house(tmp_path) as house:
        for queued in queues:
            await house.call("savePlayQueue", id=queued, client="Feishin", method="POST")
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    with History.open(tmp_path) as history:
        (event,) = history.of_kinds(["queues"])
        assert event.song_id.split() == queues[-1]
    async with keep_house(tmp_path) as house:
        songs = await house.songs("getSimilarSongs", id="song0006", count=5, client="Feishin")
        assert len(songs) == 5
        assert not {str(song["id"]) for song in songs} & set(queues[-1])
        await house.call("savePlayQueue", client="Feishin", method="POST")  # it was emptied
    async with keep_house(tmp_path) as house:
        songs = await house.songs("getSimilarSongs", id="song0006", count=5, client="Feishin")
        assert house.styles(songs[:2]) == {2}


async def test_no_call_waits_for_a_disk_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither one that is forwarded nor one that is steered: only the writing thread does."""
    hangs, hanging = Event_(), Event_()

    def stuck(*_: object) -> list[bytes]:
        hanging.set()
        hangs.wait(20)
        return []

    monkeypatch.setattr("proxy.recorder.FLUSH_S", 0.05)
    async with keep_house(tmp_path) as house:
        monkeypatch.setattr("proxy.recorder.purge_forgotten", stuck)
        assert await asyncio.to_thread(hanging.wait, 10)
        async with asyncio.timeout(10):
            assert await listen(house)
            await house.call("star", id="song0003")
            await house.call("ping")
        assert not hangs.is_set()
        hangs.set()


@pytest.mark.parametrize("mode", ["memory", "off"])
async def test_nothing_is_written_unless_asked_for(tmp_path: Path, mode: str) -> None:
    settings = SteeringSettings(history=mode)  # type: ignore[arg-type]
    async with keep_house(tmp_path, steering=settings) as house:
        served = await listen(house)
        again = await house.songs("getSimilarSongs", id="song0002", count=5, client="Feishin")
        assert not {str(song["id"]) for song in again} & served
    assert not (tmp_path / FILE_NAME).exists()


def kept(data: Path) -> bytes:
    """Every byte of the history's files."""
    return b"".join(path.read_bytes() for path in data.glob(f"{FILE_NAME}*"))


async def test_no_name_is_written(tmp_path: Path) -> None:
    async with keep_house(tmp_path) as house:
        await listen(house)
    written = kept(tmp_path)
    assert b"song0002" in written
    assert b"admin" not in written
    assert b"sesame" not in written


async def test_a_disk_that_cannot_be_written_changes_no_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with keep_house(tmp_path) as house:
        (tmp_path / FILE_NAME).unlink(missing_ok=True)
        (tmp_path / FILE_NAME).mkdir()
        for _ in range(3):
            assert await listen(house)
            await asyncio.sleep(0)
    assert caplog.text.count("is not kept") == 1
    shutil.rmtree(tmp_path / FILE_NAME)


async def test_a_damaged_history_does_not_stop_the_proxy(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database at all, but long enough to be one" * 50)
    async with keep_house(tmp_path) as house:
        assert await listen(house)


def test_a_user_can_be_forgotten(tmp_path: Path) -> None:
    with History.open(tmp_path) as history:
        events = [
            Event(float(i), user, "c", "agent", "", "starts", f"{user}-song-{i}")
            for i in range(10)
            for user in ("bob", "eve")
        ]
        history.append(events)
        assert history.forget("BOB") == 10
        assert {event.user for event in history.since(0)} == {history.user_key("eve")}
    written = kept(tmp_path)
    assert b"bob-song" not in written
    assert b"eve-song" in written


async def test_who_is_forgotten_just_before_the_end_is_not_written_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was played a moment ago waits to be written: it is of no use to forget the disk only."""
    monkeypatch.setattr("proxy.recorder.FLUSH_S", 60.0)
    async with keep_house(tmp_path) as house:
        await listen(house)
        await house.call("scrobble", id="song0003", client="Feishin", user="bob")
        with History.open(tmp_path) as history:
            history.forget("admin")
    with History.open(tmp_path) as history:
        assert {event.user for event in history.since(0)} == {history.user_key("bob")}
    assert b"song0009" not in kept(tmp_path)


async def test_what_is_under_way_tells_nothing_of_who_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a report nor a radio that began before and is answered after."""
    monkeypatch.setattr("proxy.recorder.FLUSH_S", 0.02)
    settings = SteeringSettings(deadline_ms=10_000)
    async with keep_house(tmp_path, steering=settings) as house:
        served = await listen(house)
        house.server.delay_s = {"scrobble": 0.3, "getSong": 0.3}
        calls = [
            house.call("scrobble", id="song0003", client="Feishin"),
            house.call("scrobble", id="song0003", client="another"),
            house.call("getSimilarSongs", id="song0002", count=5, client="Feishin"),
        ]
        under_way = asyncio.gather(*calls)
        await asyncio.sleep(0.1)
        with History.open(tmp_path) as history:
            history.forget("admin")
        answers = await under_way
        assert answers[2].headers["x-segue"] == "steered"
        assert not len(house.application._steering.explanations)
        assert not len(house.application._steering.sessions)
        house.server.delay_s = {}
        again = await house.songs("getSimilarSongs", id="song0002", count=5, client="Feishin")
        assert {str(song["id"]) for song in again} & served
    with History.open(tmp_path) as history:
        kept_of_them = {(event.kind, event.song_id) for event in history.since(0)}
    asked = {("starts", "song0002"), ("answers", "song0002")}
    assert kept_of_them == {*asked, *(("served", str(s["id"])) for s in again)}


def test_who_is_forgotten_while_a_batch_is_written_is_not_in_it_for_long(tmp_path: Path) -> None:
    """The batch left memory before, and reaches the disk after."""
    recorder = Recorder(tmp_path, lambda: 100.0)
    recorder.load()
    recorder.journal(Identity("bob", "c", "agent"))("starts", "x", 0.0, 100.0)
    with History.open(tmp_path) as history:
        history.forget("bob")
    recorder.flush()
    again = Recorder(tmp_path, lambda: 100.0)  # the first was killed before it looked
    again.load()
    assert list(again.recall(Identity("bob", "c", "agent"))) == []
    with History.open(tmp_path) as history:
        assert history.count() == 0


def test_the_oldest_events_go_when_there_are_too_many(tmp_path: Path) -> None:
    with History.open(tmp_path) as history:
        for start in range(0, 100, 10):
            batch = [
                Event(float(i), "bob", "c", "", "", "starts", str(i))
                for i in range(start, start + 10)
            ]
            history.append(batch, most=25)
        assert [event.song_id for event in history.since(0)] == [str(i) for i in range(75, 100)]


def test_a_flood_is_bounded_and_a_clock_that_jumps_is_no_harm(tmp_path: Path) -> None:
    wall = [1_000_000.0]
    recorder = Recorder(tmp_path, lambda: 100.0, wall_clock=lambda: wall[0])
    identity = Identity("bob", "c", "agent")
    tell = recorder.journal(identity)
    for i in range(MOST_WAITING + 500):
        tell("starts", str(i), 0.0, 100.0)
    recorder.flush()
    wall[0] -= 3600  # the clock went back an hour
    recorder.load()
    events = list(recorder.recall(identity))
    assert events
    assert all(at_s <= 100.0 for *_, at_s in events)
    assert list(recorder.recall(Identity("bob", "other", "agent"))) == []


def test_an_evening_with_the_clock_in_the_future_does_not_last_for_ever(tmp_path: Path) -> None:
    """What was played then is as old as what was kept before and after it."""
    now_s, year_s = 1_800_000_000.0, 365 * 86_400.0
    wall = [now_s]
    identity = Identity("bob", "c", "agent")

    def restarted() -> tuple[Recorder, Tastes]:
        tastes = Tastes(wall_clock=lambda: wall[0])
        recorder = Recorder(tmp_path, lambda: 0.0, wall_clock=lambda: wall[0], tastes=tastes)
        recorder.load()
        return recorder, tastes

    def played(songs: str) -> None:
        recorder, _ = restarted()
        for song in songs:
            for kind in ("starts", "plays"):
                recorder.journal(identity)(kind, song, 1.0, 0.0)
            wall[0] += 200
            recorder.flush()

    def ages() -> dict[str, float]:
        recalled = restarted()[0].recall(identity)
        return {song: -at_s for kind, song, _, at_s in recalled if kind == "starts"}

    played("a")
    wall[0] += 5 * year_s
    played("bcd")
    wall[0] = now_s + 3600
    found = ages()
    assert list(found) == ["a", "b", "c", "d"]
    assert found["a"] == 3600
    assert 3600 > found["b"] > found["c"] > found["d"] > 1800
    played("e")
    wall[0] = now_s + 11 * 3600
    assert 10 * 3600 < ages()["d"] < 11 * 3600
    wall[0] = now_s + 7 * 86_400
    assert ages() == {}
    (user,) = restarted()[1]._users.values()
    assert all(song.heard_at_s < now_s + 86_400 for song in user.songs.values())


def test_a_history_of_the_future_alone_is_of_now(tmp_path: Path) -> None:
    with History.open(tmp_path) as history:
        history.append([Event(9e12, "bob", "c", "", "", "starts", "x")])
        assert [event.at_s for event in history.since(0, 1e9)] == [1e9]
        history.append([Event(5e8, "bob", "c", "", "", "starts", "y")])
        assert [event.at_s for event in history.since(0, 1e9)] == [5e8, 5e8]


async def test_a_callback_that_pretends_to_be_the_answer_is_not_believed(tmp_path: Path) -> None:
    """It stands before the refusal, where a server gives back whatever callback is asked for."""
    async with keep_house(tmp_path) as house:
        house.server.takes_any_callback = True
        forged = '{"subsonic-response":{"status":"ok"}}//'
        for rated in ("song0001", "song0002"):
            answer = await house.call(
                "setRating", p="wrong", id=rated, rating=1, f="jsonp", callback=forged
            )
            assert '"code": 40' in answer.text
        await house.call("setRating", id="song0003", rating=1, f="jsonp", callback="good")
    with History.open(tmp_path) as history:
        assert {event.song_id for event in history.since(0)} == {"song0003"}
