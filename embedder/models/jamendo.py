"""The MTG-Jamendo mood and theme tagger: 56 scores of how a track feels.

Bogdanov et al., "The MTG-Jamendo dataset for automatic music tagging", 2019: its baseline, a fully
convolutional network over 29 s of mel spectrogram; weights published in the Apache-2.0 repository
github.com/MTG/mtg-jamendo-dataset. The code is ours and takes the state dict with `strict=True`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from catalog.tracks import Analysis, Float32, Model
from embedder.excerpts import Excerpts
from embedder.models.spectra import slaney_mel_banks
from embedder.models.torching import device_of, load_state, place
from embedder.windows import WINDOW_S

SAMPLE_RATE_HZ: Final = 12_000
N_FFT: Final = 512
HOP_LENGTH: Final = 256
N_MELS: Final = 96
N_FRAMES: Final = 1366
N_LABELS: Final = 56
#: 29.1 s; centred frames need half a window less than N_FRAMES hops.
N_SAMPLES: Final = (N_FRAMES - 1) * HOP_LENGTH
FLOOR_DB: Final = -100.0

_CHANNELS: Final = (1, 64, 128, 128, 128, 64)
_POOLS: Final = ((2, 4), (2, 4), (2, 4), (3, 5), (4, 4))


class MoodNetwork(nn.Module):
    """Five blocks of convolution, batch norm, ELU and pooling; then one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.bn_init = nn.BatchNorm2d(1)
        for i, (into, out) in enumerate(pairwise(_CHANNELS), start=1):
            self.add_module(f"conv_{i}", nn.Conv2d(into, out, 3, padding=1))
            self.add_module(f"bn_{i}", nn.BatchNorm2d(out))
        self.dense = nn.Linear(_CHANNELS[-1], N_LABELS)

    def fold(self) -> Self:
        """Fold the batch norms into the convolutions before them: the same sums, fewer passes."""
        for i in range(1, len(_POOLS) + 1):
            convolution: Any = self.get_submodule(f"conv_{i}")
            norm: Any = self.get_submodule(f"bn_{i}")
            self.add_module(f"conv_{i}", fuse_conv_bn_eval(convolution, norm))
            self.add_module(f"bn_{i}", nn.Identity())
        return self

    def forward(self, decibels: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, 1, 96, 1366) → hidden (batch, 64) and scores (batch, 56) in 0…1."""
        x = self.bn_init(decibels)
        for i, pool in enumerate(_POOLS, start=1):
            x = self.get_submodule(f"bn_{i}")(self.get_submodule(f"conv_{i}")(x))
            # ELU grows everywhere, so pooling first gives the same for an eighth of the work.
            x = nn.functional.elu(nn.functional.max_pool2d(x, pool))
        hidden = x.flatten(1)
        return hidden, torch.sigmoid(self.dense(hidden))


class FrontEnd(nn.Module):
    """Audio to mel decibels, as librosa makes them (power 2, Slaney bands of equal area)."""

    window: Tensor
    banks: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)
        banks = slaney_mel_banks(SAMPLE_RATE_HZ, N_FFT, N_MELS, 0.0, SAMPLE_RATE_HZ / 2)
        self.register_buffer("banks", torch.from_numpy(banks), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """(batch, samples) at 12 kHz → (batch, 1, 96, 1366) dB; too short is padded at -100 dB."""
        spectrum = torch.stft(
            audio, N_FFT, HOP_LENGTH, window=self.window, center=True, return_complex=True
        )
        power = spectrum.real.square() + spectrum.imag.square()
        mel = torch.matmul(self.banks, power)  # (96, 257) @ (batch, 257, frames)
        decibels = 10.0 * torch.log10(mel.clamp_(min=1e-10))[:, :, :N_FRAMES]
        missing = N_FRAMES - decibels.shape[2]
        return nn.functional.pad(decibels, (0, missing), value=FLOOR_DB).unsqueeze(1)


class JamendoMoods:
    """The loaded tagger: one pass a track over what its windows hold, 29.1 s at most."""

    def __init__(self, model: Model, weights: Path, *, device: str) -> None:
        self.model = model
        self._device = device_of(device)
        torch.set_num_threads(1)  # tracks are heard side by side, a core each
        network = MoodNetwork()
        load_state(network, weights)
        self._network = place(network.fold(), self._device)
        self._front_end = FrontEnd().to(self._device)

    def analyse(self, excerpts: Excerpts) -> tuple[Analysis, ...]:
        """Mood and theme scores (56,) in 0…1; no vector."""
        _, scores = self.infer(torch.from_numpy(join_windows(excerpts))[None])
        return (Analysis(self.model, scores=scores[0].numpy().astype(np.float32)),)

    def infer(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Audio (n, samples) at 12 kHz → hidden (n, 64) and scores (n, 56), on the CPU."""
        with torch.inference_mode():
            decibels = self._front_end(audio.to(self._device))
            hidden, scores = self._network(decibels.contiguous(memory_format=torch.channels_last))
            return hidden.cpu(), scores.cpu()


def join_windows(excerpts: Excerpts) -> Float32:
    """About 29.1 s out of a track's windows, joined end to end, (n,) float32 at 12 kHz.

    The network looks at 29 s and costs seven times the tagger's six windows, so it runs once, over
    the three windows that spread best. They are decoded already, and two seams in 29 s matter
    less to it than hearing one place only. What is shorter is repeated.
    """
    most = math.ceil(N_SAMPLES / SAMPLE_RATE_HZ / WINDOW_S)
    last = len(excerpts.windows) - 1
    chosen = sorted({round(i * last / (most - 1)) for i in range(most)})
    heard = replace(excerpts, windows=tuple(excerpts.windows[i] for i in chosen))
    return np.resize(heard.at(SAMPLE_RATE_HZ), N_SAMPLES)
