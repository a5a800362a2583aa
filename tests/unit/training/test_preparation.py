"""What is prepared: whole, for one split, made again where it is damaged, and nothing odd."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch (make test TORCH=1)")

from tests.unit.embedder.sounds import music
from training import copies, preparation
from training.copies import PROBES, RATE_HZ, decode_channels
from training.corpus import Excerpt
from training.errors import CorpusError
from training.preparation import (
    check_folder,
    frames_of,
    lesson_path,
    load,
    load_lesson,
    prepare,
    version_path,
)

PIECE = Excerpt("one/a.wav", "one", "")


def write(path: Path, sound: np.ndarray) -> None:
    """Samples (n,) as a file of 32-bit floats, which may hold anything."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=RATE_HZ, layout="mono")
        frame = av.AudioFrame.from_ndarray(sound[np.newaxis], format="flt", layout="mono")
        frame.sample_rate = RATE_HZ
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def order(folder: Path, excerpt: Excerpt = PIECE) -> preparation._Order:
    codecs = (PROBES[-1],)  # needs no encoder
    return preparation._Order(folder, folder / "work", folder, excerpt, codecs, True, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / PIECE.path, music(1, 11, RATE_HZ))
    (tmp_path / "work").mkdir()
    assert preparation._prepared(order(tmp_path)).fault == ""
    return tmp_path


def test_what_is_damaged_is_made_again_and_the_same(folder: Path) -> None:
    work = folder / "work"
    paths = [version_path(work, PIECE, 0), version_path(work, PIECE, 1), lesson_path(work, PIECE)]
    before = [path.read_bytes() for path in paths]
    assert frames_of(paths[0]) == len(load(paths[0])) == pytest.approx(1100, abs=1)
    paths[0].write_bytes(before[0][:5000])
    paths[1].write_bytes(b"")
    paths[2].write_bytes(before[2][:-5])
    for path in paths[:2]:
        with pytest.raises(CorpusError, match=rf"{path.name} is damaged"):
            frames_of(path)
    with pytest.raises(CorpusError, match="is damaged"):
        load_lesson(paths[2])
    assert preparation._prepared(order(folder)).fault == ""
    assert [path.read_bytes() for path in paths] == before
    assert sorted(work.iterdir()) == sorted(paths)


def test_a_teacher_whose_weights_come_later_is_asked_then(folder: Path) -> None:
    path = lesson_path(folder / "work", PIECE)
    assert preparation._is_told(path, frozenset())
    assert not preparation._is_told(path, frozenset({"musicnn"}))


@pytest.mark.parametrize(
    ("sound", "fault"),
    [
        (np.zeros(5 * RATE_HZ, np.float32), "shorter than 10 s"),
        (np.where(np.arange(11 * RATE_HZ) == 5, np.nan, 0.1).astype(np.float32), "no numbers"),
        (None, "does not decode"),
    ],
    ids=["short", "not a number", "no audio"],
)
def test_what_cannot_be_learnt_from_is_left_out_and_said_so(
    tmp_path: Path, sound: np.ndarray | None, fault: str
) -> None:
    if sound is None:
        (tmp_path / "one").mkdir()
        (tmp_path / PIECE.path).write_bytes(b"nothing")
    else:
        write(tmp_path / PIECE.path, sound)
    (tmp_path / "work").mkdir()
    assert fault in preparation._prepared(order(tmp_path)).fault
    assert not list((tmp_path / "work").iterdir())


def test_what_cannot_be_written_is_said_so_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a-0.npy"
    path.mkdir()
    with pytest.raises(CorpusError, match=r"a-0\.npy cannot be written"):
        preparation._save(path, np.zeros((10, 128), np.float16))
    assert list(tmp_path.iterdir()) == [path]


def test_of_a_long_file_only_the_middle_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "_LONG_S", 20.0)
    monkeypatch.setattr(copies, "MOST_S", 4.0)
    ramp = np.linspace(0, 1, 40 * RATE_HZ, dtype=np.float32)
    write(tmp_path / "long.wav", ramp)
    (sound,), _ = decode_channels(tmp_path / "long.wav")
    assert len(sound) / RATE_HZ == pytest.approx(8, abs=0.2)
    assert float(sound[len(sound) // 2]) == pytest.approx(0.5, abs=0.01)


def test_a_folder_is_of_one_split_and_one_way_of_making(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_folder(tmp_path, 1)
    assert not list(prepare(tmp_path, tmp_path, tmp_path, [], copies=1, probes=False, seed=1))
    check_folder(tmp_path, 1)
    with pytest.raises(CorpusError, match=r"for another split \(1, not 2\): choose another --work"):
        check_folder(tmp_path, 2)
    monkeypatch.setattr(preparation, "CODECS", preparation.CODECS[:-1])
    with pytest.raises(CorpusError, match="with other codecs"):
        list(prepare(tmp_path, tmp_path, tmp_path, [], copies=1, probes=False, seed=1))
    (tmp_path / "prepared.json").write_text(json.dumps([1]))
    with pytest.raises(CorpusError, match=r"prepared\.json is damaged"):
        check_folder(tmp_path, 1)
