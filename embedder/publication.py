"""When to publish, and which model's space: never a part of a new one for a whole old one."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
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
from embedder.errors import CANNOT_ANALYSE
from embedder.facts import FACTS
from embedder.fingerprint import FINGERPRINT
from embedder.progress import Progress
from embedder.publish import publish, rule_of


class Publication:
    """Decides what a data folder's snapshot is made of.

    A change of model fills the new model's space over as many runs as it takes. Until it holds all
    that is published and not forgotten, the old model's space stays published, and is kept up to
    date with what was moved, retagged and forgotten. `waiting`: how many tracks it still lacked at
    the last `settle`, 0 where no change is under way.
    """

    def __init__(self, library: Library, data: Path, progress: Progress, *, keep: int) -> None:
        self._library = library
        self._data = data
        self._progress = progress
        self._keep = keep
        self.waiting = 0

    def settle(
        self,
        models: Sequence[Model],
        *,
        complete: bool,
        partial: bool = False,
        left: Collection[int] = (),
    ) -> str:
        """Publish what should be in force after a run of `models`, the one with vectors first.

        `complete`: the run has heard all there is. `partial`: publish these models' space however
        little it holds. `left` are folders that are no music folders any more. Returns the version
        in force, "" for none.
        """
        version = self._settle(models, complete, partial, left)
        self._remove_retired(models)
        if complete:
            self._remove_older_measures()
        return version

    def _settle(
        self, models: Sequence[Model], complete: bool, partial: bool, left: Collection[int]
    ) -> str:
        self.waiting = 0
        heard = self._library.count_analysed(models[0])
        published = self._open()
        if not heard:
            return "" if published is None else published.version
        if partial or published is None or _is_of(published, models[0]):
            return self._publish(models)
        self.waiting = len(self._lacking(models[0], published, left))
        if not self.waiting and (complete or published.n <= heard):
            return self._publish(models)
        old = self._models_of(published)
        return self._publish(old) if old else published.version

    def _lacking(self, model: Model, published: Snapshot, left: Collection[int]) -> set[int]:
        """Tracks that are published and known, and that a model has not heard but may yet hear.

        So also those that are gone, until they are forgotten, or that cannot be read just now.
        """
        known: set[int] = set()
        for root_id in self._library.roots().keys() - set(left):
            failures = self._library.failures(root_id)
            hopeless = {one.path for one in failures if one.reason == CANNOT_ANALYSE}
            files = self._library.files(root_id)
            known.update(one.track_id for path, one in files.items() if path not in hopeless)
        return known.intersection(published.track_ids.tolist()) - self._library.analysed(model)

    def _models_of(self, published: Snapshot) -> list[Model]:
        """The models that what is published was made of, where the library still has them."""
        _, _, *named, version = self._library.published().split(" ") or [""]
        known = {one.identity: one for one in self._library.models()}
        models = [known[name] for name in named if name in known]
        whole = len(models) == len(named) and version == published.version
        ours = bool(models) and _is_of(published, models[0])
        return models if whole and ours else []

    def _publish(self, models: Sequence[Model]) -> str:
        names = " ".join(model.identity for model in models)
        state = f"{self._library.tracks_revision()} {derivation(*models)} {names}"
        published, _, version = self._library.published().rpartition(" ")
        before = version
        current = self._open()
        # Nothing new to tell: what is in force stays, also where somebody went back to an older.
        if published == state and current is not None:
            kept = {one.version for one in kept_snapshots(self._data)}
            if version in kept:
                return current.version
        self._progress.publishing(self._library.count_analysed(models[0]))
        version = publish(self._library, self._data, models, keep=self._keep)
        gone = set(published.split(" ")[2:]) - set(names.split(" "))
        if gone:
            self._library.note_retired(self._library.retired() | dict.fromkeys(gone, before))
        self._library.note_published(f"{state} {version}")
        return version

    def _remove_retired(self, models: Sequence[Model]) -> None:
        """Remove what retired models said once their last snapshot is gone."""
        retired = self._library.retired()
        if not retired:
            return
        used = {model.identity for model in models}
        used |= set(self._library.published().split(" ")[2:])
        waiting = {name: last for name, last in retired.items() if name not in used}
        kept = {one.version for one in kept_snapshots(self._data)}
        known = {model.identity: model for model in self._library.models()}
        removed = 0
        for name, last in list(waiting.items()):
            if last not in kept:
                removed += self._library.remove_results(known[name]) if name in known else 0
                del waiting[name]
        if waiting != retired:
            self._library.note_retired(waiting)
        if removed:
            self._library.shrink()

    def _remove_older_measures(self) -> None:
        """All was measured anew: no snapshot will be made of what older versions measured."""
        for model in self._library.models():
            for now in (FACTS, FINGERPRINT):
                if model.name == now.name and model.version != now.version:
                    self._library.remove_results(model)

    def _open(self) -> Snapshot | None:
        """What is published, None where nothing is that can be read."""
        try:
            return open_snapshot(self._data)
        except SnapshotError:
            return None


def _is_of(published: Snapshot, model: Model) -> bool:
    theirs = published.model
    return (theirs.name, theirs.version) == (model.name, model.version)


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
