"""How far a song jumps from the one before in tempo, key and loudness, where they are known.

Each is a distance (r,) float32 in 0…1: 0 is no jump, or nothing is known; 1 is as far as it gets.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catalog.snapshot import Snapshot
from catalog.tracks import Float32

Rows = NDArray[np.intp]

#: A step in loudness that cannot be missed, in LU.
LOUDNESS_STEP_LU: Final = 12.0

_KEYS: Final = 24


def _fifths() -> Float32:
    """(24, 256) from key to key in parts of the farthest, six fifths; 0 to what is no key.

    Minor keys lie beside their relative major.
    """
    keys = np.arange(_KEYS)
    places = np.where(keys >= 12, keys - 12 + 3, keys) * 7 % 12  # on the circle of fifths
    apart = np.abs(places[:, np.newaxis] - places)
    found = np.zeros((_KEYS, 256), np.float32)
    found[:, :_KEYS] = np.minimum(apart, 12 - apart) / 6
    return found


_APART: Final = _fifths()


def tempo(snapshot: Snapshot, rows: Rows, before: int) -> Float32 | None:
    """By the ratio of tempi; half and double are the same beat. Times both confidences."""
    bpm, sure = snapshot.tempo_bpm, snapshot.tempo_confidence
    if bpm is None or not _known(bpm[before]):
        return None
    theirs = bpm.take(rows)
    known = np.isfinite(theirs) & (theirs > 0)
    octaves = np.log2(np.where(known, theirs, bpm[before]) / bpm[before])
    distance = 2 * np.abs(octaves - np.round(octaves))
    return _surely(distance, known, sure, rows, before)


def key(snapshot: Snapshot, rows: Rows, before: int) -> Float32 | None:
    """By the circle of fifths; a key and its relative are the same place. Times confidences.

    Keys are 0…11 for C, C sharp … B major and 12…23 for the minor ones; less is unknown.
    """
    keys, sure = snapshot.key, snapshot.key_confidence
    if keys is None or not 0 <= int(keys[before]) < _KEYS:
        return None
    theirs = keys.take(rows).astype(np.uint8)  # what is less than 0 is a large number now
    return _surely(_APART[int(keys[before])].take(theirs), theirs < _KEYS, sure, rows, before)


def loudness(snapshot: Snapshot, rows: Rows, before: int) -> Float32 | None:
    """By the step in LU, up to `LOUDNESS_STEP_LU`. Unknown is no number."""
    lufs = snapshot.loudness_lufs
    if lufs is None or not np.isfinite(lufs[before]):
        return None
    step = np.abs(lufs.take(rows) - lufs[before]) / np.float32(LOUDNESS_STEP_LU)
    return _finite(np.minimum(step, 1))


def _known(value: Any) -> bool:
    return bool(np.isfinite(value) and value > 0)


def _surely(
    distance: NDArray[Any], known: NDArray[np.bool_], sure: Float32 | None, rows: Rows, before: int
) -> Float32:
    """Distances (r,) as far as both ends are sure, 0 where they are not `known`."""
    if sure is not None:
        ends = np.minimum(np.maximum(sure.take(rows), 0), 1)
        distance = distance * (ends * min(max(float(sure[before]), 0.0), 1.0))
    return _finite(np.where(known, distance, 0))


def _finite(values: NDArray[Any]) -> Float32:
    return np.asarray(np.where(np.isfinite(values), values, 0), np.float32)
