"""What a run has to do: which files are new or changed, which are gone, which are known content."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from catalog.library import Library, is_away, is_set_aside
from catalog.tracks import Failure, FileFacts, KnownFile, Model
from embedder.errors import PASSING
from embedder.folders import Why
from embedder.sharding import ALL, Shard
from embedder.source import FEWEST_GUARDED, MOST_GONE, Listing, guard

Place = tuple[int, str]


@dataclass(slots=True)
class Recognition:
    """Known content: tells a moved or retagged file by its content key. For all workers.

    A track whose file is gone can be claimed once: of two new files with its content the first
    becomes it. `copies` are files with the content of another known file that is still there: place
    → content key; `shifted` those of them whose content was known only where a file has changed
    since, as in an album that was numbered anew. `twins` have the content of another new file,
    which is heard for both.
    """

    known: Mapping[Place, KnownFile]
    gone: Mapping[Place, KnownFile]
    analysed: Mapping[Model, Collection[int]]
    again: bool
    #: Files that are there, but not as they were: what is known of them may be of others by now.
    touched: Collection[Place] = ()
    claims: dict[Place, int] = field(default_factory=dict)
    copies: dict[Place, str] = field(default_factory=dict)
    shifted: set[Place] = field(default_factory=set)
    twins: dict[Place, Place] = field(default_factory=dict)
    _hearing: dict[str, Place] = field(default_factory=dict)
    _there: set[str] = field(default_factory=set)
    _unsure: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _by_key: dict[str, list[tuple[Place, int]]] = field(default_factory=dict)
    _sizes: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        for place, track in sorted(self.gone.items(), reverse=True):
            self._by_key.setdefault(track.content_key, []).append((place, track.track_id))
            self._sizes.add(track.size_bytes)
        for place, track in self.known.items():
            if self.again or self.missing(track.track_id):
                continue
            if place in self.touched:
                self._unsure.add(track.content_key)
                self._sizes.add(track.size_bytes)
            else:
                self._there.add(track.content_key)

    def missing(self, track_id: int) -> frozenset[Model]:
        """The models that have not heard a track yet, or all where all is heard anew."""
        return frozenset(
            model for model, heard in self.analysed.items() if self.again or track_id not in heard
        )

    def likely(self, place: Place, file: FileFacts) -> bool:
        """Whether this may well be a known file that was touched, retagged or moved."""
        return not self.again and (place in self.known or file.size_bytes in self._sizes)

    def recognise(self, place: Place, content_key: str) -> frozenset[Model]:
        """Which models must hear this file; `claims` then says which track it is, if it is known.

        None where its content is known, and what it is a copy of. Asked again, as after a worker
        died, it says the same: a second track is not taken.
        """
        if (claimed := self.claims.get(place)) is not None:
            return self.missing(claimed)
        same_place = self.known.get(place)
        if same_place is not None and same_place.content_key == content_key:
            track_id = same_place.track_id
        else:
            with self._lock:
                candidates = self._by_key.get(content_key)
                if candidates:
                    track_id = candidates.pop()[1]
                elif content_key in self._there or content_key in self._unsure:
                    self.copies[place] = content_key
                    if content_key not in self._there:
                        self.shifted.add(place)
                    return frozenset()
                elif (first := self._hearing.setdefault(content_key, place)) != place:
                    self.twins[place] = first
                    return frozenset()
                else:
                    return frozenset(self.analysed)
        self.claims[place] = track_id
        return self.missing(track_id)

    def give_up(self, first: Place) -> None:
        """A file that others are twins of gives nothing: the next of them is heard itself."""
        with self._lock:
            for key in [key for key, place in self._hearing.items() if place == first]:
                del self._hearing[key]
            for twin in [twin for twin, place in self.twins.items() if place == first]:
                del self.twins[twin]


@dataclass(frozen=True, slots=True)
class Plan:
    """A run's work. `todo` is in order of folder and path."""

    folders: Mapping[int, Path]
    files: int
    todo: Sequence[tuple[int, FileFacts]]
    unchanged: int
    known_failures: int
    recognition: Recognition
    present: Mapping[int, Collection[str]]
    shard: Shard = ALL
    #: What cannot be looked at or is no file, and why.
    denied: Mapping[Place, Why] = field(default_factory=dict)
    #: Files that are known again as they were, whatever came of them in between.
    mended: Collection[Place] = frozenset()
    most_gone: float = MOST_GONE
    #: Tracks of folders that are known and were not listed.
    unlisted: Mapping[int, Mapping[str, KnownFile]] = field(default_factory=dict)

    def settle_missing(
        self, library: Library, *, prune: bool = False, prune_unlisted: bool = False
    ) -> int:
        """After a complete run: count the absent files, or with `prune` forget them now.

        A known file that gives no audio any more is counted as well, for it may be half copied; not
        so where most of a folder's do, which a mount can bring about. `prune_unlisted` forgets the
        tracks of folders that were not listed. Returns how many tracks were forgotten.
        """
        forgotten = 0
        moved = set(self.recognition.claims.values())
        for root_id, tracks in self.unlisted.items() if prune_unlisted else ():
            left = [path for path, track in tracks.items() if track.track_id not in moved]
            forgotten += library.forget(root_id, left)
        for root_id, paths in self.present.items():
            failures = library.failures(root_id)
            broken = self._broken(root_id, failures)
            library.mark_seen(root_id, [path for path in paths if path not in broken])
            absent = [
                path
                for (root, path), track in self.recognition.gone.items()
                if root == root_id and track.track_id not in moved and self.shard.takes(path)
            ]
            if prune:
                forgotten += library.forget(root_id, absent)
            else:
                forgotten += library.mark_missing(root_id, absent)
            if not self._too_many(root_id, broken):
                forgotten += library.mark_missing(root_id, broken)
            library.forget_failures(
                root_id,
                [
                    one.path
                    for one in failures
                    if (one.path not in paths or (root_id, one.path) in self.mended)
                    and (root_id, one.path) not in self.denied
                    and self.shard.takes(one.path)
                ],
            )
        return forgotten

    def _broken(self, root_id: int, failures: Sequence[Failure]) -> set[str]:
        """Files that are there and give no audio any more; the mount's failures are not theirs.

        One that is as it was when it was heard is not broken, whatever became of its decoder.
        """
        return {
            one.path
            for one in failures
            if one.reason not in PASSING
            and (
                (root_id, one.path) in self.recognition.touched
                or (root_id, one.path) in self.denied
            )
            and (root_id, one.path) not in self.mended
            and self.shard.takes(one.path)
        }

    def _too_many(self, root_id: int, broken: Collection[str]) -> bool:
        places = (self.recognition.known, self.recognition.gone)
        known = sum(root == root_id for one in places for root, _ in one)
        lost = sum((root_id, path) in self.recognition.known for path in broken)
        return known >= FEWEST_GUARDED and lost > self.most_gone * known


def make_plan(
    library: Library,
    listings: Sequence[Listing],
    models: Sequence[Model],
    *,
    full: bool = False,
    most_gone: float = MOST_GONE,
    shard: Shard = ALL,
    away: Callable[[Path], bool] = is_away,
) -> Plan:
    """Compare the files that there are with what is known. Nothing is written but folders' names.

    A file is known by its size and time; a known failure is not tried again until they change,
    unless it may have been the disk's or the mount's. Of a shard only its own files are heard, and
    only its own count as missing; what is gone anywhere may be found again in it. `away` tells
    whether nothing lies in a folder that was not listed.

    Raises:
        SourceError: a folder lost most of its tracks.
    """
    folders = [listing.folder for listing in listings]
    analysed = {model: library.analysed(model) for model in models}
    complete = set.intersection(*analysed.values())
    roots: dict[int, Path] = {}
    todo: list[tuple[int, FileFacts]] = []
    known: dict[Place, KnownFile] = {}
    gone: dict[Place, KnownFile] = {}
    present: dict[int, Collection[str]] = {}
    denied: dict[Place, Why] = {}
    mended: set[Place] = set()
    touched: set[Place] = set()
    files = unchanged = known_failures = 0
    for listing in listings:
        root_id = library.root_id(listing.folder, remote=listing.remote, listed=folders, away=away)
        roots[root_id] = listing.folder
        present[root_id] = paths = {file.path for file in listing.files}
        tracks = library.files(root_id)
        absent = {
            path: track
            for path, track in tracks.items()
            if path not in paths and not listing.hides(path)
        }
        denied.update(
            {(root_id, path): why for path, why in listing.denied.items() if shard.takes(path)}
        )
        aside = sum(map(is_set_aside, absent))
        guard(listing.folder, len(tracks) - aside, len(absent) - aside, most_gone)
        gone.update({(root_id, path): track for path, track in absent.items()})
        recorded = {one.path: one for one in library.failures(root_id)}
        failed = {
            path: (one.size_bytes, one.mtime_ns)
            for path, one in recorded.items()
            if one.reason not in PASSING
        }
        for file in listing.files:
            facts = (file.size_bytes, file.mtime_ns)
            track = tracks.get(file.path)
            if track is not None:
                known[root_id, file.path] = track
                if (track.size_bytes, track.mtime_ns) != facts:
                    touched.add((root_id, file.path))
            if not shard.takes(file.path):
                continue
            files += 1
            if full:
                todo.append((root_id, file))
            elif failed.get(file.path) == facts:
                known_failures += 1
            elif (
                track is not None
                and (track.size_bytes, track.mtime_ns) == facts
                and track.track_id in complete
            ):
                unchanged += 1
                if file.path in recorded:
                    mended.add((root_id, file.path))
            else:
                todo.append((root_id, file))
    unlisted: dict[int, Mapping[str, KnownFile]] = {}
    for root_id, name in library.roots().items():
        if root_id in roots or not (tracks := library.files(root_id)):
            continue
        unlisted[root_id] = tracks
        # Their music may be at a new place by now, or there as well.
        into = gone if away(Path(name)) else known
        into.update({(root_id, path): track for path, track in tracks.items()})
    return Plan(
        folders=roots,
        files=files,
        todo=todo,
        unchanged=unchanged,
        known_failures=known_failures,
        recognition=Recognition(known, gone, analysed, again=full, touched=touched),
        present=present,
        shard=shard,
        denied=denied,
        mended=mended,
        most_gone=most_gone,
        unlisted=unlisted,
    )
