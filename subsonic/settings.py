"""The `[upstream]` section."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

_SCHEMES = ("http", "https", "http+unix")


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """The server behind Segue, and an ordinary account of it for linking."""

    url: str = field(
        default="http://127.0.0.1:4533",
        metadata={"doc": "Navidrome's address; also http+unix://, and with a base path."},
    )
    username: str = field(
        default="", metadata={"doc": "An ordinary account of the server, used for linking only."}
    )
    password: str = field(default="", repr=False, metadata={"doc": "Its password.", "secret": True})
    password_file: str = field(
        default="", metadata={"doc": "A file that holds the password instead."}
    )

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in _SCHEMES or not parts.netloc:
            raise ValueError(
                f"url must look like http://host:port, https://… or http+unix://…, got {self.url!r}"
            )
        if parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("url takes no query, fragment or login; use username and password")
        if self.password and self.password_file:
            raise ValueError("set password or password_file, not both")
