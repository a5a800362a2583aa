"""How loud a track is and how much that varies: ITU-R BS.1770-5, EBU R 128, EBU Tech 3342.

The K-weighting is applied as a response, to spectra of 100 ms pieces, instead of as two recursive
filters over samples: the gating blocks (400 ms every 100 ms) are four such pieces, and what their
edges cost is below .05 LU on EBU's own test signals. Only the windows of a track are heard (60 s
at most), so figures are those of the windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.tracks import Float32

#: EBU's gates and blocks.
PIECE_S: Final = 0.1
_PIECES_PER_BLOCK: Final = 4
_PIECES_PER_SHORT_TERM: Final = 30
_ABSOLUTE_GATE_LUFS: Final = -70.0
_RELATIVE_GATE_LU: Final = -10.0
_RANGE_GATE_LU: Final = -20.0
_RANGE_PERCENTILES: Final = (10.0, 95.0)
_OFFSET_LUFS: Final = -0.691

#: Below this rate there is no band that the weighting is about.
LOWEST_RATE_HZ: Final = 4000

#: Surround channels count 1.5 dB more, the low-frequency effects nothing (BS.1770-5, table 4).
_SURROUND: Final = 1.41
_WEIGHTS: Final = {"SL": _SURROUND, "SR": _SURROUND, "BL": _SURROUND, "BR": _SURROUND, "LFE": 0.0}

#: The two filters of BS.1770 as analogue prototypes, so that they can be had at any rate.
_SHELF_HZ, _SHELF_DB, _SHELF_Q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
_HIGH_PASS_HZ, _HIGH_PASS_Q = 38.13547087602444, 0.5003270373238773


def channel_weights(names: Sequence[str]) -> Float32:
    """What each channel counts, (c,) float32; a single one as played by two loudspeakers."""
    if len(names) == 1:
        return np.array([2.0], np.float32)
    return np.array([_WEIGHTS.get(name, 1.0) for name in names], np.float32)


def piece_powers(channels: Float32, rate_hz: int, weights: Float32) -> Float32:
    """K-weighted power of each whole 100 ms piece, summed over channels, (n_pieces,) float32.

    Args:
        channels: (c, n) in -1…1.
        weights: (c,), of `channel_weights`.
    """
    size = round(PIECE_S * rate_hz)
    count = channels.shape[1] // size
    if rate_hz < LOWEST_RATE_HZ or count == 0:
        return np.empty(0, np.float32)
    response = _response(rate_hz, size)
    powers = np.zeros(count, np.float32)
    for channel, weight in zip(channels, weights.tolist(), strict=True):
        if weight:
            spectra = np.fft.rfft(channel[: count * size].reshape(count, size))
            squares = np.square(spectra.real) + np.square(spectra.imag)
            powers += weight * (squares @ response)  # (p, bins) @ (bins,) -> (p,)
    return powers


@cache
def _response(rate_hz: int, size: int) -> Float32:
    """What each bin of a real FFT adds to the K-weighted mean square, (bins,) float32."""
    z = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    gain = np.ones(len(z))
    for numerator, denominator in _filters(rate_hz):
        gain *= np.abs(np.polyval(numerator[::-1], z) / np.polyval(denominator[::-1], z)) ** 2
    twice = np.full(len(z), 2.0)
    twice[0] = 1.0
    if size % 2 == 0:
        twice[-1] = 1.0
    return np.asarray(gain * twice / size**2, np.float32)


def _filters(rate_hz: int) -> list[tuple[list[float], list[float]]]:
    """Numerator and denominator in rising powers of 1/z, of the shelf and the high pass."""
    high = 10 ** (_SHELF_DB / 20)
    band = high**0.4996667741545416
    k = float(np.tan(np.pi * min(_SHELF_HZ / rate_hz, 0.499)))
    norm = 1 + k / _SHELF_Q + k * k
    shelf = (
        [
            (high + band * k / _SHELF_Q + k * k) / norm,
            2 * (k * k - high) / norm,
            (high - band * k / _SHELF_Q + k * k) / norm,
        ],
        [1.0, 2 * (k * k - 1) / norm, (1 - k / _SHELF_Q + k * k) / norm],
    )
    k = float(np.tan(np.pi * _HIGH_PASS_HZ / rate_hz))
    norm = 1 + k / _HIGH_PASS_Q + k * k
    high_pass = (
        [1.0, -2.0, 1.0],
        [1.0, 2 * (k * k - 1) / norm, (1 - k / _HIGH_PASS_Q + k * k) / norm],
    )
    return [shelf, high_pass]


def integrated_lufs(stretches: Sequence[Float32]) -> float:
    """The gated loudness of stretches of `piece_powers`; NaN where all of it is silence."""
    powers = _blocks(stretches, _PIECES_PER_BLOCK)
    powers = powers[_lufs(powers) >= _ABSOLUTE_GATE_LUFS]
    if powers.size == 0:
        return float("nan")
    gate = _lufs(powers.mean()) + _RELATIVE_GATE_LU
    return float(_lufs(powers[_lufs(powers) >= gate].mean()))


def range_lu(stretches: Sequence[Float32]) -> float:
    """The loudness range (EBU Tech 3342) of stretches of `piece_powers`; NaN where unknown."""
    powers = _blocks(stretches, _PIECES_PER_SHORT_TERM)
    powers = powers[_lufs(powers) >= _ABSOLUTE_GATE_LUFS]
    if powers.size < 2:
        return float("nan")
    levels = _lufs(powers)
    levels = levels[levels >= _lufs(powers.mean()) + _RANGE_GATE_LU]
    low, high = np.percentile(levels, _RANGE_PERCENTILES)
    return float(high - low)


def _blocks(stretches: Sequence[Float32], pieces: int) -> NDArray[np.float64]:
    """The mean power of every run of so many pieces within a stretch, (n,) float64."""
    found = [np.zeros(0)]
    for powers in stretches:
        if len(powers) >= pieces:
            sums = np.concatenate([[0.0], np.cumsum(powers, dtype=np.float64)])
            found.append(np.maximum(sums[pieces:] - sums[:-pieces], 0.0) / pieces)
    return np.concatenate(found)


def _lufs(power: NDArray[np.float64]) -> NDArray[np.float64]:
    return _OFFSET_LUFS + 10.0 * np.log10(np.maximum(power, 1e-12))
