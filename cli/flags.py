"""Flags that set a key of the configuration, and flags that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


class SettingAction(argparse.Action):
    """Keeps a flag's text under the key it sets; whether it can be taken is checked there."""

    def __init__(self, *args: Any, key: str, many: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._path = tuple(key.split("."))
        self._many = many

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Remember the value and the name of the flag, for messages and `config show`."""
        value: Any = values
        if self._many:
            _, earlier = namespace.settings.get(self._path, ("", ()))
            value = (*earlier, values)
        namespace.settings[self._path] = (option_string, value)


def add_setting(
    parser: argparse.ArgumentParser,
    flag: str,
    key: str,
    *,
    metavar: str,
    text: str,
    many: bool = False,
) -> None:
    """Add a flag that sets `key` ("section.name"); with `many` it may be repeated."""
    parser.add_argument(
        flag,
        action=SettingAction,
        key=key,
        many=many,
        dest=argparse.SUPPRESS,
        default=argparse.SUPPRESS,
        metavar=metavar,
        help=f"{text} (sets {key})",
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add `--data`, which every command that reads the library takes."""
    add_setting(
        parser, "--data", "library.data", metavar="DIR", text="where library and snapshots live"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def positive(text: str) -> int:
    """A count of at least 1, for argparse."""
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return count
