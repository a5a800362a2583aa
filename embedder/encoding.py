"""How a file is encoded, told by its first bytes and never by its name.

For choosing among files of one recording: whether it loses anything, how many channels it has,
what its bits are worth, and whether its name fits. One read of a file, more for MP4 alone.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from embedder.framing import id3v2_bytes

#: What a bit of a codec is worth beside one of MP3's; of all others it is worth the same.
WORTH: Final[Mapping[str, float]] = {"opus": 1.6, "aac": 1.25, "vorbis": 1.25}

_HEAD_BYTES: Final = 4096
_OGG_HEADER_BYTES: Final = 27
_PCM: Final = frozenset({1, 3, 0xFFFE})
#: Bits 1-2 of the second byte of an MPEG frame: 0 is ADTS, which carries AAC.
_LAYER: Final = 0x06


@dataclass(frozen=True, slots=True)
class Encoding:
    """`codec` is a short name, `channels` 1 and more, `suffixes` how such files are called."""

    codec: str
    channels: int
    suffixes: frozenset[str]
    lossless: bool = False

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
    return Encoding("flac", (packed >> 41 & 7) + 1, frozenset({".flac"}), lossless=True)


def _wav(head: bytes) -> Encoding | None:
    at = head.find(b"fmt ", 12)
    if head[8:12] != b"WAVE" or at < 0:
        return None
    kind, channels = struct.unpack_from("<HH", head, at + 8)
    return Encoding("wav", max(channels, 1), frozenset({".wav"}), lossless=kind in _PCM)


def _aiff(head: bytes) -> Encoding:
    at = head.index(b"COMM", 12)
    (channels,) = struct.unpack_from(">H", head, at + 8)
    return Encoding("aiff", max(channels, 1), frozenset({".aif", ".aiff", ".aifc"}), lossless=True)


def _ogg(head: bytes) -> Encoding | None:
    at = _OGG_HEADER_BYTES + head[_OGG_HEADER_BYTES - 1]
    packet = head[at:]
    if packet.startswith(b"OpusHead"):
        return Encoding("opus", packet[9], frozenset({".opus", ".ogg", ".oga"}))
    if packet.startswith(b"\x01vorbis"):
        return Encoding("vorbis", packet[11], frozenset({".ogg", ".oga"}))
    if packet.startswith(b"\x7fFLAC"):
        told = _flac(packet, 17)
        return Encoding("flac", told.channels, frozenset({".oga", ".ogg"}), lossless=True)
    return None


def _wavpack(head: bytes) -> Encoding:
    (flags,) = struct.unpack_from("<I", head, 24)
    channels = 1 if flags & 4 else 2
    return Encoding("wavpack", channels, frozenset({".wv"}), lossless=not flags & 8)


def _tta(head: bytes) -> Encoding:
    (channels,) = struct.unpack_from("<H", head, 6)
    return Encoding("tta", max(channels, 1), frozenset({".tta"}), lossless=True)


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
    except Exception:  # mutagen raises whatever a broken file makes it stumble over
        return None
    return Encoding(
        "alac" if alac else "aac",
        channels,
        frozenset({".m4a", ".mp4", ".m4b", ".alac"}),
        lossless=alac,
    )


_BY_MAGIC: Final[Mapping[bytes, Callable[[bytes], Encoding | None]]] = {
    b"fLaC": _flac,
    b"RIFF": _wav,
    b"OggS": _ogg,
    b"wvpk": _wavpack,
    b"TTA1": _tta,
}
