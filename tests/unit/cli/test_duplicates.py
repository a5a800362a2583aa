"""`segue duplicates`: groups of one recording, best first."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from catalog.library import Library
from catalog.tracks import FileFacts, Tags
from tests.unit.cli.conftest import Segue


def resize(data: Path, name: str, path: str, size_bytes: int) -> None:
    """Give a track another file."""
    with Library.open(data) as library:
        track = next(one for one in library.tracks() if one.tags.title == name)
        library.move(track.track_id, track.root_id, FileFacts(path, size_bytes, 2), None)


def test_the_best_comes_first(segue: Segue, data: Path) -> None:
    resize(data, "Pulse", "a/pulse.mp3", 8_000_000)
    resize(data, "Pulse (Live)", "b/pulse.opus", 3_200_000)
    (family,) = json.loads(segue("duplicates", "--json", "--data", str(data)).out)
    assert [file["path"] for file in family["files"]] == ["a/pulse.mp3", "b/pulse.opus"]
    assert [file["bits_per_s"] for file in family["files"]] == [320_000, 128_000]
    assert family["spare_bytes"] == 3_200_000
    assert (family["artist"], family["title"]) == ("Circuit", "Pulse")
    # 128 kb/s of Opus are worth more than 192 of MP3; FLAC beats all, however small.
    resize(data, "Pulse", "a/pulse.mp3", 4_800_000)
    (family,) = json.loads(segue("duplicates", "--json", "--data", str(data)).out)
    assert family["files"][0]["path"] == "b/pulse.opus"
    resize(data, "Pulse", "a/pulse.flac", 1_000_000)
    (family,) = json.loads(segue("duplicates", "--json", "--data", str(data)).out)
    assert family["files"][0]["path"] == "a/pulse.flac"


def test_text_says_what_to_keep(segue: Segue, data: Path) -> None:
    resize(data, "Pulse", "a/pulse.mp3", 8_000_000)
    resize(data, "Pulse (Live)", "b/pulse.opus", 3_200_000)
    result = segue("duplicates", "--data", str(data))
    assert result.code == 0, result.err
    assert "Circuit – Pulse" in result.out
    assert "keep  8.0 MB  320 kb/s  3 min 20 s  a/pulse.mp3" in result.out
    assert result.out.splitlines()[-1] == "1 recording in 2 files, 3.2 MB to spare."


def test_a_file_of_a_folder_that_is_no_music_folder_any_more_is_none_to_keep(
    segue: Segue, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old"
    resize(data, "Pulse", "a/pulse.mp3", 8_000_000)
    with Library.open(data) as library:
        root = library.root_id(old)
        live = next(one for one in library.tracks() if one.tags.title == "Pulse (Live)")
        library.move(live.track_id, root, FileFacts("b/pulse.flac", 30_000_000, 2), None)
    (family,) = json.loads(segue("duplicates", "--json", "--data", str(data)).out)
    assert family["files"][0]["folder"] == str(old)
    monkeypatch.setenv("SEGUE_LIBRARY__MUSIC", json.dumps([str(tmp_path / "music")]))
    result = segue("duplicates", "--json", "--data", str(data))
    assert json.loads(result.out) == []
    assert f"{old} is not in library.music any more" in result.err


def test_before_the_first_snapshot(segue: Segue, data: Path) -> None:
    (data / "snapshots" / "current").unlink()
    result = segue("duplicates", "--data", str(data))
    assert result.code == 1
    assert len(result.err.splitlines()) == 1


def flac_head(channels: int, rate_hz: int = 44_100) -> bytes:
    """What a FLAC file of 16 bits begins with."""
    packed = rate_hz << 44 | (channels - 1) << 41 | 15 << 36 | 8_820_000
    info = struct.pack(">HH6xQ16x", 4096, 4096, packed)
    return b"fLaC" + bytes([0x80, 0, 0, len(info)]) + info


def opus_head(channels: int) -> bytes:
    packet = b"OpusHead" + bytes([1, channels]) + bytes(9)
    return b"OggS" + bytes(22) + bytes([1, len(packet)]) + packet


def mp3_head(*, mono: bool) -> bytes:
    return bytes([0xFF, 0xFB, 0x90, 0xC4 if mono else 0x44])


#: What a WAV of 44.1 kHz and 16 bits begins with.
WAV = b"RIFF" + bytes(4) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 2, 44_100, 176_400, 4, 16)
STEREO_MP3 = mp3_head(mono=False)
FULL = Tags(title="Pulse", artist="Circuit", album="Voltage", year=1999, track_number=1)


def put(
    data: Path, track_id: int, path: str, content: bytes, *, size_bytes: int = 3_200_000,
    key: str = "", tags: Tags = FULL, mtime_ns: int = 5,
) -> Path:  # fmt: skip
    """Give a track a file on the disk, and say how the library knows it."""
    with Library.open(data) as library:
        ((root, folder),) = library.roots().items()
        track = library.track(track_id)
        assert track is not None
        if key:
            library.store(root, track.file, key, track.duration_s, track.tags, ())
        library.move(track.track_id, root, FileFacts(path, size_bytes, mtime_ns), tags)
    file = Path(folder) / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def families(segue: Segue, data: Path) -> list[list[str]]:
    result = segue("duplicates", "--json", "--data", str(data))
    assert result.code == 0, result.err
    return [[file["path"] for file in family["files"]] for family in json.loads(result.out)]


def test_a_file_that_is_gone_is_no_duplicate(segue: Segue, data: Path) -> None:
    put(data, 7, "c/other.flac", flac_head(2))
    one = put(data, 5, "a/pulse.flac", flac_head(2))
    put(data, 6, "b/pulse.mp3", mp3_head(mono=False))
    assert families(segue, data) == [["a/pulse.flac", "b/pulse.mp3"]]
    one.unlink()  # no run has noticed yet
    assert families(segue, data) == []
    one.write_bytes(flac_head(2))
    with Library.open(data) as library:
        library.mark_missing(1, ["a/pulse.flac"])
    assert families(segue, data) == [["a/pulse.flac", "b/pulse.mp3"]], "it came back"
    (data.parent / "music").rename(data.parent / "away")
    assert families(segue, data) == [], "as the last run found them"
    (data.parent / "music").mkdir()
    assert families(segue, data) == [], "an empty mount point tells nothing"
    said = segue("duplicates", "--data", str(data)).err
    assert said == f"segue: {data.parent / 'music'} cannot be looked at: as the last run found it\n"


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("best", "other"),
    [
        ({"path": "long/name.mp3", "content": STEREO_MP3},
         {"path": "a.mp3", "content": mp3_head(mono=True)}),
        ({"path": "s.opus", "content": opus_head(2), "size_bytes": 1_600_000},
         {"path": "m.opus", "content": opus_head(1), "size_bytes": 2_400_000}),
        ({"path": "long/name.flac", "content": flac_head(2)},
         {"path": "a.flac", "content": flac_head(1), "size_bytes": 9_000_000}),
        ({"path": "long/name.flac", "content": flac_head(2), "size_bytes": 9_000_000},
         {"path": "a.wav", "content": WAV, "size_bytes": 42_000_000}),
        ({"path": "a.wav", "content": WAV, "size_bytes": 42_000_000},
         {"path": "a.flac", "content": flac_head(2, rate_hz=22_050)}),
        ({"path": "long/name.flac", "content": flac_head(2), "key": "same"},
         {"path": "a.mp3", "content": flac_head(2), "key": "same", "tags": Tags(title="a")}),
        ({"path": "long/name.mp3", "content": STEREO_MP3, "key": "same"},
         {"path": "a.flac", "content": STEREO_MP3, "key": "same", "tags": Tags(title="a")}),
        ({"path": "long/name.mp3", "content": STEREO_MP3, "key": "same"},
         {"path": "a.flac", "content": STEREO_MP3, "key": "same", "size_bytes": 3_300_000}),
        ({"path": "long/name.mp3", "content": STEREO_MP3, "mtime_ns": 4},
         {"path": "a.mp3", "content": STEREO_MP3}),
        ({"path": "b.mp3", "content": STEREO_MP3},
         {"path": "copy of b.mp3", "content": STEREO_MP3}),
    ],
    ids=["stereo", "stereo-opus", "stereo-flac", "packed", "finer",
         "tags", "no-flac", "suffix", "older", "shorter"],
)  # fmt: skip
def test_among_equals(
    segue: Segue, data: Path, best: dict[str, Any], other: dict[str, Any], turned: bool
) -> None:
    ids = (6, 5) if turned else (5, 6)
    put(data, ids[0], **best)
    put(data, ids[1], **other)
    (family,) = json.loads(segue("duplicates", "--json", "--data", str(data)).out)
    assert [file["path"] for file in family["files"]] == [best["path"], other["path"]]
    assert (family["artist"], family["title"]) == ("Circuit", "Pulse")


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_links_take_no_space(segue: Segue, data: Path, link: object) -> None:
    file = put(data, 5, "music/long/pulse.mp3", mp3_head(mono=False))
    other = put(data, 6, "a.mp3", b"")
    other.unlink()
    link(file, other)  # type: ignore[operator]
    assert families(segue, data) == []
