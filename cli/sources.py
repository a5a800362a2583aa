"""Where values of the configuration come from: a file, the environment, flags."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from cli.errors import ConfigurationError

#: Every key is also an environment variable: SEGUE_SECTION__KEY.
ENVIRONMENT_PREFIX: Final = "SEGUE_"
ENVIRONMENT_SEPARATOR: Final = "__"

#: Names the configuration file.
FILE_VARIABLE: Final = "SEGUE_CONFIG"

#: Looked for in this order when neither a flag nor the environment names a file.
FILE_PLACES: Final = ("config.toml", "/etc/segue/config.toml")

_TABLE: Final = re.compile(r"^\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?$")
_ASSIGNMENT: Final = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'|\s*\.\s*)+)\s*=""")
_NAME: Final = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from. `name` is "PATH:line", a variable's or a flag's name."""

    kind: Literal["default", "file", "environment", "flag"]
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.kind


@dataclass(frozen=True, slots=True)
class Given:
    """A value as somebody gave it, before it is checked."""

    path: tuple[str, ...]
    value: Any
    origin: Origin


def find_file(flag: str | None, environment: Mapping[str, str]) -> Path | None:
    """The configuration file: `--config`, else $SEGUE_CONFIG, else the first place that has one.

    A place that this user may not look into has none: `sudo -u segue segue …` in one's own home.

    Raises:
        ConfigurationError: when a file is named that is not there, or that cannot be looked at.
    """
    named = (("--config", flag), (f"${FILE_VARIABLE}", environment.get(FILE_VARIABLE)))
    for source, name in named:
        if name:
            path = Path(name).expanduser()
            try:
                is_there = stat.S_ISREG(path.stat().st_mode)
            except (FileNotFoundError, NotADirectoryError):
                is_there = False
            except OSError as error:
                raise ConfigurationError(
                    [f"{source}: cannot read {path}: {error.strerror or error}"]
                ) from error
            if not is_there:
                raise ConfigurationError([f"{source}: there is no file {path}"])
            return path
    # Not Path.is_file, which raises where a folder may not be searched.
    return next((Path(name) for name in FILE_PLACES if os.path.isfile(name)), None)  # noqa: PTH113


def read_file(path: Path) -> list[Given]:
    """Every value of a TOML file, with its line.

    Raises:
        ConfigurationError: the file cannot be read, or is not TOML.
    """
    try:
        text = path.read_bytes().decode()
        tree = tomllib.loads(text)
    except OSError as error:
        todo = _whose(path) if isinstance(error, PermissionError) else ""
        raise ConfigurationError(
            [f"cannot read {path}: {error.strerror or error}{todo}"]
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{path} is not UTF-8 text: {error.reason}"]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"{path} is not TOML: {error}"]) from error
    lines = _lines(text)
    return [
        Given(at, value, Origin("file", _place(path, lines, at))) for at, value in _leaves((), tree)
    ]


def _whose(path: Path) -> str:
    """As whom to run Segue, where a file is another user's alone: it holds a password."""
    try:
        owner = path.owner()
    except (OSError, KeyError):  # a user without a name
        return "; run segue as the user that it belongs to"
    return f"; run segue as the user that it belongs to: sudo -u {owner} segue …"


def read_environment(environment: Mapping[str, str]) -> list[Given]:
    """Every SEGUE_SECTION__KEY, as text.

    Names without the double underscore are left alone: other programs set such (Kubernetes sets
    SEGUE_PORT for a service named segue). The names of `[steering.clients]` keep their case.
    """
    given = []
    for name in sorted(environment):
        section, separator, rest = name.removeprefix(ENVIRONMENT_PREFIX).partition(
            ENVIRONMENT_SEPARATOR
        )
        if not name.startswith(ENVIRONMENT_PREFIX) or not separator or not section:
            continue
        parts = rest.split(ENVIRONMENT_SEPARATOR)
        if len(parts) > 2:
            parts = [parts[0].lower(), ENVIRONMENT_SEPARATOR.join(parts[1:-1]), parts[-1].lower()]
        else:
            parts = [part.lower() for part in parts]
        given.append(
            Given((section.lower(), *parts), environment[name], Origin("environment", name))
        )
    return given


def environment_name(path: tuple[str, ...]) -> str:
    """The environment variable of a key.

    >>> environment_name(("upstream", "url"))
    'SEGUE_UPSTREAM__URL'
    """
    return ENVIRONMENT_PREFIX + ENVIRONMENT_SEPARATOR.join(part.upper() for part in path)


def _leaves(at: tuple[str, ...], tree: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves((*at, name), value)
        else:
            yield (*at, name), value


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """The line on which each table and key begins; what is written inline is under its key."""
    table: tuple[str, ...] = ()
    found: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _TABLE.match(line):
            table = _names(header[1])
            found.setdefault(table, number)
        elif assignment := _ASSIGNMENT.match(line):
            found.setdefault((*table, *_names(assignment[1])), number)
    return found


def _names(dotted: str) -> tuple[str, ...]:
    return tuple(name.strip("\"'") for name in _NAME.findall(dotted))


def _place(path: Path, lines: Mapping[tuple[str, ...], int], at: tuple[str, ...]) -> str:
    for length in range(len(at), 0, -1):
        if at[:length] in lines:
            return f"{path}:{lines[at[:length]]}"
    return str(path)
