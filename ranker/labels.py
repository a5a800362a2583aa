"""Which labels are told as reasons: genres, instruments, voices and moods; no two of one word.

AudioSet's 527 classes are of all sounds, and a model gives each track some of every one. That two
tracks are both a little like an aircraft is good evidence for the score, and no reason to a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

#: The classes of AudioSet that are said of music.
_AUDIOSET: Final = frozenset(
    """
    Singing|Choir|Yodeling|Chant|Mantra|Male singing|Female singing|Child singing|Synthetic singing
    Rapping|Humming|Plucked string instrument|Guitar|Electric guitar|Bass guitar|Acoustic guitar
    Steel guitar, slide guitar|Banjo|Sitar|Mandolin|Zither|Ukulele|Keyboard (musical)|Piano
    Electric piano|Organ|Electronic organ|Hammond organ|Synthesizer|Sampler|Harpsichord|Percussion
    Drum kit|Drum machine|Drum|Snare drum|Drum roll|Bass drum|Timpani|Tabla|Cymbal|Hi-hat|Tambourine
    Maraca|Gong|Tubular bells|Mallet percussion|Marimba, xylophone|Glockenspiel|Vibraphone|Steelpan
    Orchestra|Brass instrument|French horn|Trumpet|Trombone|Bowed string instrument|String section
    Violin, fiddle|Pizzicato|Cello|Double bass|Wind instrument, woodwind instrument|Flute|Saxophone
    Clarinet|Harp|Harmonica|Accordion|Bagpipes|Didgeridoo|Theremin|Singing bowl|Pop music
    Hip hop music|Beatboxing|Rock music|Heavy metal|Punk rock|Grunge|Progressive rock|Rock and roll
    Psychedelic rock|Rhythm and blues|Soul music|Reggae|Country|Swing music|Bluegrass|Funk
    Folk music|Middle Eastern music|Jazz|Disco|Classical music|Opera|Electronic music|House music
    Techno|Dubstep|Drum and bass|Electronica|Electronic dance music|Ambient music|Trance music
    Music of Latin America|Salsa music|Flamenco|Blues|Music for children|New-age music|Vocal music
    A capella|Music of Africa|Afrobeat|Christian music|Gospel music|Music of Asia|Carnatic music
    Music of Bollywood|Ska|Traditional music|Independent music|Soundtrack music|Lullaby
    Video game music|Dance music|Happy music|Funny music|Sad music|Tender music|Exciting music
    Angry music|Scary music
    """.replace("\n", "|").replace("    ", "").split("|")
) - {""}  # fmt: skip

_WORDS: Final = frozenset(
    word for label in _AUDIOSET for word in re.findall(r"[\w-]+", label.lower())
) - {"of", "and", "music"}

#: Themes of MTG-Jamendo that tell what music is used for or about, not how it sounds.
_USES: Final = frozenset((
    "advertising", "background", "children", "christmas", "commercial", "corporate", "documentary",
    "film", "game", "holiday", "movie", "nature", "soundscape", "sport", "summer", "trailer",
    "travel",
))  # fmt: skip

_PROPER: Final = frozenset(("Middle", "Christian", "Carnatic"))
_EMPTY: Final = frozenset(("music", "musical", "instrument", "of", "and", "for", "a"))

#: From so many letters on a word that begins another is taken for it: drama, dramatic.
_STEM: Final = 4


def tellable(group: str, label: str) -> bool:
    """Whether a label of a tag group may be a reason. Of groups not known here all may."""
    if group == "audioset":
        return label in _AUDIOSET
    return group != "moods" or label not in _USES


def is_said_of_music(word: str) -> bool:
    """Whether a word is one of a class of AudioSet that is said of music, as "didgeridoo"."""
    return word in _WORDS


def told(labels: Iterable[str], most: int = 3) -> list[str]:
    """Up to `most` of the labels as people say them, in order, none with a word of one before."""
    found: list[str] = []
    words: set[str] = set()
    for label in labels:
        own = set(label.casefold().replace(",", " ").replace("(", " ").replace(")", " ").split())
        own -= _EMPTY
        if any(_same(one, other) for one in own for other in words):
            continue
        words |= own
        found.append(_said(label))
        if len(found) == most:
            break
    return found


def _same(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return short == long or (len(short) >= _STEM and long.startswith(short))


def _said(label: str) -> str:
    text = label.partition(",")[0].partition(" (")[0].removesuffix(" music")
    first = text.partition(" ")[0]
    return text if first in _PROPER else text[:1].lower() + text[1:]
