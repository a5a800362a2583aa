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
from embedder.windows import MOST_WINDOWS, PLAN, WINDOW_S, plan_windows

_REVISION: Final = 1

N_BANDS: Final = 16
_LOWEST_HZ, _HIGHEST_HZ = 100.0, 4500.0
#: Frames of a window, less one: bits tell of change.
N_FRAMES: Final = 51
#: A frame's bits are one number, held exactly by a float32; this one stands for none.
_NO_FRAME: Final = -1.0

N_BITS: Final = N_BANDS - 1
DIM: Final = MOST_WINDOWS * N_FRAMES + N_BANDS
FINGERPRINT: Final = Model("fingerprint", f"{_REVISION}-{PLAN}-d{DECODING_VERSION}", DIM)

#: A frame's power at about -80 dB below full scale.
_SILENCE: Final = 1e-2

#: Two with fewer wrong bits are one recording. Of 165 excerpts and 84 re-encodings of 12 of them
#: (64 kb/s MP3, 48 kb/s Opus, mono, 3 dB up and down, 2 s less at either end) the same recording
#: has at most .30, another at least .44; chance is .5.
MOST_WRONG: Final = 0.35
#: Two with more, at every shift, are not, whatever their tags say. One window of 10,343 pairs of
#: excerpts had .40 at least, two and more .42; of 14 excerpts, whole and 13 s of them, at 64 kb/s,
#: in mono, trimmed by 1.8 s, equalised, and .6 and 2 % faster .33 at most.
LEAST_WRONG_OF_ANOTHER: Final = 0.38
#: Fewer bits than this tell nothing (8 s of overlap).
_FEWEST_BITS: Final = 40 * N_BITS
#: A track may lack so much of another at its ends.
MOST_TRIMMED_S: Final = 2.5
_DEEPEST_DB: Final = 30.0

#: So many frames are one number of 60 bits, and so many frames of a window are glanced at.
_PACKED: Final = 4
_GLANCE: Final = 48
#: No shift that may be reaches further than this.
_PAD: Final = 32
#: Two windows say less than all: what has more wrong bits in them than this is not looked at.
_MOST_WRONG_GLANCED: Final = 0.42
_FEWEST_GLANCED: Final = 24 * N_BITS
#: Of strangers 97 pairs in 100 have more in the two in the middle, and are done with; a cut or an
#: edit leaves at least one of the two in its place.
_LEAST_WRONG_GLANCED: Final = 0.44
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


def frames(rows: Float32) -> NDArray[np.int16]:
    """Stored prints' frames: (DIM,) -> (windows, N_FRAMES), (n, DIM) -> (n, windows, N_FRAMES);
    int16, -1 for none."""
    shape = (*rows.shape[:-1], MOST_WINDOWS, N_FRAMES)
    return rows[..., :-N_BANDS].reshape(shape).astype(np.int16)


def same_recording(
    one: NDArray[np.int16], other: NDArray[np.int16], one_s: float, other_s: float
) -> bool:
    """Whether the `frames` of two tracks of such durations are of one recording."""
    return _wrong_bits(one, other, one_s, other_s, MOST_WRONG) < MOST_WRONG


def wrong_bits(one: Float32, other: Float32, one_s: float, other_s: float) -> float:
    """The share of bits that differ where two stored prints fit best, 0…1; 1 where they do not
    overlap.

    The windows of a shortened copy lie elsewhere in the recording: it is tried at every shift that
    may be, the likeliest first.
    """
    return _wrong_bits(frames(one), frames(other), one_s, other_s, MOST_WRONG / 2)


def _wrong_bits(
    ours: NDArray[np.int16],
    theirs: NDArray[np.int16],
    one_s: float,
    other_s: float,
    enough: float,
) -> float:
    """`wrong_bits` of `frames`; what is below `enough` is not bettered."""
    here, there = plan_windows(one_s), plan_windows(other_s)
    if abs(one_s - other_s) > MOST_TRIMMED_S:
        return 1.0
    best = 1.0
    for step in _steps():
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
            if best < enough:
                break
    return best


def may_agree(
    ours: NDArray[np.int16],
    theirs: NDArray[np.int16],
    one_s: NDArray[np.float64],
    other_s: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Which of many pairs `same_recording` may say yes to, (m,): a glance at their middle windows.

    ours, theirs: `frames` (m, windows, N_FRAMES). Who has too little to compare passes.
    """
    share, enough = _slide(ours, theirs, one_s, other_s, _middle(one_s))
    maybe: NDArray[np.bool_] = (share.min(0) < _MOST_WRONG_GLANCED) | ~enough.all(0)
    return maybe


def _middle(duration_s: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """The numbers of the middle windows of tracks of such durations, (m,) each."""
    count = (~np.isnan(_starts(duration_s))).sum(1)
    return [(count - 1) // 2, count // 2]


def disagree(
    ours: NDArray[np.int16],
    theirs: NDArray[np.int16],
    one_s: NDArray[np.float64],
    other_s: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Which of many pairs are plainly two recordings, (m,); arguments as in `may_agree`.

    Other speeds are no other recording: windows lie at the same parts of a track, so those of a
    copy that runs faster fit one by one where they lie. Nothing is said of pairs that have too
    little to compare, or whose durations are too far apart for their windows to meet.
    """
    found = np.zeros(len(ours), np.bool_)
    left = np.flatnonzero(np.abs(one_s - other_s) <= MOST_TRIMMED_S)
    every = [np.full(len(ours), window) for window in range(MOST_WINDOWS)]
    for windows, least in ((_middle(one_s), _LEAST_WRONG_GLANCED), (every, LEAST_WRONG_OF_ANOTHER)):
        pairs = (ours[left], theirs[left], one_s[left], other_s[left])
        wrong = _wrong_everywhere(*pairs, [window[left] for window in windows]) >= least
        found[left] = wrong
        left = left[~wrong]
    return found


def _wrong_everywhere(
    ours: NDArray[np.int16],
    theirs: NDArray[np.int16],
    one_s: NDArray[np.float64],
    other_s: NDArray[np.float64],
    windows: Sequence[NDArray[np.intp]],
) -> Float32:
    """The least share of wrong bits in these windows at any shift and speed, (m,) float32; 0 where
    some of it cannot be told."""
    least = np.ones(len(ours), np.float32)
    # Of what is equally long no window lies elsewhere at another speed.
    stretched = np.flatnonzero(np.abs(one_s - other_s) * FRAMES_PER_S > 0.5)
    for rows, faster in ((np.arange(len(ours)), False), (stretched, True)):
        pairs = (ours[rows], theirs[rows], one_s[rows], other_s[rows])
        share, enough = _slide(*pairs, [window[rows] for window in windows], faster=faster)
        least[rows] = np.minimum(least[rows], np.where(enough.all(0), share.min(0), 0.0))
    return least


def _slide(
    ours: NDArray[np.int16],
    theirs: NDArray[np.int16],
    one_s: NDArray[np.float64],
    other_s: NDArray[np.float64],
    windows: Sequence[NDArray[np.intp]],
    *,
    faster: bool = False,
) -> tuple[Float32, NDArray[np.bool_]]:
    """The share of wrong bits in these windows at every shift, and whether there are enough of
    them to tell, (shifts, m) each.

    windows: numbers of ours, (m,) each; those that are not there are passed over. `faster`: one of
    a pair runs faster than the other, instead of lacking something. Four frames are compared at
    once.
    """
    here, there = _starts(one_s), _starts(other_s)
    rows = np.arange(len(ours))
    count = (~np.isnan(here)).sum(1)
    wrong = np.zeros((len(_steps()), len(ours)), np.uint16)
    bits = np.zeros((len(_steps()), len(ours)), np.uint16)
    reach = max(_steps())
    for number in windows:
        chosen = np.minimum(number, count - 1)
        begun = here[rows, chosen]
        beside = np.nanargmin(np.abs(there - begun[:, np.newaxis]), axis=1)
        base = np.rint((begun - there[rows, beside]) * FRAMES_PER_S).astype(np.intp)
        if faster:
            base[:] = 0
        # One frame of all pairs lies together: sums over frames are quick then.
        mine, my_mask = (each[:_GLANCE:_PACKED] for each in _words(ours[rows, chosen].T))
        my_mask = np.where(number < count, my_mask, np.uint64(0))
        padded = np.pad(theirs[rows, beside], ((0, 0), (_PAD, _PAD)), constant_values=-1)
        at = base + np.arange(-reach, _GLANCE + reach + _PACKED)[:, np.newaxis] + _PAD
        yours, your_mask = _words(padded[rows, np.clip(at, 0, padded.shape[1] - 1)])
        for row, step in enumerate(_steps()):
            part = slice(reach - step, reach - step + _GLANCE, _PACKED)
            both = my_mask & your_mask[part]
            differ = (mine ^ yours[part]) & both
            wrong[row] += np.bitwise_count(differ).sum(0, dtype=np.uint16)
            bits[row] += np.bitwise_count(both).sum(0, dtype=np.uint16)
    enough = bits >= _FEWEST_GLANCED
    share = np.divide(wrong, bits, out=np.ones(wrong.shape, np.float32), where=enough)
    return share, enough


def _words(rows: NDArray[np.int16]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Each frame of (f, m) with the three after it in one number, and which bits of it tell.

    (f - 3, m) uint64 each.
    """
    told = rows >= 0
    values = np.where(told, rows, 0).astype(np.uint64)
    there = told.astype(np.uint64) * np.uint64((1 << N_BITS) - 1)
    size = len(rows) - _PACKED + 1
    word, mask = values[:size].copy(), there[:size].copy()
    for i in range(1, _PACKED):
        word |= values[i : i + size] << np.uint64(i * N_BITS)
        mask |= there[i : i + size] << np.uint64(i * N_BITS)
    return word, mask


def _starts(duration_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """`plan_windows` of many durations, (m, MOST_WINDOWS), NaN where there is none."""
    count = np.clip((duration_s / WINDOW_S).astype(np.intp), 1, MOST_WINDOWS)[:, np.newaxis]
    number = np.arange(MOST_WINDOWS)
    middles = (number + 0.5) * duration_s[:, np.newaxis] / count
    return np.where(number < count, np.maximum(middles - WINDOW_S / 2, 0.0), np.nan)


@cache
def _steps() -> tuple[int, ...]:
    most = math.ceil(MOST_TRIMMED_S * FRAMES_PER_S)
    return tuple(sorted(range(-most, most + 1), key=abs))


@cache
def _bands() -> Float32:
    """Which bins belong to which band, (bins, N_BANDS) float32; of equal width in octaves."""
    edges = np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, N_BANDS + 1)
    hertz = np.arange(N_BINS)[:, np.newaxis] * HZ_PER_BIN
    return ((hertz >= edges[:-1]) & (hertz < edges[1:])).astype(np.float32)
