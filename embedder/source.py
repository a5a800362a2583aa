"""The music folder as it is now, and the guard that keeps a lost mount from emptying it all."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from catalog.tracks import FileFacts
from embedder.errors import SourceError
from embedder.reading import Source
from embedder.scouts import find_trouble

_LATEST_NS: Final = 2**63 - 1

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

#: A root with fewer known tracks may lose them all at once: people do empty small folders.
FEWEST_GUARDED: Final = 20
#: The share of the known tracks that may be gone at once before it is taken for a lost mount.
MOST_GONE: Final = 0.5


#: The fault of one entry and not of the mount, which would fail otherwise: no permission, a link
#: that leads through a file, or to a name that is too long.
_ONE_ENTRY: Final = frozenset({errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENAMETOOLONG})


@dataclass(frozen=True, slots=True)
class Listing:
    """A music folder and its audio files, sorted by path. `remote`: it is not on this machine.

    `denied` are files and folders below it that cannot be looked at, and why: what is known of
    them, or of what lies below them, is not gone.
    """

    folder: Path
    files: Sequence[FileFacts]
    remote: bool = False
    denied: Mapping[str, str] = field(default_factory=dict)

    def hides(self, path: str) -> bool:
        """Whether a path may be there though it is not among the files."""
        if not self.denied:
            return False
        parts = path.split("/")
        return any("/".join(parts[:depth]) in self.denied for depth in range(1, len(parts) + 1))


class MusicSource(Protocol):
    """Where the music is: folders of this machine, or a server."""

    def listings(self) -> list[Listing]:
        """Every music folder with its files, as they are now.

        Raises:
            SourceError: the music cannot be trusted to be all there.
        """
        ...

    def open(self, folder: Path, file: FileFacts) -> Source | None:
        """The bytes of a file, or None where a worker opens its path by itself."""
        ...

    def trouble(self, folder: Path, paths: Sequence[str], stop: threading.Event) -> str:
        """After a file could not be read: why nothing can, in words; "" if the rest can.

        `paths` are others, to be tried. Not looked into further once `stop` is set.
        """
        ...


class Folders:
    """Music folders that this machine sees. `workers` open the files themselves."""

    def __init__(self, folders: Sequence[Path], *, timeout_s: float = 60.0) -> None:
        self._folders = folders
        self._timeout_s = timeout_s

    def listings(self) -> list[Listing]:
        """As in `MusicSource`; a folder named twice is listed once."""
        walked = {folder.resolve(): folder for folder in self._folders}
        listings = []
        for resolved, folder in walked.items():
            denied: dict[str, str] = {}
            files = walk(folder, denied)
            listings.append(Listing(resolved, files, denied=denied))
        return listings

    def open(self, folder: Path, file: FileFacts) -> None:
        """As in `MusicSource`."""

    def trouble(self, folder: Path, paths: Sequence[str], stop: threading.Event) -> str:
        """As in `MusicSource`."""
        return find_trouble(folder, paths, self._timeout_s, stop)


def walk(root: Path, denied: dict[str, str] | None = None) -> list[FileFacts]:
    """Every audio file below a music folder, sorted by path; `denied` is filled as in `Listing`.

    Links are followed, but a folder that was seen already (a loop, or twice the same) is not
    entered again. Names that are not UTF-8 come as `os.fsdecode` gives them. Hidden files and
    folders are left out (`._song.mp3` is no song), and so are pipes and devices.

    Raises:
        SourceError: when the folder is not there, cannot be read, or has no audio at all.
    """
    try:
        if not root.is_dir():
            raise SourceError(
                f"the music folder {root} is not there: is it mounted? (library.music, --music)"
            )
        denied = {} if denied is None else denied
        files = sorted(_walk(root, root, set(), denied), key=lambda facts: os.fsencode(facts.path))
    except OSError as error:
        raise SourceError(
            f"the music folder {root} cannot be read ({error.strerror or error}): nothing was"
            " changed; try again when it is back"
        ) from error
    if not files:
        raise SourceError(
            f"the music folder {root} has no audio files: is it mounted, and the right one?"
        )
    return files


def guard(root: Path, known: int, gone: int, most_gone: float = MOST_GONE) -> None:
    """Stop before a lost mount is taken for deleted music.

    Raises:
        SourceError: when more than a share of `most_gone` of at least 20 known tracks is missing.
    """
    if known >= FEWEST_GUARDED and gone > most_gone * known:
        raise SourceError(
            f"{gone} of the {known} known tracks in {root} are gone at once: nothing was forgotten;"
            " check the mount, and run again (or, if you deleted them, with --prune)"
        )


def _walk(
    folder: Path, root: Path, seen: set[tuple[int, int]], denied: dict[str, str]
) -> Iterator[FileFacts]:
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
    folders: list[Path] = []
    with listed as entries:
        for entry in sorted(entries, key=lambda entry: os.fsencode(entry.name)):
            if entry.name.startswith("."):
                continue
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
                path = Path(entry.path).relative_to(root).as_posix()
                # A broken clock can date a file later than the library can write down.
                yield FileFacts(path, facts.st_size, min(facts.st_mtime_ns, _LATEST_NS))
    for child in folders:
        yield from _walk(child, root, seen, denied)


def _passed_over(error: OSError, path: Path, root: Path, denied: dict[str, str]) -> bool:
    """Whether an error concerns one entry only; where it hides something, it is told."""
    # A dangling link, one that leads to itself, or gone since the folder was listed.
    if error.errno in {errno.ENOENT, errno.ELOOP}:
        return True
    if error.errno not in _ONE_ENTRY:
        return False
    denied[path.relative_to(root).as_posix()] = error.strerror or str(error)
    return True
