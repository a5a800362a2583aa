"""Other ears: MusiCNN's vectors (Pons & Serra 2019), which the ranker never sees: a judge."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from catalog.snapshot import Snapshot
from embedder.derivation import centre, whiten
from embedder.excerpts import resample
from training.copies import decode
from training.musicnn import RATE_HZ, WEIGHTS, WINDOW_S, MusiCNN

MOST_WINDOWS: Final = 10


def judge(snapshot: Snapshot, audio: Path, models: Path, kept: Path) -> NDArray[np.float32]:
    """(n, 200) unit rows in the snapshot's order; kept in a file, for it takes a minute or two."""
    if kept.exists():
        with np.load(kept, allow_pickle=False) as file:
            if np.array_equal(file["track_ids"], snapshot.track_ids):
                return np.asarray(file["vectors"])
    network = MusiCNN()
    network.load_state_dict(torch.load(models / WEIGHTS, weights_only=True, map_location="cpu"))
    network.eval()
    raw = np.zeros((snapshot.n, 200), np.float32)
    for row in range(snapshot.n):
        raw[row] = _hear(network, audio / snapshot.text("path", row))
    vectors = whiten(centre(raw))
    np.savez(kept, track_ids=snapshot.track_ids, vectors=vectors)
    return vectors


def _hear(network: MusiCNN, path: Path) -> NDArray[np.float32]:
    samples = resample(*decode(path), RATE_HZ)
    size = int(WINDOW_S * RATE_HZ)
    samples = np.resize(samples, max(size, len(samples)))
    starts = np.linspace(0, len(samples) - size, MOST_WINDOWS).astype(int)
    windows = np.stack([samples[start : start + size] for start in starts])
    with torch.inference_mode():
        found: NDArray[np.float32] = network(torch.from_numpy(windows)).mean(0).numpy()
    return found
