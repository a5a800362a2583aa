"""`segue demo`: shows AutoDJ choosing."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cli.errors import CliError, install

if TYPE_CHECKING:
    from cli.main import Compose

#: What the extra `demo` installs, by the names it is found under.
_NEEDED: Final = ("supysonic", "av", "mutagen")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags."""
    parser.description = (
        "Composes a small library of its own, analyses it, starts a real Subsonic server"
        "\n(supysonic) over it and Segue in front, and then plays a listener whose AutoDJ goes on"
        "\nfrom song to song: what Segue chose and why, beside what plain random would have given."
        "\nEverything stays on this machine, and no configuration is read. It ends by saying how to"
        "\nconnect a player of your own, and keeps the servers until Ctrl-C. What it made (64 MB)"
        "\nstays in ./.demo, so that the next time is quick: remove it when you have seen enough."
    )
    parser.add_argument(
        "--music", type=Path, metavar="DIR", help="use a folder of your own instead"
    )
    parser.add_argument("--once", action="store_true", help="end after the show")


def run(arguments: argparse.Namespace, compose: Compose) -> int:
    """Run the show."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise CliError(f"the demo needs {', '.join(missing)}: {install('demo')}")
    from demo.show import run_demo

    return run_demo(arguments.music, once=arguments.once)
