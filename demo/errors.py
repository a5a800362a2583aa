"""What can go wrong in the demo.

DemoError
├── ServerError     a server did not start, or ended by itself
├── CommandError    a segue command ended with an error
└── PlayerError     the server's answer to the player was an error or no answer at all
"""

from __future__ import annotations


class DemoError(Exception):
    """The demo cannot go on; the message says what to do."""


class ServerError(DemoError):
    """A server did not start, or ended by itself."""


class CommandError(DemoError):
    """A segue command ended with an error."""


class PlayerError(DemoError):
    """The server's answer to the player was an error or no answer at all."""
