"""From the library to a snapshot: everything the ranker needs, derived and never edited.

Deterministic: the same library gives the same arrays, and so the same bytes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.library import Library
from catalog.snapshot import SnapshotArrays, TagGroup, write_snapshot
from catalog.tracks import Float32, Int64, Model, Track
from embedder.derivation import centre, coarse, hubness, normal_scores, profiles, whiten
from embedder.kinds import LABELS, kinds
from embedder.models.registry import ENTRIES

#: A label that no track of the library passes with this score only makes odd winners.
LEAST_HEARD: Final = 0.03

#: So many genres of a file count; what separates several in one tag.
MOST_GENRES: Final = 3
_GENRES: Final = re.compile(r"[;,/|\\]")

#: Two files of one artist and title are one recording when they differ by no more than this.
SAME_RECORDING_S: Final = 2.0

#: Further out than this, a z-score is an accident of a column that hardly varies.
_FARTHEST_Z: Final = 5.0

#: Titles that many different recordings bear.
_NO_TITLE: Final = re.compile(r"(audio ?)?(track|untitled|unknown|titel|piste|pista)?[ _-]*\d*")
_FEATURING: Final = re.compile(r"[(\[]?\b(feat|ft|featuring)\b\.? .*")
_DISC_FOLDER: Final = re.compile(r"(cd|dis[ck])[ _-]*\d+")


def publish(library: Library, data: Path, models: Sequence[Model]) -> str:
    """Write a snapshot of all tracks that the first of `models` has heard. Returns its version."""
    return write_snapshot(data, derive(library, models))


def derive(library: Library, models: Sequence[Model]) -> SnapshotArrays:
    """The arrays to publish: vectors of `models[0]`, tag scores of each that gives any."""
    main = models[0]
    track_ids, raw = library.vectors(main)
    heard = set(track_ids.tolist())
    tracks = [track for track in library.tracks() if track.track_id in heard]
    # A timbre's numbers are of different kinds; a network's features share one scale.
    vectors = whiten(centre(standardise(raw) if _unscaled(main) else raw))
    tag_groups: dict[str, TagGroup] = {}
    told: dict[str, Float32] = {}
    for model in models:
        if model.labels:
            scores = _aligned(library, model, track_ids)
            tag_groups[_tag_group(model)] = tag_group(model.labels, scores)
            told |= {label: scores[:, model.labels.index(label)].copy() for label in LABELS
                     if label in model.labels}  # fmt: skip
    profile = profiles(list(tag_groups.values()), len(vectors))
    return SnapshotArrays(
        model=main,
        vectors=vectors,
        track_ids=track_ids,
        artist=_codes(_artist_name(track) for track in tracks),
        album=_codes(_album_name(track) for track in tracks),
        recording=recording_families(tracks),
        duration_s=np.array([track.duration_s for track in tracks], np.float32),
        year=np.array([min(track.tags.year or 0, 9999) for track in tracks], np.int16),
        text={
            "path": [track.file.path for track in tracks],
            "title": [track.tags.title for track in tracks],
            "artist": [track.tags.artist for track in tracks],
            "album": [track.tags.album for track in tracks],
        },
        tag_groups=tag_groups,
        hub=hubness(vectors),
        profile=profile,
        coarse=coarse(vectors, profile),
        kind=kinds(tracks, told),
        genres=genre_codes(tracks),
    )


def genre_codes(tracks: Sequence[Track]) -> NDArray[np.int32]:
    """(n, `MOST_GENRES`) int32: the same code for the same genre, first named first; -1 for none.

    One tag often holds several, as in "Jazz; Fusion".
    """
    codes: dict[str, int] = {}
    found = np.full((len(tracks), MOST_GENRES), -1, np.int32)
    for row, track in enumerate(tracks):
        names = (simplify(part) for tag in track.tags.genres for part in _GENRES.split(tag))
        named = [name for name in dict.fromkeys(names) if name][:MOST_GENRES]
        found[row, : len(named)] = [codes.setdefault(name, len(codes)) for name in named]
    return found


def standardise(values: Float32) -> Float32:
    """Z-score each column of (n, d) over the rows; columns that do not vary become 0."""
    if len(values) == 0:
        return values.astype(np.float32)
    wide = values.astype(np.float64)
    mean, deviation = wide.mean(0), wide.std(0)
    varies = deviation > 1e-6 * (np.abs(mean) + 1e-3)
    z = np.where(varies, (wide - mean) / np.where(varies, deviation, 1.0), 0.0)
    return np.clip(z, -_FARTHEST_Z, _FARTHEST_Z).astype(np.float32)


def tag_group(labels: Sequence[str], scores: Float32) -> TagGroup:
    """Scores (n, t) in 0…1 → normal scores of the labels that some track has.

    Rows of NaN are tracks that were not judged: they say nothing, and their scores are 0.
    """
    known = np.isfinite(scores).all(1)
    heard = np.flatnonzero((scores[known] > LEAST_HEARD).any(0))
    z = np.zeros((len(scores), len(heard)), np.float16)
    z[known] = normal_scores(scores[known][:, heard])
    return TagGroup(tuple(labels[i] for i in heard.tolist()), z)


def recording_families(tracks: Sequence[Track]) -> NDArray[np.int32]:
    """A code for each track, equal for versions of one recording, (n,) int32.

    One recording are files of the same MusicBrainz recording, of the same content, or of the
    same artist and title whose durations differ by at most 2 s.
    """
    parent = list(range(len(tracks)))

    def find(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def join(rows: Iterable[int]) -> None:
        first, *others = rows
        for other in others:
            low, high = sorted((find(first), find(other)))
            parent[high] = low

    for same in (_same_identity(tracks), _same_content(tracks)):
        for rows in same:
            join(rows)
    for rows in _same_title(tracks):
        by_duration = sorted(rows, key=lambda row: tracks[row].duration_s)
        for shorter, longer in pairwise(by_duration):
            if tracks[longer].duration_s - tracks[shorter].duration_s <= SAME_RECORDING_S:
                join((shorter, longer))
    return _codes(find(row) for row in range(len(tracks)))


def _same_identity(tracks: Sequence[Track]) -> Iterable[list[int]]:
    return _groups(track.tags.musicbrainz_recording_id for track in tracks)


def _same_content(tracks: Sequence[Track]) -> Iterable[list[int]]:
    return _groups(track.content_key for track in tracks)


def _same_title(tracks: Sequence[Track]) -> Iterable[list[int]]:
    def name(track: Track) -> tuple[str, str] | None:
        artist, title = _artist_name(track), simplify(track.tags.title)
        return None if not artist or _NO_TITLE.fullmatch(title) else (artist, title)

    return _groups(name(track) for track in tracks)


def _groups(keys: Iterable[Hashable]) -> Iterable[list[int]]:
    """Rows that share a key; empty keys are no keys."""
    rows: dict[Hashable, list[int]] = {}
    for row, key in enumerate(keys):
        if key:
            rows.setdefault(key, []).append(row)
    return rows.values()


def simplify(name: str) -> str:
    """A name as it is compared: compatible characters, no case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _artist_name(track: Track) -> str:
    name = simplify(track.tags.artist or track.tags.album_artist)
    return _FEATURING.sub("", name).strip() or name


def _album_name(track: Track) -> tuple[str, str] | None:
    """The album with its artist, or else with its folder: many albums are "Greatest Hits"."""
    album = simplify(track.tags.album)
    if not album:
        return None
    folder = PurePosixPath(track.file.path).parent
    if _DISC_FOLDER.fullmatch(folder.name.casefold()):
        folder = folder.parent
    return album, simplify(track.tags.album_artist) or f"/{track.root_id}/{folder}"


def _codes(keys: Iterable[Hashable]) -> NDArray[np.int32]:
    """Equal keys, equal codes, numbered as they first appear; -1 for "" and None."""
    numbers: dict[Hashable, int] = {}
    return np.array(
        [-1 if key is None or key == "" else numbers.setdefault(key, len(numbers)) for key in keys],
        np.int32,
    )


def _aligned(library: Library, model: Model, track_ids: Int64) -> Float32:
    """Scores of a model in the snapshot's row order, NaN for tracks that it has not heard."""
    ids, scores = library.scores(model)
    aligned = np.full((len(track_ids), len(model.labels)), np.nan, np.float32)
    rows = np.searchsorted(track_ids, ids)
    there = (rows < len(track_ids)) & (track_ids[np.minimum(rows, len(track_ids) - 1)] == ids)
    aligned[rows[there]] = scores[there]
    return aligned


def _unscaled(model: Model) -> bool:
    return any(one.name == model.name and one.unscaled for one in ENTRIES)


def _tag_group(model: Model) -> str:
    return next((one.tag_group for one in ENTRIES if one.name == model.name), model.name)
