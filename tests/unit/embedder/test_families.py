"""Version families: what tags call one recording is one, unless it plainly sounds like another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from catalog.library import Library
from catalog.snapshot import open_snapshot
from catalog.tracks import Analysis, FileFacts, Float32, Tags
from embedder.excerpts import Excerpts
from embedder.facts import measure
from embedder.families import Identities, families
from embedder.fingerprint import FINGERPRINT
from embedder.models.registry import TIMBRE
from embedder.publish import publish
from embedder.windows import WINDOW_S, plan_windows
from tests.unit.embedder.test_versions import RATE, song


@cache
def fingerprint(seed: int, seconds: float, start_s: float = 0.0, speed: float = 1.0) -> Float32:
    """The print of a song of so many seconds, or of so much of one from `start_s` on."""
    sound = song(seed).mean(0)
    at = np.arange(start_s * RATE, sound.size - 1, speed)
    played = np.interp(at, np.arange(sound.size), sound).astype(np.float32)[: int(seconds * RATE)]
    size = int(WINDOW_S * RATE)
    starts = (int(start * RATE) for start in plan_windows(seconds))
    windows = tuple(played[start : start + size] for start in starts)
    return measure(Excerpts(RATE, seconds, windows)).fingerprint


class Shelf:
    """A library of tracks that are told by hand."""

    def __init__(self, library: Library, data: Path) -> None:
        self._library, self._data = library, data
        self._root = library.root_id(Path("/music"))
        self._count = 0

    def add(self, seconds: float, printed: Float32 | None, tags: Tags) -> None:
        self._count += 1
        heard = [Analysis(TIMBRE.model, np.ones(TIMBRE.dim, np.float32))]
        if printed is not None:
            heard.append(Analysis(FINGERPRINT, printed))
        file = FileFacts(f"{self._count:02}.mp3", 1, 1)
        self._library.store(self._root, file, f"key {self._count}", seconds, tags, heard)

    def families(self) -> list[int]:
        publish(self._library, self._data, [TIMBRE.model])
        snapshot = open_snapshot(self._data)
        assert snapshot is not None
        return snapshot.recording.tolist()


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    with Library.open(tmp_path) as library:
        yield Shelf(library, tmp_path)


ALLEGRO = Tags("I. Allegro", "Berliner Philharmoniker")


def test_two_sounds_of_one_name_and_length_are_two_recordings(shelf: Shelf) -> None:
    shelf.add(12.0, fingerprint(0, 12.0), replace(ALLEGRO, album="Beethoven 5"))
    shelf.add(12.5, fingerprint(1, 12.5), replace(ALLEGRO, album="Brahms 2"))
    shelf.add(30.0, fingerprint(0, 30.0), ALLEGRO)
    shelf.add(31.0, fingerprint(1, 31.0), ALLEGRO)
    # A third encoding whose sound is not known, and the first a little faster.
    shelf.add(30.5, None, ALLEGRO)
    shelf.add(29.7, fingerprint(0, 29.7, speed=1.01), ALLEGRO)
    assert shelf.families() == [0, 1, 2, 3, 2, 2]


def test_lengths_are_held_against_the_first_not_the_next(shelf: Shelf) -> None:
    song = Tags("Song (live)", "Band")
    for seconds in (100.0, 101.9, 103.8, 105.7):
        shelf.add(seconds, None, song)
    # Of a jingle two seconds are much.
    shelf.add(5.0, None, song)
    shelf.add(6.9, None, song)
    shelf.add(5.1, None, song)
    assert shelf.families() == [0, 0, 1, 1, 2, 3, 2]


def test_a_musicbrainz_id_is_believed_unless_the_sound_is_plainly_another(shelf: Shelf) -> None:
    tags = Tags(musicbrainz_recording_id="b1a9c0e9")
    shelf.add(30.0, fingerprint(0, 30.0), tags)
    shelf.add(30.0, fingerprint(1, 30.0), tags)  # a wrong tag
    shelf.add(20.0, fingerprint(0, 20.0), tags)  # another edit: its windows lie elsewhere
    shelf.add(28.5, fingerprint(0, 28.5, start_s=1.5), tags)
    shelf.add(30.0, None, tags)
    assert shelf.families() == [0, 1, 0, 0, 0]


def test_what_was_not_heard_does_not_bridge_two_sounds(shelf: Shelf) -> None:
    """Its id says the one and its name the other."""
    shelf.add(30.0, None, replace(ALLEGRO, musicbrainz_recording_id="id"))
    shelf.add(30.0, fingerprint(0, 30.0), Tags(musicbrainz_recording_id="id"))
    shelf.add(30.0, fingerprint(1, 30.0), ALLEGRO)
    assert shelf.families() == [0, 0, 1]


def test_many_files_of_one_name_are_one_recording_and_quickly_told() -> None:
    n = 3000
    names = np.repeat(np.array([7, 8]), n // 2)
    nothing = np.zeros(n, np.int64)
    seconds = np.full(n, 200.0)
    seconds[n // 2 :] += 11 * np.arange(n // 2)  # one name, no two equally long
    found = families(Identities(nothing, nothing, names), seconds)
    assert len(set(found[: n // 2].tolist())) == 1
    assert len(set(found[n // 2 :].tolist())) == n // 2
