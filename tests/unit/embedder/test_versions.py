"""Version families by sound: every re-encoding is found, and nothing else."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from catalog.tracks import Float32
from embedder.decoding import AudioFile
from embedder.excerpts import resample
from embedder.facts import measure
from embedder.fingerprint import (
    DIM,
    MOST_TRIMMED_S,
    MOST_WRONG,
    N_BANDS,
    N_FRAMES,
    disagree,
    frames,
    heard,
    may_agree,
    profiles,
    same_recording,
    wrong_bits,
)
from embedder.tonality import FRAMES_PER_S
from embedder.versions import candidates
from embedder.windows import MOST_WINDOWS, plan_windows
from tests.unit.embedder.sounds import write

RATE = 24_000
SECONDS = 32.0


@cache
def song(seed: int) -> Float32:
    """A melody with drums over chords, different for each seed, (2, n)."""
    random = np.random.default_rng(seed)
    t = np.arange(round(SECONDS * RATE)) / RATE
    sound = 0.01 * random.standard_normal((2, t.size))
    step_s = random.uniform(0.2, 0.35)
    notes = random.integers(0, 24, round(SECONDS / step_s) + 1)
    place = (t / step_s).astype(int)
    inside = t - place * step_s
    hertz = 220.0 * 2.0 ** (notes[place] / 12)
    for partial, strength in enumerate((0.2, 0.1, 0.07, 0.05), start=1):
        voice = strength * np.sin(2 * np.pi * partial * hertz * inside) * np.exp(-3 * inside)
        sound += voice * np.array([[1.0], [0.7]])
    hits = (notes[place] % 3 == 0) * np.exp(-40 * inside)
    sound += 0.1 * hits * random.standard_normal(t.size)
    return sound.clip(-1, 1).astype(np.float32)


def fingerprint(path: Path) -> tuple[Float32, float]:
    with AudioFile(path) as audio:
        excerpts = audio.fetch().decode(loudness=True)
    return measure(excerpts).fingerprint, excerpts.duration_s


def encodings(sound: Float32, folder: Path) -> dict[str, Path]:
    """As issue trackers and hard disks have them."""
    cut = 2 * RATE
    return {
        "mp3 64k": write(folder / "a.mp3", sound, RATE, bit_rate=64_000),
        "opus 48k": write(folder / "a.opus", sound, RATE, bit_rate=48_000),
        "mono": write(folder / "mono.flac", sound.mean(0), RATE),
        "louder": write(folder / "louder.flac", (1.41 * sound).clip(-1, 1), RATE),
        "quieter": write(folder / "quieter.flac", 0.708 * sound, RATE),
        "start trimmed": write(folder / "start.flac", sound[:, cut:], RATE),
        "end trimmed": write(folder / "end.flac", sound[:, :-cut], RATE),
        "22 kHz": write(folder / "low.wav", _resampled(sound, 22_050), 22_050),
    }


def _resampled(sound: Float32, rate_hz: int) -> Float32:
    return np.stack([resample(np.ascontiguousarray(one), RATE, rate_hz) for one in sound])


def test_every_encoding_is_the_same_recording_and_no_other_is(tmp_path: Path) -> None:
    prints: list[Float32] = []
    seconds: list[float] = []
    songs: list[int] = []
    for seed in range(3):
        folder = tmp_path / str(seed)
        folder.mkdir()
        files = {"original": write(folder / "o.flac", song(seed), RATE)}
        if seed == 0:
            files |= encodings(song(seed), folder)
        for path in files.values():
            found, duration_s = fingerprint(path)
            prints.append(found)
            seconds.append(duration_s)
            songs.append(seed)
    rows = np.array(prints)
    assert heard(rows).all()
    pairs = candidates(profiles(rows), np.array(seconds))
    found = {
        (a, b)
        for a, b in pairs.tolist()
        if wrong_bits(rows[a], rows[b], seconds[a], seconds[b]) < MOST_WRONG
    }
    wanted = {
        (a, b)
        for a in range(len(songs))
        for b in range(a + 1, len(songs))
        if songs[a] == songs[b] and abs(seconds[a] - seconds[b]) <= 2.5
    }
    assert found == wanted
    # Not by a hair: the same is far on one side, others far on the other.
    for a in range(len(songs)):
        for b in range(a + 1, len(songs)):
            wrong = wrong_bits(rows[a], rows[b], seconds[a], seconds[b])
            assert (wrong < 0.27) if songs[a] == songs[b] else (wrong > 0.4), (a, b, wrong)


def test_a_glance_lets_all_pass_that_agree_and_few_others() -> None:
    """Random prints and their copies: damaged, shifted, with silent frames, of any length."""
    random = np.random.default_rng(1)
    m = 200
    seconds = random.choice([8.0, 19.9, 29.98, 61.0, 240.0, 3000.0], m) + random.uniform(0, 0.04, m)
    ours = np.full((m, MOST_WINDOWS, N_FRAMES), -1, np.int16)
    theirs = ours.copy()
    other_s = seconds + random.uniform(-2.4, 2.4, m) * (seconds > 60)
    stranger = np.arange(m) % 2 == 0
    for row in range(m):
        here, there = plan_windows(seconds[row]), plan_windows(other_s[row])
        base = random.integers(0, 1 << 15, 3100 * 6)
        late = 0.0 if stranger[row] else random.uniform(0, 1) * (seconds[row] - other_s[row])
        for windows, starts, shift_s in ((ours, here, 0.0), (theirs, there, late)):
            for window, start in enumerate(starts):
                at = round((start + shift_s) * FRAMES_PER_S) + 20
                windows[row, window] = base[at : at + N_FRAMES]
        flips = random.random((MOST_WINDOWS, N_FRAMES, 15)) < 0.22
        theirs[row] ^= (flips @ (1 << np.arange(15))).astype(np.int16)
        theirs[row][random.random((MOST_WINDOWS, N_FRAMES)) < 0.1] = -1
        if stranger[row]:
            theirs[row] = random.integers(0, 1 << 15, theirs[row].shape)
        ours[row, len(here) :] = -1
        theirs[row, len(there) :] = -1
    maybe = may_agree(ours, theirs, seconds, other_s)
    exact = np.array(
        [same_recording(*pair) for pair in zip(ours, theirs, seconds, other_s, strict=True)]
    )
    assert exact[~stranger].mean() > 0.8  # 8 s tell too little
    assert maybe[exact].all()
    assert maybe[stranger & (seconds > 25)].mean() < 0.05


def test_silence_is_no_recording(tmp_path: Path) -> None:
    silent, _ = fingerprint(write(tmp_path / "s.flac", np.zeros(30 * 8000, np.float32), 8000))
    assert silent.shape == (DIM,)
    assert np.isfinite(silent).all()
    assert not heard(silent[np.newaxis])[0]
    assert wrong_bits(silent, silent, 30.0, 30.0) == 1.0


def test_candidates_are_all_that_are_near_and_few_more() -> None:
    random = np.random.default_rng(0)
    levels = random.normal(0, 8, (3000, N_BANDS)).astype(np.float32)
    seconds = random.uniform(60, 400, 3000)
    levels[1500:] = levels[:1500] + random.uniform(-1.2, 1.2, (1500, N_BANDS))
    seconds[1500:] = seconds[:1500] + random.uniform(-2.4, 2.4, 1500)
    levels[7] = np.nan
    pairs = {(a, b) for a, b in candidates(levels, seconds).tolist()}
    assert {(i, i + 1500) for i in range(1500) if i != 7} <= pairs
    assert len(pairs) < 1600
    assert candidates(levels[:0], seconds[:0]).shape == (0, 2)


#: The pairs among the shared excerpts that are one recording.
TRUE_PAIRS = {
    frozenset(("Beat Feet/01 - The Exercise Room.mp3", "Beat Feet/09 - The Exercise Room.mp3")),
    frozenset(("Beat Feet/02 - The Laundry Room.mp3", "Beat Feet/05 - The Laundry Room.ogg")),
    frozenset(("Remixed Dungeon/01 - ost boss ambient.ogg",
               "Remixed Dungeon/10 - ost boss ambient.m4a")),
    frozenset(("Cytopia/03 - Easy Listening mono.mp3", "Cytopia/04 - Easy Listening.mp3")),
    frozenset(("Cytopia/07 - OST1 mono.mp3", "Cytopia/09 - Cytopia OST 1.ogg")),
    frozenset(("Cytopia/01 - Sarah Theme.mp3", "Cytopia/05 - Sarah Theme mono.opus")),
    # One recording in two games.
    frozenset(("Project Starfighter/07 - rise of spirit.mp3",
               "The Battle for the Solar System/01 - Rise of spirit.m4a")),
    frozenset(("The Battle for the Solar System/08 - heroism.opus",
               "Valyria Tear/10 - heroism-OGA-Edward-J-Blakeley.mp3")),
}  # fmt: skip


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_real_music_has_its_true_pairs_and_no_false_ones(shared_audio: Path) -> None:
    files = sorted(path for path in shared_audio.rglob("*.*") if path.is_file())
    heard_files = [fingerprint(path) for path in files]
    rows = np.array([found for found, _ in heard_files])
    seconds = np.array([duration_s for _, duration_s in heard_files])
    found = {
        frozenset("/".join(files[row].parts[-2:]) for row in (a, b))
        for a, b in candidates(profiles(rows), seconds).tolist()
        if wrong_bits(rows[a], rows[b], float(seconds[a]), float(seconds[b])) < MOST_WRONG
    }
    assert found == TRUE_PAIRS
    # And sound tells all others to be two, whatever their tags would say.
    one, other = np.triu_indices(len(files), 1)
    near = np.abs(seconds[one] - seconds[other]) <= MOST_TRIMMED_S
    one, other = one[near], other[near]
    apart = disagree(frames(rows[one]), frames(rows[other]), seconds[one], seconds[other])
    assert {
        frozenset("/".join(files[row].parts[-2:]) for row in pair)
        for pair in np.stack([one, other], 1)[~apart].tolist()
    } == TRUE_PAIRS
