"""Which song of the server is which track: the only place that compares paths, sizes or titles.

Two passes, each exact:

1. **Path.** A library root of the server and a music folder of ours may be the same folder under
   two names (`/music` in a container, `/mnt/nas/music` here), or one may lie inside the other.
   Files with the same name and size vote for how the two are laid on each other; a song whose
   path then names a track of its size is that track. A file that was retagged since has another
   size: it is the track at its path by the layout with most votes, if it lasts as long and the
   server tells true paths (Navidrome's `Child.path` is invented from tags).
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
    by_facts: dict[tuple[int, str], list[Track]] = field(default_factory=lambda: defaultdict(list))
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
        for title in _titles(track):
            index.by_facts[track.file.size_bytes, title].append(track)
        if parts:
            index.by_name[parts[-1], track.file.size_bytes].append(track)
        index.roots.add(track.root_id)
    return index


def _layouts(songs: Sequence[Song], index: _Index) -> dict[str, tuple[_Layout, ...]]:
    """The layouts of each server root, those with most votes first."""
    votes: dict[str, Counter[_Layout]] = defaultdict(Counter)
    on_path_only: dict[str, Counter[_Layout]] = defaultdict(Counter)
    for song in songs:
        parts = _parts(song.path)
        if not parts:
            continue
        for track in index.by_name.get((parts[-1], song.size_bytes), ()):
            layout = _layout(parts, index.parts[track.track_id], track.root_id)
            if layout is not None:
                votes[song.root][layout] += 1
        if song.path_is_true:
            for root_id in index.roots:
                if (root_id, parts) in index.by_path:
                    on_path_only[song.root][_Layout(root_id, (), ())] += 1
    # Where no file of a root has its size any more (all were retagged), equal paths must do.
    for root, counter in on_path_only.items():
        votes.setdefault(root, counter)
    return {root: tuple(_by_votes(counter)) for root, counter in votes.items()}


def _by_votes(counter: Counter[_Layout]) -> list[_Layout]:
    def order(item: tuple[_Layout, int]) -> tuple[object, ...]:
        layout, count = item
        return -count, layout.root_id, layout.song_prefix, layout.track_prefix

    return [layout for layout, _ in sorted(counter.items(), key=order)]


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
    for rank, layout in enumerate(layouts):
        head, rest = parts[: len(layout.song_prefix)], parts[len(layout.song_prefix) :]
        if head != layout.song_prefix or not rest:
            continue
        track = index.by_path.get((layout.root_id, layout.track_prefix + rest))
        if track is None or track in found:
            continue
        retagged = rank == 0 and song.path_is_true and _lasts_as_long(track, song)
        if track.file.size_bytes == song.size_bytes or retagged:
            found.append(track)
    same_size = [track for track in found if track.file.size_bytes == song.size_bytes]
    return same_size or found


def _lasts_as_long(track: Track, song: Song) -> bool:
    return abs(track.duration_s - song.duration_s) <= DURATION_TOLERANCE_S


def _by_facts(song: Song, index: _Index) -> list[Track]:
    if not song.size_bytes or not song.title:
        return []
    return [
        track
        for track in index.by_facts.get((song.size_bytes, _fold(song.title)), ())
        if _lasts_as_long(track, song) and _same_artist_and_album(track, song)
    ]


def _titles(track: Track) -> set[str]:
    """A file without a title tag goes by its name, at the server as here."""
    return {_fold(track.tags.title), _fold(PurePosixPath(track.file.path).stem)} - {""}


def _same_artist_and_album(track: Track, song: Song) -> bool:
    artists = {_fold(track.tags.artist), _fold(track.tags.album_artist)} - {""}
    return (not artists or not song.artist or _fold(song.artist) in artists) and (
        not track.tags.album or not song.album or _fold(song.album) == _fold(track.tags.album)
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
