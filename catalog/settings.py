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
    server_connections: int = field(
        default=2,
        metadata={"doc": 'With source "server": how many files are read at once (1 or more).'},
    )
    server_mb_per_s: float = field(
        default=8.0,
        metadata={
            "doc": 'With source "server": at most so many megabytes a second '
            "(to 10000); 0: no limit."
        },
    )

    def __post_init__(self) -> None:
        if self.server_connections < 1:
            raise ValueError(
                f"library.server_connections is {self.server_connections}: set 1 or more"
            )
        if not 0.0 <= self.server_mb_per_s <= 10_000.0:
            raise ValueError(
                f"library.server_mb_per_s is {self.server_mb_per_s:g}: set 0 (no limit) or more"
            )
