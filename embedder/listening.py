"""One file's way through the job: read, recognise, decode, analyse. Runs in a worker."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from catalog.tracks import Analysis, FileFacts, Tags
from embedder.decoding import AudioFile
from embedder.errors import DecodingError, SourceError
from embedder.models.registry import Analyser
from embedder.tagging import read_tags

#: What the system says when not the file but the whole mount is in trouble.
_LOST_MOUNT: Final = frozenset(
    {errno.EIO, errno.ENOTCONN, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.EHOSTDOWN}
)


@dataclass(frozen=True, slots=True)
class Heard:
    """A file that was read. `analyses` is empty when its content was recognised."""

    content_key: str
    duration_s: float
    tags: Tags
    analyses: tuple[Analysis, ...]
    bytes_read: int
    reads: int


def listen(
    root: Path,
    file: FileFacts,
    analysers: Sequence[Analyser],
    recognise: Callable[[str], bool],
) -> Heard:
    """Read a file and let every model hear it, unless `recognise(content_key)` knows it.

    Raises:
        DecodingError: the file gives no audio.
        SourceError: the mount below it went away.
    """
    path = root / file.path
    try:
        with AudioFile(path) as audio:
            fetched = audio.fetch()
            if recognise(fetched.content_key):
                analyses: tuple[Analysis, ...] = ()
            else:
                excerpts = fetched.decode()
                analyses = tuple(analyser.analyse(excerpts) for analyser in analysers)
            tags = read_tags(path, audio.tag_file())
            bytes_read, reads = audio.bytes_read, audio.reads
    except DecodingError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _LOST_MOUNT:
            raise SourceError(
                f"{path} cannot be read ({cause.strerror}): the music folder is in trouble; all"
                " finished work is kept, run again when it is back"
            ) from error
        raise
    return Heard(fetched.content_key, fetched.duration_s, tags, analyses, bytes_read, reads)
