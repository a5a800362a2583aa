"""`segue doctor`: checks everything, and says what to do."""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from catalog.errors import CatalogError, advice
from cli import checks
from cli.checks import Check
from cli.configuration import Configuration, closing, describe_file, exposed_password
from cli.console import show, show_json
from cli.errors import ConfigurationError
from cli.flags import add_json
from cli.sections import OWNERS

if TYPE_CHECKING:
    from cli.main import Compose

_COLOURS: Final = {"ok": "32", "warn": "33", "fail": "31"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags."""
    parser.description = (
        "Checks the configuration, the music and data folders, the server and the login there, the"
        "\nweights and the snapshot (by sha256), what keeps a newer one from being in force, the"
        "\nshare of linked songs, the port, and an nginx in front. Each line is ok, warn or fail,"
        "\nand says what to do. It changes nothing. Exit code 1 when anything fails, 2 when the"
        "\nconfiguration cannot be used."
    )
    parser.add_argument(
        "--url", metavar="URL", help="the address that players use: is Segue behind it?"
    )
    add_json(parser)


def run(arguments: argparse.Namespace, compose: Compose) -> int:
    """Run every check; a configuration that cannot be used leaves nothing to check."""
    found: list[Check] = []
    try:
        configuration = compose(*OWNERS)
    except ConfigurationError as error:
        found = [Check("config", "fail", problem) for problem in error.problems]
        _show(found, as_json=arguments.json)
        return error.exit_code
    for check in _checks(configuration, arguments.url):
        found.append(check)
        if not arguments.json:
            _show([check], as_json=False)
    if arguments.json:
        _show(found, as_json=True)
    return 1 if any(check.status == "fail" for check in found) else 0


def _checks(configuration: Configuration, url: str | None) -> Iterator[Check]:
    yield Check("config", "ok", describe_file(configuration))
    if file := exposed_password(configuration):
        text = f"{file} holds a password, and everybody on this machine may read it"
        yield Check("config", "warn", text, closing(file))
    yield from _whole("data", checks.check_paths(configuration.library))
    yield from asyncio.run(checks.check_upstream(configuration.upstream))
    yield from _whole("models", checks.check_models(configuration))
    yield from _whole("library", checks.check_catalog(configuration.data, configuration.library))
    yield from _whole("port", checks.check_port(configuration.server))
    yield from _whole("front", checks.check_front(configuration.server))
    if url:
        yield from checks.check_public(url)


def _whole(name: str, found: Iterator[Check]) -> Iterator[Check]:
    """What a check finds; what ends it is a finding, too, and the others go on."""
    try:
        yield from found
    except (OSError, sqlite3.Error, CatalogError) as error:
        todo = advice(error, "then run `segue doctor` again")
        yield Check(name, "fail", " ".join(str(error).split()), todo)


def _show(found: list[Check], *, as_json: bool) -> None:
    if as_json:
        show_json([asdict(check) for check in found])
        return
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for check in found:
        status = f"{check.status:<4}"
        if coloured:
            status = f"\x1b[{_COLOURS[check.status]}m{status}\x1b[0m"
        show(f"{status}  {check.name:<8}  {check.text}")
        if check.todo:
            show(f"{'':16}{check.todo}")
