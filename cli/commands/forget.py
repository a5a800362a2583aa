"""`segue forget`: removes what was kept of a user's listening."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from catalog.history import FILE_NAME, History
from cli.console import count_text, show
from cli.errors import CliError, UsageError
from cli.flags import add_data

if TYPE_CHECKING:
    from cli.main import Compose


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags."""
    parser.description = (
        "Removes all that Segue kept of a user's listening (played, served, starred, rated) from"
        "\ndisk. A `segue serve` that is running on the same data forgets it within seconds; with"
        '\nhistory = "memory" or "off" it forgets what it has in memory when it is restarted.'
    )
    parser.add_argument("user", metavar="USER", help="the user's name at the server")
    add_data(parser)


def run(arguments: argparse.Namespace, compose: Compose) -> int:
    """Forget, and say how much that was.

    Raises:
        UsageError: no name was given.
        CliError: nothing was kept, or a proxy may have something in its memory alone.
    """
    user = arguments.user
    if not user.strip():
        raise UsageError("whose listening is to be forgotten? USER is empty")
    configuration = compose("library", "steering")
    data, mode = configuration.data, configuration.steering.history
    is_on_disk = (data / FILE_NAME).exists()
    if is_on_disk:
        with History.open(data) as history:
            forgotten = history.forget(user)
        if forgotten:
            show(f"forgot {count_text(forgotten, 'event')} of {user}")
        else:
            show(f"nothing is kept of {user!r}")
    if mode != "on":
        raise CliError(
            f'with history = "{mode}" a running `segue serve` keeps in its memory what'
            f" {user} heard, until it is stopped: restart it"
        )
    if not is_on_disk:
        raise CliError(f"nothing was kept in {data}: there is no {FILE_NAME}")
    return 0
