"""The parts of the lesson: damage, spaces, marks, and the figures of validation."""

from __future__ import annotations

# ruff: noqa: E402 - what needs torch comes after asking for it
import wave
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch (make test TORCH=1)")

from training import losses
from training.copies import CODECS, RATE_HZ, damage, decode, decode_channels, recode, widen
from training.damage import Damage, log_mel, power
from training.geometry import fit_geometry, fit_space
from training.strangers import KINDS, sound
from training.students import CANDIDATES
from training.validation import skewness, spearman


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=generator(seed))


def tune(seconds: float = 2.0) -> np.ndarray:
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return (0.2 * np.sin(2 * np.pi * 330 * time_s) * (1 + np.sin(7 * time_s))).astype(np.float32)


def soundfile(path: Path, sound: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(sound))
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(np.round(sound.T * 32767).astype("<i2").tobytes())


@pytest.mark.parametrize("wide", [False, True], ids=["mono", "wide"])
@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_a_recoded_tune_is_as_long_and_the_same_tune(codec, wide) -> None:
    sound = tune()
    channels = sound[np.newaxis]
    heard = recode(widen(channels, np.random.default_rng(1)) if wide else channels, codec)
    assert heard.shape == sound.shape
    middle = slice(RATE_HZ // 2, RATE_HZ)
    best = max(
        np.corrcoef(sound[middle], heard[middle.start + shift : middle.stop + shift])[0, 1]
        for shift in range(-1600, 1600, 4)
    )
    assert best > 0.95


def test_damaged_sound_keeps_its_length_and_stays_finite() -> None:
    for seed in range(12):
        sound = np.stack([tune(), -0.5 * tune()][: 1 + seed % 2])
        heard = damage(sound, np.random.default_rng(seed))
        assert heard.shape == sound.shape
        assert heard.dtype == np.float32
        assert np.isfinite(heard).all()


def test_widened_sound_has_two_sides_and_the_middle_that_it_had() -> None:
    sound = tune()[np.newaxis]
    widths = []
    for seed in range(12):
        pair = widen(sound, np.random.default_rng(seed))
        assert pair.shape == (2, sound.shape[1])
        assert pair.dtype == np.float32
        assert np.abs(pair).max() <= 1
        assert np.corrcoef(pair.mean(axis=0), sound[0])[0, 1] > 0.999
        widths.append(np.std(pair[0] - pair[1]) / np.std(pair[0] + pair[1]))
    assert min(widths) < 0.4
    assert max(widths) > 1


@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_is_read_with_the_channels_that_it_has(tmp_path, channels) -> None:
    path = tmp_path / "tune.wav"
    sound = np.stack([tune(), -0.5 * tune()][:channels])
    soundfile(path, sound)
    heard, rate_hz = decode_channels(path)
    assert rate_hz == RATE_HZ
    assert heard.shape == sound.shape
    assert np.abs(heard - sound).max() < 1e-4
    assert np.abs(decode(path)[0] - sound.mean(axis=0)).max() < 1e-4


def test_power_and_log_mel_are_each_others_way_back() -> None:
    mel = (rows(2, 128 * 50).reshape(2, 1, 128, 50) * 0.5).clamp(min=-1.3)
    assert torch.allclose(log_mel(power(mel)), mel, atol=1e-3)


def test_a_damaged_spectrogram_is_finite_another_and_the_same_by_seed() -> None:
    loud = torch.rand(16, 1, 128, 60, generator=generator())
    first, again = Damage(generator(3))(loud), Damage(generator(3))(loud)
    assert torch.equal(first, again)
    assert first.isfinite().all()
    assert ((first - log_mel(loud)).abs().mean((1, 2, 3)) > 0.01).all()


def test_silence_is_damaged_into_no_nan() -> None:
    assert Damage(generator())(torch.zeros(8, 1, 128, 60)).isfinite().all()


def test_half_whitening_evens_the_axes_out() -> None:
    vectors = rows(4000, 6) * torch.tensor([9.0, 3, 1, 1, 1, 1])
    space = fit_space(vectors, None)
    spread = ((vectors - space.mean) @ space.matrix).std(0)
    assert float(spread.max() / spread.min()) == pytest.approx(3, rel=0.1)  # of 9


def test_an_axis_that_damage_moves_counts_less() -> None:
    vectors = rows(4000, 6)
    moved = rows(500, 6, seed=1) * torch.tensor([3.0, 0.1, 0.1, 0.1, 0.1, 0.1])
    space = fit_space(vectors, moved)
    spread = ((vectors - space.mean) @ space.matrix).std(0)
    assert float(spread[0]) < 0.6 * float(spread[1:].min())


def test_a_geometry_keeps_the_cosines_of_its_spaces() -> None:
    clean = {"a": rows(900, 12), "b": rows(900, 8, seed=1)}
    geometry = fit_geometry(clean, {}, {"a": 1.0, "b": 0.5}, 32)
    target = geometry(clean)
    assert target.shape == (900, 32)
    side = geometry.beside(clean)
    side = torch.nn.functional.normalize(side - side.mean(0), dim=1)
    assert torch.allclose(target @ target.T, side @ side.T, atol=1e-3)


def test_nothing_is_marked_wrong_where_the_geometry_is_right() -> None:
    targets = torch.nn.functional.normalize(rows(12, 8), dim=1)
    turn = torch.linalg.qr(rows(8, 8, seed=2))[0]
    assert float(losses.relational(targets @ turn, targets, targets @ turn, targets)) < 1e-4
    others = torch.nn.functional.normalize(rows(12, 8, seed=5), dim=1)
    assert float(losses.relational(others, targets, others, targets)) > 0.5


def test_contrast_wants_twins_near_and_leaves_cousins_alone() -> None:
    track = torch.tensor([0, 0, 1, 1, 2, 2])
    related = torch.zeros(6, 6, dtype=torch.bool)
    related[:4, :4] = True
    related[4:, 4:] = True
    apart = torch.eye(6)
    twins = torch.nn.functional.normalize(torch.eye(3).repeat_interleave(2, 0), dim=1)
    cousins = twins.clone()
    cousins[2:4] = twins[0]  # tracks 0 and 1 fall together: same source
    strangers = twins.clone()
    strangers[4:] = twins[0]
    marks = [
        float(losses.contrast(rows_, track, related, 0.0))
        for rows_ in (apart, twins, cousins, strangers)
    ]
    assert marks[1] < marks[0]
    assert marks[2] == pytest.approx(marks[1], abs=1e-3)
    assert marks[3] > marks[1] + 0.3
    kin = [float(losses.contrast(rows_, track, related, 0.5)) for rows_ in (twins, cousins)]
    assert kin[1] < kin[0]


def test_strangers_are_marked_by_the_music_they_are_near() -> None:
    music = torch.eye(6)[:4]
    near, far = torch.eye(6)[:1], torch.eye(6)[5:]
    assert float(losses.strangeness(near, music)) == pytest.approx(0.25)
    assert float(losses.strangeness(far, music)) == 0
    assert float(losses.strangeness(-near, music)) == 0


@pytest.mark.parametrize("kind", sorted(set(KINDS)))
def test_a_stranger_is_another_each_time_and_never_clips(kind: str) -> None:
    draw = np.random.default_rng(1)
    one, other = sound(kind, draw), sound(kind, draw)
    assert one.dtype == np.float32
    assert 0 < np.abs(one).max() <= 1
    assert not np.array_equal(one, other)


def test_labels_that_nobody_knows_do_not_count() -> None:
    truth = torch.zeros(3, 4)
    truth[1] = torch.nan
    logits = torch.zeros(3, 4)
    logits[1] = 100
    ones = torch.ones(4)
    assert float(losses.labels(logits, truth, ones, ones)) == 0
    logits[0, 0] = 1
    assert float(losses.labels(logits, truth, ones, ones)) > 0
    assert float(losses.labels(logits, truth * torch.nan, ones, ones)) == 0


def test_spearman_is_of_ranks() -> None:
    truth = rows(50, 5)
    assert spearman(torch.exp(truth), truth, 5) == pytest.approx(1)
    assert spearman(-truth, truth, 5) == pytest.approx(-1)
    assert abs(spearman(rows(50, 5, seed=9), truth, 5)) < 0.25


def test_a_hub_is_a_long_tail() -> None:
    even = torch.nn.functional.normalize(rows(200, 3), dim=1)
    hub = torch.nn.functional.normalize(rows(200, 64) + 0.4 * rows(1, 64, seed=3), dim=1)
    assert skewness(hub) > skewness(even)


@pytest.mark.parametrize("name", sorted(CANDIDATES))
def test_every_candidate_answers_in_the_agreed_shapes(name: str) -> None:
    student = CANDIDATES[name](None).eval()
    with torch.no_grad():
        vectors, tags, moods = student(torch.zeros(2, 1, 128, 100), moods_teach=False)
    assert (vectors.shape, tags.shape, moods.shape) == ((2, 512), (2, 527), (2, 56))


def test_moods_leave_no_trace_where_they_may_not_teach() -> None:
    student = CANDIDATES["mobilenet"](None).eval()
    student(torch.randn(2, 1, 128, 64), moods_teach=False)[2].sum().backward()
    assert all(p.grad is None for p in student.network.parameters())
    student(torch.randn(2, 1, 128, 64), moods_teach=True)[2].sum().backward()
    assert any(p.grad is not None for p in student.network.features.parameters())


def test_folded_norms_come_back_in_the_checkpoint() -> None:
    student = CANDIDATES["mobilenet"](None)
    for module in student.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1, generator=generator(4))
            module.running_var.uniform_(0.5, 2, generator=generator(5))
    student.eval()
    mel = torch.randn(2, 1, 128, 64)
    with torch.no_grad():
        before = student(mel, moods_teach=False)[0]
        folded = student.fold()
        assert torch.allclose(folded(mel, moods_teach=False)[0], before, atol=1e-4)
        other = CANDIDATES["mobilenet"](None).eval()
        other.load_network(folded.network_state())
        assert torch.allclose(other(mel, moods_teach=False)[0], before, atol=1e-4)


@pytest.mark.parametrize("name", sorted(CANDIDATES))
def test_every_candidate_comes_back_from_its_checkpoint(name: str) -> None:
    student = CANDIDATES[name](None).eval()
    other = CANDIDATES[name](None).eval()
    other.load_network(student.network_state())
    mel = torch.randn(2, 1, 128, 64, generator=generator(6))
    with torch.no_grad():
        before, after = (one(mel, moods_teach=False)[0] for one in (student, other))
    assert torch.allclose(after, before, atol=1e-4)
