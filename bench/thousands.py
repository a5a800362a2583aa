"""Ten thousand songs that a server scans in a minute: one second of sound each, all with tags.

Their vectors are those of `bench.synthetic`, so that ranking costs what it costs on real music.
"""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import av
import numpy as np
from mutagen.id3 import ID3, TALB, TCON, TIT2, TPE1, TRCK

from bench.synthetic import synthesise
from catalog.library import Library
from catalog.tracks import FileFacts, Tags

SONGS_AN_ALBUM = 12
ALBUMS_AN_ARTIST = 4
GENRES = ("Rock", "Jazz", "Electronic", "Classical", "Folk", "Metal", "Ambient", "Pop")


def fill(music: Path, data: Path, count: int) -> None:
    """Write `count` files below `music`, and a library and a snapshot of them in `data`."""
    sound = _one_second(music)
    with Library.open(data) as library:
        root = library.root_id(music.resolve())
        for number in range(count):
            album, artist = number // SONGS_AN_ALBUM, number // SONGS_AN_ALBUM // ALBUMS_AN_ARTIST
            track = number % SONGS_AN_ALBUM + 1
            genre = GENRES[artist % len(GENRES)]
            tags = Tags(
                title=f"Song {number}",
                artist=f"Artist {artist}",
                album=f"Album {album}",
                album_artist=f"Artist {artist}",
                genres=(genre,),
                track_number=track,
            )
            path = music / tags.artist / tags.album / f"{track:02}.mp3"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_tagged(tags) + sound)
            state = path.stat()
            facts = FileFacts(os.fspath(path.relative_to(music)), state.st_size, state.st_mtime_ns)
            library.store(root, facts, f"content {number}", 1.0, tags, [])
        first = min(track.track_id for track in library.tracks())
    synthesise(data, count, first_track_id=first)


def _one_second(folder: Path) -> bytes:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.parent / "second.mp3"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mp3", rate=22_050, options={"b": "32k"})
        noise = np.random.default_rng(1).normal(0, 0.1, (1, 22_050)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
        frame.rate = 22_050
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def _tagged(tags: Tags) -> bytes:
    """An ID3v2.4 header alone."""
    header = ID3()  # type: ignore[no-untyped-call]
    for frame in (TIT2, TPE1, TALB, TCON, TRCK):
        text = {
            TIT2: tags.title, TPE1: tags.artist, TALB: tags.album,
            TCON: tags.genres[0], TRCK: str(tags.track_number),
        }[frame]  # fmt: skip
        header.add(frame(encoding=3, text=text))  # type: ignore[no-untyped-call]
    buffer = BytesIO()
    header.save(buffer, padding=lambda _: 0)
    return buffer.getvalue()
