"""Music made ready: spectrograms of each excerpt, clean and damaged, and slow teachers' words.

Training on two cores cannot decode, encode and hear half a minute of moods at every step: what is
slow is done once. A version of an excerpt is the log-mel spectrogram (frames, 128) float16 of the
model's own front end: version 0 as the music came; the others went through a room, a change of
speed or noise, and then really through a codec, every second of them in stereo. Each file is
written whole or not at all, so that a run which was stopped goes on. How it was made stands beside
it: what another split, other codecs or other code would make goes into another folder.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import av
import numpy as np
import torch
from numpy.typing import NDArray

from embedder.models import efficientat
from training.copies import (
    CODECS,
    MOST_S,
    PROBES,
    RATE_HZ,
    Codec,
    damage,
    decode_channels,
    recode,
    resampled,
    usable,
    widen,
)
from training.corpus import Excerpt
from training.errors import CorpusError
from training.files import whole
from training.teachers import slow_lesson, slow_spaces

#: Spectrogram frames a second.
FRAMES_PER_S: Final = RATE_HZ // efficientat.HOP_LENGTH
#: Shorter excerpts are left out.
LEAST_S: Final = 10.0
#: To be raised with every change of what `damage`, `widen` or `recode` give for the same draw.
_REVISION: Final = 1
_MADE_BY: Final = "prepared.json"

Mel = NDArray[np.float16]


def version_path(folder: Path, excerpt: Excerpt, version: int) -> Path:
    """Where a version of an excerpt is: 0 is as it came, the others are damaged."""
    return folder / f"{excerpt.slug}-{version}.npy"


def lesson_path(folder: Path, excerpt: Excerpt) -> Path:
    """Where is kept what the slow teachers said of an excerpt."""
    return folder / f"{excerpt.slug}.npz"


#: What numpy raises for a file that is cut short, or is something else.
_DAMAGED: Final = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile)


def load(path: Path) -> Mel:
    """A prepared spectrogram (frames, 128).

    Raises:
        CorpusError: when it is damaged.
    """
    return _opened(path, None)


def frames_of(path: Path) -> int:
    """How long a prepared spectrogram is, by its header and its size.

    Raises:
        CorpusError: when it is damaged.
    """
    return len(_opened(path, "r"))


def _opened(path: Path, mode: Literal["r"] | None) -> Mel:
    try:
        mel: Mel = np.load(path, mmap_mode=mode, allow_pickle=False)
        if mel.ndim != 2 or mel.shape[1] != efficientat.N_MELS or mel.dtype != np.float16:
            raise ValueError(f"{mel.dtype} {mel.shape}")
    except _DAMAGED as error:
        raise CorpusError(f"{path} is damaged ({error}): `prepare` makes it anew") from error
    return mel


def load_lesson(path: Path) -> dict[str, NDArray[np.float32]]:
    """What the slow teachers said of an excerpt, as `slow_lesson` gave it.

    Raises:
        CorpusError: when it is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            return dict(kept)
    except _DAMAGED as error:
        raise CorpusError(f"{path} is damaged ({error}): `prepare` makes it anew") from error


def _is_whole(path: Path) -> bool:
    try:
        return path.exists() and frames_of(path) > 0
    except CorpusError:
        return False


def _is_told(path: Path, spaces: frozenset[str]) -> bool:
    """Whether all these were asked: weights may have come since."""
    try:
        return path.exists() and spaces <= load_lesson(path).keys()
    except CorpusError:
        return False


def check_folder(folder: Path, split: int) -> None:
    """That what is prepared in a folder was made for this split, by these codecs and this code.

    An excerpt that is held out has other copies than one that is learnt from: read as the other
    they would make figures that mean nothing. A folder in which nobody wrote it down is believed.

    Raises:
        CorpusError: when it was made for another.
    """
    path, ours = folder / _MADE_BY, _made_by(split)
    if not path.exists():
        return
    try:
        made_by = json.loads(path.read_text("utf-8"))
        theirs = {name: made_by[name] for name in ours}
    except (ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{path} is damaged ({error}): prepare into another folder") from error
    differs = {
        "split": f"for another split ({theirs['split']}, not {split})",
        "codecs": "with other codecs",
        "revision": "by other code",
    }
    for name, value in ours.items():
        if theirs[name] != value:
            raise CorpusError(
                f"{folder} was prepared {differs[name]}: choose another --work folder"
            )


def _made_by(split: int) -> dict[str, Any]:
    codecs = [asdict(codec) for codec in CODECS]
    return {"split": split, "codecs": codecs, "revision": _REVISION}


def spectrogram(sound: NDArray[np.float32]) -> Mel:
    """Samples (n,) at 32 kHz → log-mel (frames, 128) float16, as the model hears it."""
    with torch.inference_mode():
        mel = efficientat.FrontEnd()(torch.from_numpy(sound)[None])[0, 0]
    return np.ascontiguousarray(mel.numpy().T).astype(np.float16)


@dataclass(frozen=True, slots=True)
class _Order:
    music: Path
    folder: Path
    models: Path
    excerpt: Excerpt
    #: One codec a version, from 1 on; plain ones are probes, the others may be damaged before.
    codecs: tuple[Codec, ...]
    plain: bool
    seed: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """An excerpt that is ready, or ("fault" is not empty) why it was left out."""

    excerpt: Excerpt
    fault: str = ""


def prepare(
    music: Path,
    folder: Path,
    models: Path,
    excerpts: Sequence[Excerpt],
    *,
    copies: int,
    probes: bool,
    seed: int,
    workers: int | None = None,
) -> Iterator[Prepared]:
    """Make what is not there yet of every excerpt, or is damaged; yields each when it is done.

    `copies` damaged versions an excerpt, every second of them in stereo: the music's own, or a
    width that is made for it. With `probes` the four codecs of validation instead, in mono.

    Raises:
        CorpusError: when the folder was made for another split, by other codecs or other code.
    """
    folder.mkdir(parents=True, exist_ok=True)
    check_folder(folder, seed)
    with whole(folder / _MADE_BY, CorpusError) as part:
        part.write_text(json.dumps(_made_by(seed), indent=1), "utf-8")
    codecs = usable(CODECS)
    orders = []
    for excerpt in excerpts:
        draw = random.Random(os.fsencode(f"{seed}/{excerpt.path}"))  # noqa: S311 - no secret
        drawn = PROBES if probes else tuple(draw.choice(codecs) for _ in range(copies))
        orders.append(_Order(music, folder, models, excerpt, drawn, probes, seed))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=context) as pool:
        yield from pool.map(_prepared, orders)


def _prepared(order: _Order) -> Prepared:
    torch.set_num_threads(1)
    excerpt, folder = order.excerpt, order.folder
    wanted = [version_path(folder, excerpt, i) for i in range(1 + len(order.codecs))]
    told = _is_told(lesson_path(folder, excerpt), slow_spaces(order.models))
    if told and all(map(_is_whole, wanted)):
        return Prepared(excerpt)
    try:
        channels, rate_hz = decode_channels(order.music / excerpt.path)
    except (av.FFmpegError, ValueError, IndexError) as error:
        return Prepared(excerpt, f"it does not decode ({error})")
    channels = resampled(channels, rate_hz, RATE_HZ)
    most = int(MOST_S * RATE_HZ)
    first = max(0, (channels.shape[1] - most) // 2)
    channels = np.ascontiguousarray(channels[:, first : first + most])
    if channels.shape[1] < LEAST_S * RATE_HZ:
        return Prepared(excerpt, f"it is shorter than {LEAST_S:g} s")
    if not np.isfinite(channels).all():
        return Prepared(excerpt, "it holds samples that are no numbers")
    sound = channels.mean(axis=0)
    if not _is_whole(wanted[0]):
        _save(wanted[0], spectrogram(sound))
    if not told:
        _save_lesson(lesson_path(folder, excerpt), slow_lesson(sound, order.models))
    for version, (codec, path) in enumerate(zip(order.codecs, wanted[1:], strict=True), start=1):
        if not _is_whole(path):
            random_ = np.random.default_rng([order.seed, version, int(excerpt.slug, 16) % 2**32])
            if order.plain:
                heard = sound[np.newaxis]
            elif version % 2:
                heard = damage(sound[np.newaxis], random_)
            else:
                heard = damage(channels, random_)
                if codec.encoder and len(heard) == 1:
                    heard = widen(heard, random_)
            _save(path, spectrogram(recode(heard, codec)))
    return Prepared(excerpt)


def _save(path: Path, mel: Mel) -> None:
    with whole(path, CorpusError) as part, part.open("wb") as file:
        np.save(file, mel)


def _save_lesson(path: Path, lesson: dict[str, NDArray[np.float32]]) -> None:
    with whole(path, CorpusError) as part, part.open("wb") as file:
        np.savez(file, **lesson)  # type: ignore[arg-type]
