"""Which files of a folder are music, and what of it cannot be looked at."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from embedder.errors import NOT_A_FILE, UNREADABLE

#: Why something is passed over: a reason out of `embedder.errors.REASONS`, and words for people.
Why = tuple[str, str]

#: What counts as audio, by the end of its name, lower case.
AUDIO_SUFFIXES: Final = frozenset(
    {
        ".aac",
        ".aif",
        ".aifc",
        ".aiff",
        ".alac",
        ".ape",
        ".dff",
        ".dsf",
        ".flac",
        ".m4a",
        ".m4b",
        ".mka",
        ".mp2",
        ".mp3",
        ".mp4",
        ".mpc",
        ".oga",
        ".ogg",
        ".opus",
        ".shn",
        ".spx",
        ".tak",
        ".tta",
        ".wav",
        ".weba",
        ".wma",
        ".wv",
    }
)

#: The fault of one entry and not of the mount, which would fail otherwise: no permission, a link
#: that leads through a file, to itself, or to a name that is too long.
_ONE_ENTRY: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
)

_LATEST_NS: Final = 2**63 - 1


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, as Navidrome sees it: "...Baby One More Time" is not."""
    return name.startswith(".") and not name.startswith("..")


def find_files(
    root: Path, denied: dict[str, Why], look: Callable[[], None] = lambda: None
) -> Iterator[tuple[str, int, int]]:
    """Every audio file below a music folder: its path below it, bytes, and time in ns.

    Links are followed, but a folder that was seen already (a loop, or twice the same) is not
    entered again. Names that are not UTF-8 come as `os.fsdecode` gives them. Hidden files and
    folders are left out (`._song.mp3` is no song). Pipes, sockets and devices go into `denied`, and
    so does what cannot be looked at. `look` is called at every entry.

    Raises:
        OSError: it is the mount's, not that of one entry.
    """
    return _find(root, root, set(), denied, look)


def _find(
    folder: Path,
    root: Path,
    seen: set[tuple[int, int]],
    denied: dict[str, Why],
    look: Callable[[], None],
) -> Iterator[tuple[str, int, int]]:
    try:
        status = folder.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in seen:
            return
        seen.add(identity)
        listed = os.scandir(folder)
    except OSError as error:
        if folder == root or not _passed_over(error, folder, root, denied):
            raise
        return
    below = "" if folder == root else f"{folder.relative_to(root).as_posix()}/"
    folders: list[Path] = []
    found: list[os.DirEntry[str]] = []
    with listed as entries:
        for entry in entries:
            look()
            if not is_hidden(entry.name):
                found.append(entry)
    for entry in sorted(found, key=lambda entry: os.fsencode(entry.name)):
        look()
        try:
            if entry.is_dir():
                folders.append(Path(entry.path))
                continue
            if os.path.splitext(entry.name)[1].lower() not in AUDIO_SUFFIXES:  # noqa: PTH122
                continue
            facts = entry.stat()
        except OSError as error:
            if not _passed_over(error, Path(entry.path), root, denied):
                raise
            continue
        if stat.S_ISREG(facts.st_mode):
            # A broken clock can date a file later than the library can write down.
            yield f"{below}{entry.name}", facts.st_size, min(facts.st_mtime_ns, _LATEST_NS)
        else:
            denied[f"{below}{entry.name}"] = (NOT_A_FILE, _kind(facts.st_mode))
    for child in folders:
        yield from _find(child, root, seen, denied, look)


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "it is a pipe"
    return "it is a socket" if stat.S_ISSOCK(mode) else "it is a device"


def _passed_over(error: OSError, path: Path, root: Path, denied: dict[str, Why]) -> bool:
    """Whether an error concerns one entry only; where it hides something, it is told."""
    if error.errno == errno.ENOENT:  # a dangling link, or gone since the folder was listed
        return True
    if error.errno == errno.ELOOP and path.suffix.lower() not in AUDIO_SUFFIXES:
        return True
    if error.errno not in _ONE_ENTRY:
        return False
    denied[path.relative_to(root).as_posix()] = (UNREADABLE, error.strerror or str(error))
    return True
