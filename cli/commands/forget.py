"""`segue forget`: removes what was kept of a user's listening."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from catalog.history import FILE_NAME, History
from cli.console import show
from cli.errors import CliError
from cli.flags import add_data

if TYPE_CHECKING:
    from cli.main import Compose


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags."""
    parser.description = (
        "Removes all that Segue kept of a user's listening (played, served, starred, rated) from"
        "\ndisk. A `segue serve` that is running on the same data forgets it within seconds."
    )
    parser.add_argument("user", metavar="USER", help="the user's name at the server")
    add_data(parser)


def run(arguments: argparse.Namespace, compose: Compose) -> int:
    """Forget, and say how much that was."""
    data = compose("library").data
    if not (data / FILE_NAME).exists():
        raise CliError(f"nothing was kept in {data}: there is no {FILE_NAME}")
    with History.open(data) as history:
        show(f"forgot {history.forget(arguments.user)} events of {arguments.user}")
    return 0
