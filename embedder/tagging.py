"""What a file says of itself, read by mutagen whatever the format calls it.

Broken tags never stop a file: what cannot be read is absent, and a file without a title takes
its name. Vorbis comments, APEv2 and ASF name their fields in words; ID3 (MP3, WAV, AIFF) and MP4
in codes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Final

import mutagen
from mutagen.id3 import ID3
from mutagen.mp4 import MP4Tags

from catalog.tracks import Tags

#: Longer text is no title; some taggers store whole lyrics or base64 there.
_LONGEST: Final = 500

_MUSICBRAINZ_OWNER: Final = "http://musicbrainz.org"

_ID3: Final = {
    "title": ("TIT2",), "artist": ("TPE1",), "album": ("TALB",), "album_artist": ("TPE2",),
    "genre": ("TCON",), "date": ("TDRC", "TDOR", "TYER"), "track": ("TRCK",), "disc": ("TPOS",),
}  # fmt: skip
_MP4: Final = {
    "title": ("©nam",), "artist": ("©ART",), "album": ("©alb",), "album_artist": ("aART",),
    "genre": ("©gen", "gnre"), "date": ("©day",), "track": ("trkn",), "disc": ("disk",),
    "recording": ("----:com.apple.iTunes:MusicBrainz Track Id",),
}  # fmt: skip
_WORDS: Final = {
    "title": ("title", "wm/title"),
    "artist": ("artist", "author"),
    "album": ("album", "wm/albumtitle"),
    "album_artist": ("albumartist", "album artist", "wm/albumartist"),
    "genre": ("genre", "wm/genre"),
    "date": ("date", "year", "originaldate", "wm/year"),
    "track": ("tracknumber", "track", "wm/tracknumber"),
    "disc": ("discnumber", "disc", "wm/partofset"),
    "recording": ("musicbrainz_trackid", "musicbrainz/track id"),
}

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def read_tags(path: Path, content: IO[bytes] | None = None) -> Tags:
    """The tags of a file, out of `content` where it is open already.

    A file without a title is called after its name.
    """
    try:
        file = mutagen.File(path) if content is None else mutagen.File(content, filename=str(path))
        tags = None if file is None else file.tags
        fields = {} if tags is None else _fields(tags)
    except Exception:  # mutagen raises whatever a broken tag makes it stumble over
        fields = {}
    return _tags(fields, path)


def _fields(tags: Any) -> dict[str, list[str]]:  # mutagen is untyped
    """Our field names → the values found, as text, in order."""
    kind = type(tags)
    if issubclass(kind, ID3):
        fields = _collect(_ID3, lambda key: _id3_values(tags, key))
        fields["recording"] = [
            frame.data.decode("ascii", "replace")
            for frame in tags.getall("UFID")
            if frame.owner == _MUSICBRAINZ_OWNER
        ]
        return fields
    if issubclass(kind, MP4Tags):
        return _collect(_MP4, lambda key: _texts(tags.get(key, ())))
    by_word: dict[str, list[str]] = {}
    for key in list(tags.keys()):
        by_word.setdefault(str(key).lower(), []).extend(_texts(tags[key]))
    return _collect(_WORDS, lambda key: by_word.get(key, []))


def _collect(
    names: Mapping[str, Iterable[str]], values: Callable[[str], list[str]]
) -> dict[str, list[str]]:
    """For each field the values of the first of its names that has any."""
    found: dict[str, list[str]] = {}
    for field, keys in names.items():
        for key in keys:
            texts = [text for text in values(key) if text]
            if texts:
                found[field] = texts
                break
    return found


def _id3_values(tags: Any, key: str) -> list[str]:
    frames = tags.getall(key)
    if key == "TCON":  # "(17)" and "17" are Rock
        return [genre for frame in frames for genre in frame.genres]
    return [str(text) for frame in frames for text in frame.text]


def _texts(value: Any) -> list[str]:
    """A tag's value as texts: lists, (number, total) pairs, bytes and ASF's own types."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        value = [value]
    return [_text(one) for one in value]


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, tuple):
        return str(value[0]) if value and value[0] else ""
    return str(value)


def _tags(fields: Mapping[str, list[str]], path: Path) -> Tags:
    def text(field: str) -> str:
        return _clean(fields[field][0]) if fields.get(field) else ""

    recording = _UUID.search(text("recording").lower())
    return Tags(
        title=text("title") or _clean(path.stem),
        # Several artists in one tag: all of them, as players show them.
        artist=_clean(", ".join(dict.fromkeys(fields.get("artist", ())))),
        album=text("album"),
        album_artist=text("album_artist"),
        genres=tuple(dict.fromkeys(g for g in map(_clean, fields.get("genre", ())) if g)),
        year=_year(text("date")),
        track_number=_number(text("track")),
        disc_number=_number(text("disc")),
        musicbrainz_recording_id=recording.group() if recording else "",
    )


def _clean(text: str) -> str:
    """One line of text that SQLite and JSON take: no surrogates, no control characters."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_LONGEST]


def _number(text: str) -> int | None:
    """ "3/12" and "03" are 3; nothing below 1 is a number of anything."""
    found = re.match(r"\s*(\d{1,5})", text)
    return (int(found.group(1)) or None) if found else None


def _year(text: str) -> int | None:
    found = re.search(r"(?<!\d)(1[0-9]{3}|2[0-9]{3})(?!\d)", text)
    if found is None and (run := re.match(r"\s*([12]\d{3})\d{4}(?!\d)", text)):
        return int(run.group(1))  # 20190412
    return int(found.group()) if found else None
