"""Many small answers at once, at the least cost: told of their end, not awaited one by one.

A task, a lock and two futures for each of fifty songs cost more than all that is done to them. Here
each connection that is kept takes one request after the other, and one future waits for them all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.answer import Answer
from proxy.errors import UpstreamBroke, UpstreamError
from proxy.shares import Share, Shares
from proxy.upstream import HttpUpstream

#: How often a request is sent again because a kept connection turned out to be closed.
_MOST_TRIES: Final = 2


@dataclass(frozen=True, slots=True)
class Read:
    """A request that only reads, as it goes over the wire."""

    head: bytes
    body: bytes | None = None


#: Told of each answer: which request it is to, status and body.
Taken = Callable[[int, int, bytes], None]


class _Fetch(Answer):
    """One answer, collected as it comes."""

    __slots__ = ("_ended", "_limit", "_pieces", "_size", "number")

    def __init__(self, number: int, limit: int, ended: Callable[[_Fetch], None]) -> None:
        super().__init__(None)
        self.number = number
        self._limit = limit
        self._ended = ended
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def failure(self) -> UpstreamError | None:
        return self._error

    @property
    def body(self) -> bytes | None:
        """The whole body; None where it is too long, or did not come."""
        if self._error is not None or self._size > self._limit:
            return None
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def _wake(self) -> None:
        if self._chunks:
            self._size += sum(map(len, self._chunks))
            if self._size <= self._limit:
                self._pieces += self._chunks
            self._chunks = []
        if self._complete or self._error is not None:
            self._ended(self)
        elif self._size > self._limit:
            self.abandon()  # which ends it, with an error
        elif self.status and self._connection is not None:
            self._connection.expect_more(self._connection.idle_s)


class Fetching:
    """One round of requests.

    Args:
        take: told of each answer that came whole, in no order. What it raises ends the round.
        limit: bytes; an answer longer than this is none.
        at_once: requests under way at any time.
        share: each of them takes a place in it; None: they need none.
        first: so many are sent before `go_on` is called; None: all are.
    """

    def __init__(
        self,
        upstream: HttpUpstream,
        reads: Sequence[Read],
        take: Taken,
        *,
        limit: int,
        at_once: int,
        first: int | None = None,
        share: Share | None = None,
    ) -> None:
        self._upstream = upstream
        self._reads = reads
        self._take = take
        self._limit = limit
        self._at_once = at_once
        self._share = share or Shares(at_once).of("")
        self._awaits_place = False
        #: Not after one could not be opened: others may be, but to try on would be a storm.
        self._may_open = True
        self._held = deque(range(len(reads) if first is None else first, len(reads)))
        self._waiting = deque(range(len(reads) - len(self._held)))
        self._tries = [0] * len(reads)
        self._running: set[_Fetch] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, timeout_s: float) -> None:
        """Returns when all has come that comes, or the time is over: then what is left is given up.

        Raises:
            Exception: whatever `take` raised.
        """
        try:
            self._start_more()
            self._look()
            async with asyncio.timeout(timeout_s):
                await self._done
        except TimeoutError:
            return
        finally:
            self._waiting.clear()
            self._held.clear()
            self._share.leave(self._go_on_in_turn)
            opening, self._opening = self._opening, set()
            for task in opening:
                task.cancel()
            running, self._running = self._running, set()
            for fetch in running:
                fetch.abandon()
            for _ in range(len(opening) + len(running)):
                self._share.give_back()

    def go_on(self) -> None:
        """Send those that were held back as well."""
        self._waiting += self._held
        self._held.clear()
        self._start_more()
        self._look()

    def stop(self) -> None:
        """What has not come is not wanted any more."""
        self._waiting.clear()
        self._held.clear()
        if not self._done.done():
            self._done.set_result(None)

    def _start_more(self) -> None:
        while self._waiting and len(self._running) + len(self._opening) < self._at_once:
            if not self._share.take():
                if not self._awaits_place:
                    self._awaits_place = True
                    self._share.wait(self._go_on_in_turn)
                return
            if not self._start():
                self._share.give_back()
                return

    def _go_on_in_turn(self) -> None:
        """There is a place: one request takes it, and the next waits again."""
        self._awaits_place = False
        self._start_more()
        self._look()

    def _start(self) -> bool:
        """Send the next request, over a kept connection or a new one; False where there is none."""
        while self._waiting:
            number = self._waiting.popleft()
            read = self._reads[number]
            fetch = _Fetch(number, self._limit, self._ended)
            self._tries[number] += 1
            try:
                begun = self._upstream.begin_read(read.head, read.body, fetch)
            except UpstreamBroke:  # closed a moment ago
                self._again(number)
                continue
            if begun:
                self._running.add(fetch)
                return True
            self._tries[number] -= 1
            self._waiting.appendleft(number)
            if not self._may_open:
                return False
            self._opening.add(asyncio.ensure_future(self._open()))
            return True
        return False

    async def _open(self) -> None:
        begun = False
        try:
            await self._upstream.open_connection()
            begun = self._start()
        except UpstreamError:
            self._may_open = False
        finally:
            task = asyncio.current_task()
            if task in self._opening:  # else it was given up, and its place back
                self._opening.discard(task)
                if not begun:
                    self._share.give_back()
                self._look()

    def _ended(self, fetch: _Fetch) -> None:
        if fetch not in self._running:
            return  # given up
        self._running.discard(fetch)
        self._share.give_back()
        failure, body = fetch.failure, fetch.body
        if isinstance(failure, UpstreamBroke) and failure.untouched:
            self._again(fetch.number)
        elif body is not None:
            try:
                self._take(fetch.number, fetch.status, body)
            except Exception as error:  # ours; it must not reach the connection, which is fine
                self._waiting.clear()
                if not self._done.done():
                    self._done.set_exception(error)
                return
        self._start_more()
        self._look()

    def _again(self, number: int) -> None:
        if self._tries[number] < _MOST_TRIES:
            self._waiting.append(number)

    def _look(self) -> None:
        awaits = self._awaits_place and bool(self._waiting)
        over = not (self._running or self._opening or self._held or awaits)
        if over and not self._done.done():
            self._done.set_result(None)
