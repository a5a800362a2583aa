"""`segue duplicates`: which files are one recording, and which of them to keep."""

from __future__ import annotations

import argparse
import errno
import os
import stat
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from catalog.library import Library
from catalog.tracks import Tags, Track
from cli.console import count_text, duration_text, say, show, show_json, show_table, size_text
from cli.flags import add_data, add_json
from cli.picks import published
from cli.standing import unlisted

if TYPE_CHECKING:
    from catalog.settings import LibrarySettings
    from cli.main import Compose
    from embedder.encoding import Encoding

#: Formats that lose nothing, where only the name is known; MP4 is judged by its rate then.
_LOSSLESS: Final = frozenset({".flac", ".wav", ".aif", ".aiff", ".wv", ".ape", ".tta", ".alac"})
#: MP4 at more than this is ALAC.
_MOST_LOSSY_BITS_PER_S: Final = 400_000
#: The codec that a name stands for, of those whose bits are worth more than MP3's.
_CODECS: Final = {".opus": "opus", ".m4a": "aac", ".aac": "aac", ".ogg": "vorbis", ".oga": "vorbis"}
#: Rates that differ by less are the same: tags and covers are in them.
_SAME_RATE: Final = 0.95
#: A mount answers many at once.
_LOOKERS: Final = 8
#: So many files of a folder are looked for before it is taken for one that is not there.
_MOST_LOOKED_FOR: Final = 50


@dataclass(frozen=True, slots=True)
class File:
    """One of several files of a recording. `bits_per_s` is of the whole file, covers and all.

    `links` are its other names: links to it, which take no space. `seen` is what the disk says of
    it, None where the disk cannot be asked.
    """

    folder: str
    track: Track
    size_bytes: int
    bits_per_s: int
    encoding: Encoding | None = None
    seen: os.stat_result | None = None
    links: tuple[File, ...] = ()

    @classmethod
    def of(cls, track: Track, folder: str) -> File:
        """From what the library knows."""
        size = track.file.size_bytes
        return cls(folder, track, size, round(8 * size / max(track.duration_s, 0.1)))

    @property
    def path(self) -> Path:
        """Where it lies."""
        return Path(self.folder) / self.track.file.path

    @property
    def lossless(self) -> bool:
        """Whether its format loses nothing, told by the content where it can be read."""
        if self.encoding is not None:
            return self.encoding.lossless
        suffix = self.path.suffix.lower()
        alac = suffix in {".m4a", ".mp4"} and self.bits_per_s > _MOST_LOSSY_BITS_PER_S
        return suffix in _LOSSLESS or alac

    @property
    def stereo(self) -> bool:
        """Whether it has two channels and more, or nobody knows."""
        return self.encoding is None or self.encoding.channels > 1

    @property
    def worth(self) -> float:
        """Bits a second, as many as MP3 would need; of lossless files, what they decode to."""
        from embedder.encoding import WORTH

        if self.encoding is not None and self.encoding.lossless:
            return float(self.encoding.exact_bits_per_s)
        named = _CODECS.get(self.path.suffix.lower(), "")
        return self.bits_per_s * WORTH.get(self.encoding.codec if self.encoding else named, 1.0)

    @property
    def tags(self) -> int:
        """How much its tags say; a title may have been made of the file's name."""
        tags = self.track.tags
        told = (tags.artist, tags.album, tags.genres, tags.year, tags.track_number)
        named = bool(tags.title) and tags.title != self.path.stem
        return sum(map(bool, told)) + named

    @property
    def packed(self) -> bool:
        """Whether it takes less room than its samples, or nobody knows."""
        return self.encoding is None or self.encoding.packed

    @property
    def fits(self) -> bool:
        """Whether it is called after what it is."""
        return self.encoding is None or self.encoding.fits(self.path)


def best_first(files: Sequence[File]) -> list[File]:
    """Lossless, then stereo, then by what the bits are worth; among equals the better kept one.

    Equal are files of the same content and those whose rates differ by 5 % at most. Of them the
    fuller tags come first, then what is packed (FLAC before WAV), then a name that fits the
    content, then the older, then the shorter.
    """
    rates: dict[str, float] = {}
    for file in files:
        key = file.track.content_key
        rates[key] = max(file.worth, rates.get(key, 0.0))
    steps: dict[float, float] = {}
    top = 0.0
    for rate in sorted(set(rates.values()), reverse=True):
        top = top if rate >= _SAME_RATE * top and top else rate
        steps[rate] = top
    return sorted(
        files,
        key=lambda file: (
            not file.lossless,
            not file.stereo,
            -steps[rates[file.track.content_key]],
            -file.tags,
            not file.packed,
            not file.fits,
            file.track.file.mtime_ns,
            len(file.track.file.path),
            file.track.file.path,
        ),
    )


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags."""
    parser.description = (
        "Lists the files that are one recording, in whatever encoding: told by sound, or by"
        "\nMusicBrainz id or artist and title with equal length where the sound is not plainly"
        "\nanother, as the published snapshot has them. Best first in each group (lossless before"
        "\nlossy, stereo before mono, then by bit rate, then by tags), most bytes to spare first"
        "\namong groups. Files that are gone, or in a folder that is not in library.music any more,"
        "\nare left out; links are the file they lead to. Nothing is ever deleted."
    )
    add_data(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, compose: Compose) -> int:
    """Read the snapshot and the library, changing neither."""
    configuration = compose("library")
    families = find(configuration.data, configuration.library)
    if arguments.json:
        show_json([_json(family) for family in families])
    else:
        _show(families)
    return 0


def find(data: Path, settings: LibrarySettings) -> list[list[File]]:
    """The groups of two and more files, each best first, the one with most to spare first.

    Files of folders that are no music folders any more are left out: they are no reason to spare
    one that is listed.

    Raises:
        CatalogError: there is no library, or nothing is published.
    """
    snapshot = published(data)
    codes: dict[int, int] = dict(
        zip(snapshot.track_ids.tolist(), snapshot.recording.tolist(), strict=True)
    )
    counts: defaultdict[int, int] = defaultdict(int)
    for code in codes.values():
        counts[code] += code >= 0
    families: defaultdict[int, list[File]] = defaultdict(list)
    with Library.open(data, read_only=True) as library:
        folders = library.roots()
        missing = library.missing()
        left = unlisted(library, settings)
        passed: set[int] = set()
        for track in library.tracks():
            code = codes.get(track.track_id, -1)
            if counts[code] > 1 and track.root_id in left:
                passed.add(track.root_id)
            elif counts[code] > 1:
                families[code].append(File.of(track, folders.get(track.root_id, "")))
        reachable = {
            root
            for root in {file.track.root_id for files in families.values() for file in files}
            if _reachable(library, root, folders.get(root, ""))
        }
        for root in sorted(passed):
            say(f"segue: {left[root]} is not in library.music any more: its files are left out")
        for root in {file.track.root_id for files in families.values() for file in files}:
            if root not in reachable:
                say(f"segue: {folders.get(root, '')} cannot be looked at: as the last run found it")
    with ThreadPoolExecutor(_LOOKERS) as pool:
        there = {
            file.track.track_id: file
            for file in pool.map(
                lambda file: _look(file, file.track.root_id in reachable, missing),
                [file for files in families.values() for file in files],
            )
            if file is not None
        }
    found = []
    for files in families.values():
        known = [there[file.track.track_id] for file in files if file.track.track_id in there]
        if len(single := best_first(_without_links(best_first(known)))) > 1:
            found.append(single)
    return sorted(found, key=_spare_bytes, reverse=True)


def _reachable(library: Library, root_id: int, folder: str) -> bool:
    """Whether the disk can be asked: the folder is there, and some of what is known lies in it.

    A mount that is away often leaves an empty folder.
    """
    try:
        if not folder or not Path(folder).is_dir():
            return False
        return any(
            (Path(folder) / track.file.path).exists()
            for track in islice(library.tracks(root_id), _MOST_LOOKED_FOR)
        )
    except OSError:
        return False


def _look(file: File, reachable: bool, missing: Mapping[int, int]) -> File | None:
    """The file as it is on the disk, None where it is gone."""
    if not reachable:
        return None if file.track.track_id in missing else file
    try:
        seen = file.path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # of a loop of links there is nothing; else it may well be there
        return None if error.errno == errno.ELOOP else file
    if not stat.S_ISREG(seen.st_mode):
        return None
    from embedder.encoding import encoding_of

    return replace(file, seen=seen, encoding=encoding_of(file.path))


def _without_links(files: Sequence[File]) -> list[File]:
    """One of each file's names: a real one before symbolic links, else the first."""
    same: dict[tuple[int, int], list[File]] = {}
    kept = []
    for file in files:
        if file.seen is None or not file.seen.st_ino:
            kept.append(file)
        else:
            same.setdefault((file.seen.st_dev, file.seen.st_ino), []).append(file)
    for names in same.values():
        first, *others = sorted(names, key=lambda file: file.path.is_symlink())
        kept.append(replace(first, links=tuple(others)))
    return kept


def _spare_bytes(family: list[File]) -> int:
    return sum(file.size_bytes for file in family[1:])


def _naming(family: list[File]) -> Tags:
    """What the group is called: as its best file is, unless that has no tags and another has."""
    return next((file for file in family if file.track.tags.artist), family[0]).track.tags


def _json(family: list[File]) -> dict[str, Any]:
    tags = _naming(family)
    return {
        "artist": tags.artist,
        "title": tags.title,
        "spare_bytes": _spare_bytes(family),
        "files": [
            {
                "folder": file.folder,
                "path": file.track.file.path,
                "album": file.track.tags.album,
                "duration_s": round(file.track.duration_s, 3),
                "size_bytes": file.size_bytes,
                "bits_per_s": file.bits_per_s,
                "links": [link.track.file.path for link in file.links],
            }
            for file in family
        ],
    }


def _show(families: list[list[File]]) -> None:
    if not families:
        show("No recording is here twice.")
        return
    several = len({file.folder for family in families for file in family}) > 1
    for family in families:
        tags = _naming(family)
        show(f"{tags.artist} – {tags.title}" if tags.artist else tags.title)
        show_table(
            [
                (
                    "keep" if file is family[0] else "",
                    size_text(file.size_bytes),
                    f"{file.bits_per_s / 1000:.0f} kb/s",
                    duration_text(file.track.duration_s),
                    (str(file.path) if several else file.track.file.path) + _links_text(file),
                )
                for file in family
            ],
            indent="  ",
        )
    files = sum(map(len, families))
    spare = size_text(sum(map(_spare_bytes, families)))
    show(f"{count_text(len(families), 'recording')} in {files} files, {spare} to spare.")


def _links_text(file: File) -> str:
    """For example " (also b/song.mp3)"."""
    names = ", ".join(link.track.file.path for link in file.links)
    return f" (also {names})" if names else ""
