"""The composed library on disk: encoded, tagged, kept under a name that follows the composer."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import av
import mutagen
import numpy as np

from demo.mixing import Stereo
from demo.repertoire import Format, Piece, pieces
from demo.synthesis import SAMPLE_RATE_HZ

#: format -> (container, codec, sample format, rate in Hz, bits a second or None where lossless,
#: how hard to try: by far the most of composing would otherwise be encoding)
_ENCODERS: dict[Format, tuple[str, str, str, int, int | None, str]] = {
    "flac": ("flac", "flac", "s16", SAMPLE_RATE_HZ, None, "5"),
    "opus": ("ogg", "libopus", "flt", 48_000, 128_000, "2"),
    "mp3": ("mp3", "libmp3lame", "fltp", SAMPLE_RATE_HZ, 192_000, "7"),
}
#: What decides how the library sounds: a change in any of these composes it anew.
_COMPOSER = (
    "theory", "synthesis", "instruments", "drums", "mixing", "acoustic", "electric", "repertoire",
    "library",
)  # fmt: skip


def composer_version() -> str:
    """Twelve hexadecimal digits that stand for the composer's own source."""
    digest = hashlib.sha256()
    for name in _COMPOSER:
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()[:12]


def compose_library(
    folder: Path,
    *,
    choice: Iterable[Piece] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """The music folder `<folder>/music-<version>`, composed if it is not there yet.

    It is written beside its place and renamed when complete: whoever sees it sees all of it, and
    two who compose at once do not harm each other. Libraries of earlier composers are removed.
    choice: only these pieces (in a folder of the caller's own). progress: called with (done, all).
    """
    music = folder / f"music-{composer_version()}"
    if music.is_dir():
        return music
    folder.mkdir(parents=True, exist_ok=True)
    wanted = list(pieces() if choice is None else choice)
    workshop = Path(tempfile.mkdtemp(prefix=".composing-", dir=folder))
    try:
        # numpy and the encoders let go of the interpreter lock most of the time.
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as workers:
            written = [workers.submit(write_piece, piece, workshop) for piece in wanted]
            for done, future in enumerate(as_completed(written), start=1):
                future.result()
                if progress is not None:
                    progress(done, len(wanted))
        workshop.chmod(0o755)
        try:
            workshop.rename(music)
        except OSError:
            if not music.is_dir():  # someone else was quicker: theirs is the same
                raise
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    for earlier in folder.glob("music-*"):
        if earlier != music:
            shutil.rmtree(earlier, ignore_errors=True)
    return music


def write_piece(piece: Piece, music: Path) -> Path:
    """Composes, encodes and tags one piece below a music folder; the bytes are reproducible."""
    path = music / piece.path
    path.parent.mkdir(parents=True, exist_ok=True)
    encode(piece.compose(), path, piece.format)
    tags = mutagen.File(path, easy=True)
    if tags.tags is None:
        tags.add_tags()
    tags["title"] = piece.title
    tags["artist"] = piece.artist
    tags["albumartist"] = piece.artist
    tags["album"] = piece.album
    tags["genre"] = piece.genre
    tags["date"] = str(piece.year)
    tags["tracknumber"] = str(piece.track_number)
    tags.save()
    return path


def encode(recording: Stereo, path: Path, file_format: Format) -> None:
    """Writes (2, n) float32 at SAMPLE_RATE_HZ as FLAC, Opus or MP3."""
    container_name, codec, sample_format, rate_hz, bit_rate, effort = _ENCODERS[file_format]
    # bitexact: no encoder version, no random stream serial.
    with av.open(
        path, "w", format=container_name, container_options={"fflags": "+bitexact"}
    ) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="stereo")
        assert isinstance(stream, av.AudioStream)  # every codec above is one of audio
        stream.options = {"compression_level": effort}
        stream.format = av.AudioFormat(sample_format)
        if bit_rate is not None:
            stream.bit_rate = bit_rate
        # The encoder resamples and reformats by itself.
        planes = np.ascontiguousarray(recording, dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
        frame.sample_rate = SAMPLE_RATE_HZ
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
