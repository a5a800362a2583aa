from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalog.kinds import LIVE, LONG, SEASONAL, SHORT, SPOKEN
from catalog.tracks import FileFacts, Float32, Tags, Track
from embedder import kinds as told
from embedder.decoding import AudioFile
from embedder.kinds import SPEECH, read_kinds
from embedder.models.registry import SEGUE1, load


def track(seconds: float = 200.0, **tags: object) -> Track:
    return Track(1, 1, FileFacts("a.mp3", 1, 1), "k", seconds, Tags(**tags))  # type: ignore[arg-type]


def kinds(tracks: list[Track], heard: dict[str, Float32]) -> Any:
    written = np.array([read_kinds(one) for one in tracks], np.uint8)
    return told.kinds(written, np.array([one.duration_s for one in tracks], np.float32), heard)


@pytest.mark.parametrize(
    ("tags", "flag"),
    [
        ({"title": "White Christmas"}, SEASONAL),
        ({"title": "Carol", "genres": ("Xmas",)}, SEASONAL),
        ({"title": "Noël blanc"}, SEASONAL),
        ({"title": "Novel"}, 0),
        ({"title": "Chapter 1", "genres": ("Audiobook",)}, SPOKEN),
        ({"title": "The Speech"}, 0),
        ({"title": "Song (Live)"}, LIVE),
        ({"title": "Song - Live at Wembley"}, LIVE),
        ({"title": "Song", "album": "Live in Paris [live]"}, LIVE),
        ({"title": "MTV Unplugged"}, LIVE),
        ({"title": "Live and Let Die"}, 0),
        ({"title": "Live Forever"}, 0),
        ({"title": "Olive (remix)"}, 0),
    ],
)
def test_what_is_written_tells_the_kind(tags: dict[str, object], flag: int) -> None:
    assert kinds([track(**tags)], {}).tolist() == [flag]


def test_short_and_long_are_so_in_this_library() -> None:
    songs = [track(200) for _ in range(5)]
    assert kinds([*songs, track(20), track(3600)], {}).tolist() == [0] * 5 + [SHORT, LONG]
    assert not kinds([track(30) for _ in range(5)], {}).any()
    assert not kinds([track(3600) for _ in range(5)], {}).any()
    assert len(kinds([], {})) == 0


def test_what_is_heard_counts_only_where_sure() -> None:
    heard = {
        "Speech": np.float32([0.9, 0.9, np.nan, 0.2]),
        "Music": np.float32([0.1, 0.9, np.nan, 0.1]),
        "Applause": np.float32([0, 0.9, np.nan, 0.1]),
    }
    assert kinds([track()] * 4, heard).tolist() == [SPOKEN, LIVE, 0, 0]


def test_speech_is_told_from_music_by_the_default_model(shared_audio: Path, tmp_path: Path) -> None:
    """Two voices of a free synthesiser, and music with and without a beat."""
    pytest.importorskip("onnxruntime")
    if shutil.which("espeak-ng") is None:
        pytest.skip("needs espeak-ng (Debian: espeak-ng)")
    words = "It was a bright cold day in the city, and nobody had looked at the clock. " * 9
    files = []
    for voice in ("en-gb", "de+f3"):
        path = tmp_path / f"{voice}.wav"
        subprocess.run(["espeak-ng", "-v", voice, "-w", str(path), words], check=True)
        files.append(path)
    files += sorted(path for path in shared_audio.rglob("*.*") if path.is_file())[::33]
    analyser = load(SEGUE1[0], tmp_path, "cpu")
    scores = []
    for path in files:
        with AudioFile(path) as audio:
            found = analyser.analyse(audio.fetch().decode())[0]
        assert found.scores is not None
        scores.append([found.scores[found.model.labels.index(label)] for label in SPEECH])
    heard = dict(zip(SPEECH, np.array(scores, np.float32).T, strict=True))
    written = np.zeros(len(files), np.uint8)
    seconds = np.full(len(files), 200, np.float32)
    flags = told.kinds(written, seconds, heard, SEGUE1[0].name)
    assert flags.tolist() == [SPOKEN] * 2 + [0] * (len(files) - 2)
