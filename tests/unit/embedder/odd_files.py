"""A corpus of files that owners really have, made on the spot: name → may it be heard?"""

from __future__ import annotations

import io
import os
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from catalog.tracks import Float32
from tests.unit.embedder.sounds import chirp, music, write

_ID3 = b"ID3\x04\x00\x00\x00\x00\x07\x76" + b"TIT2\x00\x00\x00\x05\x00\x00\x03Odd\x00" + bytes(999)


def _covered(size: int) -> bytes:
    """An ID3v2.3 tag with a picture of so many bytes and a title behind it."""
    title = b"TIT2" + (4).to_bytes(4, "big") + b"\0\0" + b"\0Big"
    frames = b"APIC" + size.to_bytes(4, "big") + b"\0\0" + bytes(size) + title
    length = bytes(len(frames) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + length + frames


def _surround(mono: Float32) -> bytes:
    """A WAV of six channels."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(6)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes(np.repeat((mono * 20_000).astype("<i2"), 6).tobytes())
    return content.getvalue()


def make_corpus(folder: Path) -> dict[str, bool]:
    """Write the corpus. True: it has to be heard; False: it has to be listed as a failure."""
    return dict(_make(folder))


def _make(folder: Path) -> Iterator[tuple[str, bool]]:
    def put(name: str | bytes, content: bytes, heard: bool) -> tuple[str, bool]:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return os.fsdecode(name), heard

    def sound(name: str, samples: Float32, rate: int, heard: bool = True, **how: object) -> bytes:
        path = folder / "making" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, samples, rate, **how)  # type: ignore[arg-type]
        content = path.read_bytes()
        path.unlink()
        return content

    tune = music(1, 12.0, 44_100)
    whole = {suffix: sound(f"a{suffix}", tune, 44_100) for suffix in (".mp3", ".flac", ".m4a")}
    whole[".ogg"] = sound("a.ogg", tune, 44_100)
    whole[".opus"] = sound("a.opus", music(1, 12.0, 48_000), 48_000)
    whole[".wav"] = sound("a.wav", tune, 44_100)
    for suffix, content in whole.items():
        yield put(f"whole{suffix}", content, True)
        yield put(f"empty{suffix}", b"", False)
        yield put(f"head only{suffix}", content[:64], False)
        yield put(f"cut in the middle{suffix}", content[: len(content) // 2], suffix != ".m4a")
        yield put(f"text{suffix}", b"This is no music at all.\n" * 300, False)
        yield put(f"zeros{suffix}", bytes(30_000), False)
    yield put("flac called.mp3", whole[".flac"], True)
    yield put("mp3 called.flac", whole[".mp3"], True)
    yield put("opus called.m4a", whole[".opus"], True)
    yield put("picture.mp3", b"\xff\xd8\xff\xe0" + b"\x10JFIF" * 2000, False)
    yield put("web page.mp3", b"<!DOCTYPE html><html><body>404</body></html>" * 50, False)
    # FFmpeg would wait for the network, and read other files.
    wait = (
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"
    )
    yield put("session description.m4a", wait, False)
    yield put("session description.mp3", wait, False)
    yield put("list of parts.flac", b"ffconcat version 1.0\nfile whole.mp3\n", False)
    yield put("id3 and nothing.mp3", _ID3, False)
    yield put("id3 twice.mp3", _ID3 + _ID3 + whole[".mp3"], True)
    end = b"TAG" + b"Odd".ljust(125, b"\0")
    ape = b"APETAGEX" + (2000).to_bytes(4, "little") + (32).to_bytes(4, "little") + bytes(16)
    yield put("tags at both ends.mp3", _ID3 + whole[".mp3"] + ape + end, True)
    yield put("id3 before.flac", _ID3 + whole[".flac"], True)
    cover = b"ID3\x03\x00\x00" + bytes((0x01, 0x40, 0x00, 0x0A)) + b"APIC\x00\x28\x00\x00\x00\x00"
    yield put("big cover.mp3", cover + bytes(3 * 2**20) + whole[".mp3"], True)
    yield put("huge cover.mp3", _covered(50 * 2**20) + whole[".mp3"], True)
    (folder / "album in one.cue").write_text('FILE "album in one.flac" WAVE\n  TRACK 01 AUDIO\n')
    yield put("album in one.flac", whole[".flac"] + b"2", True)
    minute = sound("g.mp3", music(3, 30.0, 8000), 8000, bit_rate=8000, muxer={"write_xing": "0"})
    yield put("twelve hours.mp3", minute * 1440, True)
    yield put("encrypted.m4a", whole[".m4a"].replace(b"mp4a", b"drms"), False)
    yield put("six channels.wav", _surround(tune[: 44_100 * 6]), True)
    yield put("junk before.mp3", bytes(3000) + whole[".mp3"], True)
    yield put("8 kHz.wav", sound("b.wav", music(2, 12.0, 8000), 8000), True)
    studio = sound("b.flac", chirp(6, 192_000), 192_000)
    yield put("192 kHz.flac", studio, True)
    yield put("24 bit.wav", sound("c.wav", tune, 44_100, codec="pcm_s24le"), True)
    left = np.stack([tune, np.zeros_like(tune)])
    yield put("one channel silent.flac", sound("c.flac", left, 44_100), True)
    yield put("silence.flac", sound("d.flac", np.zeros(44_100 * 12, np.float32), 44_100), True)
    yield put("one second.mp3", sound("e.mp3", chirp(1, 44_100), 44_100), True)
    yield put("a click.wav", sound("e.wav", chirp(0.1, 44_100), 44_100), False)
    sparse = np.zeros(44_100 * 30, np.float32)
    sparse[::44_100] = 0.5
    ticking = sound("f.mp3", sparse, 44_100, bit_rate=32_000, times=20)
    yield put("long and sparse.mp3", ticking, True)
    yield put(b"caf\xe9 \xff.mp3", whole[".mp3"] + b"1", True)
    yield put("موسيقى עברית.flac", whole[".flac"] + b"1", True)
    yield put("n" * 245 + ".opus", whole[".opus"] + b"1", True)
    yield put("deep/" * 40 + "down.mp3", whole[".mp3"] + b"2", True)
    yield put("line\nbreak.mp3", whole[".mp3"] + b"3", True)
    yield put("AB.MP3", whole[".mp3"] + b"4", True)
    (folder / "making").rmdir()
