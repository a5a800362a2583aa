"""MP4 without its cover: FFmpeg and mutagen would read all of it, here it is stepped over.

Atoms by ISO/IEC 14496-12; covers lie in moov.udta.meta.ilst.covr, as iTunes put them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from av.packet import Packet

from embedder.reading import CachedFile, View

_HEADER_BYTES: Final = 8
_LONG_HEADER_BYTES: Final = 16
#: A smaller cover is read as it is.
_SMALL_BYTES: Final = 64 * 1024
#: So is a smaller head: the index of an hour, or that of a song with a small cover.
_SMALL_HEAD_BYTES: Final = 256 * 1024
_MOST_ATOMS: Final = 1000
#: What `meta` has before its atoms: version and flags.
_META_BYTES: Final = 4
_PATH: Final = (b"moov", b"udta", b"meta", b"ilst", b"covr")


@dataclass(frozen=True, slots=True)
class _Atom:
    kind: bytes
    start: int
    inside: int
    end: int


class Mp4Seeker:
    """An MP4 with a large cover. FFmpeg finds windows itself, by the index in the file."""

    form = "mp4"
    whole_view = True
    preroll_s = 0.0
    #: Not told: FFmpeg's packets are all that is known of it.
    payload_bytes = 0

    def __init__(self, file: CachedFile, head_end: int, path: list[_Atom]) -> None:
        self._file = file
        self._head_end = head_end
        self._path = path

    @classmethod
    def open(cls, file: CachedFile) -> Mp4Seeker | None:
        """Walk to the cover; None where there is none worth stepping over."""
        begin, end = 0, file.size_bytes
        path: list[_Atom] = []
        head_end = 0
        for kind in _PATH:
            for atom in _atoms(file, begin, end):
                if not head_end:
                    head_end = atom.end
                if atom.kind == kind:
                    break
            else:
                return None
            if kind == b"moov" and atom.end - atom.start <= _SMALL_HEAD_BYTES:
                file.fetch(atom.start, atom.end)  # FFmpeg reads all of it
                return None
            path.append(atom)
            begin, end = atom.inside, atom.end
            if kind == b"meta":
                begin += _META_BYTES
        cover = path[-1]
        large = cover.end - cover.start > _SMALL_BYTES
        return cls(file, head_end, path) if large else None

    def view(self) -> View:
        """As in `Seeker`; of the same length, so that the index holds, the cover as free space."""
        cover = self._path[-1]
        free = (cover.end - cover.start).to_bytes(4, "big") + b"free"
        return View(
            self._file,
            [(0, cover.start), free, (cover.start + len(free), self._file.size_bytes)],
        )

    def duration_s(self, probes: int) -> float | None:
        """The header tells it."""
        return None

    def tags(self) -> bytes | None:
        """All but the cover and the audio."""
        *around, cover = self._path
        moov = around[0]
        before = bytearray(self._file.read_at(moov.start, cover.start - moov.start))
        for atom in around:
            place = atom.start - moov.start
            size = atom.end - atom.start - (cover.end - cover.start)
            before[place : place + 4] = size.to_bytes(4, "big")
        after = self._file.read_at(cover.end, moov.end - cover.end)
        return self._file.read_at(0, self._head_end) + bytes(before) + after

    def packets(self, first_s: float, end_s: float) -> list[Packet[Any]] | None:
        """Left to FFmpeg."""
        return None


def _atoms(file: CachedFile, begin: int, end: int) -> Iterator[_Atom]:
    """The atoms between two bytes, as far as they make sense."""
    at = begin
    for _ in range(_MOST_ATOMS):
        header = file.read_at(at, _HEADER_BYTES)
        if len(header) < _HEADER_BYTES or at + _HEADER_BYTES > end:
            return
        size, inside = int.from_bytes(header[:4], "big"), at + _HEADER_BYTES
        if size == 1:
            size = int.from_bytes(file.read_at(inside, _HEADER_BYTES), "big")
            inside = at + _LONG_HEADER_BYTES
        elif size == 0:
            size = end - at
        if inside - at > size or at + size > end:
            return
        yield _Atom(header[4:], at, inside, at + size)
        at += size
