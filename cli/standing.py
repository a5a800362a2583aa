"""How a data folder stands, as `segue embed`, `segue info` and `segue doctor` say it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.library import (
    HOURS_BETWEEN_MISSING_RUNS,
    MISSING_RUNS_BEFORE_FORGOTTEN,
    Library,
)
from catalog.snapshot import Snapshot
from catalog.snapshots import newer_snapshot
from cli.console import count_text

if TYPE_CHECKING:
    from catalog.settings import LibrarySettings

#: Why a model has not heard a track that is there.
UNHEARD = "not heard yet"

#: What the embedding job says of a track that decodes, and that no model can make anything of: the
#: only ones that a change of model does not wait for. (The job need not be installed here.)
_CANNOT_ANALYSE = "cannot-analyse"


def standing(library: Library, data: Path) -> dict[str, Any]:
    """The facts, in the shape that `--json` promises.

    `missing`: how many tracks' files are gone or give no audio any more, by how many more runs they
    are kept without them.
    `newer_snapshot`: the one published last, where `segue rollback` put an older one in force.
    `shard`: which part of the music the folder has, null for all of it.
    """
    left = Counter(MISSING_RUNS_BEFORE_FORGOTTEN - runs for runs in library.missing().values())
    return {
        "missing": [{"tracks": left[runs], "runs_left": runs} for runs in sorted(left)],
        "newer_snapshot": newer_snapshot(data, library.published()) or None,
        "shard": library.shard() or None,
    }


def failure_text(reason: str, detail: str) -> str:
    """Why a file could not be analysed, for people: "the audio is too short to judge: 0.01 s".

    The detail alone, as FFmpeg or the system put it, often tells nobody anything.
    """
    from embedder.errors import REASONS

    words = REASONS.get(reason, reason)
    return words if detail in {"", words} else f"{words}: {detail}"


def unlisted(library: Library, settings: LibrarySettings) -> dict[int, str]:
    """Folders that something is known of and that are no music folders any more, by their numbers.

    None where no music folder of the configuration is known: the library was made elsewhere.
    """
    if settings.source == "server":
        return {}
    known, counts = library.roots(), library.count_by_root()
    listed = {str(Path(folder).absolute()) for folder in settings.music}
    if listed.isdisjoint(known.values()):
        return {}
    return {
        root: folder for root, folder in known.items() if root in counts and folder not in listed
    }


@dataclass(frozen=True, slots=True)
class Switching:
    """A change of model under way.

    Attributes:
        before, after: name and version of the published model, and of the one that is to be.
        heard, of: tracks that the new one has heard, and those published.
        lacking: tracks that it must have heard before it comes into force, counted by why it has
            not: `UNHEARD`, "gone", or why the file failed.
        held_up_by: path and why of those that the next run cannot simply hear.
    """

    before: str
    after: str
    heard: int
    of: int
    lacking: Mapping[str, int]
    held_up_by: tuple[tuple[str, str], ...]

    def as_json(self) -> dict[str, Any]:
        """In the shape that `segue info --json` promises."""
        return {
            "from": self.before,
            "to": self.after,
            "heard": self.heard,
            "of": self.of,
            "lacking": dict(self.lacking),
            "held_up_by": [{"path": path, "why": why} for path, why in self.held_up_by],
        }


def switching(
    library: Library, snapshot: Snapshot | None, data: Path, left: Collection[int] = ()
) -> Switching | None:
    """The change of model under way, None where there is none (or an older snapshot is in force).

    left: numbers of folders that are no music folders any more: nothing waits for them.
    """
    attempt = library.last_run()
    if snapshot is None or attempt is None or not attempt.model_version:
        return None
    before, after = snapshot.model, (attempt.model, attempt.model_version)
    if (before.name, before.version) == after or newer_snapshot(data, library.published()):
        return None
    new = next((m for m in library.models() if (m.name, m.version) == after), None)
    heard = library.analysed(new) if new is not None else set()
    waits_for = _why(library, set(snapshot.track_ids.tolist()) - heard, left)
    return Switching(
        before=f"{before.name} {before.version}",
        after=" ".join(after),
        heard=len(heard),
        of=snapshot.n,
        lacking=Counter(why for _, why in waits_for),
        held_up_by=tuple(one for one in waits_for if one[1] != UNHEARD),
    )


def _why(
    library: Library, lacking: Collection[int], left: Collection[int]
) -> list[tuple[str, str]]:
    """Why each of these tracks was not heard, those that a model can make nothing of apart."""
    missing = library.missing()
    found = []
    for root in library.roots().keys() - set(left):
        failed = {one.path: one.reason for one in library.failures(root)}
        for path, file in library.files(root).items():
            reason = failed.get(path, "")
            if file.track_id in lacking and reason != _CANNOT_ANALYSE:
                why = "gone" if file.track_id in missing and not reason else reason
                found.append((path, why or UNHEARD))
    return sorted(found)


def missing_text(facts: dict[str, Any]) -> str:
    """For example "3 gone or broken (forgotten after 2 more runs …)", "" where none is."""
    missing = facts["missing"]
    if not missing:
        return ""
    runs = sorted({one["runs_left"] for one in missing})
    when = count_text(runs[-1], "more run")
    if len(runs) > 1:
        when = f"{runs[0]} to {when}"
    gone = sum(one["tracks"] for one in missing)
    apart = f"{HOURS_BETWEEN_MISSING_RUNS:g} hours apart"
    return f"{gone} gone or broken (forgotten after {when} without them, {apart})"


def merge_text(shard: str, data: Path) -> str:
    """What to do with a part of the music."""
    return f"this is shard {shard}; next: segue merge {data} … --data DIR, with all the other parts"


def newer_text(version: str) -> str:
    """That an older snapshot is in force."""
    return (
        f"an older snapshot is in force since `segue rollback`; `segue rollback {version}` puts"
        " the newest in force"
    )
