"""The `segue` command: finds the command asked for, runs it, and turns errors into one line.

Each command is a file of its own in `cli/commands`, loaded only when it is asked for: `segue
serve` never loads what reads or analyses audio.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final, Protocol, cast

from catalog.errors import WHOSE_FOLDER
from cli.console import say
from cli.errors import CliError, UsageError, is_told, not_installed
from cli.sections import nearest

if TYPE_CHECKING:
    from cli.configuration import Configuration

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_SKIPPED: Final = 3
EXIT_INTERRUPTED: Final = 130

#: Every command with its one line, in the order of the help.
COMMANDS: Final = {
    "serve": "run the proxy in front of the server",
    "embed": "analyse what is new or changed, then publish a snapshot",
    "merge": "join what several machines analysed",
    "rollback": "put an older snapshot in force again",
    "link": "match the server's songs to tracks",
    "similar": "what AutoDJ would choose after these songs",
    "vibe": "what fits these words",
    "duplicates": "which files are one recording, best first",
    "models": "list, pull or verify the weights",
    "info": "what is known: tracks, links, model, snapshot, last run",
    "doctor": "check everything, and say what to do",
    "forget": "remove what was kept of a user's listening",
    "config": "show or check the configuration",
    "demo": "see it work, on music of its own",
}


class Compose(Protocol):
    """Gives the effective configuration with these sections checked, and sets up logging.

    Raises:
        ConfigurationError: something in them cannot be used.
    """

    def __call__(self, *sections: str) -> Configuration: ...


class Command(Protocol):
    """What every module in `cli/commands` has."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the description and the flags."""

    def run(self, arguments: argparse.Namespace, compose: Compose) -> int:
        """Do it, and return the exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (0, 1, 2, 3 or 130; see docs/commands.md)."""
    for stream in (sys.stdout, sys.stderr):
        # Names of files need not be text; a name must never end a command.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Nothing more may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    return code


def _run(argv: Sequence[str]) -> int:
    try:
        return _dispatch(argv)
    except SystemExit as stop:  # argparse: --help, --version, or a wrong flag
        return stop.code if isinstance(stop.code, int) else EXIT_FAILED
    except KeyboardInterrupt:
        print("segue: interrupted; all finished work is kept", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get("SEGUE_DEBUG"):
            raise
        return _tell(error)


def _tell(error: Exception) -> int:
    """Say what went wrong: the rooms' errors in their own words, surprises as such."""
    if missing := not_installed(error):
        say(f"segue: {missing}")
    elif isinstance(error, PermissionError) and error.filename is not None:
        say(f"segue: cannot use {error.filename}: {error.strerror}; {WHOSE_FOLDER}")
    elif is_told(error):
        for line in (str(error) or type(error).__name__).rstrip("\n").split("\n"):
            say(f"segue: {line}")
    else:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        say(f"segue: unexpected error ({what}); SEGUE_DEBUG=1 shows where. Please report it.")
    return error.exit_code if isinstance(error, CliError) else EXIT_FAILED


def _dispatch(argv: Sequence[str]) -> int:
    parser = _parser()
    top = parser.parse_args(argv)
    if top.command is None:
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    if top.command not in COMMANDS:
        raise UsageError(f"unknown command {top.command!r}; {nearest(top.command, COMMANDS)}")
    # Before numpy is loaded. Tracks are heard side by side already: with more threads within each,
    # 165 of them took 50 core-seconds instead of 41. `serve` saves memory by it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    command = cast(Command, import_module(f"cli.commands.{top.command}"))
    own = argparse.ArgumentParser(
        prog=f"segue {top.command}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    own.set_defaults(settings={}, config=top.config)
    own.add_argument(
        "--config", metavar="FILE", default=argparse.SUPPRESS, help="the configuration file"
    )
    command.configure(own)
    arguments = own.parse_args(top.arguments)

    def compose(*sections: str) -> Configuration:
        from cli.configuration import load
        from cli.logs import configure_logging

        configuration = load(arguments.config, arguments.settings, os.environ)
        configuration.check(dict.fromkeys((*sections, "log")))
        settings = configuration.log
        if top.command != "serve" and settings.level == "info":
            # A command that a person runs tells of its work itself.
            settings = replace(settings, level="warning")
        configure_logging(settings)
        return configuration

    return command.run(arguments, compose)


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    listing = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="segue",
        usage="segue [--config FILE] COMMAND ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Stands in front of Navidrome, or any Subsonic server, so that AutoDJ, radio"
        "\nand instant mix play songs that sound alike.",
        epilog=f"commands:\n{listing}\n\n`segue COMMAND --help` tells more.",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="the configuration file (else $SEGUE_CONFIG, ./config.toml, /etc/segue/config.toml)",
    )
    parser.add_argument("--version", action="version", version=f"segue {_version()}")
    parser.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _version() -> str:
    try:
        return version("segue")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
