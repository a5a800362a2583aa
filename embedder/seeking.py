"""Finding a window's bytes in few reads, where FFmpeg's own seeking would jump 50 times.

FLAC and Ogg say in every frame or page which sample it holds (`embedder.marks`); MP3 is computed,
or told by a table (`embedder.mpeg`); MP4 has an index, which FFmpeg reads.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from av.packet import Packet

from embedder.flac import FlacSeeker
from embedder.framing import id3v2_bytes
from embedder.mp3 import Mp3Seeker
from embedder.mp4 import Mp4Seeker
from embedder.ogg import OggSeeker
from embedder.reading import CachedFile, View


class Seeker(Protocol):
    """A container whose windows we find ourselves."""

    #: FFmpeg's name of the format.
    form: str
    #: Whether FFmpeg can seek in `view` itself.
    whole_view: bool
    #: How much earlier than a window decoding must begin.
    preroll_s: float
    #: How long the compressed audio is, whatever tags there are.
    payload_bytes: int

    def view(self) -> View:
        """The file as FFmpeg is to see it: the audio, without covers and tags around it."""
        ...

    def duration_s(self, probes: int) -> float | None:
        """The track's length where FFmpeg would have to guess it, else None.

        `probes`: from how many stretches of audio, those where as many windows lie.
        """
        ...

    def tags(self) -> bytes | None:
        """A small file of the same kind with all text tags; None: read the file itself."""
        ...

    def packets(self, first_s: float, end_s: float) -> list[Packet[Any]] | None:
        """The packets of first_s … end_s, in FFmpeg's time; None where they are not found."""
        ...


#: How files begin that are no MP3: RIFF, RF64, AIFF, Matroska, ASF, Monkey's Audio, WavPack, TTA,
#: CAF, DSF, AU, Musepack.
_OTHERS: Final = (
    b"RIFF", b"RF64", b"FORM", b"\x1aE\xdf\xa3", b"0&\xb2u", b"MAC ", b"wvPk", b"TTA1",
    b"caff", b"DSD ", b".snd", b"MPCK", b"MP+",
)  # fmt: skip


def open_seeker(file: CachedFile) -> Seeker | None:
    """The seeker for what a file holds, whatever its name says; None leaves it to FFmpeg."""
    start = 0
    while tag := id3v2_bytes(file.read_at(start, 10)):
        start += tag
    magic = file.read_at(start, 4)
    if magic == b"fLaC":
        return FlacSeeker.open(file, start)
    if magic == b"OggS":
        return OggSeeker.open(file, start)
    if file.read_at(start + 4, 4) == b"ftyp":
        return Mp4Seeker.open(file) if start == 0 else None
    # Samples and pictures may hold what looks like the frames of an MP3.
    if magic.startswith(_OTHERS):
        return None
    return Mp3Seeker.open(file, start)
