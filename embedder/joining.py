"""`segue merge`: the work of several machines becomes one library, and one snapshot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from catalog.errors import advice
from catalog.library import Library
from catalog.merging import Merged, merge
from catalog.tracks import Model
from embedder.errors import EmbedderError
from embedder.facts import FACTS
from embedder.fingerprint import FINGERPRINT
from embedder.lock import only_job
from embedder.models.registry import ENTRIES
from embedder.progress import SILENT, Progress
from embedder.publication import Publication
from embedder.settings import EmbeddingSettings

#: What every run measures beside its models: nothing that is published as vectors or tags.
_MEASURED: Final = frozenset({FACTS.name, FINGERPRINT.name})


@dataclass(frozen=True, slots=True)
class Joined:
    """What a merge did, how many tracks there are now, and the snapshot in force ("": none).

    `model` gave its vectors ("": none); `unheard` tracks, which only others heard, are not in it.
    """

    merged: Merged
    tracks: int
    snapshot: str
    model: str
    unheard: int


def join(
    data: Path,
    sources: Sequence[Path],
    settings: EmbeddingSettings,
    *,
    progress: Progress = SILENT,
    advance: Callable[[Path, int], None] = lambda source, results: None,
) -> Joined:
    """Take what the data folders `sources` know into `data`, and publish a snapshot of it all.

    Raises:
        catalog.errors.MergeError: they do not go together; nothing was written.
        catalog.errors.LibraryError: the library cannot be written.
        EmbedderError: a job is at work in one of the folders, or `data` cannot be written.
    """
    try:
        with ExitStack() as locks:
            locks.enter_context(only_job(data))
            for source in sources:
                if source.is_dir() and not source.samefile(data):
                    locks.enter_context(only_job(source))
            with Library.open(data) as library:
                merged = merge(library, sources, advance=advance)
                library.note_shard("")
                models = _models(library)
                tracks = library.count_tracks()
                if not models:
                    return Joined(merged, tracks, "", "", tracks)
                publication = Publication(library, data, progress, keep=settings.keep)
                snapshot = publication.settle(models, complete=False)
                unheard = tracks - library.count_analysed(models[0])
                return Joined(merged, tracks, snapshot, models[0].name, unheard)
    except OSError as error:
        todo = advice(error, "")
        raise EmbedderError(
            f"cannot work in {data}: {error.strerror or error}{todo and '; ' + todo}"
        ) from error


def _models(library: Library) -> list[Model]:
    """What to publish: the vectors that most tracks have, and of each kind of tags the same."""
    places = {one.name: place for place, one in enumerate(ENTRIES)}
    ranked = sorted(
        (one for one in library.models() if one.name not in _MEASURED),
        key=lambda one: (-library.count_analysed(one), places.get(one.name, len(places))),
    )
    main = next((one for one in ranked if one.dim and library.count_analysed(one)), None)
    if main is None:
        return []
    beside: dict[str, Model] = {}
    for one in ranked:
        if not one.dim and library.count_analysed(one):
            beside.setdefault(_kind(one), one)
    return [main, *beside.values()]


def _kind(model: Model) -> str:
    return next((one.tag_group for one in ENTRIES if one.name == model.name), model.name)
