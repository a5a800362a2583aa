"""The `[ranking]` section: two knobs and the weights of the terms."""

import math
from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class RankingSettings:
    """Knobs are 0…1; a weight of 0 switches its term off.

    `audio`, `hub`, `tags`, `flow` and `unlike` are weights of likeness itself. All others count in
    deviations of the scores over the library, so that they mean the same whatever the model and
    however alike the music is (for words, in deviations of a label: see `ranker.words`).
    """

    breadth: float = field(
        default=0.1,
        metadata={
            "doc": "0…1: 0 is only the nearest songs, 1 also songs that differ from each other."
        },
    )
    explore: float = field(
        default=0.5,
        metadata={"doc": "0…1: 0 is rather artists and songs that are known, 1 rather others."},
    )
    audio: float = field(
        default=1.0, metadata={"doc": "Weight of sounding alike (cosine of vectors)."}
    )
    hub: float = field(
        default=0.4,
        metadata={"doc": "Taken off what sounds like everything (0.5 is CSLS in full)."},
    )
    tags: float = field(
        default=0.2, metadata={"doc": "Weight of alike tags and moods, where the model gives them."}
    )
    genres: float = field(
        default=0.2, metadata={"doc": "Weight of a genre in common, by the files' own tags."}
    )
    flow: float = field(
        default=0.4, metadata={"doc": "Weight of sounding like the songs heard before the seed."}
    )
    tempo: float = field(
        default=0.2, metadata={"doc": "Taken off for a jump in tempo from the song before."}
    )
    key: float = field(
        default=0.2, metadata={"doc": "Taken off for a far key from the song before."}
    )
    loudness: float = field(
        default=0.1, metadata={"doc": "Taken off for a step in loudness from the song before."}
    )
    taste: float = field(
        default=0.3, metadata={"doc": "Weight of sounding like what the listener returns to."}
    )
    favourite: float = field(
        default=0.3, metadata={"doc": "Weight of the listener's favourites not heard for long."}
    )
    house: float = field(
        default=0.1, metadata={"doc": "Weight of songs that three or more users return to."}
    )
    chance: float = field(
        default=0.2, metadata={"doc": "Weight of chance, so that a day's choice is not another's."}
    )
    familiar: float = field(
        default=0.5,
        metadata={"doc": "Weight of what is known (artist or song) or not; see explore."},
    )
    artist_repetition: float = field(
        default=1.0,
        metadata={"doc": "Taken off for each song of the same artist not long before."},
    )
    album_repetition: float = field(
        default=0.1,
        metadata={"doc": "Taken off for each song of the same album not long before."},
    )
    unlike: float = field(
        default=1.0, metadata={"doc": "Weight of sounding like a seed that is not wanted."}
    )
    skipped: float = field(
        default=1.5, metadata={"doc": "Weight of sounding like what was skipped lately."}
    )
    heard_lately: float = field(
        default=2.0, metadata={"doc": "Taken off for songs heard lately, less with time."}
    )
    held_back: float = field(
        default=0.5, metadata={"doc": "Taken off for songs that were offered not long ago."}
    )

    def __post_init__(self) -> None:
        for knob in ("breadth", "explore"):
            if not 0 <= getattr(self, knob) <= 1:
                raise ValueError(f"{knob} must lie in 0…1, got {getattr(self, knob)}")
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not math.isfinite(value) or not 0 <= value <= 10:
                raise ValueError(f"{entry.name} must lie in 0…10, got {value}")
