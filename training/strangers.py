"""Sounds that are no music, so that a student learns to put them far from all of it.

Near-silence, hiss, noise of many colours and bands, tones and hum: what a library holds by mistake
(a blank side, a test tone, rain for sleeping). A teacher of AudioSet has heard little of it, and
puts noise beside ambient music.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.copies import RATE_HZ
from training.preparation import FRAMES_PER_S, spectrogram
from training.teachers import Teacher

Samples = NDArray[np.floating[Any]]

#: So many are made, in turns of each kind.
COUNT: Final = 96
_LENGTH_S: Final = 12.0


@dataclass(frozen=True, slots=True)
class Strangers:
    """Their spectrograms (n, frames, 128) float32, and the teacher's tag logits (n, 527)."""

    mel: Tensor
    tags: Tensor

    @classmethod
    def made(cls, teacher: Teacher, window_s: float, seed: int) -> Strangers:
        """`COUNT` of them, heard by the teacher in windows of a length."""
        mel = _spectrograms(seed)
        first = mel[:, : round(window_s * FRAMES_PER_S)].transpose(1, 2).unsqueeze(1)
        tags = torch.cat([teacher(part, low=False).tags for part in torch.split(first, 16)])
        return cls(mel, tags)

    def draw(self, n: int, window_s: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Windows (n, 1, 128, frames) of some, from anywhere in them; and their tags (n, 527)."""
        frames = round(window_s * FRAMES_PER_S)
        row = torch.randint(len(self.mel), (n,), generator=generator)
        first = torch.randint(self.mel.shape[1] - frames + 1, (n,), generator=generator)
        index = first[:, None] + torch.arange(frames)
        mel = self.mel[row[:, None], index]  # (n, frames, 128)
        return mel.transpose(1, 2).unsqueeze(1), self.tags[row]


@cache
def _spectrograms(seed: int) -> Tensor:
    draw = np.random.default_rng([seed, 5])
    sounds = (sound(KINDS[i % len(KINDS)], draw) for i in range(COUNT))
    return torch.stack([torch.from_numpy(spectrogram(one)) for one in sounds]).float()


KINDS: Final = ("silence", "coloured", "coloured", "band", "swell", "tone", "hum", "chirp")


def sound(kind: str, draw: np.random.Generator) -> NDArray[np.float32]:
    """A sound of a kind (n,) at 32 kHz, at a level between -40 and 0 dB of full scale."""
    n = int(_LENGTH_S * RATE_HZ)
    time_s = np.arange(n) / RATE_HZ
    noise = draw.standard_normal(n)
    match kind:
        case "silence":
            return np.asarray(10 ** draw.uniform(-6, -3.5) * noise, np.float32)
        case "coloured":
            slope = draw.uniform(-0.2, 1.1)
            heard = _shaped(noise, lambda hz: np.maximum(hz, 20.0) ** -slope)
        case "band":
            middle_hz, width = 10 ** draw.uniform(2, 3.9), draw.uniform(0.2, 1.5)
            heard = _shaped(
                noise, lambda hz: np.exp(-((np.log2(np.maximum(hz, 1.0) / middle_hz) / width) ** 2))
            )
        case "swell":  # wind, surf
            slow = np.interp(time_s, np.arange(0, 13, 2.0), draw.uniform(0.1, 1, 7))
            heard = slow * _shaped(noise, lambda hz: np.maximum(hz, 20.0) ** -0.5)
        case "tone":
            heard = np.sin(2 * np.pi * 10 ** draw.uniform(1.7, 3.9) * time_s)
        case "hum":
            base_hz = draw.choice([50.0, 60.0, 100.0, 120.0])
            heard = (
                sum(
                    draw.uniform(0, 1) * np.sin(2 * np.pi * base_hz * k * time_s) / k
                    for k in range(1, 9)
                )
                + 10 ** draw.uniform(-3, -1) * noise
            )
        case _:  # a sweep of test equipment
            low_hz, high_hz = np.sort(10 ** draw.uniform(1.7, 3.9, 2))
            heard = np.sin(2 * np.pi * np.cumsum(np.geomspace(low_hz, high_hz, n)) / RATE_HZ)
    level = 10 ** draw.uniform(-2, 0)
    return np.asarray(level * heard / np.abs(heard).max(), np.float32)


def _shaped(noise: Samples, gain: Callable[[Samples], Samples]) -> Samples:
    """White noise (n,) with a gain at each frequency in Hz."""
    hz = np.fft.rfftfreq(len(noise), 1 / RATE_HZ)
    return np.asarray(np.fft.irfft(np.fft.rfft(noise) * gain(hz), len(noise)))
