"""EfficientAT: MobileNetV3 trained on AudioSet; a track's vector and its 527 tags in one pass.

Schmid, Koutini, Widmer, "Efficient large-scale audio tagging via transformer-to-CNN knowledge
distillation", ICASSP 2023; weights published under MIT at github.com/fschmid56/EfficientAT. The
code is ours, parametrised by width (mn04 is 0.4, mn10 is 1.0), and takes the published state
dict with `strict=True`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from catalog.tracks import Analysis, Float32, Model
from embedder.excerpts import Excerpts
from embedder.models.torching import device_of, fold_batch_norms, load_state, place

SAMPLE_RATE_HZ: Final = 32_000
N_FFT: Final = 1024
WIN_LENGTH: Final = 800
HOP_LENGTH: Final = 320
N_MELS: Final = 128
TOP_HZ: Final = 15_000.0
PRE_EMPHASIS: Final = 0.97
DIM: Final = 512
N_TAGS: Final = 527

#: Windows a pass: larger batches are slower a window on a CPU (memory allocation).
BATCH: Final = 4
BATCH_CUDA: Final = 64


class Row(NamedTuple):
    """One inverted residual of MobileNetV3-large, before scaling by width."""

    kernel: int
    expanded: int
    out: int
    squeeze: bool
    activation: str
    stride: int


ROWS: Final = (
    Row(3, 16, 16, False, "RE", 1), Row(3, 64, 24, False, "RE", 2), Row(3, 72, 24, False, "RE", 1),
    Row(5, 72, 40, True, "RE", 2), Row(5, 120, 40, True, "RE", 1), Row(5, 120, 40, True, "RE", 1),
    Row(3, 240, 80, False, "HS", 2), Row(3, 200, 80, False, "HS", 1),
    Row(3, 184, 80, False, "HS", 1), Row(3, 184, 80, False, "HS", 1),
    Row(3, 480, 112, True, "HS", 1), Row(3, 672, 112, True, "HS", 1),
    Row(5, 672, 160, True, "HS", 2), Row(5, 960, 160, True, "HS", 1),
    Row(5, 960, 160, True, "HS", 1),
)  # fmt: skip


def make_divisible(value: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, never below 90 % of `value` (MobileNet's rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class ConvNormAct(nn.Sequential):
    """Convolution, batch norm, and an activation; children 0, 1, 2 as the state dict has them."""

    def __init__(
        self, into: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1, activation: str
    ) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(
                into, out, kernel, stride, padding=(kernel - 1) // 2, groups=groups, bias=False
            ),
            nn.BatchNorm2d(out, eps=1e-3, momentum=0.01),
        ]
        if activation != "-":
            layers.append(nn.ReLU() if activation == "RE" else nn.Hardswish())
        super().__init__(*layers)


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate made of all channels' means over time and frequency."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = make_divisible(channels // 4)
        self.fc1 = nn.Linear(channels, squeezed)
        self.fc2 = nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, mels, frames) → the same shape."""
        gate = self.fc2(functional.relu(self.fc1(x.mean((2, 3)))))
        return x * torch.sigmoid(gate)[:, :, None, None]


class ConcurrentSqueezeExcite(nn.Module):
    """The published model's holder of its squeeze-excite layers; there is one, over channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conc_se_layers = nn.ModuleList([SqueezeExcite(channels)])

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, mels, frames) → the same shape."""
        y: Tensor = self.conc_se_layers[0](x)
        return y


class InvertedResidual(nn.Module):
    """Expand, filter each channel, squeeze-excite, project; added to its input where it fits."""

    def __init__(self, into: int, row: Row, width: float) -> None:
        super().__init__()
        expanded, out = make_divisible(row.expanded * width), make_divisible(row.out * width)
        layers: list[nn.Module] = []
        if expanded != into:
            layers.append(ConvNormAct(into, expanded, 1, activation=row.activation))
        layers.append(
            ConvNormAct(
                expanded,
                expanded,
                row.kernel,
                stride=row.stride,
                groups=expanded,
                activation=row.activation,
            )
        )
        if row.squeeze:
            layers.append(ConcurrentSqueezeExcite(expanded))
        layers.append(ConvNormAct(expanded, out, 1, activation="-"))
        self.block = nn.Sequential(*layers)
        self.residual = row.stride == 1 and into == out

    def forward(self, x: Tensor) -> Tensor:
        """(batch, into, mels, frames) → (batch, out, mels / stride, frames / stride)."""
        y: Tensor = self.block(x)
        return x + y if self.residual else y


def trunk_channels(width: float) -> int:
    """How many features the trunk gives at each place: 384 at width 0.4."""
    return 6 * make_divisible(ROWS[-1].out * width)


def trunk(width: float) -> nn.Sequential:
    """The convolutions: log-mel (batch, 1, 128, frames) → (batch, channels, 4, frames / 32)."""
    channels = make_divisible(16 * width)
    layers: list[nn.Module] = [ConvNormAct(1, channels, 3, stride=2, activation="HS")]
    for row in ROWS:
        layers.append(InvertedResidual(channels, row, width))
        channels = make_divisible(row.out * width)
    layers.append(ConvNormAct(channels, trunk_channels(width), 1, activation="HS"))
    return nn.Sequential(*layers)


class MobileNetV3(nn.Module):
    """The network: log-mel spectrogram in, 512 features and 527 logits out."""

    def __init__(self, width: float) -> None:
        super().__init__()
        self.features = trunk(width)
        channels = trunk_channels(width)
        hidden = make_divisible(1280 * width)
        # Pooling and dropout hold no weights; they keep the published numbering.
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(1),
            nn.Linear(channels, hidden),
            nn.Hardswish(),
            nn.Dropout(0.2),
            nn.Linear(hidden, N_TAGS),
        )

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, 1, 128, frames) → features (batch, hidden) and logits (batch, 527).

        The features are what the last layer sees, after the activation: P@5 .209 against .199
        before it on 468 excerpts that nothing was chosen by (same source; .263 and .260 on the
        development library).
        """
        pooled = self.classifier[1](self.classifier[0](self.features(mel)))
        hidden = self.classifier[3](self.classifier[2](pooled))  # (batch, 6c) @ (6c, hidden)
        return hidden, self.classifier[5](hidden)


def kaldi_mel_banks() -> Float32:
    """Kaldi's triangular mel filters, (128, 513) float32: equal steps of 1127 ln(1 + f/700)."""

    def mel(hz: float) -> float:
        return 1127.0 * math.log1p(hz / 700.0)

    step = mel(TOP_HZ) / (N_MELS + 1)
    left = np.arange(N_MELS)[:, np.newaxis] * step
    bins = 1127.0 * np.log1p(np.arange(N_FFT // 2) * (SAMPLE_RATE_HZ / N_FFT) / 700.0)
    slopes = np.minimum((bins - left) / step, (left + 2 * step - bins) / step)
    # Kaldi leaves the Nyquist bin out: a column of zeros.
    return np.pad(np.maximum(slopes, 0.0), ((0, 0), (0, 1))).astype(np.float32)


class FrontEnd(nn.Module):
    """Audio to the log-mel spectrogram that the network was trained on."""

    window: Tensor
    banks: Tensor

    def __init__(self) -> None:
        super().__init__()
        window = torch.hann_window(WIN_LENGTH, periodic=False)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("banks", torch.from_numpy(kaldi_mel_banks()), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """(batch, samples) at 32 kHz → (batch, 1, 128, frames)."""
        emphasised = audio[:, 1:] - PRE_EMPHASIS * audio[:, :-1]
        spectrum = torch.stft(
            emphasised,
            N_FFT,
            HOP_LENGTH,
            WIN_LENGTH,
            window=self.window,
            center=True,
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()
        mel = torch.matmul(self.banks, power)  # (128, 513) @ (batch, 513, frames)
        return ((mel + 1e-5).log_() + 4.5).div_(5.0).unsqueeze(1)


class EfficientAT:
    """A loaded EfficientAT: windows in, the track's mean features and mean tag scores out."""

    def __init__(self, model: Model, weights: Path, *, width: float, device: str) -> None:
        self.model = model
        self._device = device_of(device)
        torch.set_num_threads(1)  # tracks are heard side by side, a core each
        network = MobileNetV3(width)
        load_state(network, weights)
        self._network = place(fold_batch_norms(network), self._device)
        self._front_end = FrontEnd().to(self._device)
        self._batch = BATCH_CUDA if self._device.type == "cuda" else BATCH

    def analyse(self, excerpts: Excerpts) -> tuple[Analysis, ...]:
        """Vector (512,) and AudioSet scores (527,) in 0…1, both means over the windows."""
        windows = torch.from_numpy(excerpts.at(SAMPLE_RATE_HZ))  # (n, 320000)
        hidden, logits = self.infer(windows)
        heard = Analysis(
            self.model,
            vector=hidden.mean(0).numpy().astype(np.float32),
            scores=torch.sigmoid(logits).mean(0).numpy().astype(np.float32),
        )
        return (heard,)

    def infer(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Windows (n, samples) at 32 kHz → features (n, 512) and logits (n, 527), on the CPU."""
        with torch.inference_mode():
            parts = [
                self._network(
                    self._front_end(batch.to(self._device)).contiguous(
                        memory_format=torch.channels_last
                    )
                )
                for batch in torch.split(windows, self._batch)
            ]
            return (
                torch.cat([hidden for hidden, _ in parts]).cpu(),
                torch.cat([logits for _, logits in parts]).cpu(),
            )
