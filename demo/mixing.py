"""From single notes to a finished stereo recording: placing, reverberation, levels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from demo.synthesis import SAMPLE_RATE_HZ, Signal, clock_s, fast_length, low_pass, noise, samples

#: float32, shape (2, n)
Stereo = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Room:
    """A reverberation: its length (time to -60 dB), how dark it is, and its share of the mix."""

    decay_s: float
    damping_hz: float
    level: float
    predelay_s: float = 0.012


CLOSE = Room(decay_s=0.5, damping_hz=6_000, level=0.35)
PARLOUR = Room(decay_s=1.4, damping_hz=4_500, level=0.6)
HALL = Room(decay_s=2.6, damping_hz=4_000, level=0.8)
CATHEDRAL = Room(decay_s=4.2, damping_hz=3_000, level=1.0, predelay_s=0.03)


@lru_cache(maxsize=8)
def _impulse_spectra(room: Room, size: int) -> NDArray[np.complex64]:
    """The room's two impulse responses as spectra, (2, size // 2 + 1)."""
    n = samples(room.decay_s)
    # ln(1000) = 6.91: -60 dB at decay_s.
    fade = np.exp(clock_s(n) * (-6.91 / room.decay_s))
    lead = samples(room.predelay_s)
    out = []
    for ear in (0, 1):
        tail = low_pass(noise(n, np.random.default_rng([ear, n])), room.damping_hz) * fade
        tail /= np.sqrt((tail**2).sum()) + 1e-9
        out.append(np.fft.rfft(np.concatenate([np.zeros(lead, np.float32), tail]), size))
    return np.stack(out).astype(np.complex64)


class Mix:
    """A stereo recording of a given length on which notes are laid."""

    def __init__(self, seconds: float) -> None:
        self._dry = np.zeros((2, samples(seconds)), dtype=np.float32)
        self._send = np.zeros(self._dry.shape[1], dtype=np.float32)

    def add(
        self, signal: Signal, at_s: float, gain: float = 1.0, pan: float = 0.0, wet: float = 0.3
    ) -> None:
        """Lays a mono signal at a time; what runs past the end is cut.

        pan: -1 left .. 1 right, of constant power. wet: how much of it goes to the room.
        """
        start = max(0, round(at_s * SAMPLE_RATE_HZ))
        part = signal[: max(0, self._dry.shape[1] - start)]
        stop = start + len(part)
        angle = (pan + 1) * np.pi / 4
        self._dry[0, start:stop] += part * (gain * np.cos(angle))
        self._dry[1, start:stop] += part * (gain * np.sin(angle))
        if wet:
            self._send[start:stop] += part * (gain * wet)

    def duck(self, gains: Signal) -> None:
        """Multiplies everything laid so far by a gain a sample: the pumping of dance music."""
        self._dry *= gains
        self._send *= gains

    def finish(
        self,
        room: Room | None,
        *,
        rms: float = 0.13,
        fade_in_s: float = 0.01,
        fade_out_s: float = 1.5,
    ) -> Stereo:
        """The finished recording, (2, n) float32 within -0.98..0.98.

        rms: the level aimed at (1 is full scale); peaks above are rounded off, not cut.
        """
        out: Stereo = self._dry
        if room is not None:
            n = out.shape[1]
            size = fast_length(n + samples(room.decay_s + room.predelay_s))
            spectrum = np.fft.rfft(self._send, size)
            echo = np.fft.irfft(_impulse_spectra(room, size) * spectrum, size)
            out = out + room.level * echo[:, :n].astype(np.float32)
        out = out * (rms / (float(np.sqrt(np.mean(out**2))) + 1e-9))
        out = 0.98 * np.tanh(out)
        for length, edge in ((fade_in_s, slice(None)), (fade_out_s, slice(None, None, -1))):
            k = min(samples(length), out.shape[1])
            out[:, edge][:, :k] *= np.sin(np.linspace(0, np.pi / 2, k, dtype=np.float32))
        return out.astype(np.float32)
