"""Other ears: MusiCNN's vectors (Pons & Serra 2019), which the ranker never sees, to judge it by.

The weights are those of minzwon/sota-music-tagging-models, trained on MTG-Jamendo; the module
below is that network as its state dict names it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import av
import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray
from torch import Tensor, nn

from catalog.snapshot import Snapshot
from embedder.derivation import centre, whiten
from embedder.excerpts import resample

WEIGHTS: Final = "musicnn_jamendo.pth"
RATE_HZ: Final = 16_000
WINDOW_S: Final = 3.0
MOST_WINDOWS: Final = 10


class _Convolution(nn.Module):
    def __init__(self, conv: nn.Module, channels: int, *, flat: bool) -> None:
        super().__init__()
        self.conv = conv
        self.bn = nn.BatchNorm1d(channels) if flat else nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv(x)))


class _Timbral(_Convolution):
    """Filters as tall as an instrument; the loudest place in frequency counts."""

    def __init__(self, channels: int, height: int) -> None:
        super().__init__(nn.Conv2d(1, channels, (height, 7), padding=(0, 3)), channels, flat=False)

    def forward(self, x: Tensor) -> Tensor:  # (b, 1, f, t) -> (b, c, t)
        return super().forward(x).amax(2)


class _Temporal(_Convolution):
    """Filters as long as a rhythm, over the mean of all frequencies."""

    def __init__(self, channels: int, length: int) -> None:
        conv = nn.Conv1d(1, channels, length, padding=length // 2)
        super().__init__(conv, channels, flat=True)

    def forward(self, x: Tensor) -> Tensor:  # (b, 1, f, t) -> (b, c, t)
        return super().forward(x.mean(2))


class MusiCNN(nn.Module):
    """Samples (b, 48000) at 16 kHz → (b, 200), before the last activation."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = torchaudio.transforms.MelSpectrogram(
            sample_rate=RATE_HZ, n_fft=512, f_min=0.0, f_max=8000.0, n_mels=96
        )
        self.to_db = torchaudio.transforms.AmplitudeToDB()
        self.spec_bn = nn.BatchNorm2d(1)
        self.layers = nn.ModuleList(
            [_Timbral(204, 67), _Timbral(204, 38)] + [_Temporal(51, n) for n in (129, 65, 33)]
        )
        sizes = (561, 64, 64)
        self.layer1, self.layer2, self.layer3 = (
            _Convolution(nn.Conv1d(size, 64, 7, padding=3), 64, flat=True) for size in sizes
        )
        self.dense1 = nn.Linear(1506, 200)
        self.bn = nn.BatchNorm1d(200)
        self.dense2 = nn.Linear(200, 50)

    def forward(self, samples: Tensor) -> Tensor:
        x = self.spec_bn(self.to_db(self.spec(samples)).unsqueeze(1))
        front = torch.cat([layer(x) for layer in self.layers], 1)
        one = self.layer1(front)
        two = self.layer2(one) + one
        three = self.layer3(two) + two
        whole = torch.cat([front, one, two, three], 1)  # (b, 753, t)
        found: Tensor = self.dense1(torch.cat([whole.amax(2), whole.mean(2)], 1))
        return found


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
