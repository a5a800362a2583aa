"""What can be measured of a track beside what a model says: loudness, tempo, key.

Kept in the library as a model's scores are, under a model of their own, so that a better measure is
a new version of it: tracks that lack it are heard again, and nothing else of them is redone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from catalog.tracks import Analysis, Float32, Model
from embedder.decoding import DECODING_VERSION
from embedder.excerpts import Excerpts, Measured, resample
from embedder.fingerprint import FINGERPRINT, fingerprint
from embedder.loudness import integrated_lufs, range_lu
from embedder.rhythm import SAMPLE_RATE_HZ, tempo
from embedder.tonality import key, spectra
from embedder.windows import PLAN

#: Raised whenever the same samples would give other figures.
_REVISION: Final = 1

#: In this order: LUFS; LU; beats a minute; 0…1; 0-11 for C-B major, 12-23 for minor; 0…1.
NAMES: Final = (
    "loudness_lufs",
    "loudness_range_lu",
    "tempo_bpm",
    "tempo_confidence",
    "key",
    "key_confidence",
)
FACTS: Final = Model("facts", f"{_REVISION}-{PLAN}-d{DECODING_VERSION}", 0, NAMES)

#: Stands for "unknown" where only numbers are kept: far below any figure there is.
UNKNOWN: Final = -1000.0


class Measuring:
    """An analyser that hands on what the decoding process has measured."""

    models: Final = frozenset({FACTS, FINGERPRINT})

    def analyse(self, excerpts: Excerpts) -> tuple[Analysis, ...]:
        """A track's facts, in the order of `NAMES`, and its fingerprint."""
        measured = excerpts.measured or measure(excerpts)
        return (
            Analysis(FACTS, scores=np.array(measured.facts, np.float32)),
            Analysis(FINGERPRINT, vector=measured.fingerprint),
        )


def measure(excerpts: Excerpts) -> Measured:
    """What there is to measure of a track that was decoded with its loudness."""
    windows = [resample(window, excerpts.rate_hz, SAMPLE_RATE_HZ) for window in excerpts.windows]
    powers = [spectra(window) for window in windows]
    found = (
        integrated_lufs(excerpts.powers),
        range_lu(excerpts.powers),
        *tempo(windows),
        *map(float, key(powers)),
    )
    facts = [value if math.isfinite(value) else UNKNOWN for value in found]
    return Measured(tuple(facts), fingerprint(powers))


def known(values: Float32) -> Float32:
    """Stored facts with NaN where they are unknown."""
    return np.where(values > UNKNOWN / 2, values, np.nan).astype(np.float32)


def column(name: str, rows: Sequence[Float32] | Float32) -> Float32:
    """One fact of many tracks' stored rows (n, len(NAMES)), NaN where unknown."""
    return known(np.asarray(rows, np.float32)[:, NAMES.index(name)])
