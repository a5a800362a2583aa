"""MusiCNN (Pons & Serra 2019), as a teacher and as a judge: 200 numbers for three seconds.

The weights are those of minzwon/sota-music-tagging-models (MIT), trained on MTG-Jamendo; the module
below is that network as its state dict names it.
"""

from __future__ import annotations

from typing import Final

import torch
import torchaudio
from torch import Tensor, nn

RATE_HZ: Final = 16_000
WINDOW_S: Final = 3.0
WEIGHTS: Final = "musicnn_jamendo.pth"


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
        x: Tensor = self.spec_bn(self.to_db(self.spec(samples)).unsqueeze(1))
        front = torch.cat([layer(x) for layer in self.layers], 1)
        one = self.layer1(front)
        two = self.layer2(one) + one
        three = self.layer3(two) + two
        whole = torch.cat([front, one, two, three], 1)  # (b, 753, t)
        found: Tensor = self.dense1(torch.cat([whole.amax(2), whole.mean(2)], 1))
        return found
