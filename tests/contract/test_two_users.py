"""Two users and two strangers, all calls interleaved, on connections that they share.

Whatever the server tells a user bears that user's mark here, so an answer with another's mark has
gone astray: steered, forwarded, relayed, composed or kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.settings import SteeringSettings
from tests.contract.conftest import House, keep_house

PASSWORDS = {"admin": "sesame", "bob": "secret", "Bob": "secret"}
SONGS = tuple(f"song{number:04d}" for number in range(0, 60, 7))
#: What tells of a session, so that a shuffle may go on with it.
TELLING = ("scrobble", "reportPlayback", "getTranscodeDecision", "api/song", "getSimilarSongs",
           "getSimilarSongs2")  # fmt: skip
#: A browser that both use, one behind the other: same client, agent and player cookie.
SHARED = {"user-agent": "Feishin", "cookie": "nd-player-61646d696e=PLAYER"}


@dataclass(frozen=True)
class Step:
    """One call. `wrong` means with a password that is not the user's."""

    user: str
    wrong: bool
    endpoint: str
    song_id: str
    format: str
    method: str
    shared: bool
    wait_ms: int


steps = st.builds(
    Step,
    user=st.sampled_from(["admin", "bob", "bob", "Bob"]),
    wrong=st.sampled_from([False, False, False, True]),
    endpoint=st.sampled_from(
        ["getSimilarSongs", "getSimilarSongs2", "getRandomSongs", "getRandomSongs", "getSong",
         "search3", "scrobble", "reportPlayback", "getTranscodeDecision", "api/song"]
    ),
    song_id=st.sampled_from(SONGS),
    format=st.sampled_from(["json", "json", "xml", "jsonp"]),
    method=st.sampled_from(["GET", "GET", "POST"]),
    shared=st.booleans(),
    wait_ms=st.sampled_from([0, 0, 1, 5]),
)  # fmt: skip


class Crowd:
    """A house that stays up, and whoever calls it."""

    def __init__(self, house: House) -> None:
        self.house = house
        for name, user in house.server.users.items():
            user.stars = dict.fromkeys(house.server.songs, f"mark-of-{name}")
        self.told: set[str] = set()
        self.steered = self.given = 0
        self.pages = ""

    async def look(self) -> str:
        """Segue's own pages, as its owner sees them."""
        paths = ("/segue/health", "/segue/metrics")
        return "".join([(await self.house.http.get(self.house.url + p)).text for p in paths])

    async def act(self, step: Step) -> None:
        await asyncio.sleep(step.wait_ms / 1000)
        name = step.user.lower()
        if step.endpoint in TELLING and not step.wrong:
            self.told.add(name)
        reply = await self._call(step)
        text = reply.text + str(reply.headers.multi_items())
        other = {"admin": "bob", "bob": "admin"}[name]
        assert f"mark-of-{other}" not in text
        assert f"nd-player-{other.encode().hex()}" not in text
        if step.wrong:
            assert "mark-of-" not in text, "a song for a login that the server refused"
            assert "steered" not in reply.headers.get("x-segue", "")
            return
        self.given += "mark-of-" in text
        if name == "bob":
            hidden = [s for s, song in self.house.server.songs.items() if song["_folder"] == 2]
            assert not any(song_id in text for song_id in hidden if song_id != step.song_id)
        if reply.headers.get("x-segue") == "steered":
            self.steered += 1
            # What one plays never makes the other's shuffle a continuation of it.
            assert step.endpoint != "getRandomSongs" or name in self.told

    async def _call(self, step: Step) -> httpx2.Response:
        house = self.house
        headers = dict(SHARED) if step.shared else {"user-agent": step.user}
        if step.endpoint == "api/song":
            token = house.server.token(step.user.lower())
            headers["x-nd-authorization"] = f"Bearer {token}" + "x" * step.wrong
            return await house.http.get(f"{house.url}/api/song/{step.song_id}", headers=headers)
        form: dict[str, Any] = {
            "u": step.user, "p": PASSWORDS[step.user] + "x" * step.wrong, "v": "1.16.1",
            "c": "Feishin", "f": step.format, "callback": "cb", "id": step.song_id,
            "mediaId": step.song_id, "submission": "false", "state": "playing", "size": 10,
            "count": 8, "songCount": 500,
        }  # fmt: skip
        url = f"{house.url}/rest/{step.endpoint}"
        if step.method == "POST":
            return await house.http.post(url, data=form, headers=headers)
        return await house.http.get(url, params=form, headers=headers)


@pytest.fixture(scope="module")
def crowd(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[list[list[Step]]], Crowd]]:
    data: Path = tmp_path_factory.mktemp("crowd")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stack = AsyncExitStack()
        steering = SteeringSettings(history="memory", deadline_ms=5000)
        house = runner.run(stack.enter_async_context(keep_house(data, steering=steering)))
        house.http.cookies.jar.set_policy(_NoCookies())
        everyone = Crowd(house)

        async def play(rounds: list[list[Step]]) -> Crowd:
            for together in rounds:
                await asyncio.gather(*(everyone.act(step) for step in together))
            everyone.pages = await everyone.look()
            return everyone

        yield lambda rounds: runner.run(play(rounds))
        runner.run(stack.aclose())


class _NoCookies:
    """One client stands for many browsers: each step brings its own cookies."""

    rfc2965 = hide_cookie2 = False
    netscape = True

    def set_ok(self, *_: object) -> bool:
        return False

    def return_ok(self, *_: object) -> bool:
        return False

    def domain_return_ok(self, *_: object) -> bool:
        return False

    def path_return_ok(self, *_: object) -> bool:
        return False


@given(st.lists(st.lists(steps, min_size=1, max_size=8), min_size=1, max_size=6))
@settings(
    max_examples=15, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
def test_nobody_is_shown_what_another_got(
    crowd: Callable[[list[list[Step]]], Crowd], rounds: list[list[Step]]
) -> None:
    crowd(rounds)


def test_the_crowd_was_shown_its_own(crowd: Callable[[list[list[Step]]], Crowd]) -> None:
    """The property means something: each way of answering was taken, with marks."""
    plays = [
        Step(user, False, endpoint, "song0007", "json", "GET", True, 0)
        for user in ("admin", "bob")
        for endpoint in ("scrobble", "getSimilarSongs", "getRandomSongs", "getSong", "search3")
    ]
    before = crowd([])
    steered, given_ = before.steered, before.given
    after = crowd([[play] for play in plays])
    assert after.steered - steered >= 2
    assert after.given - given_ == 8
    assert "admin" not in after.pages
    assert "bob" not in after.pages.lower()
