"""Which song of the server is which track: the only place that compares paths, sizes or titles.

Two passes, each exact:

1. **Path.** A library root of the server and a music folder of ours may be the same folder under
   two names (`/music` in a container, `/mnt/nas/music` here), or one may lie inside the other.
   Files with the same name and size vote for how the two are laid on each other; a song whose
   path then names a track is that track. Paths that the server may have invented (Navidrome's
   `Child.path`) count only where the size agrees as well.
2. **Facts.** Exact size in bytes, duration within the rounding of whole seconds, and the same
   title, artist and album.

Where two different recordings fit equally well, the song stays unlinked and is counted as
ambiguous. Two copies of one content are no ambiguity: their vectors are the same.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from catalog.tracks import Song, Track

#: Servers give whole seconds, some rounded, some cut; decoders differ by a frame or two.
DURATION_TOLERANCE_S: Final = 1.5


@dataclass(frozen=True, slots=True)
class LinkReport:
    """What linking found. `links`: song id → track id."""

    links: Mapping[str, int]
    songs: int
    by_path: int
    by_facts: int
    ambiguous: tuple[Song, ...] = ()
    unmatched: tuple[Song, ...] = ()

    @property
    def linked(self) -> int:
        """How many songs have a track."""
        return len(self.links)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a server root lies on one of our folders: `song_prefix` or `track_prefix` is cut off."""

    root_id: int
    song_prefix: tuple[str, ...]
    track_prefix: tuple[str, ...]


@dataclass(slots=True)
class _Index:
    by_path: dict[tuple[int, tuple[str, ...]], Track] = field(default_factory=dict)
    by_size: dict[int, list[Track]] = field(default_factory=lambda: defaultdict(list))
    by_name: dict[tuple[str, int], list[Track]] = field(default_factory=lambda: defaultdict(list))
    roots: set[int] = field(default_factory=set)
    parts: dict[int, tuple[str, ...]] = field(default_factory=dict)


def link(songs: Sequence[Song], tracks: Iterable[Track]) -> LinkReport:
    """Match every song to at most one track. Linear in both; deterministic."""
    index = _index(tracks)
    layouts = _layouts(songs, index)
    links: dict[str, int] = {}
    ambiguous: list[Song] = []
    unmatched: list[Song] = []
    by_path = by_facts = 0
    for song in songs:
        on_path = _one(_by_path(song, layouts.get(song.root, ()), index))
        # Paths that fit two tracks are told apart by facts; facts alone must be unique.
        found = on_path if isinstance(on_path, Track) else _one(_by_facts(song, index))
        if isinstance(found, Track):
            links[song.song_id] = found.track_id
            by_path += found is on_path
            by_facts += found is not on_path
        elif found or on_path:
            ambiguous.append(song)
        else:
            unmatched.append(song)
    return LinkReport(links, len(songs), by_path, by_facts, tuple(ambiguous), tuple(unmatched))


def _parts(path: str) -> tuple[str, ...]:
    # macOS stores names decomposed, others as typed: compare one form.
    return PurePosixPath(unicodedata.normalize("NFC", path).lstrip("/")).parts


def _index(tracks: Iterable[Track]) -> _Index:
    index = _Index()
    for track in tracks:
        parts = _parts(track.file.path)
        index.parts[track.track_id] = parts
        index.by_path[track.root_id, parts] = track
        index.by_size[track.file.size_bytes].append(track)
        if parts:
            index.by_name[parts[-1], track.file.size_bytes].append(track)
        index.roots.add(track.root_id)
    return index


def _layouts(songs: Sequence[Song], index: _Index) -> dict[str, tuple[_Layout, ...]]:
    """The layouts of each server root, those with most votes first."""
    votes: dict[str, Counter[_Layout]] = defaultdict(Counter)
    for song in songs:
        parts = _parts(song.path)
        if not parts:
            continue
        for track in index.by_name.get((parts[-1], song.size_bytes), ()):
            layout = _layout(parts, index.parts[track.track_id], track.root_id)
            if layout is not None:
                votes[song.root][layout] += 1
        if song.path_is_true:  # one that was retagged since has another size
            for root_id in index.roots:
                if (root_id, parts) in index.by_path:
                    votes[song.root][_Layout(root_id, (), ())] += 1
    return {
        root: tuple(
            layout
            for layout, _ in sorted(
                counter.items(),
                key=lambda item: (-item[1], item[0].root_id, item[0].song_prefix,
                                  item[0].track_prefix),
            )
        )
        for root, counter in votes.items()
    }  # fmt: skip


def _layout(song: tuple[str, ...], track: tuple[str, ...], root_id: int) -> _Layout | None:
    common = 0
    for ours, theirs in zip(reversed(song), reversed(track), strict=False):
        if ours != theirs:
            break
        common += 1
    song_prefix, track_prefix = song[: len(song) - common], track[: len(track) - common]
    if song_prefix and track_prefix:
        return None  # neither lies inside the other: only the file's name is alike
    return _Layout(root_id, song_prefix, track_prefix)


def _by_path(song: Song, layouts: Sequence[_Layout], index: _Index) -> list[Track]:
    parts = _parts(song.path)
    found: list[Track] = []
    for layout in layouts:
        head, rest = parts[: len(layout.song_prefix)], parts[len(layout.song_prefix) :]
        if head != layout.song_prefix or not rest:
            continue
        track = index.by_path.get((layout.root_id, layout.track_prefix + rest))
        if track is not None and track not in found:
            found.append(track)
    same_size = [track for track in found if track.file.size_bytes == song.size_bytes]
    # A file that was retagged since has another size, and is still the file at that path.
    return same_size or (found if song.path_is_true else [])


def _by_facts(song: Song, index: _Index) -> list[Track]:
    if not song.size_bytes:
        return []
    return [
        track
        for track in index.by_size.get(song.size_bytes, ())
        if abs(track.duration_s - song.duration_s) <= DURATION_TOLERANCE_S
        and _same_text(track, song)
    ]


def _same_text(track: Track, song: Song) -> bool:
    stem = PurePosixPath(track.file.path).stem
    titles = {_fold(track.tags.title), _fold(stem)} - {""}
    artists = {_fold(track.tags.artist), _fold(track.tags.album_artist)} - {""}
    return (
        _fold(song.title) in titles
        and (not artists or not song.artist or _fold(song.artist) in artists)
        and (not track.tags.album or not song.album or _fold(song.album) == _fold(track.tags.album))
    )


def _fold(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _one(candidates: list[Track]) -> Track | bool:
    """The one track, True when several differ, False when there is none."""
    if not candidates:
        return False
    first = candidates[0]
    if all(other.content_key == first.content_key for other in candidates):
        return first
    return True
