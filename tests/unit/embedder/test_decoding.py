import os
import pickle
import struct
import time
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from mutagen.flac import FLAC, Picture
from mutagen.id3 import APIC, ID3, TIT2, TPE1, UFID
from mutagen.mp4 import MP4, MP4Cover

from catalog.tracks import Float32
from embedder import reading
from embedder.decoding import AudioFile
from embedder.errors import DecodingError
from embedder.excerpts import Excerpts, resample
from embedder.packets import Fetched
from embedder.tagging import read_tags
from embedder.windows import plan_windows
from tests.unit.embedder.sounds import (
    CODECS,
    Recordings,
    chirp,
    noisy_music,
    rate_of,
    read_all,
    write,
)


def fetch(path: Path) -> Fetched:
    with AudioFile(path) as audio:
        return audio.fetch()


def hear(path: Path) -> Excerpts:
    with AudioFile(path) as audio:
        return audio.fetch().decode()


def rms(sound: Float32) -> float:
    return float(np.sqrt(np.mean(np.square(sound))))


@pytest.mark.parametrize("suffix", CODECS)
def test_seeked_windows_equal_a_full_decode(suffix: str, recordings: Recordings) -> None:
    path = recordings.get(chirp, 70, suffix)
    whole, rate = read_all(path)
    excerpts = hear(path)
    assert excerpts.rate_hz == rate
    assert excerpts.duration_s == pytest.approx(70, abs=0.05)
    assert len(excerpts.windows) == 6
    for start_s, window in zip(plan_windows(excerpts.duration_s), excerpts.windows, strict=True):
        first = round(start_s * rate)
        assert window.dtype == np.float32
        assert window.size == 10 * rate
        np.testing.assert_allclose(window, whole[first : first + window.size], atol=2e-4)


def test_windows_of_real_files_are_exact(shared_audio: Path) -> None:
    """Vorbis by libvorbis, with its pages, and whatever else people encode with.

    10 ms are allowed, for a first block that was cut, and the noise that AAC makes up.
    """
    for suffix in (".ogg", ".opus", ".m4a", ".mp3", ".flac"):
        path = sorted(shared_audio.rglob(f"*{suffix}"))[3]
        whole, rate = read_all(path)
        excerpts = hear(path)
        starts = plan_windows(excerpts.duration_s)
        for start_s, window in zip(starts, excerpts.windows, strict=True):
            first = round(start_s * rate)
            near = whole[max(0, first - rate // 100) : first + window.size + rate // 100]
            size = 1 << 20
            product = np.fft.rfft(near, size) * np.conj(np.fft.rfft(window, size))
            best = float(np.fft.irfft(product).max())
            assert best > 0.98 * float(window @ window), (path.name, start_s)


def test_an_mp3_without_a_header_frame_has_its_true_length_and_windows(tmp_path: Path) -> None:
    path = write(
        tmp_path / "bare.mp3", chirp(70, 44_100), 44_100, bit_rate=64_000, muxer={"write_xing": "0"}
    )
    whole, rate = read_all(path)
    excerpts = hear(path)
    assert excerpts.duration_s == pytest.approx(whole.size / rate, abs=0.03)
    for start_s, window in zip(plan_windows(excerpts.duration_s), excerpts.windows, strict=True):
        first = round(start_s * rate)
        np.testing.assert_allclose(window, whole[first : first + window.size], atol=2e-4)


@pytest.mark.parametrize("suffix", [".flac", ".wav", ".mp3", ".ogg", ".opus", ".m4a"])
def test_stereo_of_two_equal_channels_is_as_loud_as_mono(suffix: str, tmp_path: Path) -> None:
    rate = rate_of(suffix)
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(12 * rate) / rate)).astype(np.float32)
    mono = hear(write(tmp_path / f"mono{suffix}", tone, rate, bit_rate=128_000)).windows[0]
    stereo = hear(write(tmp_path / f"stereo{suffix}", np.stack([tone, tone]), rate)).windows[0]
    # LAME turns the volume down by 5 % before it encodes mono.
    assert rms(mono) == pytest.approx(0.5 / np.sqrt(2), rel=0.06)
    assert rms(stereo) == pytest.approx(rms(mono), rel=0.02)


def test_a_silent_channel_halves_the_level(tmp_path: Path) -> None:
    tone = chirp(12, 44_100)
    path = write(tmp_path / "left.flac", np.stack([tone, np.zeros_like(tone)]), 44_100)
    np.testing.assert_allclose(hear(path).windows[0][:1000], tone[44_100:][:1000] / 2, atol=1e-4)


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("pcm_u8", ".wav"), ("pcm_s24le", ".wav"), ("pcm_f32le", ".wav"), ("alac", ".m4a")],
)
def test_sample_formats_share_one_scale(codec: str, suffix: str, tmp_path: Path) -> None:
    tone = chirp(11, 44_100)
    window = hear(write(tmp_path / f"a{suffix}", tone, 44_100, codec=codec)).windows[0]
    first = round(plan_windows(11)[0] * 44_100)
    np.testing.assert_allclose(window, tone[first : first + window.size], atol=0.02)


@pytest.mark.parametrize(("from_hz", "to_hz"), [(44_100, 32_000), (22_050, 32_000), (8000, 12_000)])
def test_resampling_keeps_level_and_time(from_hz: int, to_hz: int) -> None:
    def tone(rate: int) -> Float32:
        return (0.5 * np.sin(2 * np.pi * 1000 * np.arange(2 * rate) / rate)).astype(np.float32)

    got = resample(tone(from_hz), from_hz, to_hz)
    assert got.size == 2 * to_hz
    inside = slice(200, -200)
    np.testing.assert_allclose(got[inside], tone(to_hz)[inside], atol=1e-3)


def test_what_is_shorter_than_a_window_is_repeated(tmp_path: Path) -> None:
    path = write(tmp_path / "short.flac", chirp(3, 32_000), 32_000)
    excerpts = hear(path)
    batch = excerpts.at(32_000)
    assert len(excerpts.windows) == 1
    assert batch.shape == (1, 320_000)
    np.testing.assert_array_equal(batch[0, :96_000], batch[0, 96_000:192_000])


def test_samples_that_look_like_an_mp3_are_still_samples(tmp_path: Path) -> None:
    """A soundtrack's WAV was taken for an MP3 whose rate nobody knew."""
    frame = bytes.fromhex("fffb9064") + bytes(413)
    tone = (chirp(30, 22_050) * 32_000).astype("<i2").tobytes()
    samples = tone[:60] + frame * 6 + tone[60:]
    head = b"RIFF" + struct.pack("<I", 36 + len(samples)) + b"WAVEfmt "
    head += struct.pack("<IHHIIHH", 16, 1, 1, 22_050, 44_100, 2, 16)
    head += b"data" + struct.pack("<I", len(samples))
    path = tmp_path / "odd.wav"
    path.write_bytes(head + samples)
    assert hear(path).duration_s == pytest.approx(len(samples) / 44_100, abs=0.01)


def test_an_error_comes_whole_from_another_process() -> None:
    error = pickle.loads(pickle.dumps(DecodingError("does-not-decode", "its rate is unknown")))
    assert (error.reason, error.detail) == ("does-not-decode", "its rate is unknown")


def test_one_second_is_enough(tmp_path: Path) -> None:
    assert hear(write(tmp_path / "one.mp3", chirp(1, 44_100), 44_100)).windows[0].size > 40_000


def test_silence_and_broken_floats_stay_finite(tmp_path: Path) -> None:
    silent = hear(write(tmp_path / "silent.flac", np.zeros(12 * 8000, np.float32), 8000))
    assert not silent.windows[0].any()
    broken = chirp(12, 8000)
    broken[20_000:30_000:7] = np.nan
    broken[20_001:30_000:7] = np.inf
    broken[20_002:30_000:7] = 1e30
    window = hear(write(tmp_path / "nan.wav", broken, 8000, codec="pcm_f32le")).windows[0]
    assert np.isfinite(window).all()
    assert np.abs(window).max() <= 16


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_what_is_mostly_no_sound_is_not_heard_as_silence(value: float, tmp_path: Path) -> None:
    broken = chirp(24, 8000)
    broken[12 * 8000 :] = value
    path = write(tmp_path / "half.wav", broken, 8000, codec="pcm_f32le")
    (window,) = hear(path).windows  # of two: the other is left out
    assert np.abs(window).max() <= 1.0
    broken[:] = value
    with pytest.raises(DecodingError, match="most of its samples are no numbers"):
        hear(write(tmp_path / "all.wav", broken, 8000, codec="pcm_f32le"))


def test_a_channel_of_no_numbers_is_not_heard_as_silence(tmp_path: Path) -> None:
    sound = np.stack([chirp(12, 8000), np.full(12 * 8000, np.nan, np.float32)])
    with pytest.raises(DecodingError, match="most of its samples are no numbers"):
        hear(write(tmp_path / "right.wav", sound, 8000, codec="pcm_f32le"))


def test_a_rate_that_holds_no_music_says_so(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "slow.wav"), "wb") as file:
        file.setparams((1, 2, 1, 0, "NONE", ""))
        file.writeframes(bytes(range(40)))
    with pytest.raises(DecodingError, match="a sample rate of 1 Hz holds no music"):
        hear(tmp_path / "slow.wav")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.mp3", b"", "empty-file"),
        ("text.mp3", b"This is no music at all.\n" * 400, "not-audio"),
        ("html.flac", b"<!DOCTYPE html><html><body>404</body></html>" * 50, "not-audio"),
        ("zeros.ogg", bytes(50_000), "not-audio"),
    ],
)
def test_what_is_no_audio_says_so(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DecodingError) as caught:
        hear(tmp_path / name)
    assert caught.value.reason in {reason, "does-not-decode", "too-short"}
    assert caught.value.detail


@pytest.mark.parametrize("name", ["session.m4a", "session.mp3", "session.mka"])
def test_a_session_description_opens_no_socket(name: str, tmp_path: Path) -> None:
    """FFmpeg would listen on the port that it names, for half a minute."""
    path = tmp_path / name
    path.write_bytes(
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"
    )
    started_s = time.monotonic()
    with pytest.raises(DecodingError, match="in no format of music") as caught:
        fetch(path)
    assert caught.value.reason == "not-audio"
    assert time.monotonic() - started_s < 2.0


def test_a_file_that_is_mostly_a_hole_is_not_read_for_ever(
    tmp_path: Path, recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST_READ_BYTES", 20 * 2**20)
    path = tmp_path / "hole.flac"
    path.write_bytes(recordings.get(chirp, 70, ".flac").read_bytes()[:100_000])
    os.truncate(path, 20 * 2**30)
    with AudioFile(path) as audio:
        with pytest.raises(DecodingError, match="no end of it in 20 MiB"):
            audio.listen(audio.recognise()).decode()
        assert audio.bytes_read < 25 * 2**20


@pytest.mark.parametrize("suffix", [".wav", ".aiff"])
def test_zeros_behind_samples_cost_nothing(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"padded{suffix}", chirp(70, 22_050), 22_050)
    whole = fetch(path)
    os.truncate(path, 20 * 2**30)
    with AudioFile(path) as audio:
        known = audio.recognise()
        assert known.duration_s == whole.duration_s
        assert len(audio.listen(known).decode().windows) == 6
        assert audio.bytes_read < 2**25


def test_a_recording_that_was_cut_off_before_its_size_was_written_is_heard(tmp_path: Path) -> None:
    """A recorder that died leaves a size of 0; FFmpeg reads to the end, though it begins silent."""
    rate = 22_050
    sound = np.concatenate([np.zeros(rate // 2, np.float32), chirp(20, rate)])
    path = write(tmp_path / "cut.wav", sound, rate)
    whole = hear(path)
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = bytes(4)
    path.write_bytes(content)
    assert hear(path).duration_s == pytest.approx(whole.duration_s, abs=0.01)


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(DecodingError) as caught:
        hear(tmp_path / "gone.mp3")
    assert caught.value.reason == "unreadable"


def test_more_channels_than_can_be_read_safely_are_refused(tmp_path: Path) -> None:
    """PyAV reads past the end of a planar frame of more than eight channels, and dies of it."""
    rate = 48_000
    sound = 0.3 * np.sin(np.arange(4 * rate)[:, np.newaxis] / np.arange(5, 21))
    path = tmp_path / "sixteen.opus"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libopus", rate=rate, layout="hexadecagonal", options={"mapping_family": "255"}
        )
        for first in range(0, len(sound), 960):
            packed = sound[first : first + 960].astype(np.float32).reshape(1, -1)
            frame = AudioFrame.from_ndarray(packed, format="flt", layout="hexadecagonal")
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), first
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(DecodingError) as caught:
        hear(path)
    assert caught.value.reason == "does-not-decode"


def test_flipped_bits_never_raise_anything_else(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for suffix in (".mp3", ".flac", ".m4a", ".opus", ".ogg"):
        content = write(tmp_path / f"x{suffix}", chirp(12, 48_000), 48_000).read_bytes()
        for _ in range(12):
            broken = np.frombuffer(content, np.uint8).copy()
            broken[random.integers(0, broken.size, random.integers(1, 80))] ^= 0x20
            (tmp_path / f"x{suffix}").write_bytes(broken.tobytes())
            try:
                windows = hear(tmp_path / f"x{suffix}").windows
            except DecodingError:
                continue
            assert all(np.isfinite(window).all() for window in windows)


def test_a_click_is_too_short(tmp_path: Path) -> None:
    with pytest.raises(DecodingError) as caught:
        hear(write(tmp_path / "click.wav", chirp(0.2, 44_100), 44_100))
    assert caught.value.reason == "too-short"


@pytest.mark.parametrize("suffix", [".flac", ".mp3", ".ogg", ".m4a", ".wav"])
def test_a_truncated_file_gives_what_is_left_or_says_why_not(
    suffix: str, recordings: Recordings, tmp_path: Path
) -> None:
    path = recordings.copy(recordings.get(chirp, 70, suffix), tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    if suffix == ".m4a":  # its index is at the end
        with pytest.raises(DecodingError) as caught:
            hear(path)
        assert caught.value.reason == "not-audio"
        return
    excerpts = hear(path)
    assert 1 <= len(excerpts.windows) <= 6
    assert all(np.isfinite(window).all() and window.any() for window in excerpts.windows)


@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".ogg", ".opus", ".m4a"])
def test_the_content_key_ignores_tags_and_names(
    suffix: str, recordings: Recordings, tmp_path: Path
) -> None:
    import mutagen

    path = recordings.copy(recordings.get(chirp, 70, suffix), tmp_path)
    before = fetch(path).content_key
    file = mutagen.File(path, easy=True)
    if file.tags is None:
        file.add_tags()
    file["title"] = "A much longer title than before, " * 90
    file.save()
    renamed = path.rename(tmp_path / f"b{suffix}")
    assert fetch(renamed).content_key == before


@pytest.mark.parametrize(
    ("suffix", "seconds"),
    [
        *((suffix, 31) for suffix in (".wav", ".mp3", ".m4a", ".flac", ".opus", ".wv")),
        (".wav", 130),
    ],
)
def test_digital_silence_tells_nothing(suffix: str, seconds: int, tmp_path: Path) -> None:
    """Two pieces that begin in another way, and are as silent in their middle and as long."""
    rate = 48_000 if suffix == ".opus" else 22_050
    keys = []
    for number, hertz in enumerate((200, 210, 200)):
        sound = np.zeros(seconds * rate, np.float32)
        sound[: 8 * rate] = chirp(8, rate, hertz)
        path = write(tmp_path / f"{number}{suffix}", sound, rate)
        with AudioFile(path) as audio:
            known = audio.recognise()
            keys.append(known.content_key)
            assert audio.listen(known).decode().windows
    assert keys[0] == keys[2] != keys[1]


def test_the_content_key_tells_sounds_apart(tmp_path: Path) -> None:
    one = fetch(write(tmp_path / "1.flac", chirp(33, 44_100), 44_100)).content_key
    other = fetch(write(tmp_path / "2.flac", chirp(33, 44_100, 210), 44_100)).content_key
    longer = fetch(write(tmp_path / "3.flac", chirp(34, 44_100), 44_100)).content_key
    assert len({one, other, longer}) == 3


#: Suffix, codec options, and the most reads if the file is known. An MP3 that does not say how long
#: it is (no header frame) must be looked at all over first.
LONG = [
    (".flac", {}, 4),
    (".mp3", {"bit_rate": 128_000}, 4),
    (".mp3", {"bit_rate": 96_000, "muxer": {"write_xing": "0"}}, 12),
    (".m4a", {"bit_rate": 128_000}, 5),
    (".ogg", {}, 5),
    (".opus", {"bit_rate": 128_000}, 5),
    (".wav", {}, 5),
]
MOST_READS = 12
MOST_SHARE = 0.4


def long_file(suffix: str, options: dict[str, Any]) -> dict[str, Any]:
    """Four minutes; FLAC numbers its frames, so it cannot be laid end to end."""
    length = {"seconds": 240} if suffix in {".flac", ".wav"} else {"seconds": 60, "times": 4}
    rate = rate_of(suffix) if suffix in {".opus", ".ogg"} else 22_050
    return {"suffix": suffix, "rate_hz": rate, **length, **options}


@pytest.mark.parametrize(("suffix", "options", "if_known"), LONG)
def test_long_files_are_read_in_a_few_exact_pieces(
    suffix: str, options: dict[str, Any], if_known: int, recordings: Recordings
) -> None:
    path = recordings.get(noisy_music, **long_file(suffix, options))
    with AudioFile(path) as audio:
        known = audio.recognise()
        assert read_tags(path, audio.tag_file()).title == "sound"
        assert audio.reads <= if_known
        excerpts = audio.fetch(known=known).decode()
        assert excerpts.duration_s == pytest.approx(240, abs=0.2)
        assert audio.bytes_read <= MOST_SHARE * path.stat().st_size
        assert audio.reads <= MOST_READS
    whole, rate = read_all(path)
    assert len(excerpts.windows) == 6
    for start_s, window in zip(plan_windows(excerpts.duration_s), excerpts.windows, strict=True):
        first = round(start_s * rate)
        here = whole[first : first + window.size]
        # AAC makes up noise; every other codec gives the same samples again.
        assert window @ here > 0.98 * float(np.linalg.norm(window) * np.linalg.norm(here))


def test_covers_and_foreign_tags_are_not_read(recordings: Recordings, tmp_path: Path) -> None:
    path = recordings.copy(recordings.get(noisy_music, 100, ".flac"), tmp_path)
    key, size = fetch(path).content_key, path.stat().st_size
    file = FLAC(path)
    cover = Picture()
    cover.data, cover.mime = bytes(8 * 2**20), "image/jpeg"
    file.add_picture(cover)
    file["title"] = "Covered"
    file.save()
    with AudioFile(path) as audio:
        assert audio.fetch().content_key == key
        assert read_tags(path, audio.tag_file()).title == "Covered"
        assert audio.bytes_read < size


@pytest.mark.parametrize("version", [3, 4])
def test_a_large_cover_of_an_mp3_is_stepped_over(
    version: int, recordings: Recordings, tmp_path: Path
) -> None:
    options = {"bit_rate": 96_000, "muxer": {"write_xing": "0"}}
    original = recordings.get(noisy_music, **long_file(".mp3", options))
    path = recordings.copy(original, tmp_path)
    key, size = fetch(path).content_key, path.stat().st_size
    with AudioFile(path) as audio:
        audio.fetch()
        plain = audio.bytes_read
    tags = ID3()
    tags.add(TPE1(encoding=3, text="Painter"))
    tags.add(APIC(encoding=0, mime="image/png", type=3, data=bytes(50 * 2**20)))
    tags.add(TIT2(encoding=3, text="Covered"))
    tags.add(UFID(owner="http://musicbrainz.org", data=b"0" * 36))
    tags.save(path, v2_version=version)
    assert path.stat().st_size > size + 50 * 2**20
    with AudioFile(path) as audio:
        assert audio.fetch().content_key == key
        found = read_tags(path, audio.tag_file())
        assert (found.title, found.artist) == ("Covered", "Painter")
        assert audio.bytes_read < plain + 64 * 1024
        assert audio.reads <= 14


def test_a_large_cover_of_an_m4a_is_stepped_over(recordings: Recordings, tmp_path: Path) -> None:
    original = recordings.get(noisy_music, **long_file(".m4a", {"bit_rate": 128_000}))
    path = recordings.copy(original, tmp_path)
    plain = fetch(path).content_key
    size = path.stat().st_size
    tags = MP4(path)
    tags["covr"] = [MP4Cover(bytes(50 * 2**20))]
    tags["aART"] = "Painter"
    tags.save()
    assert path.stat().st_size > size + 50 * 2**20
    with AudioFile(path) as audio:
        assert audio.fetch().content_key == plain
        found = read_tags(path, audio.tag_file())
        assert (found.title, found.album_artist) == ("sound", "Painter")
        assert audio.bytes_read <= 0.45 * size
        assert audio.reads <= MOST_READS


def test_windows_read_one_at_a_time_are_the_same(recordings: Recordings) -> None:
    path = recordings.get(noisy_music, **long_file(".mp3", {"bit_rate": 128_000}))
    with AudioFile(path) as audio:
        excerpts = audio.listen(audio.recognise()).decode()
    for one, other in zip(excerpts.windows, hear(path).windows, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_whole_file_at_once_gives_the_same(recordings: Recordings) -> None:
    for suffix in (".flac", ".mp3", ".opus"):
        times = 1 if suffix == ".flac" else 4
        path = recordings.get(noisy_music, 100 / times, suffix, times=times)
        with AudioFile(path, whole=True) as audio:
            fetched = audio.fetch()
            assert audio.reads == 1
            assert audio.bytes_read == path.stat().st_size
            windows = fetched.decode().windows
        assert fetched.content_key == fetch(path).content_key
        for one, other in zip(windows, hear(path).windows, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_variable_rate_without_an_index_gives_the_same_windows_each_time(
    recordings: Recordings,
) -> None:
    """No claim about time: the bytes say where to listen."""
    options = {"muxer": {"write_xing": "0"}, "quality": 4}
    path = recordings.get(noisy_music, **long_file(".mp3", options))
    one, other = hear(path), hear(path)
    assert one.duration_s == pytest.approx(240, rel=0.1)
    assert len(one.windows) == 6
    for a, b in zip(one.windows, other.windows, strict=True):
        assert a.size == 220_500
        np.testing.assert_array_equal(a, b)


def test_a_variable_rate_with_an_index_is_close(recordings: Recordings) -> None:
    path = recordings.get(
        noisy_music, **{**long_file(".mp3", {"quality": 4}), "seconds": 240, "times": 1}
    )
    whole, rate = read_all(path)
    with AudioFile(path) as audio:
        excerpts = audio.fetch().decode()
        assert audio.bytes_read <= MOST_SHARE * path.stat().st_size
        assert audio.reads <= MOST_READS
    for start_s, window in zip(plan_windows(excerpts.duration_s), excerpts.windows, strict=True):
        first, most = round(start_s * rate), 2 * rate
        near = whole[first - most : first + window.size + most]
        product = np.fft.rfft(near, 1 << 20) * np.conj(np.fft.rfft(window, 1 << 20))
        off = abs(int(np.fft.irfft(product).argmax()) - most) / rate
        assert off < 1.5  # Xing's table knows 1/256 of the file
