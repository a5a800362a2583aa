"""Which tracks are of a kind that seldom belongs in between: see `catalog.kinds`.

What people wrote (titles, albums, genres) counts first; what the model heard only where it is sure,
for a gate that is wrong hides a song. "Short" and "long" are so in this library: excerpts or
jingles are not skits where everything is that short.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.kinds import LIVE, LONG, SEASONAL, SHORT, SPOKEN
from catalog.tracks import Float32, Track

SHORT_S: Final = 40.0
LONG_S: Final = 20 * 60.0

#: Short is also less than this part of the library's median duration, long more than so many.
_SHORT_PART: Final = 0.5
_LONG_TIMES: Final = 3.0

_SEASONAL: Final = re.compile(
    r"\b(christmas|x-?mas|weihnacht\w*|no[eë]l|navidad|natale|jingle bells?|silent night"
    r"|stille nacht|santa claus|sleigh ride|winter wonderland|o tannenbaum|advent)\b"
)
_SPOKEN: Final = re.compile(
    r"\b(spoken( word)?|speech|audio ?books?|podcasts?|comedy|stand-?up|interviews?|h[oö]rb[uü]ch"
    r"(er)?|h[oö]rspiele?|radio drama|lecture)\b"
)
#: "Live" as an addition to a name, never as a word of it ("Live and Let Die", "Live Forever").
_LIVE: Final = re.compile(
    r"[(\[][^)\]]*\blive\b[^)\]]*[)\]]|[-–:,] live( (at|in|from|on)\b.*)?$|\blive (at|from) \w+"
    r"|\bunplugged\b|\bin concert\b"
)

#: What a model must hear, each with the kind that it tells and the score from which it is sure.
HEARD: Final[Mapping[str, tuple[int, float]]] = {
    "Christmas music": (SEASONAL, 0.3),
    "Applause": (LIVE, 0.4),
    "Cheering": (LIVE, 0.4),
}
SPEECH: Final = ("Speech", "Music")
LABELS: Final = (*HEARD, *SPEECH)

#: From which score of "Speech", and up to which of "Music", a track is spoken. Models say what they
#: hear on scales of their own. Fourteen voices by espeak-ng and flite have .16-.33 and .07-.43 from
#: segue-1, .65-.85 and .03-.16 from mn04; of 633 excerpts of music none has more than .06 and less
#: than .69 from segue-1.
_SPOKEN_SCORES: Final[Mapping[str, tuple[float, float]]] = {"segue-1": (0.12, 0.6)}
_SPOKEN_SCORES_ELSE: Final = (0.6, 0.3)


def kinds(
    written: NDArray[np.uint8], seconds: Float32, heard: Mapping[str, Float32], model: str = ""
) -> NDArray[np.uint8]:
    """Flags (n,) uint8. `written` (n,) is what `read_kinds` says of each track, `seconds` (n,) its
    duration. heard: label of `LABELS` → (n,) raw scores in 0…1, NaN unknown, of this model."""
    flags = written.copy()
    median = float(np.median(seconds)) if len(seconds) else 0.0
    flags[seconds < min(SHORT_S, _SHORT_PART * median)] |= SHORT
    flags[seconds > max(LONG_S, _LONG_TIMES * median)] |= LONG
    for label, (flag, least) in HEARD.items():
        if label in heard:
            flags[heard[label] > least] |= flag
    if all(label in heard for label in SPEECH):
        speech, music = (heard[label] for label in SPEECH)
        least, most = _SPOKEN_SCORES.get(model, _SPOKEN_SCORES_ELSE)
        flags[(speech > least) & (music < most)] |= SPOKEN
    return flags


def read_kinds(track: Track) -> int:
    """The flags that a track's own words tell."""
    title, album = track.tags.title.casefold(), track.tags.album.casefold()
    genres = " / ".join(track.tags.genres).casefold()
    flags = 0
    if any(_SEASONAL.search(text) for text in (title, album, genres)):
        flags |= SEASONAL
    if _SPOKEN.search(genres):
        flags |= SPOKEN
    if any(_LIVE.search(text) for text in (title, album)):
        flags |= LIVE
    return flags
