"""What a call under way reserves for itself, and gives back where it comes to nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest

from proxy.choosing import Choice, Chosen
from proxy.errors import UpstreamRefused
from proxy.gathering import gather
from proxy.hydration import Asker, Missing, RefusedError, Reply
from proxy.session import Session
from proxy.shelves import SeenSong
from ranker.picks import Pick

pytestmark = pytest.mark.anyio

NOW_S = 100.0


@dataclass
class Numbers:
    """Chooses songs "0", "1", … of rows 0, 1, …"""

    hidden: set[str] = field(default_factory=set)

    def best(self, count: int, rows: set[int]) -> list[Chosen]:
        free = [n for n in range(50) if n not in rows and str(n) not in self.hidden]
        return [Chosen(str(n), Pick(n, 0.0, ())) for n in free[:count]]

    def hide(self, song_ids: Sequence[str]) -> None:
        self.hidden.update(song_ids)


class Upstream:
    """Shows every song, or refuses."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    async def songs(
        self, song_ids: Sequence[str], until_s: float, confirming: object = None
    ) -> list[SeenSong | Missing]:
        if self._error is not None:
            raise self._error
        return [SeenSong(song_id.encode(), "", "") for song_id in song_ids]


async def gathered(
    session: Session,
    asker: Upstream,
    confirmed: Exception | None = None,
    *,
    seconds: float = 5.0,
    together: bool = False,
) -> list[str]:
    loop = asyncio.get_running_loop()

    async def confirm() -> tuple[Reply, Sequence[int]]:
        if confirmed is not None:
            raise confirmed
        if seconds < 1:
            await asyncio.sleep(60)
        return cast("Reply", None), ()

    confirming = asyncio.ensure_future(confirm())
    choice = cast("Choice", Numbers())
    found = await gather(
        4, lambda: choice, session, cast("Asker", asker), confirming,
        loop.time() + seconds,
        together=together, in_thread=False, now_s=NOW_S,
    )  # fmt: skip
    return found.song_ids


async def test_what_a_call_will_answer_with_is_reserved() -> None:
    session = Session()
    assert await gathered(session, Upstream()) == ["0", "1", "2", "3"]
    assert session.reserved_now(NOW_S) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("of_the_login", [True, False])
@pytest.mark.parametrize("error", [RefusedError(40), UpstreamRefused("gone")])
async def test_a_call_that_fails_gives_back_what_it_reserved(
    error: Exception, of_the_login: bool, together: bool
) -> None:
    """Else the call that the client makes in its stead would have to do without the best songs."""
    session = Session()
    session.reserve(["of another call"], NOW_S)
    asker, confirmed = (Upstream(), error) if of_the_login else (Upstream(error), None)
    with pytest.raises(type(error)):
        await gathered(session, asker, confirmed, together=together)
    assert session.reserved_now(NOW_S) == ["of another call"]


@pytest.mark.parametrize("together", [True, False])
async def test_a_call_that_is_late_gives_back_what_it_reserved(together: bool) -> None:
    """All songs are there, but not the word that the login is good."""
    session = Session()
    with pytest.raises(TimeoutError):
        await gathered(session, Upstream(), seconds=0.02, together=together)
    assert session.reserved_now(NOW_S) == []


def test_what_is_released_is_there_for_other_calls() -> None:
    session = Session()
    session.reserve(["a", "b", "c"], NOW_S)
    session.release(["b", "never reserved"])
    assert session.reserved_now(NOW_S) == ["a", "c"]
