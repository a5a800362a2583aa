"""Music made ready: spectrograms of each excerpt, clean and damaged, and slow teachers' words.

Training on two cores cannot decode, encode and hear half a minute of moods at every step: what is
slow is done once. A version of an excerpt is the log-mel spectrogram (frames, 128) float16 of the
model's own front end: version 0 as the music came; the others went through a room, a change of
speed or noise, and then really through a codec, every second of them in stereo. Each file is
written whole or not at all, so that a run which was stopped goes on. How it was made stands beside
it: what another split, other codecs or other code would make goes into another folder.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import random
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import av
import numpy as np
import torch
from numpy.typing import NDArray

from embedder.excerpts import downmix, full_scale, resample, samples_of
from embedder.models import efficientat
from training.corpus import Excerpt
from training.errors import CorpusError
from training.teachers import slow_lesson, slow_spaces

RATE_HZ: Final = efficientat.SAMPLE_RATE_HZ
#: Spectrogram frames a second.
FRAMES_PER_S: Final = RATE_HZ // efficientat.HOP_LENGTH
#: Most seconds kept of an excerpt, from its middle; shorter than the least are left out.
MOST_S: Final = 60.0
LEAST_S: Final = 10.0
#: Of a file longer than this (an audiobook, a mix) only the middle is decoded.
_LONG_S: Final = 1200.0
#: To be raised with every change of what `damage`, `widen` or `recode` give for the same draw.
_REVISION: Final = 1
_MADE_BY: Final = "prepared.json"
#: Taps of the filter that makes two channels of one: 16 ms at 32 kHz, too short for an echo.
_TAPS: Final = 512

Mel = NDArray[np.float16]
Sound = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Codec:
    """A way of losing sound: an encoder at a rate, or (no encoder) the rate alone.

    `bit_rate` is in bits a second for one channel: a joint stereo file at twice that sounds alike.
    """

    name: str
    encoder: str
    container: str
    rate_hz: int
    bit_rate: int


#: What training damages with.
CODECS: Final = (
    Codec("mp3 48k", "libmp3lame", "mp3", 24_000, 24_000),
    Codec("mp3 56k", "libmp3lame", "mp3", 32_000, 32_000),
    Codec("mp3 64k", "libmp3lame", "mp3", 44_100, 32_000),
    Codec("mp3 80k", "libmp3lame", "mp3", 44_100, 40_000),
    Codec("mp3 96k", "libmp3lame", "mp3", 44_100, 48_000),
    Codec("mp3 128k", "libmp3lame", "mp3", 44_100, 64_000),
    Codec("opus 32k", "libopus", "ogg", 48_000, 16_000),
    Codec("opus 48k", "libopus", "ogg", 48_000, 24_000),
    Codec("opus 64k", "libopus", "ogg", 48_000, 32_000),
    Codec("aac 64k", "aac", "adts", 44_100, 32_000),
    Codec("aac 96k", "aac", "adts", 44_100, 48_000),
    Codec("22 kHz", "", "", 22_050, 0),
    Codec("16 kHz", "", "", 16_000, 0),
)
#: What validation asks to be found again: each excerpt has all of them.
PROBES: Final = tuple(
    codec for codec in CODECS if codec.name in {"mp3 64k", "mp3 128k", "opus 48k", "22 kHz"}
)


def decode(path: Path | io.BytesIO) -> tuple[Sound, int]:
    """All of a file as mono float32 (n,) in -1…1, and its sample rate in Hz."""
    frames, rate_hz = _frames(path)
    return downmix(frames), rate_hz


def decode_channels(path: Path) -> tuple[Sound, int]:
    """All of a file, float32 (2, n) in -1…1 if it is stereo, else mono (1, n); and its rate."""
    frames, rate_hz = _frames(path)
    if frames[0].layout.nb_channels != 2:
        return downmix(frames)[np.newaxis], rate_hz
    return (samples_of(frames) * full_scale(frames[0].format.name)).astype(np.float32), rate_hz


def _frames(path: Path | io.BytesIO) -> tuple[list[av.AudioFrame], int]:
    with av.open(path if isinstance(path, io.BytesIO) else str(path), "r") as container:
        rate_hz = container.streams.audio[0].codec_context.sample_rate
        length_s = (container.duration or 0) / av.time_base
        if length_s < _LONG_S:
            return list(container.decode(audio=0)), rate_hz
        container.seek(int((length_s / 2 - MOST_S) * av.time_base))
        frames, left = [], int(2 * MOST_S * rate_hz)
        for frame in container.decode(audio=0):
            frames.append(frame)
            left -= frame.samples
            if left <= 0:
                break
        return frames, rate_hz


def recode(samples: Sound, codec: Codec) -> Sound:
    """Samples (channels, n) at 32 kHz as they sound after a codec, mono (n,) at 32 kHz."""
    n = samples.shape[1]
    sound = _resampled(samples, RATE_HZ, codec.rate_hz)
    if codec.encoder:
        mono, rate_hz = decode(_encode(sound, codec))
    else:
        mono, rate_hz = sound.mean(axis=0), codec.rate_hz
    back = resample(mono, rate_hz, RATE_HZ)[:n]
    return np.pad(back, (0, n - len(back)))


def _resampled(sound: Sound, from_hz: int, to_hz: int) -> Sound:
    return np.stack([resample(channel, from_hz, to_hz) for channel in sound])


def widen(sound: Sound, draw: np.random.Generator) -> Sound:
    """Mono (1, n) → stereo (2, n) whose mean is the mono again, from nearly narrow to very wide.

    What a joint stereo codec loses of the middle depends on what is at the sides. They are made by
    a filter of random phase (Kendall, "The Decorrelation of Audio Signals and Its Impact on
    Spatial Imagery", Computer Music Journal 19:4, 1995), 15 dB below the middle to 6 dB above it.
    """
    n = sound.shape[1]
    phase = draw.uniform(-np.pi, np.pi, _TAPS // 2 + 1)
    taps = np.fft.irfft(np.exp(1j * phase), _TAPS)
    size = n + _TAPS
    side = np.fft.irfft(np.fft.rfft(sound[0], size) * np.fft.rfft(taps, size), size)[:n]
    side *= 10 ** (draw.uniform(-15, 6) / 20)
    pair = np.stack([sound[0] + side, sound[0] - side])
    # Nothing over full scale: encoders would clip it, each side for itself.
    return np.ascontiguousarray(pair / max(1.0, np.abs(pair).max()), np.float32)


def _encode(sound: Sound, codec: Codec) -> io.BytesIO:
    file, layout = io.BytesIO(), ("mono", "stereo")[len(sound) - 1]
    with av.open(file, "w", format=codec.container) as container:
        stream: Any = container.add_stream(codec.encoder, rate=codec.rate_hz, layout=layout)
        stream.bit_rate = codec.bit_rate * len(sound)
        if codec.encoder == "libmp3lame":
            stream.options = {"compression_level": "7"}  # quick; worse, if anything
        wanted = stream.codec_context.codec.audio_formats
        form = wanted[0].name if wanted else "fltp"
        resampler = av.AudioResampler(
            form, layout, codec.rate_hz, frame_size=stream.codec_context.frame_size or 1024
        )
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(sound), format="fltp", layout=layout
        )
        frame.sample_rate = codec.rate_hz
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    file.seek(0)
    return file


@cache
def usable(codecs: tuple[Codec, ...]) -> tuple[Codec, ...]:
    """Those whose encoder this FFmpeg has."""
    return tuple(codec for codec in codecs if _works(codec))


def _works(codec: Codec) -> bool:
    noise = np.random.default_rng(0).normal(0, 0.1, (2, RATE_HZ)).astype(np.float32)
    try:
        return len(recode(noise, codec)) == RATE_HZ
    except (av.FFmpegError, ValueError):
        return False


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
    path = folder / _MADE_BY
    if not path.exists():
        return
    try:
        made_by = json.loads(path.read_text("utf-8"))
        theirs = {name: made_by[name] for name in _made_by(split)}
    except (ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{path} is damaged ({error}): prepare into another folder") from error
    differs = {
        "split": f"for another split ({theirs['split']}, not {split})",
        "codecs": "with other codecs",
        "revision": "by other code",
    }
    for name, ours in _made_by(split).items():
        if theirs[name] != ours:
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
    _write_whole(
        folder / _MADE_BY, lambda file: file.write(json.dumps(_made_by(seed), indent=1).encode())
    )
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
    channels = _resampled(channels, rate_hz, RATE_HZ)
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


def damage(sound: Sound, draw: np.random.Generator) -> Sound:
    """What a spectrogram cannot imitate: other speed (±2 %), a room, noise; each for some.

    Sound is (channels, n). The length stays, so that a place in the copy is at most 2 % from the
    same place in the music.
    """
    n = sound.shape[1]
    heard: NDArray[Any] = sound
    if draw.random() < 0.4:
        rate_hz = round(RATE_HZ * draw.uniform(0.98, 1.02))
        heard = np.stack([np.resize(row, n) for row in _resampled(sound, rate_hz, RATE_HZ)])
    if draw.random() < 0.3:
        time_s = np.arange(int(0.8 * RATE_HZ)) / RATE_HZ
        tail = draw.standard_normal(len(time_s)) * np.exp(-6.9 * time_s / draw.uniform(0.15, 0.8))
        tail *= draw.uniform(0.1, 0.5) / np.sqrt((tail**2).sum())
        tail[0] = 1.0
        size = n + len(tail)
        heard = np.fft.irfft(np.fft.rfft(heard, size) * np.fft.rfft(tail, size), size)[:, :n]
    if draw.random() < 0.25:
        level = np.sqrt(np.mean(heard**2)) * 10 ** (-draw.uniform(15, 45) / 20)
        heard = heard + level * draw.standard_normal(heard.shape)
    if draw.random() < 0.1:
        peak = draw.uniform(0.4, 0.9) * np.abs(heard).max()
        heard = np.clip(heard, -peak, peak)
    return np.ascontiguousarray(heard, np.float32)


def _save(path: Path, mel: Mel) -> None:
    _write_whole(path, lambda file: np.save(file, mel))


def _save_lesson(path: Path, lesson: dict[str, NDArray[np.float32]]) -> None:
    _write_whole(path, lambda file: np.savez(file, **lesson))  # type: ignore[arg-type]


def _write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """A file is there with all of it, or not at all."""
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file:
            write(file)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise CorpusError(
            f"{path} cannot be written ({error}): is there room on the disk?"
        ) from error
