"""What may happen to a recording and must not change what it sounds like, done to spectrograms.

Gain, frequency response, band limits, noise floor and fades are products and sums of power in mel
bands, so no sample is needed. What is not (codecs, rooms, speed) is in the bank's copies.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from embedder.models.efficientat import N_MELS, TOP_HZ
from training.preparation import FRAMES_PER_S

#: Points of the random frequency response, equally spaced in mel.
_POINTS: Final = 10
_TEN_OVER_LN10: Final = 4.342944819


def power(mel: Tensor) -> Tensor:
    """The front end's log-mel → power in each band, never below zero."""
    return (torch.exp(5 * mel - 4.5) - 1e-5).clamp(min=0)


def log_mel(power_: Tensor) -> Tensor:
    """Power in mel bands → the front end's log-mel."""
    return (torch.log(power_ + 1e-5) + 4.5) / 5


def band_hz() -> Tensor:
    """(128,) the middle of each mel band in Hz."""
    top = 1127 * torch.log1p(torch.tensor(TOP_HZ / 700))
    return 700 * torch.expm1((torch.arange(N_MELS) + 1) * top / (N_MELS + 1) / 1127)


class Damage:
    """Random damage, drawn from a generator of its own."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self._hz = band_hz()

    def uniform(self, n: int, low: float, high: float) -> Tensor:
        """(n,) float32, uniform."""
        return low + (high - low) * torch.rand(n, generator=self._generator)

    def chosen(self, n: int, probability: float) -> Tensor:
        """(n,) bool, true with a probability."""
        return torch.rand(n, generator=self._generator) < probability

    def __call__(self, power_: Tensor) -> Tensor:
        """Power (n, 1, 128, frames) → the log-mel of each, damaged in its own way."""
        n, frames = len(power_), power_.shape[3]
        level = power_.mean((1, 2, 3))
        decibels = self._response(n)[:, :, None] + self._fade(n, frames)[:, None, :]
        decibels = decibels + self.uniform(n, -14, 6)[:, None, None]
        heard = power_ * torch.exp(decibels / _TEN_OVER_LN10)[:, None]
        # Hiss grows with the width of a band; it is there whatever the music does.
        hiss = level * torch.exp(-self.uniform(n, 15, 60) / _TEN_OVER_LN10)
        hiss = hiss * self.chosen(n, 0.3)
        slope = self._hz / self._hz.mean()
        heard = heard + hiss[:, None, None, None] * slope[:, None]
        return self._masked(log_mel(heard))

    def _response(self, n: int) -> Tensor:
        """(n, 128) dB: a tilt and bumps, a low-pass where encoders have it, a high-pass."""
        bumps = 2.0 * torch.randn(n, _POINTS, generator=self._generator)
        curve = bumps + self.uniform(n, -6, 6)[:, None] * torch.linspace(-1, 1, _POINTS)
        curve = curve * self.chosen(n, 0.75)[:, None]
        decibels = torch.nn.functional.interpolate(
            curve[:, None], N_MELS, mode="linear", align_corners=True
        )[:, 0]
        cut_hz = 4_500 * 3.5 ** self.uniform(n, 0, 1)
        cut_hz = torch.where(self.chosen(n, 0.45), cut_hz, torch.tensor(1e9))[:, None]
        decibels = decibels - ((self._hz - cut_hz) / 8).clamp(0, 100)
        floor_hz = torch.where(self.chosen(n, 0.15), self.uniform(n, 30, 160), torch.tensor(0.0))
        return decibels - ((floor_hz[:, None] - self._hz) / 5).clamp(0, 24)

    def _fade(self, n: int, frames: int) -> Tensor:
        """(n, frames) dB: a line from a random start to a random end, for some."""
        ramp = torch.linspace(0, 1, frames)
        first, last = self.uniform(n, -12, 0)[:, None], self.uniform(n, -12, 0)[:, None]
        return torch.lerp(first, last, ramp) * self.chosen(n, 0.15)[:, None]

    def _masked(self, mel: Tensor) -> Tensor:
        """A band and a moment of some are silenced (SpecAugment, Park et al. 2019)."""
        n, frames = len(mel), mel.shape[3]
        band = _stripe(
            self.uniform(n, 0, N_MELS - 16), self.uniform(n, 2, 16) * self.chosen(n, 0.2), N_MELS
        )
        moment = _stripe(
            self.uniform(n, 0, frames),
            self.uniform(n, 5, 0.6 * FRAMES_PER_S) * self.chosen(n, 0.2),
            frames,
        )
        silent = band[:, None, :, None] | moment[:, None, None, :]
        return torch.where(silent, mel.mean((1, 2, 3), keepdim=True), mel)


def _stripe(first: Tensor, width: Tensor, size: int) -> Tensor:
    """(n, size) bool: true from `first` for `width`."""
    place = torch.arange(size)
    return (place >= first[:, None]) & (place < (first + width)[:, None])
