"""Against the signals of EBU Tech 3341 and 3342, made here as those documents say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from catalog.tracks import Float32
from embedder.decoding import AudioFile
from embedder.loudness import channel_weights, integrated_lufs, piece_powers, range_lu
from tests.unit.embedder.sounds import write

RATE = 48_000
STEREO = channel_weights(["FL", "FR"])


def tone(*parts: tuple[float, float], rate: int = RATE) -> Float32:
    """A 1 kHz sine of so many dBFS for so many seconds each, (n,)."""
    return np.concatenate(
        [
            10 ** (level / 20) * np.sin(2 * np.pi * 1000 * np.arange(round(s * rate)) / rate)
            for level, s in parts
        ]
    ).astype(np.float32)


def powers(*parts: tuple[float, float], rate: int = RATE) -> list[Float32]:
    mono = tone(*parts, rate=rate)
    return [piece_powers(np.stack([mono, mono]), rate, STEREO)]


@pytest.mark.parametrize(
    ("parts", "lufs"),
    [
        ([(-23, 20)], -23),
        ([(-33, 20)], -33),
        ([(-36, 10), (-23, 60), (-36, 10)], -23),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23),
    ],
)
def test_integrated_loudness_is_within_a_tenth(
    parts: list[tuple[float, float]], lufs: float
) -> None:
    """Tech 3341, cases 1 to 5."""
    assert integrated_lufs(powers(*parts)) == pytest.approx(lufs, abs=0.1)


def test_five_channels() -> None:
    """Tech 3341, case 6, with an effects channel that does not count."""
    names = ["FL", "FR", "FC", "LFE", "BL", "BR"]
    levels = [-28.0, -28.0, -24.0, -6.0, -30.0, -30.0]
    channels = np.stack([tone((level, 20)) for level in levels])
    found = integrated_lufs([piece_powers(channels, RATE, channel_weights(names))])
    assert found == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 96_000, 192_000])
def test_any_rate_gives_the_same(rate: int) -> None:
    assert integrated_lufs(powers((-23, 5), rate=rate)) == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize(
    ("parts", "lu"),
    [
        ([(-20, 20), (-30, 20)], 10),
        ([(-20, 20), (-15, 20)], 5),
        ([(-40, 20), (-20, 20)], 20),
        ([(-50, 20), (-35, 20), (-20, 20), (-35, 20), (-50, 20)], 15),
    ],
)
def test_the_loudness_range_is_within_one(parts: list[tuple[float, float]], lu: float) -> None:
    """Tech 3342, cases 1 to 4."""
    assert range_lu(powers(*parts)) == pytest.approx(lu, abs=1)


def test_high_and_low_count_as_the_standard_weighs_them() -> None:
    """BS.1770's response at 48 kHz: 1 kHz is the reference, 4 dB more up high, little down low."""
    t = np.arange(10 * RATE) / RATE

    def level(hertz: float) -> float:
        mono = (0.1 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)
        return integrated_lufs([piece_powers(np.stack([mono, mono]), RATE, STEREO)])

    reference = level(1000)
    assert level(10_000) - reference == pytest.approx(3.3, abs=0.15)
    assert level(100) - reference == pytest.approx(-1.8, abs=0.3)
    assert level(25) - reference < -9


def test_silence_has_no_loudness() -> None:
    silent = [np.zeros(100, np.float32)]
    assert np.isnan(integrated_lufs(silent))
    assert np.isnan(range_lu(silent))
    assert np.isnan(integrated_lufs([]))


def test_out_of_phase_stereo_is_as_loud_as_it_plays(tmp_path: Path) -> None:
    """The mean of its channels is silence; a mono file counts as played by both loudspeakers."""
    mono = tone((-23, 12))
    for channels in (np.stack([mono, -mono]), np.stack([mono, mono]), mono):
        path = write(tmp_path / "a.flac", channels, RATE)
        with AudioFile(path) as audio:
            excerpts = audio.fetch().decode(loudness=True)
        assert integrated_lufs(excerpts.powers) == pytest.approx(-23, abs=0.1)
