"""What a recording is known again by, whatever encoded it: signs of change in 16 bands.

After Haitsma & Kalker (2002): whether the difference between neighbouring bands grows or falls from
one frame to the next survives codecs, gain and mono; two recordings agree in half of the bits, two
encodings of one in most. Frames are the ones that the key is heard in (372 ms, every 186 ms), bands
lie in 100-4500 Hz, where even poor encoders keep what they get.

Kept in the library as a model's vector, so that it is versioned, copied and merged as those are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.tracks import Float32, Model
from embedder.decoding import DECODING_VERSION
from embedder.tonality import FRAMES_PER_S, HZ_PER_BIN, N_BINS
from embedder.windows import MOST_WINDOWS, plan_windows

_REVISION: Final = 1

N_BANDS: Final = 16
_LOWEST_HZ, _HIGHEST_HZ = 100.0, 4500.0
#: Frames of a window, less one: bits tell of change.
N_FRAMES: Final = 51
#: A frame's bits are one number, held exactly by a float32; this one stands for none.
_NO_FRAME: Final = -1.0

N_BITS: Final = N_BANDS - 1
DIM: Final = MOST_WINDOWS * N_FRAMES + N_BANDS
FINGERPRINT: Final = Model("fingerprint", f"{_REVISION}-d{DECODING_VERSION}", DIM)

#: A frame's power at about -80 dB below full scale.
_SILENCE: Final = 1e-2

#: Two with fewer wrong bits are one recording. Of 165 excerpts and 84 re-encodings of 12 of them
#: (64 kb/s MP3, 48 kb/s Opus, mono, 3 dB up and down, 2 s less at either end) the same recording
#: has at most .30, another at least .44; chance is .5.
MOST_WRONG: Final = 0.35
#: Fewer bits than this tell nothing (8 s of overlap).
_FEWEST_BITS: Final = 40 * N_BITS
#: A track may lack so much of another at its ends.
MOST_TRIMMED_S: Final = 2.5
_DEEPEST_DB: Final = 30.0
#: How far apart the mean levels of a band may be, in dB, once the overall level is taken off.
MOST_LEVEL_DB: Final = 3.0


def fingerprint(spectra: Sequence[Float32]) -> Float32:
    """The print of windows' power spectra (`embedder.tonality.spectra`), (DIM,) float32.

    First a number a frame (15 bits), window by window; then each band's mean level in dB, without
    the overall level.
    """
    found = np.full(DIM, _NO_FRAME, np.float32)
    rows = found[:-N_BANDS].reshape(MOST_WINDOWS, N_FRAMES)
    bits = (1 << np.arange(N_BITS)).astype(np.float32)
    total = np.zeros(N_BANDS)
    for row, power in zip(rows, spectra, strict=False):
        bands = power @ _bands()  # (f, bins) @ (bins, b) -> (f, b)
        total += bands.sum(0)
        level = np.log(bands + 1e-9)
        slope = level[:, 1:] - level[:, :-1]
        risen = (slope[1:] - slope[:-1] > 0)[:N_FRAMES]
        # Silence changes in no way that tells anything.
        sounding = (bands.sum(1) > _SILENCE)[1 : 1 + len(risen)]
        row[: len(risen)] = np.where(sounding, risen @ bits, _NO_FRAME)  # (f, 15) @ (15,) -> (f,)
    profile = 10.0 * np.log10(total + 1e-9)
    found[-N_BANDS:] = profile - profile.mean()
    return found


def profiles(rows: Float32) -> Float32:
    """The mean level of each band in stored prints (n, DIM), in dB about 0, (n, N_BANDS) float32.

    What is far below a track's loudest band is what encoders leave out: it counts as just there.
    """
    levels = np.maximum(rows[:, -N_BANDS:], rows[:, -N_BANDS:].max(1, keepdims=True) - _DEEPEST_DB)
    return np.asarray(levels - levels.mean(1, keepdims=True), np.float32)


def heard(rows: Float32) -> NDArray[np.bool_]:
    """Which stored prints (n, DIM) tell enough to be compared, (n,)."""
    told: NDArray[np.bool_] = (rows[:, :-N_BANDS] >= 0).sum(axis=1) * N_BITS >= _FEWEST_BITS
    return told


def frames(row: Float32) -> NDArray[np.int32]:
    """A stored print's frames, (windows, N_FRAMES) int32, -1 for none."""
    return row[:-N_BANDS].reshape(MOST_WINDOWS, N_FRAMES).astype(np.int32)


def same_recording(one: Float32, other: Float32, one_s: float, other_s: float) -> bool:
    """Whether two stored prints of tracks of such durations are of one recording."""
    return wrong_bits(one, other, one_s, other_s) < MOST_WRONG


def wrong_bits(one: Float32, other: Float32, one_s: float, other_s: float) -> float:
    """The share of bits that differ where the two fit best, 0…1; 1 where they do not overlap.

    The windows of a shortened copy lie elsewhere in the recording: it is tried at every shift that
    may be, the likeliest first.
    """
    ours, theirs = frames(one), frames(other)
    here, there = plan_windows(one_s), plan_windows(other_s)
    if abs(one_s - other_s) > MOST_TRIMMED_S:
        return 1.0
    most = math.ceil(MOST_TRIMMED_S * FRAMES_PER_S)
    best = 1.0
    for step in sorted(range(-most, most + 1), key=abs):
        wrong = bits = 0
        for i, start in enumerate(here):
            for j, begin in enumerate(there):
                shift = round((start - begin) * FRAMES_PER_S - step)
                low, high = max(0, -shift), min(N_FRAMES, N_FRAMES - shift)
                if low >= high:
                    continue
                a, b = ours[i, low:high], theirs[j, low + shift : high + shift]
                both = (a >= 0) & (b >= 0)
                wrong += int(np.bitwise_count((a ^ b)[both]).sum())
                bits += int(both.sum()) * N_BITS
        if bits >= _FEWEST_BITS:
            best = min(best, wrong / bits)
            if best < MOST_WRONG / 2:
                break
    return best


@cache
def _bands() -> Float32:
    """Which bins belong to which band, (bins, N_BANDS) float32; of equal width in octaves."""
    edges = np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, N_BANDS + 1)
    hertz = np.arange(N_BINS)[:, np.newaxis] * HZ_PER_BIN
    return ((hertz >= edges[:-1]) & (hertz < edges[1:])).astype(np.float32)
