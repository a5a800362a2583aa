"""A library with known structure, of any size: styles, artists, albums, versions, seasons, hubs.

Vectors have the spectrum and the clusters of real ones: the variances of `efficientat-mn04` over
468 pieces fall as (1 + i / 8)^-1.9 (of the first, at 10, 40 and 160: .22, .039 and .003, here .27,
.042 and .004). They go through `embedder.derivation` and `catalog.snapshot` as
real ones do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.kinds import SEASONAL
from catalog.snapshot import Snapshot, SnapshotArrays, TagGroup, open_snapshot, write_snapshot
from catalog.tracks import Model
from embedder.derivation import centre, coarse, hubness, normal_scores, profiles, unit, whiten

DIM: Final = 512
TAGS: Final = 60
TRACKS_PER_STYLE: Final = 150
TRACKS_PER_ARTIST: Final = 12
STYLES_PER_GENRE: Final = 4

_BLOCK: Final = 8192


@dataclass(frozen=True, slots=True)
class Synthetic:
    """A snapshot and what is true of it: `style` (n,) int32, `judge` (n, 64) unit rows.

    The judge hears the same music with other ears: another projection, other noise.
    """

    snapshot: Snapshot
    style: NDArray[np.int32]
    judge: NDArray[np.float32]


def synthesise(folder: Path, n: int, seed: int = 1, *, first_track_id: int = 0) -> Synthetic:
    """Publish a library of `n` tracks below `folder`; equal arguments, equal library."""
    random = np.random.default_rng(seed)
    deviation = ((1 + np.arange(1, DIM + 1) / 8) ** -0.95).astype(np.float32)
    styles = max(n // TRACKS_PER_STYLE, 8)
    artists = max(n // TRACKS_PER_ARTIST, 8)
    style_of_artist = random.integers(0, styles, artists)
    # By variance a third of what tells tracks apart is style, an eighth the artist, the rest own.
    centres = random.standard_normal((styles, DIM), np.float32)
    manners = random.standard_normal((artists, DIM), np.float32)
    artist = random.integers(0, artists, n)
    elsewhere = random.random(n) < 0.1  # songs in a style that is not their artist's
    style = np.where(elsewhere, random.integers(0, styles, n), style_of_artist[artist])
    turn = random.standard_normal((DIM, 64), np.float32) / np.float32(np.sqrt(DIM))
    tagging = random.standard_normal((DIM, TAGS), np.float32) / np.float32(np.sqrt(DIM))
    raw = np.empty((n, DIM), np.float32)
    heard = np.empty((n, 64), np.float32)
    tags = np.empty((n, TAGS), np.float32)
    hub = random.random(n) < 0.005  # little of their own: near the middle, so near everything
    for at in range(0, n, _BLOCK):
        part = slice(at, min(at + _BLOCK, n))
        own = random.standard_normal((part.stop - at, DIM), np.float32)
        music = 0.6 * centres[style[part]] + 0.35 * manners[artist[part]] + 0.75 * own
        music *= np.where(hub[part], 0.3, 1.0)[:, np.newaxis].astype(np.float32)
        raw[part] = music * deviation + 0.5
        noise = random.standard_normal((part.stop - at, 64), np.float32)
        heard[part] = (music * np.sqrt(deviation)) @ turn + 0.1 * noise
        more = random.standard_normal((part.stop - at, TAGS), np.float32)
        tags[part] = (music * np.sqrt(deviation)) @ tagging + 0.1 * more
    vectors = whiten(centre(raw))
    versions = random.random(n) < 0.02
    recording = np.arange(n, dtype=np.int32)
    recording[1:][versions[1:]] = recording[:-1][versions[1:]]
    vectors[1:][versions[1:]] = vectors[:-1][versions[1:]]
    moods = TagGroup(tuple(f"tag {i}" for i in range(TAGS)), normal_scores(tags).astype(np.float16))
    profile = profiles([moods], n)
    names = [""] * n
    write_snapshot(
        folder,
        SnapshotArrays(
            model=Model("synthetic", "1", DIM),
            vectors=vectors,
            track_ids=np.arange(first_track_id, first_track_id + n, dtype=np.int64),
            artist=artist.astype(np.int32),
            album=(artist * 100 + random.integers(0, 2, n)).astype(np.int32),
            recording=recording,
            duration_s=random.uniform(120, 300, n).astype(np.float32),
            year=np.zeros(n, np.int16),
            text=dict.fromkeys(("path", "title", "artist", "album"), names),
            tag_groups={"moods": moods},
            hub=hubness(vectors),
            profile=profile,
            coarse=coarse(vectors, profile),
            genres=_genres(style, random),
            kind=np.where(random.random(n) < 0.01, SEASONAL, 0).astype(np.uint8),
        ),
    )
    snapshot = open_snapshot(folder)
    if snapshot is None:
        raise RuntimeError("nothing was published")
    return Synthetic(snapshot, style.astype(np.int32), unit(heard - heard.mean(0)))


def _genres(style: NDArray[np.int_], random: np.random.Generator) -> NDArray[np.int32]:
    """What files say: four styles to a genre, a third of the files wrong or silent, one for all."""
    found = np.full((len(style), 3), -1, np.int32)
    told = style // STYLES_PER_GENRE + 1
    other = random.integers(1, max(int(told.max(initial=1)), 1) + 1, len(style))
    found[:, 0] = np.where(random.random(len(style)) < 0.2, other, told)
    found[random.random(len(style)) < 0.15, 0] = -1
    found[random.random(len(style)) < 0.3, 1] = 0
    return found
