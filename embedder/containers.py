"""Opening a container with FFmpeg: music's own only, and nothing but the file that it is given.

FFmpeg tells a format by what a file holds, whatever its name: a playlist would make it open other
files, a session description (SDP) wait for the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import av
from av.container import InputContainer

from embedder.errors import NOT_AUDIO, DecodingError
from embedder.reading import CachedFile, View

#: FFmpeg's names of the containers that hold music. None of them leads out of its file.
FORMATS: Final = frozenset(
    {
        "aac",
        "ac3",
        "aiff",
        "amr",
        "ape",
        "asf",
        "au",
        "avi",
        "caf",
        "dsf",
        "dts",
        "dtshd",
        "eac3",
        "flac",
        "flv",
        "iff",  # DSDIFF
        "loas",
        "matroska",  # WebM too
        "mlp",
        "mov",  # MP4 too
        "mp3",
        "mpc",
        "mpc8",
        "mpeg",
        "mpegts",
        "nut",
        "ogg",
        "oma",
        "qoa",
        "rm",
        "rso",
        "shn",
        "sox",
        "tak",
        "truehd",
        "tta",
        "voc",
        "vqf",
        "w64",
        "wav",
        "wv",
        "xwma",
    }
)

_CONFINED: Final = {"format_whitelist": ",".join(sorted(FORMATS)), "protocol_whitelist": "none"}

#: Containers of chunks that are a name and a size of four bytes each, in this order, and a body.
_ORDERS: Final[Mapping[bytes, Literal["little", "big"]]] = {b"RIFF": "little", b"FORM": "big"}
_FIRST_CHUNK: Final = 12
#: The chunks that hold the sound.
_SAMPLES: Final = frozenset({b"data", b"SSND"})
_CHUNK_HEAD: Final = 8
_MOST_CHUNKS: Final = 64


def open_container(
    file: CachedFile | View,
    *,
    form: str | None = None,
    buffer_bytes: int,
    options: Mapping[str, str] | None = None,
) -> InputContainer:
    """Open a file as FFmpeg's `form`, or as what FFmpeg takes it for.

    Raises:
        DecodingError: it is of a kind that holds no music of its own.
        av.error.FFmpegError: FFmpeg makes nothing of it.
    """
    try:
        return av.open(
            file,
            mode="r",
            format=form,
            buffer_size=buffer_bytes,
            metadata_errors="replace",
            container_options={**(options or {}), **_CONFINED},
        )
    except av.error.ArgumentError as error:  # what FFmpeg says of a format that is not listed
        raise DecodingError(NOT_AUDIO, "it is in no format of music, or broken") from error


def without_padding(file: CachedFile) -> CachedFile | View:
    """A WAV or AIFF without the zeros behind its chunks: FFmpeg would walk through them in steps of
    eight bytes, which are minutes in what an unfinished copy or a full disk has left."""
    order = _ORDERS.get(file.read_at(0, 4))
    at = _FIRST_CHUNK
    for _ in range(_MOST_CHUNKS if order else 0):
        head = file.read_at(at, _CHUNK_HEAD)
        if len(head) < _CHUNK_HEAD:
            break
        if not any(head):
            return View(file, [(0, at)])
        size = int.from_bytes(head[4:], order or "little")
        if not size and head[:4] in _SAMPLES:
            break  # a recorder that was cut off: what follows is its sound, and may begin silent
        at += _CHUNK_HEAD + size + size % 2
    return file
