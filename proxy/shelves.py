"""Songs as their users saw them, kept for a minute: what AutoDJ asks for twice is asked for once.

Nothing here is ever shown to another: a shelf belongs to one user, under a keyed digest of the
name, client and headers that the songs were asked with, and it is used only after the upstream has
said ok to the login in this same call (so how a password is proven is not part of the digest).
Whatever may change how songs look to a user (a star, a rating, a scrobble of theirs, once the
upstream took it) clears all their shelves, also under answers that are under way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from proxy.calls import Headers, Identity, is_named
from proxy.logins import PROOFS, Logins
from subsonic.parameters import Parameters

TTL_S: Final = 60.0

#: Of all users together, and of one user. A song is one to two kB.
MOST_BYTES: Final = 16 * 1024 * 1024
MOST_BYTES_OF_A_USER: Final = 4 * 1024 * 1024

#: Beside a song's own bytes.
_ENTRY_BYTES: Final = 400


@dataclass(frozen=True, slots=True)
class SeenSong:
    """A song as its user sees it: as it stands in an answer (JSON or XML), and what tells it."""

    markup: bytes
    title: str
    artist: str
    rating: int = 0
    is_starred: bool = False

    @property
    def is_one_star(self) -> bool:
        """Whether this user never wants to hear it."""
        return self.rating == 1


@dataclass(slots=True)
class _OfUser:
    """All shelves of a user: (login, song) → (when, song), oldest first."""

    songs: OrderedDict[tuple[bytes, str], tuple[float, SeenSong]] = field(
        default_factory=OrderedDict
    )
    size_bytes: int = 0


class Shelves:
    """All that is kept, bounded in bytes and time.

    Args:
        timer: seconds, never going back.
        logins: makes digests of logins.
    """

    def __init__(
        self,
        timer: Callable[[], float],
        logins: Logins | None = None,
        *,
        ttl_s: float = TTL_S,
        most_bytes: int = MOST_BYTES,
        most_bytes_of_a_user: int = MOST_BYTES_OF_A_USER,
    ) -> None:
        self._timer = timer
        self._ttl_s = ttl_s
        self._most_bytes = most_bytes
        self._most_of_a_user = most_bytes_of_a_user
        self._users: OrderedDict[str, _OfUser] = OrderedDict()
        self._size_bytes = 0
        self._logins = logins or Logins(timer)

    @property
    def size_bytes(self) -> int:
        """What is kept takes about so much."""
        return self._size_bytes

    def open(
        self, identity: Identity, parameters: Parameters, headers: Headers, form: str
    ) -> Shelf | None:
        """The shelf of one login; None for a call that names nobody, or several.

        For a login that the upstream has said ok to, lately or in this call; nothing may be taken
        from it, or put on it, before it has in this call. `form` is the answers' format.
        """
        if not identity.user:
            return None
        own = self._users.setdefault(identity.user, _OfUser())
        self._users.move_to_end(identity.user)
        login = self._logins.digest(parameters, headers, form.encode("ascii"), without=PROOFS)
        return Shelf(self, identity.user, own, login)

    def drop_changed(self, user: str) -> None:
        """A user, as a call names them, changed something.

        A key stands for a user whom it does not name, and a call that names several may be
        anybody's: then it may concern whoever has songs here.
        """
        named = is_named(user)
        self.drop_where(lambda other: other == user or not (named and is_named(other)))

    def drop(self, user: str) -> None:
        """Forget all songs of a user, and whatever calls under way were about to keep."""
        own = self._users.pop(user, None)
        if own is not None:
            self._size_bytes -= own.size_bytes

    def drop_where(self, is_gone: Callable[[str], bool]) -> None:
        """`drop` all users of whom `is_gone` holds."""
        for user in [user for user in self._users if is_gone(user)]:
            self.drop(user)

    def _keeps(self, own: _OfUser) -> bool:
        if not own.songs:
            return False
        latest_s, _ = own.songs[next(reversed(own.songs))]
        return 0 <= self._timer() - latest_s <= self._ttl_s

    def _take(self, user: str, own: _OfUser, key: tuple[bytes, str]) -> SeenSong | None:
        found = own.songs.get(key) if self._users.get(user) is own else None
        if found is None:
            return None
        at_s, song = found
        return song if 0 <= self._timer() - at_s <= self._ttl_s else None

    def _put(self, user: str, own: _OfUser, key: tuple[bytes, str], song: SeenSong) -> None:
        if self._users.get(user) is not own:  # dropped since the call began
            return
        self._remove(own, key)
        own.songs[key] = (self._timer(), song)
        own.size_bytes += len(song.markup) + _ENTRY_BYTES
        self._size_bytes += len(song.markup) + _ENTRY_BYTES
        while own.size_bytes > self._most_of_a_user:
            self._remove(own, next(iter(own.songs)))
        while self._size_bytes > self._most_bytes:
            self.drop(next(iter(self._users)))

    def _remove(self, own: _OfUser, key: tuple[bytes, str]) -> None:
        found = own.songs.pop(key, None)
        if found is not None:
            own.size_bytes -= len(found[1].markup) + _ENTRY_BYTES
            self._size_bytes -= len(found[1].markup) + _ENTRY_BYTES


class Shelf:
    """The songs of one login, as long as nothing of its user's was dropped."""

    def __init__(self, shelves: Shelves, user: str, own: _OfUser, login: bytes) -> None:
        self._shelves = shelves
        self._user = user
        self._own = own
        self._login = login

    @property
    def is_empty(self) -> bool:
        """Whether nothing is kept of this user, with whatever login."""
        return not self._shelves._keeps(self._own)

    def take(self, song_id: str) -> SeenSong | None:
        """A song, or None."""
        return self._shelves._take(self._user, self._own, (self._login, song_id))

    def put(self, song_id: str, song: SeenSong) -> None:
        """Keep a song."""
        self._shelves._put(self._user, self._own, (self._login, song_id), song)
