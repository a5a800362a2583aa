"""Kinds of track that belong in few answers: flags of the snapshot's column `kind`."""

from typing import Final

SEASONAL: Final = 1
SPOKEN: Final = 2
LIVE: Final = 4
SHORT: Final = 8
LONG: Final = 16

#: Each flag with what it is called to a person.
NAMES: Final = {
    SEASONAL: "seasonal music",
    SPOKEN: "spoken word",
    LIVE: "a live recording",
    SHORT: "an intro or a skit",
    LONG: "a long mix",
}
