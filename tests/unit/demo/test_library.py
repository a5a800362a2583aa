from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import av
import mutagen
import numpy as np
import pytest

from demo import library, repertoire
from demo.synthesis import SAMPLE_RATE_HZ

PIECES = list(repertoire.pieces())
#: One of each format, and of three manners.
SOME = [next(p for p in PIECES if p.format == f) for f in ("flac", "opus", "mp3")]


def test_the_repertoire_is_what_the_demo_promises() -> None:
    genres = Counter(p.genre for p in PIECES)
    assert len(genres) >= 8
    # Five neighbours of a manner can only be found where it has six pieces.
    assert set(genres.values()) == {6}
    assert len({p.path for p in PIECES}) == len({p.seed for p in PIECES}) == len(PIECES)
    manners_of = Counter(artist for artist, _ in {(p.artist, p.genre) for p in PIECES})
    assert sum(count == 2 for count in manners_of.values()) == 7
    for genre in genres:
        # Two pieces each, so that a player need not play anybody three times in a row.
        assert len({p.artist for p in PIECES if p.genre == genre}) == 3
        assert len({p.format for p in PIECES if p.genre == genre}) >= 2


@pytest.mark.parametrize("piece", PIECES[::6], ids=lambda p: p.title)
def test_a_piece_is_sound_of_the_promised_length(piece: repertoire.Piece) -> None:
    recording = piece.compose()

    assert recording.dtype == np.float32
    assert recording.shape[0] == 2
    assert 20 <= recording.shape[1] / SAMPLE_RATE_HZ <= 40
    assert np.isfinite(recording).all()
    assert 0.3 < np.abs(recording).max() <= 0.98
    # No second of it is silent, its two edges apart.
    seconds = recording[:, SAMPLE_RATE_HZ : -3 * SAMPLE_RATE_HZ]
    whole = seconds.shape[1] // SAMPLE_RATE_HZ
    levels = seconds[:, : whole * SAMPLE_RATE_HZ].reshape(2, whole, -1).std(axis=(0, 2))
    assert levels.min() > 0.005


def test_composing_twice_gives_the_same_samples_and_siblings_differ() -> None:
    first, second = PIECES[0], PIECES[1]
    assert np.array_equal(first.compose(), first.compose())
    assert first.compose().shape != second.compose().shape


@pytest.mark.parametrize("piece", SOME, ids=lambda p: p.format)
def test_a_written_piece_decodes_and_carries_its_tags(
    piece: repertoire.Piece, tmp_path: Path
) -> None:
    path = library.write_piece(piece, tmp_path)

    assert path == tmp_path / piece.artist / piece.album / path.name
    tags = mutagen.File(path, easy=True)
    assert tags["title"] == [piece.title]
    assert tags["artist"] == tags["albumartist"] == [piece.artist]
    assert tags["album"] == [piece.album]
    assert tags["genre"] == [piece.genre]
    assert tags["date"] == [str(piece.year)]
    assert tags["tracknumber"] == [str(piece.track_number)]
    with av.open(path) as container:
        decoded = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert decoded == pytest.approx(piece.compose().shape[1] / SAMPLE_RATE_HZ, abs=0.1)
    assert tags.info.length == pytest.approx(decoded, abs=0.1)


@pytest.mark.parametrize("piece", SOME, ids=lambda p: p.format)
def test_the_bytes_are_reproducible(piece: repertoire.Piece, tmp_path: Path) -> None:
    digests = {
        hashlib.sha256(library.write_piece(piece, tmp_path / copy).read_bytes()).hexdigest()
        for copy in ("one", "two")
    }
    assert len(digests) == 1


def test_the_library_is_composed_once_and_replaces_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "music-of-an-earlier-composer").mkdir()
    seen: list[tuple[int, int]] = []

    music = library.compose_library(
        tmp_path, choice=SOME, progress=lambda done, total: seen.append((done, total))
    )

    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert [p.name for p in tmp_path.iterdir()] == [music.name]
    assert {p.relative_to(music).as_posix() for p in music.rglob("*.*")} == {p.path for p in SOME}
    written = {p: p.stat().st_mtime_ns for p in music.rglob("*.*")}
    assert library.compose_library(tmp_path, choice=SOME) == music
    assert written == {p: p.stat().st_mtime_ns for p in music.rglob("*.*")}


def test_a_failed_composition_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        library.compose_library(tmp_path, choice=SOME, progress=stop)

    assert list(tmp_path.iterdir()) == []
