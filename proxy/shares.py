"""Who may ask the upstream for how many songs at a time, over all calls under way.

A call asks for up to 500 songs. Bounded for each call only, one user with many calls (each under
another client's name, as nobody's player does) has all of a small server, and everybody's AutoDJ is
late. So there is a share for each user, which one call alone never finds full, and a bound for all,
under which users come in turn, a song each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final
from weakref import WeakValueDictionary

#: Calls of so many users, each with as much as one call may take, at a time.
USERS_AT_ONCE: Final = 4


class Shares:
    """The shares of all users.

    Args:
        most_of_a_user: songs asked for at a time, for all calls of a user.
        most: the same for all users together.
    """

    def __init__(self, most_of_a_user: int, most: int | None = None) -> None:
        self.most_of_a_user = most_of_a_user
        self.free = USERS_AT_ONCE * most_of_a_user if most is None else most
        self._shares: WeakValueDictionary[str, Share] = WeakValueDictionary()
        #: Those with somebody waiting, whose turn it is first.
        self._waiting: deque[Share] = deque()

    def of(self, user: str) -> Share:
        """A user's share; "" is of all who name nobody."""
        share = self._shares.get(user)
        if share is None:
            share = self._shares[user] = Share(self)
        return share

    def queue(self, share: Share) -> None:
        """Somebody waits for a place in this share."""
        if share not in self._waiting:
            self._waiting.append(share)

    def let_in(self) -> None:
        """Wake whoever may go on, in turn."""
        for _ in range(len(self._waiting)):
            if self.free <= 0 or not self._waiting:  # whoever was let in may have let in others
                return
            share = self._waiting.popleft()
            share.let_in()
            if share.is_awaited:
                self.queue(share)


class Share:
    """What one user may do at a time."""

    __slots__ = ("__weakref__", "_shares", "_taken", "_waiting")

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._taken = 0
        self._waiting: deque[Callable[[], None]] = deque()

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for a place."""
        return bool(self._waiting)

    def take(self) -> bool:
        """Take a place, where one is free."""
        shares = self._shares
        if self._taken >= shares.most_of_a_user or shares.free <= 0:
            return False
        self._taken += 1
        shares.free -= 1
        return True

    def give_back(self) -> None:
        """Leave a place, and let others in."""
        self._taken -= 1
        self._shares.free += 1
        self._shares.let_in()

    def wait(self, wake: Callable[[], None]) -> None:
        """Have `wake` called once there is a place: it takes that, and may wait again.

        Nobody waits twice at a time.
        """
        self._waiting.append(wake)
        self._shares.queue(self)

    def leave(self, wake: Callable[[], None]) -> None:
        """Wait no longer."""
        if wake in self._waiting:
            self._waiting.remove(wake)

    def let_in(self) -> None:
        """Wake those who wait until one takes a place, where there is one."""
        taken = self._taken
        while self._waiting and self._taken == taken < self._shares.most_of_a_user:
            self._waiting.popleft()()
