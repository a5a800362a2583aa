"""How a file is encoded, told by its first bytes and never by its name.

For choosing among files of one recording: whether it loses anything, how many channels it has,
what its bits are worth, and whether its name fits. One read of a file, more for MP4 alone.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from embedder.framing import id3v2_bytes

#: What a bit of a codec is worth beside one of MP3's; of all others it is worth the same.
WORTH: Final[Mapping[str, float]] = {"opus": 1.6, "aac": 1.25, "vorbis": 1.25}

_HEAD_BYTES: Final = 4096
_OGG_HEADER_BYTES: Final = 27
_WAVPACK_HZ: Final = (
    6000, 8000, 9600, 11_025, 12_000, 16_000, 22_050, 24_000,
    32_000, 44_100, 48_000, 64_000, 88_200, 96_000, 192_000,
)  # fmt: skip
_PCM: Final = frozenset({1, 3, 0xFFFE})
#: Bits 1-2 of the second byte of an MPEG frame: 0 is ADTS, which carries AAC.
_LAYER: Final = 0x06


@dataclass(frozen=True, slots=True)
class Encoding:
    """`codec` is a short name, `channels` 1 and more, `suffixes` how such files are called.

    `exact_bits_per_s` is what a lossless file gives when it is decoded, 0 for lossy ones: how small
    an encoder made it says nothing of how good it is.
    """

    codec: str
    channels: int
    suffixes: frozenset[str]
    exact_bits_per_s: int = 0

    @property
    def lossless(self) -> bool:
        """Whether its format loses nothing."""
        return self.exact_bits_per_s > 0

    @property
    def packed(self) -> bool:
        """Whether it takes less room than its samples."""
        return self.codec not in {"wav", "aiff"}

    def fits(self, path: Path) -> bool:
        """Whether the file is called after what it is."""
        return path.suffix.lower() in self.suffixes


def encoding_of(path: Path) -> Encoding | None:
    """What a file is by its content; None where it cannot be read or is nothing known here."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            if skipped := id3v2_bytes(head):
                file.seek(skipped)
                head = file.read(_HEAD_BYTES)
            return _tell(head, path)
    except (OSError, ValueError, IndexError, struct.error):
        return None


def _tell(head: bytes, path: Path) -> Encoding | None:
    for magic, tell in _BY_MAGIC.items():
        if head.startswith(magic):
            return tell(head)
    if head[4:8] == b"ftyp":
        return _mp4(path)
    if head.startswith(b"FORM") and head[8:12] in {b"AIFF", b"AIFC"}:
        return _aiff(head)
    if len(head) > 3 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return _mpeg(head)
    return None


def _flac(head: bytes, start: int = 8) -> Encoding:
    if len(head) < start + 18:
        raise ValueError("it ends within STREAMINFO")
    packed = int.from_bytes(head[start + 10 : start + 18], "big")
    channels = (packed >> 41 & 7) + 1
    exact = (packed >> 44) * ((packed >> 36 & 31) + 1) * channels
    return Encoding("flac", channels, frozenset({".flac"}), exact)


def _wav(head: bytes) -> Encoding | None:
    at = head.find(b"fmt ", 12)
    if head[8:12] != b"WAVE" or at < 0:
        return None
    kind, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", head, at + 8)
    exact = rate_hz * bits * max(channels, 1) if kind in _PCM else 0
    return Encoding("wav", max(channels, 1), frozenset({".wav"}), exact)


def _aiff(head: bytes) -> Encoding:
    at = head.index(b"COMM", 12)
    channels, _, bits, exponent, mantissa = struct.unpack_from(">HIHHQ", head, at + 8)
    rate_hz = mantissa >> 16446 - exponent if 16446 > exponent > 16382 else 0  # 80-bit float
    exact = rate_hz * bits * max(channels, 1) or 1
    return Encoding("aiff", max(channels, 1), frozenset({".aif", ".aiff", ".aifc"}), exact)


def _ogg(head: bytes) -> Encoding | None:
    at = _OGG_HEADER_BYTES + head[_OGG_HEADER_BYTES - 1]
    packet = head[at:]
    if packet.startswith(b"OpusHead"):
        return Encoding("opus", packet[9], frozenset({".opus", ".ogg", ".oga"}))
    if packet.startswith(b"\x01vorbis"):
        return Encoding("vorbis", packet[11], frozenset({".ogg", ".oga"}))
    if packet.startswith(b"\x7fFLAC"):
        told = _flac(packet, 17)
        return replace(told, suffixes=frozenset({".oga", ".ogg"}))
    return None


def _wavpack(head: bytes) -> Encoding:
    (flags,) = struct.unpack_from("<I", head, 24)
    channels = 1 if flags & 4 else 2
    rates = (*_WAVPACK_HZ, 0)  # another rate is told further on
    exact = (rates[flags >> 23 & 15] or 44_100) * 8 * ((flags & 3) + 1) * channels
    return Encoding("wavpack", channels, frozenset({".wv"}), 0 if flags & 8 else exact)


def _tta(head: bytes) -> Encoding:
    channels, bits, rate_hz = struct.unpack_from("<HHI", head, 6)
    exact = rate_hz * bits * max(channels, 1) or 1
    return Encoding("tta", max(channels, 1), frozenset({".tta"}), exact)


def _mpeg(head: bytes) -> Encoding | None:
    if head[1] & _LAYER == 0:
        channels = (head[2] & 1) << 2 | head[3] >> 6
        return Encoding("aac", channels or 2, frozenset({".aac"}))
    mono = head[3] >> 6 == 3
    return Encoding("mpeg", 1 if mono else 2, frozenset({".mp3", ".mp2"}))


def _mp4(path: Path) -> Encoding | None:
    try:
        from mutagen.mp4 import MP4

        info: Any = MP4(path).info  # type: ignore[no-untyped-call]  # mutagen is untyped
        alac, channels = info.codec == "alac", int(info.channels) or 2
        exact = int(info.sample_rate * info.bits_per_sample) * channels or 1
    except Exception:  # mutagen raises whatever a broken file makes it stumble over
        return None
    return Encoding(
        "alac" if alac else "aac",
        channels,
        frozenset({".m4a", ".mp4", ".m4b", ".alac"}),
        exact if alac else 0,
    )


_BY_MAGIC: Final[Mapping[bytes, Callable[[bytes], Encoding | None]]] = {
    b"fLaC": _flac,
    b"RIFF": _wav,
    b"OggS": _ogg,
    b"wvpk": _wavpack,
    b"TTA1": _tta,
}
