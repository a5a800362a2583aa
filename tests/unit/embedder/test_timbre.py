import numpy as np
import pytest

from catalog.tracks import Float32
from embedder.derivation import centre, unit
from embedder.excerpts import Excerpts
from embedder.models.registry import TIMBRE
from embedder.models.timbre import SAMPLE_RATE_HZ, Timbre, describe
from embedder.publish import standardise
from tests.unit.embedder.sounds import music

N = 10 * SAMPLE_RATE_HZ


def windows(*sounds: Float32) -> Float32:
    return np.stack([np.resize(sound, N) for sound in sounds]).astype(np.float32)


def test_the_dimension_is_what_the_registry_says() -> None:
    sound = music(1, seconds=25, rate_hz=44_100)
    excerpts = Excerpts(44_100, 25.0, (sound[: 441 * 1000], sound[-441 * 1000 :]))
    (analysis,) = Timbre(TIMBRE.model).analyse(excerpts)
    assert analysis.vector is not None
    assert analysis.vector.shape == (TIMBRE.dim,)
    assert analysis.vector.dtype == np.float32
    assert analysis.scores is None


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(N, np.float32),
        np.full(N, 0.5, np.float32),
        np.eye(1, N, N // 2, dtype=np.float32)[0],
        np.random.default_rng(0).uniform(-1, 1, N).astype(np.float32),
        np.sign(np.sin(np.arange(N) / 9)).astype(np.float32),
    ],
    ids=["silence", "constant", "click", "noise", "square"],
)
def test_every_sound_gives_finite_numbers(sound: Float32) -> None:
    assert np.isfinite(describe(windows(sound))).all()


def test_the_level_hardly_matters() -> None:
    sounds = [music(seed) for seed in range(8)]
    z = standardise(np.stack([describe(windows(s)) for s in (*sounds, 0.25 * sounds[0])]))
    rows = unit(centre(z))
    assert float(rows[0] @ rows[-1]) > 0.8


def test_the_same_timbre_in_another_key_is_nearer_than_another_timbre() -> None:
    t = np.arange(N) / SAMPLE_RATE_HZ

    def organ(hz: float) -> Float32:
        beat = np.mod(t, 0.5) < 0.4
        return (sum(np.sin(2 * np.pi * hz * k * t) / k for k in range(1, 9)) * beat / 4).astype(
            "f4"
        )

    def flute(hz: float) -> Float32:
        return (0.5 * np.sin(2 * np.pi * hz * t + 0.3 * np.sin(2 * np.pi * 5 * t))).astype("f4")

    def drums(period_s: float) -> Float32:
        noise = np.random.default_rng(1).standard_normal(N)
        return (0.3 * noise * np.exp(-np.mod(t, period_s) * 30)).astype("f4")

    sounds = [organ(220), organ(277), flute(440), flute(554), drums(0.4), drums(0.45)]
    rows = unit(centre(standardise(np.stack([describe(windows(s)) for s in sounds]))))
    likeness = rows @ rows.T - 2 * np.eye(6)
    assert likeness.argmax(1).tolist() == [1, 0, 3, 2, 5, 4]
