"""The `[server]` and `[steering]` sections."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Final, Literal

RandomMode = Literal["autodj", "always", "never"]
HistoryMode = Literal["on", "memory", "off"]

_RANDOM: Final = ("autodj", "always", "never")
_HISTORY: Final = ("on", "memory", "off")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BASE_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)*")

#: In `trusted_proxies`: whoever can open Segue's Unix socket.
UNIX_PEER: Final = "unix"


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where Segue listens, and whom it believes about who is calling."""

    host: str = field(default="0.0.0.0", metadata={"doc": "Address to listen on."})  # noqa: S104
    port: int = field(
        default=4040, metadata={"doc": "Port to listen on (0…65535); 0 takes a free one."}
    )
    uds: str = field(
        default="", metadata={"doc": "Listen on this Unix socket instead of host and port."}
    )
    base_path: str = field(
        default="",
        metadata={"doc": 'Path under which clients reach Segue, such as "/music"; "" for none.'},
    )
    trusted_proxies: tuple[str, ...] = field(
        default=(),
        metadata={
            "doc": "Addresses or networks of proxies of yours in front of Segue, whose "
            'X-Forwarded-* and user header are believed; "unix" for those on the socket.'
        },
    )
    user_header: str = field(
        default="Remote-User",
        metadata={"doc": "Login header; passed on only from trusted_proxies."},
    )
    drain_s: float = field(
        default=10.0,
        metadata={"doc": "Seconds that running answers get to end at a stop (0…3600)."},
    )

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port must be 0…65535, got {self.port}")
        if not self.host and not self.uds:
            raise ValueError("host is empty; use 0.0.0.0 for every address, or set uds")
        if not _BASE_PATH.fullmatch(self.base_path):
            raise ValueError(
                f'base_path must be "" or look like "/music", without a slash at its end, '
                f"got {self.base_path!r}"
            )
        for entry in self.trusted_proxies:
            if entry != UNIX_PEER:
                _check_network(entry)
        if not _TOKEN.fullmatch(self.user_header):
            raise ValueError(f"user_header must be a header's name, got {self.user_header!r}")
        if not 0 <= self.drain_s <= 3600:
            raise ValueError(f"drain_s must be 0…3600 seconds, got {self.drain_s:g}")


def _check_network(entry: str) -> None:
    try:
        ip_network(entry)
    except ValueError as error:
        raise ValueError(
            f'trusted_proxies takes addresses, networks and "unix", such as "127.0.0.1" or '
            f'"10.0.0.0/8", got {entry!r} ({error})'
        ) from None


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What one client, by its name (`c`), has differently; None: as everyone."""

    similar: bool | None = field(
        default=None, metadata={"doc": "As steering.similar, for this client."}
    )
    random: RandomMode | None = field(
        default=None, metadata={"doc": "As steering.random, for this client."}
    )

    def __post_init__(self) -> None:
        if self.random is not None and self.random not in _RANDOM:
            raise ValueError(f"random must be one of {', '.join(_RANDOM)}, got {self.random!r}")


@dataclass(frozen=True, slots=True)
class SteeringSettings:
    """Which calls Segue answers by itself."""

    similar: bool = field(
        default=True, metadata={"doc": "Steer getSimilarSongs and getSimilarSongs2."}
    )
    random: RandomMode = field(
        default="autodj",
        metadata={
            "doc": 'Steer getRandomSongs: "autodj" (only where it continues what is playing), '
            '"always", or "never".'
        },
    )
    deadline_ms: int = field(
        default=800,
        metadata={"doc": "After this long (10…60000) the upstream's own answer is given instead."},
    )
    history: HistoryMode = field(
        default="on",
        metadata={
            "doc": 'What was played is remembered: "on" (on disk), "memory" (until a restart), '
            '"off".'
        },
    )
    clients: dict[str, ClientSettings] = field(
        default_factory=dict,
        metadata={"doc": "Overrides of similar and random by client name."},
    )

    def __post_init__(self) -> None:
        if self.random not in _RANDOM:
            raise ValueError(f"random must be one of {', '.join(_RANDOM)}, got {self.random!r}")
        if self.history not in _HISTORY:
            raise ValueError(f"history must be one of {', '.join(_HISTORY)}, got {self.history!r}")
        if not 10 <= self.deadline_ms <= 60_000:
            raise ValueError(f"deadline_ms must be 10…60000, got {self.deadline_ms}")

    def steers_similar(self, client: str) -> bool:
        """Whether similar songs are steered for the client that calls itself so."""
        found = self.clients.get(client)
        return self.similar if found is None or found.similar is None else found.similar

    def random_mode(self, client: str) -> RandomMode:
        """How random songs are treated for the client that calls itself so."""
        found = self.clients.get(client)
        return self.random if found is None or found.random is None else found.random


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """What the application needs: both sections, and where the upstream is."""

    upstream_url: str = "http://127.0.0.1:4533"
    server: ServerSettings = field(default_factory=ServerSettings)
    steering: SteeringSettings = field(default_factory=SteeringSettings)
