"""`segue embed --watch`: follows the music, and hears what is new once it has come to rest."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from embedder.folders import AUDIO_SUFFIXES, is_hidden

#: However long files keep coming, what is there is heard after so long.
_LONGEST_WAIT_S: Final = 600.0
#: The system may lose changes (its queue ran over): all is looked through so often anyway.
_LOOK_ANYWAY_S: Final = 6 * 3600.0

#: More are a loop.
_MOST_LINKS: Final = 40

#: File systems of other machines: they tell nobody what changes on them.
_REMOTE: Final = frozenset(
    {"9p", "afs", "ceph", "cifs", "davfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3",
     "smbfs", "virtiofs", "vboxsf", "vmhgfs"}
)  # fmt: skip


def changes(
    folders: Sequence[Path],
    *,
    quiet_s: float,
    poll_s: float,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Yields whenever it is time to look at the folders again; for ever, the first time at once.

    Local folders are watched, and a change counts when nothing has followed it for `quiet_s`; a
    copy that takes an hour is heard when it is done. A folder that is taken away is told of at
    once, and watched again when it is back. Where a folder is on a network mount, which
    tells of no change, or nothing can watch it, the time has come every `poll_s`. No folder: the
    music is on a server, and polled.
    """
    yield
    reason = why_not_watch(folders)
    if not reason:
        say(f"watching {', '.join(map(str, folders))}")
        try:
            yield from _watched(folders, quiet_s, sleep)
        except (OSError, RuntimeError) as error:  # watchfiles: the system's limit of watches
            reason = f"the folders cannot be watched ({error})"
    say(f"{reason}: looking every {poll_s:g} s")
    while True:
        sleep(poll_s)
        yield


def why_not_watch(folders: Sequence[Path]) -> str:
    """Why the folders are polled, in a few words; "" when they can be watched."""
    if not folders:
        return "the music is on a server"
    for folder in folders:
        kind = mount_kind(folder)
        if _is_remote(kind):
            return f"{folder} is a network mount ({kind})"
    try:
        import watchfiles  # noqa: F401
    except ModuleNotFoundError:
        return "watchfiles is not installed (pip install -r requirements/embed.txt)"
    return ""


def mount_kind(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """The type of the file system that a folder is on, "" where the system does not tell."""
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    path = os.path.abspath(folder)  # noqa: PTH100
    for _ in range(_MOST_LINKS):
        kind = _kind_at(path, lines)
        # Links are followed only where that asks nothing of a network mount, which may hang.
        if _is_remote(kind) or (beyond := _follow(path)) is None:
            return kind
        path = beyond
    return ""


def _follow(path: str) -> str | None:
    """Where the first link in a path leads, the rest behind it; None where there is none."""
    parts = path.split("/")
    for depth in range(2, len(parts) + 1):
        place = "/".join(parts[:depth])
        try:
            target = os.readlink(place)  # noqa: PTH115
        except OSError:
            continue
        return os.path.normpath(os.path.join(os.path.dirname(place), target, *parts[depth:]))  # noqa: PTH118, PTH120
    return None


def _is_remote(kind: str) -> bool:
    return kind in _REMOTE or kind.startswith("fuse")


def _kind_at(path: str, lines: Sequence[str]) -> str:
    longest, kind = "", ""
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        # Spaces and the like are written as octal numbers.
        place = fields[4].encode("utf-8", "surrogateescape").decode("unicode_escape")
        inside = path == place or path.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= len(longest):
            longest, kind = place, after.split(" ")[0]
    return kind


def _watched(
    folders: Sequence[Path], quiet_s: float, sleep: Callable[[float], None]
) -> Iterator[None]:
    from watchfiles import Change, watch

    def counts(change: Change, path: str) -> bool:
        name = os.path.basename(path)  # noqa: PTH119
        if is_hidden(name):
            return False
        # A folder that was moved in or out is told of, its files are not.
        return os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES or Path(path).is_dir()  # noqa: PTH122

    while True:
        standing = _identities(folders)
        if None in standing:  # told by the look before; nothing can be watched until it is back
            sleep(quiet_s)
            continue
        # When the first change came that nobody looked at yet. What came during the first look,
        # which may have taken a day, nobody watched: one more look follows.
        looked_s = began_s = time.monotonic()
        # Changes come one by one; an empty set says that there was none for `quiet_s`. (Its own
        # debouncing would not wait for the end of one long copy.)
        for found in watch(
            *folders,
            watch_filter=counts,
            debounce=100,
            rust_timeout=max(round(quiet_s * 1000), 1),
            yield_on_timeout=True,
            force_polling=False,
            ignore_permission_denied=True,
        ):
            now_s = time.monotonic()
            # Of a folder that was taken away or mounted over nothing is told any more.
            if _identities(folders) != standing:
                yield
                break
            began_s = began_s or (now_s if found else 0.0)
            rested = began_s and (not found or now_s - began_s >= _LONGEST_WAIT_S)
            if rested or now_s - looked_s >= _LOOK_ANYWAY_S:
                looked_s, began_s = now_s, 0.0
                yield


def _identities(folders: Sequence[Path]) -> list[tuple[int, int] | None]:
    """Which folders they are, None for one that is not there."""
    found: list[tuple[int, int] | None] = []
    for folder in folders:
        try:
            facts = folder.stat()
        except OSError:
            found.append(None)
        else:
            found.append((facts.st_dev, facts.st_ino) if folder.is_dir() else None)
    return found
