"""Other ears: MusiCNN's vectors (Pons & Serra 2019), which the ranker never sees: a judge."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import av
import numpy as np
import torch
from numpy.typing import NDArray

from catalog.snapshot import Snapshot
from embedder.derivation import centre, whiten
from embedder.excerpts import resample
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
    with av.open(str(path)) as container:
        parts = [_mono(frame) for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    samples = resample(np.concatenate(parts), rate, RATE_HZ)
    size = int(WINDOW_S * RATE_HZ)
    samples = np.resize(samples, max(size, len(samples)))
    starts = np.linspace(0, len(samples) - size, MOST_WINDOWS).astype(int)
    windows = np.stack([samples[start : start + size] for start in starts])
    with torch.inference_mode():
        found: NDArray[np.float32] = network(torch.from_numpy(windows)).mean(0).numpy()
    return found


def _mono(frame: av.AudioFrame) -> NDArray[np.float32]:
    samples = frame.to_ndarray()
    channels = frame.layout.nb_channels
    if samples.shape[0] != channels:  # packed
        samples = samples.reshape(-1, channels).T
    scale = {"s16": 2.0**-15, "s32": 2.0**-31}.get(frame.format.name.rstrip("p"), 1.0)
    return np.asarray(samples.mean(0) * scale, np.float32)
