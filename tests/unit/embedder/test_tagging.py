from pathlib import Path

import mutagen
import numpy as np
import pytest
from mutagen.id3 import ID3, TCON, TDRC, TIT2, TPE1, TRCK, TXXX, UFID
from mutagen.mp4 import MP4

from catalog.tracks import Tags
from embedder.tagging import read_tags
from tests.unit.embedder.sounds import CODECS, rate_of, write

RECORDING = "8f3471b5-7e6a-48da-86a9-c1c07a0f47ae"


@pytest.fixture
def silence() -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.zeros(48_000, np.float32)


@pytest.mark.parametrize("suffix", [suffix for suffix in CODECS if suffix != ".wv"])
def test_every_format_gives_the_same_tags(suffix: str, silence, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = write(tmp_path / f"x{suffix}", silence, rate_of(suffix))
    file = mutagen.File(path, easy=suffix in {".mp3", ".m4a"})
    if file.tags is None:
        file.add_tags()
    if suffix in {".wav", ".aiff"}:
        for name, text in {"TIT2": "Ærø, 夜曲", "TPE1": "The Band", "TALB": "Record",
                           "TPE2": "Various", "TCON": "Jazz", "TDRC": "1999-05-01",
                           "TRCK": "3/12", "TPOS": "2/2"}.items():  # fmt: skip
            file.tags.add(getattr(mutagen.id3, name)(encoding=3, text=[text]))
    else:
        file.update(
            {"title": "Ærø, 夜曲", "artist": "The Band", "album": "Record", "genre": "Jazz",
             "albumartist": "Various", "date": "1999-05-01", "tracknumber": "3/12",
             "discnumber": "2/2"}
        )  # fmt: skip
    file.save()
    assert read_tags(path) == Tags(
        "Ærø, 夜曲", "The Band", "Record", "Various", ("Jazz",), 1999, 3, 2, ""
    )


def test_id3_numbers_genres_and_musicbrainz(silence, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = write(tmp_path / "x.mp3", silence, 44_100)
    tags = ID3()
    tags.add(TCON(encoding=3, text=["(17)", "Doom"]))
    tags.add(TIT2(encoding=3, text=["T"]))
    tags.add(TPE1(encoding=3, text=["A", "B"]))
    tags.add(TRCK(encoding=3, text=["07"]))
    tags.add(TDRC(encoding=3, text=["2004"]))
    tags.add(UFID(owner="http://musicbrainz.org", data=RECORDING.encode()))
    tags.add(TXXX(encoding=3, desc="anything", text=["else"]))
    tags.save(path)
    read = read_tags(path)
    assert read.genres == ("Rock", "Doom")
    assert (read.artist, read.track_number, read.year) == ("A, B", 7, 2004)
    assert read.musicbrainz_recording_id == RECORDING


def test_vorbis_and_mp4_musicbrainz_ids(silence, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    flac = write(tmp_path / "x.flac", silence, 44_100)
    file = mutagen.File(flac)
    file["musicbrainz_trackid"] = RECORDING
    file.save()
    m4a = write(tmp_path / "x.m4a", silence, 44_100)
    movie = MP4(m4a)
    movie["----:com.apple.iTunes:MusicBrainz Track Id"] = [RECORDING.encode()]
    movie["trkn"] = [(4, 9)]
    movie.save()
    assert read_tags(flac).musicbrainz_recording_id == RECORDING
    assert read_tags(m4a).musicbrainz_recording_id == RECORDING
    assert read_tags(m4a).track_number == 4


def test_without_tags_the_title_is_the_name(silence, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = write(tmp_path / "07 - Nameless.wav", silence, 44_100)
    assert read_tags(path) == Tags(title="07 - Nameless")


@pytest.mark.parametrize(
    "content", [b"", b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + b"\xff" * 500, b"fLaC" + b"\xff" * 200]
)
def test_broken_tags_never_raise(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.mp3"
    path.write_bytes(content)
    assert read_tags(path).title == "broken"


def test_control_characters_and_endless_text_are_tamed(silence, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = write(tmp_path / "x.flac", silence, 44_100)
    file = mutagen.File(path)
    file["title"] = "two\nlines\x00and  spaces " + "x" * 9000
    file["date"] = "recorded 20190412"
    file["tracknumber"] = "A1"
    file.save()
    tags = read_tags(path)
    assert tags.title.startswith("two lines and spaces xxx")
    assert len(tags.title) <= 500
    assert tags.track_number is None
