"""`segue duplicates`: which files are one recording, and which of them to keep."""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from catalog.library import Library
from catalog.tracks import Track
from cli.console import duration_text, show, show_json, show_table, size_text
from cli.flags import add_data, add_json
from cli.picks import published

if TYPE_CHECKING:
    from cli.main import Compose

#: Formats that lose nothing, whatever they take; MP4 may hold either and is judged by its rate.
_LOSSLESS: Final = frozenset({".flac", ".wav", ".aif", ".aiff", ".wv", ".ape", ".tta", ".alac"})
#: MP4 at more than this is ALAC.
_MOST_LOSSY_BITS_PER_S: Final = 400_000
#: What a bit is worth beside one of MP3's.
_WORTH: Final = {".opus": 1.6, ".m4a": 1.25, ".aac": 1.25, ".ogg": 1.25, ".oga": 1.25}


@dataclass(frozen=True, slots=True)
class File:
    """One of several files of a recording. `bits_per_s` is of the whole file, covers and all."""

    folder: str
    track: Track
    size_bytes: int
    bits_per_s: int

    @classmethod
    def of(cls, track: Track, folder: str) -> File:
        """From what the library knows."""
        size = track.file.size_bytes
        return cls(folder, track, size, round(8 * size / max(track.duration_s, 0.1)))

    @property
    def goodness(self) -> tuple[bool, float, int]:
        """Greater is better: lossless, then by what the bits are worth, then by size."""
        suffix = PurePosixPath(self.track.file.path).suffix.lower()
        alac = suffix in {".m4a", ".mp4"} and self.bits_per_s > _MOST_LOSSY_BITS_PER_S
        worth = self.bits_per_s * _WORTH.get(suffix, 1.0)
        return suffix in _LOSSLESS or alac, worth, self.size_bytes


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags."""
    parser.description = (
        "Lists the files that are one recording, in whatever encoding: told by sound, MusicBrainz"
        "\nid, or artist and title with equal length, as the published snapshot has them. Best"
        "\nfirst in each group (lossless before lossy, then by bit rate), most bytes to spare first"
        "\namong groups. Nothing is ever deleted."
    )
    add_data(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, compose: Compose) -> int:
    """Read the snapshot and the library, changing neither."""
    data = compose("library").data
    families = find(data)
    if arguments.json:
        show_json([_json(family) for family in families])
    else:
        _show(families)
    return 0


def find(data: Path) -> list[list[File]]:
    """The groups of two and more files, each best first, the one with most to spare first.

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
        for track in library.tracks():
            code = codes.get(track.track_id, -1)
            if counts[code] > 1:
                families[code].append(File.of(track, folders.get(track.root_id, "")))
    found = [
        sorted(files, key=lambda file: file.goodness, reverse=True)
        for files in families.values()
        if len(files) > 1  # one of them may have been forgotten since
    ]
    return sorted(found, key=_spare_bytes, reverse=True)


def _spare_bytes(family: list[File]) -> int:
    return sum(file.size_bytes for file in family[1:])


def _json(family: list[File]) -> dict[str, Any]:
    best = family[0].track
    return {
        "artist": best.tags.artist,
        "title": best.tags.title,
        "spare_bytes": _spare_bytes(family),
        "files": [
            {
                "folder": file.folder,
                "path": file.track.file.path,
                "album": file.track.tags.album,
                "duration_s": round(file.track.duration_s, 3),
                "size_bytes": file.size_bytes,
                "bits_per_s": file.bits_per_s,
            }
            for file in family
        ],
    }


def _show(families: list[list[File]]) -> None:
    if not families:
        show("No recording is here twice.")
        return
    for family in families:
        tags = family[0].track.tags
        show(f"{tags.artist} – {tags.title}" if tags.artist else tags.title)
        show_table(
            [
                (
                    "keep" if file is family[0] else "",
                    size_text(file.size_bytes),
                    f"{file.bits_per_s / 1000:.0f} kb/s",
                    duration_text(file.track.duration_s),
                    file.track.file.path,
                )
                for file in family
            ],
            indent="  ",
        )
    files = sum(map(len, families))
    spare = size_text(sum(map(_spare_bytes, families)))
    recordings = "1 recording" if len(families) == 1 else f"{len(families)} recordings"
    show(f"{recordings} in {files} files, {spare} to spare.")
