"""The `[log]` section."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is logged on stderr, and how it looks. Secrets are masked in either format."""

    level: Literal["debug", "info", "warning", "error"] = field(
        default="info", metadata={"doc": "The least severe messages to log."}
    )
    format: Literal["text", "json"] = field(
        default="text",
        metadata={"doc": '"text" for people and journals, "json" for one object a line.'},
    )
