"""What the command says when it cannot go on.

::

    CliError               exit 1
    └── UsageError         exit 2: what was typed
        └── ConfigurationError   exit 2: what was configured; may hold several problems
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

#: The rooms whose `errors` module names what people can run into: one line, never a traceback.
ROOMS: Final = ("catalog", "subsonic", "ranker", "proxy", "embedder", "demo", "cli")


class CliError(Exception):
    """Root of the room; the message is one clear line."""

    exit_code = 1


class UsageError(CliError):
    """The command was called with something it cannot take."""

    exit_code = 2


class ConfigurationError(UsageError):
    """The configuration cannot be used; one line for each of `problems`."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


#: What an extra installs, by the name it is imported as.
EXTRAS: Final = {
    "av": "embed",
    "mutagen": "embed",
    "onnxruntime": "embed",
    "torch": "torch",
    "torchaudio": "torch",
}


def not_installed(error: BaseException) -> str:
    """What to install, where a command needs an extra that is not here; else ""."""
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        package = error.name.partition(".")[0]
        if package in EXTRAS:
            return f"{package} is not installed here: {install(EXTRAS[package])}"
    return ""


def install(extra: str) -> str:
    """How to get an extra: Segue is installed from its checkout, with the lock of a set."""
    return f"pip install -r requirements/{extra}.txt"


def is_told(error: BaseException) -> bool:
    """Whether an error belongs to a room's tree, or to the system: its message is for people.

    Decided by the class's module, so that no room is loaded for the question.
    """
    if isinstance(error, OSError):
        return True
    return any(
        kind.__module__.partition(".")[0] in ROOMS and kind.__module__.endswith(".errors")
        for kind in type(error).__mro__
    )
