"""Segue itself, used from outside: by its command and its pages, as anyone would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demo.errors import CommandError, ServerError
from demo.servers import LOOPBACK, Server, free_port, last_lines, start_server

#: Runs the installed command without asking where its script lies.
SEGUE = (sys.executable, "-c", "import sys; from cli.main import main; sys.exit(main())")

#: Done, but some files could not be analysed.
EXIT_SKIPPED = 3


class Segue:
    """An installation of Segue in a folder: a configuration of its own, and commands that use it.

    settings: section -> key -> value, written as `config.toml`. Of the environment's SEGUE_…
    variables only those that choose models pass, so that nobody's real server is touched.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Mapping[str, object]]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()
        self.configuration = self.folder / "config.toml"
        # JSON's strings, numbers, booleans and lists are TOML's too.
        self.configuration.write_text(
            "\n".join(
                f"[{section}]\n"
                + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
                for section, keys in settings.items()
            )
        )
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("SEGUE_") or name.startswith("SEGUE_EMBEDDING__")
        }

    def run(
        self, *arguments: str, accepted: tuple[int, ...] = (0,), show_talk: bool = False
    ) -> str:
        """Runs a command and returns what it printed on stdout.

        show_talk: its stderr, with its progress bar, is the user's. Raises CommandError, with the
        command's own last words, when it ends with a status that is not accepted.
        """
        done = subprocess.run(
            [*SEGUE, "--config", str(self.configuration), *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if show_talk else subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode not in accepted:
            words = (done.stderr or "").strip().splitlines()
            raise CommandError(
                f"segue {arguments[0]} ended with status {done.returncode}"
                + (f": {words[-1]}" if words else "")
            )
        return done.stdout

    def run_json(self, *arguments: str, accepted: tuple[int, ...] = (0,)) -> Any:
        """Runs a command with --json and returns what it printed."""
        return json.loads(self.run(*arguments, "--json", accepted=accepted))

    def serve(self) -> Server:
        """Starts the proxy on a free loopback port."""
        port = free_port()
        return start_server(
            "segue serve",
            [
                *SEGUE,
                *("--config", str(self.configuration), "serve"),
                *("--host", LOOPBACK, "--port", str(port)),
            ],
            url=f"http://{LOOPBACK}:{port}",
            ready_path="/segue/health",
            log=self.folder / "segue.log",
            folder=self.folder,
            environment=self.environment,
        )


def health(server: Server) -> dict[str, Any]:
    """What /segue/health says. Raises ServerError where it says nothing."""
    try:
        with urllib.request.urlopen(server.url + "/segue/health", timeout=5) as answer:  # noqa: S310
            told: dict[str, Any] = json.load(answer)
            return told
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise ServerError(
            f"{server.name} at {server.url} does not tell its health ({error}); "
            f"its log {server.log} ends: {last_lines(server.log)}"
        ) from error


def wait_until_linked(server: Server, songs: int, *, timeout_s: float = 60.0) -> int:
    """Waits until `serve` has linked this many songs, or no more come; returns how many.

    Raises ServerError when none is linked in time.
    """
    deadline = time.monotonic() + timeout_s
    linked, since = 0, time.monotonic()
    while time.monotonic() < deadline:
        now = int(health(server).get("linked", 0))
        if now != linked:
            linked, since = now, time.monotonic()
        # Some of a folder of one's own may never link; links come all at once.
        if linked >= songs or (linked and time.monotonic() - since > 3):
            return linked
        time.sleep(0.1)
    if linked:
        return linked
    raise ServerError(
        f"{server.name} linked no song within {timeout_s:.0f} s; "
        f"its log {server.log} ends: {last_lines(server.log)}"
    )
