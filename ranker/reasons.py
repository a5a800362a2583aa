"""The terms of a score in words. The numbers are the terms themselves, not a story told later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from catalog.snapshot import Snapshot
from ranker import terms
from ranker.picks import Reason, Seed
from ranker.settings import RankingSettings

#: What a term says of a pick, unless it has more to tell.
_TEXTS: Final = {
    "genres": ("same genre", ""),
    "flow": ("on from what else was heard lately", "away from what else was heard lately"),
    "tempo": ("", "another tempo"),
    "key": ("", "far key"),
    "loudness": ("", "louder or softer"),
    "taste": ("near what you listen to", ""),
    "favourite": ("a favourite, long unheard", ""),
    "chance": ("by chance", "by chance"),
    "unlike": ("", "like what is not wanted"),
    "skipped": ("", "like what was skipped lately"),
    "familiar": ("known artist or song", "known artist or song"),
    "heard_lately": ("", "heard lately"),
    "held_back": ("", "offered not long ago"),
    "artist_repetition": ("", "same artist before"),
    "album_repetition": ("", "same album before"),
    "diversity": ("", "like another one chosen"),
}

_LONG_AGO_S: Final = 1000 * 86_400.0

#: Likeness in words, by the cosine (less the hub correction) from which they hold.
_ALIKE: Final = (
    (0.5, "sounds very much alike"),
    (0.25, "sounds alike"),
    (0.1, "sounds somewhat alike"),
)


def tell(
    snapshot: Snapshot,
    seeds: Sequence[Seed],
    tagged: terms.Tagged,
    row: int,
    values: Mapping[str, float],
    settings: RankingSettings,
    age_s: float | None = None,
) -> tuple[Reason, ...]:
    """A reason for each term of `values` (term → signed contribution); audio always, 0 never.

    A term without a text is told by its name. tagged: tells the seeds' tags, see `terms.mean_tags`.
    age_s: seconds since the row was heard, where that is known.
    """
    told: list[Reason] = []
    for term, value in values.items():
        if term == "audio":
            alike = _how_alike(value / settings.audio) if settings.audio else "sound does not count"
            told.append(Reason(term, value, alike))
        elif not value:
            continue
        elif term == "tags":
            shared = terms.shared_tags(snapshot, tagged(), row) if value > 0 else []
            other = "moods and tags alike" if value > 0 else "moods and tags differ"
            told.append(Reason(term, value, f"both {', '.join(shared)}" if shared else other))
        elif term == "genres":
            both = ", ".join(terms.shared_genres(snapshot, row, seeds))
            told.append(Reason(term, value, f"same genre: {both}" if both else "same genre"))
        elif term == "heard_lately" and age_s is not None:
            told.append(Reason(term, value, f"heard {ago(age_s)}"))
        else:
            told.append(Reason(term, value, _TEXTS.get(term, (term, term))[value < 0]))
    return tuple(told)


def ago(age_s: float) -> str:
    """How long ago something was, as people say it: "40 minutes ago"; in the future, "just now"."""
    if not age_s < _LONG_AGO_S:  # nor a number
        return "long ago"
    if age_s < 90:
        return "just now"
    minutes, hours, days = (round(age_s / unit) for unit in (60, 3600, 86_400))
    if age_s < 3600:
        return f"{minutes} minutes ago"
    if age_s < 5400:
        return "an hour ago"
    return f"{hours} hours ago" if age_s < 2 * 86_400 else f"{days} days ago"


def _how_alike(value: float) -> str:
    return next((text for least, text in _ALIKE if value >= least), "sounds little alike")
