"""The music folder as it is now, and the guard that keeps a lost mount from emptying it all."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from catalog.tracks import FileFacts
from embedder.errors import SourceError
from embedder.folders import Why, find_files
from embedder.reading import Source
from embedder.scouts import ask, find_trouble

#: A root with fewer known tracks may lose them all at once: people do empty small folders.
FEWEST_GUARDED: Final = 20
#: The share of the known tracks that may be gone at once before it is taken for a lost mount.
MOST_GONE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Listing:
    """A music folder and its audio files, sorted by path. `remote`: it is not on this machine.

    `denied` are files and folders below it that cannot be looked at or are no files, with a reason
    and words for people: what is known of them, or of what lies below them, is not gone.
    """

    folder: Path
    files: Sequence[FileFacts]
    remote: bool = False
    denied: Mapping[str, Why] = field(default_factory=dict)

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
        """As in `MusicSource`; a folder named twice is listed once.

        Listed by a process of its own, so that a mount that hangs ends the run and not its stop.
        """
        listings: dict[Path, Listing] = {}
        for folder in self._folders:
            listing = self._list(folder, listings)
            if listing is not None:
                listings[listing.folder] = listing
        return list(listings.values())

    def _list(self, folder: Path, listed: Collection[Path]) -> Listing | None:
        """A folder's files, None where it is `listed` already."""
        files: list[FileFacts] = []
        denied: dict[str, Why] = {}
        resolved = folder
        try:
            with closing(ask(self._timeout_s, list=str(folder))) as answers:
                for answer in answers:
                    if answer["kind"] == "folder":
                        resolved = Path(answer["resolved"])
                        if resolved in listed:
                            return None
                        if not answer["there"]:
                            raise _not_there(folder)
                    elif answer["kind"] == "files":
                        files += [FileFacts(*one) for one in answer["files"]]
                    elif answer["kind"] == "denied":
                        denied = {path: tuple(why) for path, why in answer["denied"].items()}
                    else:
                        raise _unreadable(folder, answer["why"])
        except TimeoutError as error:
            raise _unreadable(folder, f"{error}, embedding.timeout_s") from error
        return Listing(resolved, _sorted(folder, files), denied=denied)

    def open(self, folder: Path, file: FileFacts) -> None:
        """As in `MusicSource`."""

    def trouble(self, folder: Path, paths: Sequence[str], stop: threading.Event) -> str:
        """As in `MusicSource`."""
        return find_trouble(folder, paths, self._timeout_s, stop)


def walk(root: Path, denied: dict[str, Why] | None = None) -> list[FileFacts]:
    """Every audio file below a music folder, sorted by path; `denied` is filled as in `Listing`.

    Which files: `embedder.folders`. Looks itself, and so hangs where the folder does.

    Raises:
        SourceError: when the folder is not there, cannot be read, or has no audio at all.
    """
    denied = {} if denied is None else denied
    try:
        if not root.is_dir():
            raise _not_there(root)
        files = [FileFacts(*one) for one in find_files(root, denied)]
    except OSError as error:
        raise _unreadable(root, error.strerror or str(error)) from error
    return _sorted(root, files)


def _sorted(root: Path, files: list[FileFacts]) -> list[FileFacts]:
    if not files:
        raise SourceError(
            f"the music folder {root} has no audio files: is it mounted, and the right one?"
        )
    files.sort(key=lambda facts: os.fsencode(facts.path))
    return files


def _not_there(root: Path) -> SourceError:
    return SourceError(
        f"the music folder {root} is not there: is it mounted? (library.music, --music)"
    )


def _unreadable(root: Path, why: str) -> SourceError:
    return SourceError(
        f"the music folder {root} cannot be read ({why}): nothing was changed; try again when it is"
        " back"
    )


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
