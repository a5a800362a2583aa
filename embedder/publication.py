"""When to publish, and which model's space: never a part of a new one for a whole old one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import catalog.draft
import catalog.kinds
import catalog.layout
import catalog.matrices
import embedder.derivation
import embedder.facts
import embedder.families
import embedder.fingerprint
import embedder.kinds
import embedder.names
import embedder.publish
import embedder.tonality
import embedder.versions
import embedder.windows
from catalog.errors import SnapshotError
from catalog.library import Library
from catalog.snapshot import Snapshot, open_snapshot
from catalog.snapshots import kept_snapshots
from catalog.tracks import Model
from embedder.progress import Progress
from embedder.publish import publish, rule_of


class Publication:
    """Decides what a data folder's snapshot is made of.

    A change of model fills the new model's space over as many runs as it takes. Until it holds at
    least as many tracks as are published, or a run has heard all there is, the old model's space
    stays published, and is kept up to date with what was moved, retagged and forgotten.
    """

    def __init__(self, library: Library, data: Path, progress: Progress, *, keep: int) -> None:
        self._library = library
        self._data = data
        self._progress = progress
        self._keep = keep

    def settle(self, models: Sequence[Model], *, complete: bool, partial: bool = False) -> str:
        """Publish what should be in force after a run of `models`, the one with vectors first.

        `complete`: the run has heard all there is. `partial`: publish these models' space however
        little it holds. Returns the version in force, "" for none.
        """
        heard = self._library.count_analysed(models[0])
        published = self._open()
        if not heard:
            return "" if published is None else published.version
        if complete or partial or published is None or self._covers(models[0], heard, published):
            return self._publish(models)
        old = self._models_of(published)
        return self._publish(old) if old else published.version

    def _covers(self, model: Model, heard: int, published: Snapshot) -> bool:
        theirs = published.model
        ours = (theirs.name, theirs.version) == (model.name, model.version)
        return ours or published.n <= heard

    def _models_of(self, published: Snapshot) -> list[Model]:
        """The models that what is published was made of, where the library still has them."""
        _, _, *named, version = self._library.published().split(" ") or [""]
        known = {f"{one.name}={one.version}": one for one in self._library.models()}
        models = [known[name] for name in named if name in known]
        whole = len(models) == len(named) and version == published.version
        ours = bool(models) and (models[0].name, models[0].version) == (
            published.model.name,
            published.model.version,
        )
        return models if whole and ours else []

    def _publish(self, models: Sequence[Model]) -> str:
        names = " ".join(f"{model.name}={model.version}" for model in models)
        state = f"{self._library.tracks_revision()} {derivation(*models)} {names}"
        published, _, version = self._library.published().rpartition(" ")
        current = self._open()
        # Nothing new to tell: what is in force stays, also where somebody went back to an older.
        if published == state and current is not None:
            kept = {one.version for one in kept_snapshots(self._data)}
            if version in kept:
                return current.version
        self._progress.publishing(self._library.count_analysed(models[0]))
        version = publish(self._library, self._data, models, keep=self._keep)
        self._library.note_published(f"{state} {version}")
        return version

    def _open(self) -> Snapshot | None:
        """What is published, None where nothing is that can be read."""
        try:
            return open_snapshot(self._data)
        except SnapshotError:
            return None


#: The code that shapes a snapshot; a test holds it against what `embedder.publish` imports.
DERIVING: Final = (
    catalog.draft,
    catalog.kinds,
    catalog.layout,
    catalog.matrices,
    embedder.derivation,
    embedder.facts,
    embedder.families,
    embedder.fingerprint,
    embedder.kinds,
    embedder.names,
    embedder.publish,
    embedder.tonality,
    embedder.versions,
    embedder.windows,
)


def derivation(*models: Model) -> str:
    """Names the code and the models' rules that derive a snapshot: others may make another of the
    same library."""
    rules = repr([(model.name, rule_of(model)) for model in models])
    return hashlib.blake2b(f"{_code()} {rules}".encode(), digest_size=8).hexdigest()


@cache
def _code() -> str:
    digest = hashlib.blake2b(digest_size=8)
    for module in DERIVING:
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()
