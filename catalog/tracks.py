"""The values that the rooms hand each other: a file's facts, its tags, its analyses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tags:
    """What the file says of itself. Absent text is "", absent numbers are None."""

    title: str = ""
    artist: str = ""
    album: str = ""
    album_artist: str = ""
    genres: tuple[str, ...] = ()
    year: int | None = None
    track_number: int | None = None
    disc_number: int | None = None
    musicbrainz_recording_id: str = ""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file below its music root: `path` has POSIX separators and is `os.fsdecode`d."""

    path: str
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class KnownFile:
    """What the library remembers of a file: enough to tell whether it changed."""

    track_id: int
    size_bytes: int
    mtime_ns: int
    content_key: str


@dataclass(frozen=True, slots=True)
class Track:
    """One audio file, known by its path below the music root and its content key."""

    track_id: int
    root_id: int
    file: FileFacts
    content_key: str
    duration_s: float
    tags: Tags


@dataclass(frozen=True, slots=True)
class Model:
    """The identity of a vector space. Results of different versions never mix.

    `dim` 0 means that the model gives no vector; empty `labels` that it gives no scores.
    """

    name: str
    version: str
    dim: int = 0
    labels: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """Name and version in one word, "name=version"."""
        return f"{self.name}={self.version}"


@dataclass(frozen=True, slots=True)
class Analysis:
    """What one model says of one track: a raw vector (dim,) and scores (n_labels,) in 0…1."""

    model: Model
    vector: Float32 | None = None
    scores: Float32 | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be analysed; `reason` is a stable slug, `detail` is for people."""

    root_id: int
    path: str
    size_bytes: int
    mtime_ns: int
    reason: str
    detail: str
    at_s: float


@dataclass(frozen=True, slots=True)
class RunReport:
    """One run of the embedding job, in tracks, seconds, bytes and reads (round trips).

    `audio_s` is the playing time of what was heard; `error` is "" where all was done. `gone` tracks
    are known but their files were absent or gave no audio; `forgotten` ones were so too often.
    """

    embedded: int = 0
    moved: int = 0
    skipped: int = 0
    unchanged: int = 0
    seconds: float = 0.0
    bytes_read: int = 0
    model: str = ""
    error: str = ""
    reads: int = 0
    copied: int = 0
    audio_s: float = 0.0
    model_version: str = ""
    gone: int = 0
    forgotten: int = 0


@dataclass(frozen=True, slots=True)
class Song:
    """What the server calls a track, with the server's own values (they gate, not ours).

    `path` is only as true as `path_is_true` says: Navidrome invents `Child.path` from tags.
    `folder_id` is the music folder (library) as the Subsonic API numbers it, "" when unknown.
    """

    song_id: str
    path: str = ""
    path_is_true: bool = False
    root: str = ""
    folder_id: str = ""
    size_bytes: int = 0
    duration_s: float = 0.0
    title: str = ""
    artist: str = ""
    album: str = ""
    album_id: str = ""
    artist_ids: tuple[str, ...] = ()
    genres: tuple[str, ...] = ()
    year: int = 0
