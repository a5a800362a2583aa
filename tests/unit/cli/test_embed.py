"""`segue embed` on real files, with the model that is part of Segue."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from catalog.errors import LibraryError
from catalog.library import Library
from tests.unit.cli.conftest import Segue

CHECKOUT = Path(__file__).resolve().parents[3]
RATE_HZ = 22_050


def write_tone(path: Path, frequency_hz: float, seconds: float = 6.0) -> None:
    """A tone with two overtones, as a WAV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    tone = sum(np.sin(2 * np.pi * frequency_hz * k * t) / k for k in (1, 2, 3))
    samples = np.asarray(tone / 3 * 20_000, np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples.tobytes())


@pytest.fixture(autouse=True)
def _as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own process keeps its priority."""
    pytest.importorskip("av")
    monkeypatch.setattr("embedder.priority.lower_priority", lambda: None)


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Three tones."""
    pytest.importorskip("av")
    folder = tmp_path / "music"
    for number in range(3):
        write_tone(folder / "Tones" / f"{number + 1}.wav", 200 * (number + 1))
    return folder


def test_embed_then_again_then_similar(segue: Segue, music: Path) -> None:
    first = segue("embed", "--music", str(music), "--json")
    assert first.code == 0, first.err
    report = json.loads(first.out)
    assert report["embedded"] == 3
    assert report["skipped"] == 0
    assert report["snapshot"]
    assert report["failures"] == []
    events = [json.loads(line) for line in first.err.splitlines()]
    assert [event["event"] for event in events] == [
        "chosen", "planned", *(["file", "standing"] * 3), "publishing"
    ]  # fmt: skip
    assert "model segue-1" in events[0]["reason"]
    assert events[-2].items() >= {"done": 3, "todo": 3, "failed": 0, "album": "Tones"}.items()
    assert events[-2]["audio_s"] == 18.0
    again = json.loads(segue("embed", "--music", str(music), "--json").out)
    assert (again["embedded"], again["unchanged"]) == (0, 3)
    assert again["snapshot"] == report["snapshot"]
    picks = json.loads(segue("similar", str(music / "Tones" / "1.wav"), "--json").out)
    assert {pick["path"] for pick in picks} == {"Tones/2.wav", "Tones/3.wav"}
    info = json.loads(segue("info", "--json").out)
    assert (info["tracks"], info["model"]) == (3, "segue-1")


def test_what_is_gone_and_forgotten_is_told(
    segue: Segue, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.standing.HOURS_BETWEEN_MISSING_RUNS", 6.0)
    monkeypatch.setattr("catalog.library.HOURS_BETWEEN_MISSING_RUNS", 0.0)
    embed = ("embed", "--music", str(music), "--model", "timbre")
    assert "0 copies" in segue(*embed).out
    (music / "Tones" / "1.wav").unlink()
    (music / "copy.wav").write_bytes((music / "Tones" / "2.wav").read_bytes())
    told = segue(*embed).out
    assert "1 gone or broken (forgotten after 2 more runs without them, 6 hours apart)" in told
    assert "0 embedded, 1 copy, 0 moved" in told
    (music / "Tones" / "3.wav").unlink()
    told = segue(*embed).out
    assert "2 gone or broken (forgotten after 1 to 2 more runs without them, 6 hours apart)" in told
    assert "2 gone or broken (forgotten after 1 to 2" in segue("info").out
    report = json.loads(segue(*embed, "--json").out)
    assert (report["gone"], report["forgotten"]) == (1, 1)
    assert report["missing"] == [{"tracks": 1, "runs_left": 1}]
    info = json.loads(segue("info", "--json").out)
    assert (info["missing"], info["last_run"]["forgotten"]) == (report["missing"], 1)
    assert "1 forgotten" in segue("info").out
    assert "\n1 forgotten\n" in segue(*embed).out
    assert " gone or broken (" not in segue(*embed).out + segue("info").out


def test_watching_tells_once_that_the_music_is_away(
    segue: Segue, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = music.with_name("away")

    def looks(*_: object, **__: object) -> Iterator[None]:
        yield
        music.rename(away)
        yield
        yield
        away.rename(music)
        yield
        yield

    monkeypatch.setattr("embedder.watching.changes", looks)
    result = segue("embed", "--watch", "--music", str(music), "--model", "timbre")
    assert result.code == 0
    said = [line for line in result.err.splitlines() if line.startswith("segue: ")]
    assert [line.split(" (")[0] for line in said] == [
        f"segue: the music folder {music} is not there: is it mounted?",
        "segue: the music is there again",
    ]
    assert result.out.count("3 unchanged") == 2


def test_watching_hears_all_anew_once_not_at_every_look(
    segue: Segue, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedder.watching.changes", lambda *_, **__: iter([None, None]))
    embed = ("embed", "--music", str(music), "--model", "timbre", "--watch", "--full")
    first, second = (line for line in segue(*embed).out.splitlines() if "embedded" in line)
    assert first.startswith("3 embedded")
    assert second.startswith("0 embedded")


def test_a_run_that_lacks_its_configuration_is_exit_code_2(
    segue: Segue, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = segue("embed")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "no music folder is set" in result.err
    monkeypatch.setenv("SEGUE_LIBRARY__SOURCE", "server")
    result = segue("embed")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "upstream.username is not set" in result.err


def test_a_shard_says_what_is_next(segue: Segue, music: Path) -> None:
    embed = ("embed", "--music", str(music), "--model", "timbre", "--data", "p1")
    told = segue(*embed, "--shard", "1/2").out
    assert "this is shard 1/2; next: segue merge p1 … --data DIR" in told
    info = segue("info", "--data", "p1").out
    assert "this is shard 1/2; next: segue merge p1 …" in info
    assert "run `segue embed`" not in info
    assert json.loads(segue("info", "--data", "p1", "--json").out)["shard"] == "1/2"
    segue(*embed)
    assert json.loads(segue("info", "--data", "p1", "--json").out)["shard"] is None


def test_after_a_rollback_the_older_snapshot_is_named_as_such(segue: Segue, music: Path) -> None:
    embed = ("embed", "--music", str(music), "--model", "timbre")
    segue(*embed)
    write_tone(music / "4.wav", 900)
    newest = json.loads(segue(*embed, "--json").out)["snapshot"]
    info = json.loads(segue("info", "--json").out)
    assert info["newer_snapshot"] is None
    sizes = {one["version"]: one["size_bytes"] for one in info["snapshots"]}
    assert sizes[newest] == info["snapshot"]["bytes"]
    assert "an older" not in segue("info").out
    segue("rollback")
    for told in (segue("info").out, segue(*embed).out):
        assert "an older snapshot is in force since `segue rollback`" in told
        assert f"`segue rollback {newest}`" in told
    assert json.loads(segue(*embed, "--json").out)["newer_snapshot"] == newest


def test_skipped_files_are_listed_and_exit_3(segue: Segue, music: Path) -> None:
    (music / "noise.mp3").write_bytes(b"this is no audio" * 100)
    result = segue("embed", "--music", str(music))
    assert result.code == 3, result.err
    assert "3 embedded" in result.out
    assert "4 audio files, 4 to analyse" in result.err
    assert "skipped noise.mp3: the file " in result.out
    as_json = segue("embed", "--music", str(music), "--json")
    assert as_json.code == 3
    (failure,) = json.loads(as_json.out)["failures"]
    assert failure["path"] == "noise.mp3"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "--music"),
        (("--music", "nowhere"), 1, "nowhere"),
        (("--music", "empty"), 1, "empty"),
        (("--music", "empty", "--model", "tmbre"), 2, "timbre"),
        (("--music", "empty", "--model", "jamendo-moods"), 2, "gives no vectors"),
        (("--music", "empty", "--shard", "9/8"), 2, "--shard: a shard is I/N"),
        (("--device", "gpu"), 2, "--device: device must be 'auto', 'cpu' or 'cuda', got \"gpu\""),
        (("--workers", "two"), 2, "--workers: workers must be a whole number"),
        (("--limit", "0"), 2, "--limit"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    segue: Segue, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    (tmp_path / "empty").mkdir()
    result = segue("embed", *arguments)
    assert (result.code, result.out) == (code, "")
    assert said in result.err
    assert "Traceback" not in result.err


def tracks_in(data: Path) -> int:
    """How many tracks are stored by now."""
    try:
        with Library.open(data, read_only=True) as library:
            return library.count_tracks()
    except LibraryError:
        return 0


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_keeps_finished_work_and_is_exit_130(
    segue: Segue, tmp_path: Path, music: Path, kind: signal.Signals
) -> None:
    """Said in words at a terminal, in JSON to a program; the next run goes on from there."""
    for number in range(40):
        write_tone(music / "More" / f"{number}.wav", 100 + 10 * number, seconds=30)
    as_json = ["--json"] if kind is signal.SIGTERM else []
    data = tmp_path / "data"
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "embed", "--music", str(music), "--workers", "1",
         "--data", str(data), *as_json],
        cwd=CHECKOUT, env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and tracks_in(data) < 2:
        time.sleep(0.05)
    process.send_signal(kind)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    stored = tracks_in(data)
    assert 0 < stored < 43
    if as_json:
        report = json.loads(out)
        assert report["interrupted"] is True
        assert report["embedded"] == stored
        assert json.loads(err.splitlines()[-2])["event"] == "standing"
    else:
        assert f"{stored} embedded" in out
        assert "stopping: " in err
        assert "interrupted; what is finished is kept, `segue embed` goes on from there" in err
        on = segue("embed", "--music", str(music), "--data", str(data), "--limit", "1", "--json")
        assert on.code == 0
        assert json.loads(on.out)["unchanged"] == stored
