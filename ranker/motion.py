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

#: Steps on the circle of fifths: six is the farthest key.
_FARTHEST_KEY: Final = 6


def tempo(snapshot: Snapshot, rows: Rows, before: int) -> Float32 | None:
    """By the ratio of tempi; half and double are the same beat. Times both confidences."""
    bpm, sure = snapshot.tempo_bpm, snapshot.tempo_confidence
    if bpm is None or not _known(bpm[before]):
        return None
    theirs = bpm[rows].astype(np.float64)
    known = np.isfinite(theirs) & (theirs > 0)
    octaves = np.log2(np.where(known, theirs, 1.0) / float(bpm[before]))
    distance = 2 * np.abs(octaves - np.round(octaves))
    if sure is not None:
        distance = distance * np.clip(sure[rows], 0, 1) * min(max(float(sure[before]), 0.0), 1.0)
    return _finite(np.where(known, distance, 0.0))


def key(snapshot: Snapshot, rows: Rows, before: int) -> Float32 | None:
    """By the circle of fifths; a key and its relative are the same place. Times confidences.

    Keys are 0…11 for C, C sharp … B major and 12…23 for the minor ones; less is unknown.
    """
    keys, sure = snapshot.key, snapshot.key_confidence
    if keys is None or not 0 <= int(keys[before]) < 24:
        return None
    places = _place(keys[rows].astype(np.int64))
    apart = np.abs(places - _place(np.array([int(keys[before])], np.int64)))
    distance = np.minimum(apart, 12 - apart) / _FARTHEST_KEY
    if sure is not None:
        distance = distance * np.clip(sure[rows], 0, 1) * min(max(float(sure[before]), 0.0), 1.0)
    return _finite(np.where((keys[rows] >= 0) & (keys[rows] < 24), distance, 0.0))


def loudness(snapshot: Snapshot, rows: Rows, before: int) -> Float32 | None:
    """By the step in LU, up to `LOUDNESS_STEP_LU`. Unknown is no number."""
    lufs = snapshot.loudness_lufs
    if lufs is None or not np.isfinite(lufs[before]):
        return None
    step = np.abs(lufs[rows].astype(np.float64) - float(lufs[before])) / LOUDNESS_STEP_LU
    return _finite(np.minimum(step, 1))


def _known(value: Any) -> bool:
    return bool(np.isfinite(value) and value > 0)


def _place(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where keys lie on the circle of fifths, 0…11; minor keys beside their relative major."""
    tonic = np.where(keys >= 12, keys - 12 + 3, keys) % 12
    return (tonic * 7) % 12


def _finite(values: NDArray[Any]) -> Float32:
    return np.asarray(np.where(np.isfinite(values), values, 0.0), np.float32)
