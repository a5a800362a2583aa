"""What the demo's library holds: nine manners, each with three albums of two pieces.

Seven of the twenty artists work in two manners: the artist alone does not tell what sounds alike.
Three artists to a manner are what a player needs that never plays one of them three times in a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from demo import acoustic, electric
from demo.mixing import Stereo

#: (generator, tonic as MIDI pitch, beats a minute, seconds wanted) -> stereo recording
Composer = Callable[[np.random.Generator, int, float, float], Stereo]
Format = Literal["flac", "opus", "mp3"]


@dataclass(frozen=True, slots=True)
class Manner:
    """A way of making music: its genre, composer, tempi (beats/min) and tonics (MIDI)."""

    genre: str
    compose: Composer
    tempo_bpm: tuple[float, float]
    tonic: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Piece:
    """One recording of the library: its tags, and what the composer is told."""

    title: str
    artist: str
    album: str
    genre: str
    year: int
    track_number: int
    manner: Manner
    seed: int
    format: Format

    @property
    def path(self) -> str:
        """Where it lies below the music folder: Artist/Album/NN - Title.ext."""
        name = f"{self.track_number:02d} - {self.title}.{self.format}"
        return "/".join((self.artist, self.album, name))

    def compose(self) -> Stereo:
        """The recording, (2, n) float32 at SAMPLE_RATE_HZ, 20-40 s; the same on every call."""
        rng = np.random.default_rng(self.seed)
        tempo_bpm = float(rng.uniform(*self.manner.tempo_bpm))
        tonic = int(rng.integers(self.manner.tonic[0], self.manner.tonic[1] + 1))
        return self.manner.compose(rng, tonic, tempo_bpm, float(rng.uniform(23, 29)))


NOCTURNE = Manner("Nocturne", acoustic.nocturne, (58, 76), (53, 62))
FOLK = Manner("Folk", acoustic.folk, (92, 120), (52, 60))
BOSSA = Manner("Bossa Nova", acoustic.bossa, (118, 140), (56, 65))
CHORALE = Manner("Organ Chorale", acoustic.chorale, (64, 84), (53, 62))
TECHNO = Manner("Techno", electric.techno, (124, 136), (52, 60))
DRUM_AND_BASS = Manner("Drum and Bass", electric.drum_and_bass, (170, 178), (52, 60))
CHIPTUNE = Manner("Chiptune", electric.chiptune, (132, 170), (55, 64))
AMBIENT = Manner("Ambient", electric.ambient, (56, 72), (52, 62))
METAL = Manner("Metal", electric.metal, (138, 176), (50, 55))

#: (manner, artist, album, year, titles)
ALBUMS: tuple[tuple[Manner, str, str, int, tuple[str, str]], ...] = (
    (NOCTURNE, "Ida Lorne", "Lamps Across the Water", 2011,
     ("Harbour Lights", "A Letter Unsent")),
    (NOCTURNE, "Vera Antal", "Late Post", 2014, ("Slow Tide", "Nobody Home")),
    (NOCTURNE, "Teodor Weiss", "Eleven Quiet Rooms", 2004, ("The Third Room", "Window, Rain")),
    (AMBIENT, "Ida Lorne", "Snowfield", 2016, ("First Frost", "White Horizon")),
    (AMBIENT, "Orrin Dale", "Polar Static", 2020, ("Under the Ice", "Long Exposure")),
    (AMBIENT, "Halcyon Array", "Signals from Nowhere", 2019, ("Carrier Wave", "Far Side")),
    (CHORALE, "Teodor Weiss", "Loft Book", 1999, ("Morning Hymn", "For a Plain Sunday")),
    (CHORALE, "Agathe Rhyn", "Small Hours", 1992, ("The Long Nave", "Evening Prayer")),
    (CHORALE, "Choir Street Organ", "Bellows and Stone", 1987, ("Advent", "Procession")),
    (FOLK, "The Alder Brothers", "Hedge and Lane", 1994, ("Miller's Gate", "Crow on the Fence")),
    (FOLK, "Tam Harrow", "Ninepence", 2001, ("Sixpence Reel", "Coat of Nettles")),
    (FOLK, "Rosa Quill", "Kitchen Songs", 2008, ("Barley Moon", "The Ferryman's Girl")),
    (BOSSA, "Rosa Quill", "Afternoon in Blue", 2013, ("Window Seat", "Two Umbrellas")),
    (BOSSA, "Duo Alvorada", "Terrace", 1983, ("Paper Boats", "Sugar and Salt")),
    (BOSSA, "Trio Maresia", "Calm Weather", 1976, ("Low Tide Dance", "Half Past June")),
    (TECHNO, "Kolb & Strand", "Concrete Garden", 2017, ("Loading Bay", "Night Shift")),
    (TECHNO, "Halcyon Array", "Switchgear", 2018, ("Turbine Hall", "Points Failure")),
    (TECHNO, "Relay Yard", "Signal Box", 2021, ("Platform Zero", "Third Rail")),
    (DRUM_AND_BASS, "Relay Yard", "Express", 2022, ("Non-Stop Service", "Tunnel Vision")),
    (DRUM_AND_BASS, "Kolb & Strand", "Overpass", 2020, ("Arrivals", "Northern Line Sky")),
    (DRUM_AND_BASS, "Mina Okafor-Lund", "Rooftop Weather", 2015,
     ("Lightning Rod", "Water Tower")),
    (CHIPTUNE, "Pixel Parade", "Insert Coin", 2009, ("Level One", "Moving Platforms")),
    (CHIPTUNE, "Otto Glitch", "Save Point", 2011, ("Secret Door", "High Score")),
    (CHIPTUNE, "Grave Arcade", "Continue", 2012, ("Ten Seconds Left", "Bonus Round")),
    (METAL, "Grave Arcade", "Game Over", 2014, ("Final Boss", "No Lives Left")),
    (METAL, "Saint Ferrum", "Anvil Psalms", 2010, ("Lava World", "Ash and Anvil")),
    (METAL, "Iron Meridian", "The Weight of North", 2006, ("Cold Ridge", "Black Compass")),
)  # fmt: skip

#: Albums take these in turn. MP3 is rare, for it takes longest to encode.
_FORMATS: tuple[Format, ...] = ("flac", "opus", "flac", "opus", "mp3")


def pieces() -> Iterator[Piece]:
    """Every piece of the library, album by album. The formats take turns, whatever the manner."""
    for number, (manner, artist, album, year, titles) in enumerate(ALBUMS):
        for track_number, title in enumerate(titles, start=1):
            yield Piece(
                title=title,
                artist=artist,
                album=album,
                genre=manner.genre,
                year=year,
                track_number=track_number,
                manner=manner,
                seed=1000 * (number + 1) + track_number,
                format=_FORMATS[number % len(_FORMATS)],
            )
