"""The `[library]` section."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class LibrarySettings:
    """Where the music lies and where Segue keeps what it knows of it."""

    music: tuple[str, ...] = field(
        default=(), metadata={"doc": "Music folders, as this machine sees them."}
    )
    data: str = field(
        default="./data", metadata={"doc": "Where the library and the snapshots live."}
    )
    source: Literal["folder", "server"] = field(
        default="folder",
        metadata={"doc": 'Where the audio is read from: "folder", or the "server" itself.'},
    )
