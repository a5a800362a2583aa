"""One of several machines' part of the work: `segue embed --shard 2/8`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Self

_TEXT: Final = re.compile(r"(\d{1,6})/(\d{1,6})")


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `index` (from 1) of `count`. A file's part depends on nothing but its path below the
    music folder: every machine finds the same, wherever the folder is mounted."""

    index: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ValueError(f"shard {self.index}/{self.count}: the first is 1/{self.count}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """From "2/8".

        Raises:
            ValueError: it is no such thing.
        """
        match = _TEXT.fullmatch(text.strip())
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise ValueError(f"a shard is I/N with I from 1 to N, such as 2/8, not {text!r}")
        return cls(int(match[1]), int(match[2]))

    @property
    def whole(self) -> bool:
        """Whether this is all there is."""
        return self.count == 1

    def takes(self, path: str) -> bool:
        """Whether a file is in this part."""
        digest = blake2b(os.fsencode(path), digest_size=8).digest()
        return int.from_bytes(digest, "little") % self.count == self.index - 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


ALL: Final = Shard()
