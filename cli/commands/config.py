"""`segue config`: the effective configuration, and whether it can be used."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from cli.configuration import Configuration, Value, closing, describe_file, exposed_password
from cli.console import say, show, show_json
from cli.errors import ConfigurationError
from cli.flags import add_json
from cli.sections import OWNERS

if TYPE_CHECKING:
    from cli.main import Compose


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags."""
    parser.description = (
        "show prints every key with its effective value and where it comes from: a file with its"
        "\nline, an environment variable, or the default. Passwords are masked, and a password_file"
        "\nis not read. What it prints is TOML.\n\n"
        "check says whether every key and value in the file and the environment can be taken, one"
        "\nline for each problem; exit code 2 if there is any. Whether folders are there and the"
        "\nserver answers is for `segue doctor`. It warns where everybody may read the password."
    )
    parser.add_argument("action", choices=("show", "check"))
    add_json(parser)


def run(arguments: argparse.Namespace, compose: Compose) -> int:
    """Show or check; an unusable configuration raises ConfigurationError in either case."""
    configuration = compose(*OWNERS)
    if arguments.action == "check":
        _check_uses(configuration)
        exposed = exposed_password(configuration)
        if arguments.json:
            show_json(
                {
                    "ok": True,
                    "file": _file(configuration),
                    "password_is_exposed": exposed is not None,
                }
            )
        else:
            if exposed:
                say(
                    f"segue: everybody on this machine may read the password in {exposed}:"
                    f" {closing(exposed)}"
                )
            show(f"ok: {describe_file(configuration)}")
        return 0
    if arguments.json:
        show_json(
            {
                "file": _file(configuration),
                "values": {
                    ".".join(value.path): {"value": value.shown, "from": str(value.origin)}
                    for section in OWNERS
                    for value in configuration.values(section)
                },
            }
        )
        return 0
    say(f"segue: {describe_file(configuration)}")
    _show_toml(configuration)
    return 0


def _check_uses(configuration: Configuration) -> None:
    """What only shows in use, of what the file alone decides. Mounts and servers are doctor's."""
    from subsonic.client import read_password
    from subsonic.errors import SubsonicError

    problems = []
    upstream = configuration.upstream
    if bool(upstream.username) != bool(upstream.password or upstream.password_file):
        problems.append(
            "upstream.username and upstream.password (or password_file) belong together: set both,"
            " or neither"
        )
    try:
        read_password(upstream)
    except SubsonicError as error:
        problems.append(str(error))
    if configuration.library.source == "server" and not upstream.username:
        problems.append(
            'library.source is "server", but upstream.username is not set: an ordinary account'
            " that may download is needed"
        )
    if configuration.embedding.model != "auto":
        try:
            from embedder.errors import EmbedderError
            from embedder.models.registry import entry
        except ImportError:  # nothing embeds on this machine
            pass
        else:
            try:
                entry(configuration.embedding.model)
            except EmbedderError as error:
                problems.append(f"embedding.model: {error}")
    if problems:
        raise ConfigurationError(problems)


def _file(configuration: Configuration) -> str | None:
    return None if configuration.file is None else str(configuration.file)


def _show_toml(configuration: Configuration) -> None:
    tables: dict[tuple[str, ...], list[Value]] = {}
    for section in OWNERS:
        tables[(section,)] = []
        for value in configuration.values(section):
            tables.setdefault(value.path[:-1], []).append(value)
    width = max(len(_line(value)) for values in tables.values() for value in values)
    for number, (table, values) in enumerate(tables.items()):
        if number:
            show()
        show(f"[{'.'.join(map(_name, table))}]")
        for value in values:
            show(f"{_line(value):<{min(width, 60)}}  # {value.origin}")


def _line(value: Value) -> str:
    if value.shown is None:  # TOML has no word for it
        return f"# {_name(value.path[-1])} is not set"
    return f"{_name(value.path[-1])} = {toml_text(value.shown)}"


def _name(part: str) -> str:
    plain = part.replace("-", "").replace("_", "").isalnum() and part.isascii()
    return part if plain else json.dumps(part)


def toml_text(value: Any) -> str:
    """A value as TOML writes it.

    >>> toml_text(("a", 1, True))
    '["a", 1, true]'
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case tuple() | list():
            return f"[{', '.join(map(toml_text, value))}]"
        case dict():
            return "{" + ", ".join(f"{_name(k)} = {toml_text(v)}" for k, v in value.items()) + "}"
        case _:
            return json.dumps(str(value), ensure_ascii=False)
