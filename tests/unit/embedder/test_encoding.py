"""What a file is by its first bytes, told of files that FFmpeg wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embedder.encoding import encoding_of

av = pytest.importorskip("av")


def encode(path: Path, form: str, codec: str, layout: str) -> None:
    """Half a second of noise."""
    rate_hz = 48_000
    channels = 1 if layout == "mono" else 2
    noise = np.random.default_rng(1).integers(-9000, 9000, (1, channels * rate_hz // 2), np.int16)
    with av.open(str(path), "w", format=form) as file:
        stream = file.add_stream(codec, rate=rate_hz, layout=layout)
        frame = av.AudioFrame.from_ndarray(noise, format="s16", layout=layout)
        frame.sample_rate, frame.pts = rate_hz, 0
        resampler = av.AudioResampler(stream.codec_context.format, layout, rate_hz)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(piece))
        file.mux([packet for packet in stream.encode(None) if packet.pts is not None])


@pytest.mark.parametrize("layout", ["mono", "stereo"])
@pytest.mark.parametrize(
    ("suffix", "form", "codec", "told", "lossless"),
    [
        (".mp3", "mp3", "libmp3lame", "mpeg", False),
        (".flac", "flac", "flac", "flac", True),
        (".wav", "wav", "pcm_s16le", "wav", True),
        (".aiff", "aiff", "pcm_s16be", "aiff", True),
        (".m4a", "ipod", "aac", "aac", False),
        (".m4a", "ipod", "alac", "alac", True),
        (".aac", "adts", "aac", "aac", False),
        (".opus", "ogg", "libopus", "opus", False),
        (".oga", "ogg", "flac", "flac", True),
        (".wv", "wv", "wavpack", "wavpack", True),
        (".tta", "tta", "tta", "tta", True),
    ],
)
def test_whatever_its_name_is(
    tmp_path: Path, suffix: str, form: str, codec: str, told: str, lossless: bool, layout: str
) -> None:
    path = tmp_path / f"a{suffix}"
    encode(path, form, codec, layout)
    found = encoding_of(path)
    assert found is not None
    assert (found.codec, found.lossless) == (told, lossless)
    assert found.channels == (1 if layout == "mono" else 2)
    # What FFmpeg's encoders take first: bytes, or 24 of 32 bits.
    bits = {"tta": 8, "wavpack": 8, "alac": 24}.get(told, 16)
    assert found.exact_bits_per_s == (48_000 * bits * found.channels if lossless else 0)
    assert found.fits(path)
    other = path.rename(tmp_path / "a.mpc")
    assert encoding_of(other) == found
    assert not found.fits(other)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_vorbis(tmp_path: Path, channels: int) -> None:
    """By hand: this FFmpeg has no encoder for it."""
    packet = b"\x01vorbis" + bytes([0, 0, 0, 0, channels]) + bytes(18)
    path = tmp_path / "a.ogg"
    path.write_bytes(b"OggS" + bytes(22) + bytes([1, len(packet)]) + packet)
    found = encoding_of(path)
    assert found is not None
    assert (found.codec, found.channels, found.fits(path)) == ("vorbis", channels, True)


@pytest.mark.parametrize("cut", [0, 1, 5, 12, 20, 30])
def test_what_is_nothing_known_is_none(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.flac"
    for magic in (b"", b"fLaC", b"RIFF", b"OggS", b"wvpk", b"TTA1", b"FORM\0\0\0\0AIFF", b"ID3"):
        path.write_bytes((magic + bytes(40))[:cut])
        assert encoding_of(path) is None or cut >= 12
    path.write_bytes(b"no audio at all")
    assert encoding_of(path) is None
    assert encoding_of(tmp_path / "none") is None
