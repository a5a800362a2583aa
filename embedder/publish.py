"""From the library to a snapshot: everything the ranker needs, derived and never edited.

Deterministic: the same library gives the same arrays, and so the same bytes. Streamed: tracks,
vectors and scores pass in blocks, so that half a million tracks fit into some hundred megabytes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.draft import Draft
from catalog.layout import TEXT_KINDS
from catalog.library import Library
from catalog.matrices import FileMatrix, Matrix, blocks
from catalog.tracks import Float32, Int64, Model, Track
from embedder.derivation import (
    WHITENING,
    coarse_rows,
    coarse_width,
    hubness,
    normal_column,
    origin,
    profile_rows,
    profile_width,
    quantiles_below,
    whiten_rows,
)
from embedder.facts import FACTS, NAMES, UNKNOWN
from embedder.facts import column as fact
from embedder.families import Identities, families, identity, sharing
from embedder.kinds import LABELS, kinds, read_kinds
from embedder.models.registry import ENTRIES
from embedder.names import MOST_GENRES, album_name, artist_name, genre_names
from embedder.versions import Sounds

#: A label that no track of the library passes with this score only makes odd winners.
LEAST_HEARD: Final = 0.03

#: Further out than this, a z-score is an accident of a column that hardly varies.
_FARTHEST_Z: Final = 5.0


def publish(library: Library, data: Path, models: Sequence[Model], *, keep: int = 2) -> str:
    """Write a snapshot of all tracks that the first of `models` has heard: its vectors, and the tag
    scores of each that gives any. Returns the version.

    Raises:
        OSError: the disk is full; what was published stays published.
        catalog.errors.LibraryError: the library cannot be read.
    """
    main = models[0]
    with library.reading(), Draft(data, main, library.count_analysed(main)) as draft:
        vectors = draft.matrix("vectors", main.dim)
        track_ids = _fill_vectors(library, main, vectors)
        draft.column("track_ids", track_ids)
        rule = rule_of(main)
        # A timbre's numbers are of different kinds; a network's features share one scale.
        if rule.unscaled:
            standardise_rows(vectors)
        whiten_rows(vectors, origin(vectors), rule.whitening)
        draft.column("hub", hubness(vectors))
        told: dict[str, Float32] = {}
        groups = [_tags(library, draft, model, track_ids, told) for model in models if model.labels]
        profile = draft.matrix("profile", profile_width([one.shape[1] for one in groups]))
        profile_rows(groups, profile)
        coarse = draft.matrix("coarse", coarse_width(main.dim, profile.shape[1]))
        coarse_rows(vectors, profile, coarse)
        facts = _Facts.of(library, draft, track_ids)
        for name, column in facts.columns(library, track_ids).items():
            draft.column(name, column)
        draft.matrix("genres", MOST_GENRES, np.int32)[:] = facts.genres
        draft.genre_names = facts.genre_names
        draft.column("kind", kinds(facts.written, facts.duration_s, told, main.name))
        for name, column in _measured(library, track_ids).items():
            draft.column(name, column)
        return draft.publish(keep=keep)


def _fill_vectors(library: Library, model: Model, vectors: Matrix) -> Int64:
    """Raw vectors in order of track number; returns the numbers, (n,) int64."""
    track_ids = np.zeros(vectors.shape[0], np.int64)
    row = 0
    for ids, block in library.vector_blocks(model):
        track_ids[row : row + len(ids)] = ids
        vectors[row : row + len(ids)] = block
        row += len(ids)
    return track_ids


def standardise(values: Float32) -> Float32:
    """Z-score each column of (n, d) over the rows; columns that do not vary become 0."""
    standardised = values.astype(np.float32)
    standardise_rows(standardised)
    return standardised


def standardise_rows(rows: Matrix) -> None:
    """`standardise` in place, block by block."""
    n, d = rows.shape
    mean = np.zeros(d)
    squares = np.zeros(d)
    seen = 0
    for part in blocks(n, d):  # Chan, Golub and LeVeque 1979: block means and squares joined
        block = rows[part].astype(np.float64)
        here, count = block.mean(0), len(block)
        away = here - mean
        squares += ((block - here) ** 2).sum(0) + away**2 * (seen * count / (seen + count))
        seen += count
        mean += away * (count / seen)
    deviation = np.sqrt(squares / max(n, 1))
    varies = deviation > 1e-6 * (np.abs(mean) + 1e-3)
    divisor = np.where(varies, deviation, 1.0)
    for part in blocks(n, d):
        z = np.where(varies, (rows[part] - mean) / divisor, 0.0)
        rows[part] = np.clip(z, -_FARTHEST_Z, _FARTHEST_Z).astype(np.float32)


def _tags(
    library: Library, draft: Draft, model: Model, track_ids: Int64, told: dict[str, Float32]
) -> FileMatrix:
    """A group of tags: normal scores of the labels that some track has, a float16 matrix.

    Tracks that the model has not heard say nothing: their scores are 0. `told` takes the raw scores
    of the labels that tell kinds of tracks, NaN where unknown.

    Scores come by rows and are ranked by columns: in between they lie on disk.
    """
    n = len(track_ids)
    tiles = draft.tiles(model.name, len(model.labels))
    known = np.zeros(n, np.bool_)
    most = np.zeros(len(model.labels), np.float32)
    for part, there, rows in _aligned(library, model, track_ids, tiles.parts()):
        known[part] = there
        tiles.set_rows(part, rows)
        most = np.maximum(most, rows.max(0, initial=0.0))
    heard = np.flatnonzero(most > LEAST_HEARD)
    below = quantiles_below(int(known.sum()))
    group = rule_of(model).tag_group
    scores = draft.tag_group(group, [model.labels[label] for label in heard.tolist()])
    kept = {model.labels.index(label): label for label in LABELS if label in model.labels}
    for label in sorted({*heard.tolist(), *kept}):
        column = tiles.column(label)
        if label in kept:
            told[kept[label]] = np.where(known, column, np.float32(np.nan)).astype(np.float32)
        column[known] = normal_column(column[known], below)
        tiles.set_column(label, column)
    for part in tiles.parts():
        scores[part] = tiles.rows(part)[:, heard]
    return scores


def _measured(library: Library, track_ids: Int64) -> dict[str, NDArray[np.generic]]:
    """The columns of `embedder.facts`, none where nothing was measured."""
    rows = np.full((len(track_ids), len(NAMES)), UNKNOWN, np.float32)
    parts = blocks(len(track_ids), len(NAMES))
    measured = False
    for part, there, found in _aligned(library, FACTS, track_ids, parts):
        rows[part][there] = found[there]
        measured = measured or bool(there.any())
    if not measured:
        return {}
    columns: dict[str, NDArray[np.generic]] = {name: fact(name, rows) for name in NAMES}
    for name in ("tempo_confidence", "key_confidence"):
        columns[name] = np.nan_to_num(columns[name])
    columns["key"] = np.nan_to_num(columns["key"], nan=-1.0).astype(np.int8)
    return columns


def _aligned(
    library: Library, model: Model, track_ids: Int64, parts: Iterable[slice]
) -> Iterator[tuple[slice, NDArray[np.bool_], Float32]]:
    """A model's scores in the snapshot's row order, part by part: whether it has heard each track,
    and its scores, 0 where not."""
    source = library.score_blocks(model)
    ids = np.zeros(0, np.int64)
    scores = np.zeros((0, len(model.labels)), np.float32)
    for part in parts:
        wanted = track_ids[part]
        there = np.zeros(len(wanted), np.bool_)
        rows = np.zeros((len(wanted), len(model.labels)), np.float32)
        while True:
            at = np.minimum(np.searchsorted(wanted, ids), len(wanted) - 1)
            ours = wanted[at] == ids
            there[at[ours]] = True
            rows[at[ours]] = scores[ours]
            if len(ids) and ids[-1] > wanted[-1]:
                break  # the next part takes the rest of this block
            block = next(source, None)
            if block is None:
                break
            ids, scores = block
        yield part, there, rows


@dataclass(slots=True)
class _Facts:
    """What the tracks' own words say, one row each."""

    artist: NDArray[np.int32]
    album: NDArray[np.int32]
    duration_s: Float32
    year: NDArray[np.int16]
    genres: NDArray[np.int32]
    written: NDArray[np.uint8]
    identities: Identities
    _codes: dict[str, dict[Hashable, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, library: Library, draft: Draft, track_ids: Int64) -> _Facts:
        """Reads every track once; texts go straight into the draft."""
        n = len(track_ids)
        facts = cls(
            np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n, np.float32),
            np.zeros(n, np.int16), np.full((n, MOST_GENRES), -1, np.int32), np.zeros(n, np.uint8),
            Identities(*(np.zeros(n, np.int64) for _ in range(3))),
        )  # fmt: skip
        texts = [draft.text(kind) for kind in TEXT_KINDS]
        wanted = iter(enumerate(track_ids.tolist()))
        row, track_id = next(wanted, (0, 0))
        for track in library.tracks() if n else ():
            if track.track_id != track_id:
                continue
            facts._read(row, track)
            tags = track.tags
            for text, value in zip(
                texts, (track.file.path, tags.title, tags.artist, tags.album), strict=True
            ):
                text.append(value)
            row, track_id = next(wanted, (0, 0))
        return facts

    def _read(self, row: int, track: Track) -> None:
        self.artist[row] = self._code("artist", artist_name(track))
        self.album[row] = self._code("album", album_name(track))
        self.duration_s[row] = track.duration_s
        self.year[row] = min(track.tags.year or 0, 9999)
        for place, name in enumerate(genre_names(track)):
            self.genres[row, place] = self._code("genre", name)
        self.written[row] = read_kinds(track)
        ours = self.identities
        ours.recording[row], ours.content[row], ours.name[row] = identity(track)

    def _code(self, kind: str, key: Hashable) -> int:
        """Equal keys, equal codes, numbered as they first appear; -1 for "" and None."""
        if key is None or key == "":
            return -1
        numbers = self._codes.setdefault(kind, {})
        return numbers.setdefault(key, len(numbers))

    @property
    def genre_names(self) -> list[str]:
        """What the codes of the genres stand for, in order."""
        return [str(name) for name in self._codes.get("genre", ())]

    def columns(self, library: Library, track_ids: Int64) -> Mapping[str, NDArray[np.generic]]:
        """The snapshot's columns that follow."""
        sounds = Sounds(library, track_ids, self.duration_s, sharing(self.identities))
        return {
            "artist": self.artist,
            "album": self.album,
            "recording": families(self.identities, self.duration_s, sounds),
            "duration_s": self.duration_s,
            "year": self.year,
        }


@dataclass(frozen=True, slots=True)
class Rule:
    """How a model's results are derived from; what `embedder.models.entry` says of it."""

    unscaled: bool = False
    whitening: float = WHITENING
    tag_group: str = ""


def rule_of(model: Model) -> Rule:
    """The rule of the registry's entry of this name; of one that is there no more, the defaults."""
    for one in ENTRIES:
        if one.name == model.name:
            return Rule(one.unscaled, one.whitening, one.tag_group)
    return Rule(tag_group=model.name)
