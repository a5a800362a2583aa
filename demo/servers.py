"""Real servers as processes of their own, on free loopback ports: started, awaited, stopped.

supysonic is AGPL: it is run by its own programs in its own process and never imported here.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.errors import ServerError

LOOPBACK = "127.0.0.1"
#: supysonic brings no WSGI server of its own, but Flask's is always there.
FLASK = (sys.executable, "-m", "flask", "--app", "supysonic.web:create_application")


@dataclass(frozen=True, slots=True)
class Account:
    """A user of a Subsonic server."""

    username: str
    password: str
    admin: bool = False


class Server:
    """A running server process; a context manager that ends it, and only it, by its process id."""

    def __init__(self, name: str, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.url = url
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is still there."""
        return self._process.poll() is None

    def stop(self, timeout_s: float = 10.0) -> int:
        """Asks the process to end, insists after timeout_s, and returns its exit status."""
        if self.running:
            self._process.terminate()
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def free_port() -> int:
    """A loopback port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def last_lines(log: Path, count: int = 3) -> str:
    """The end of a log, on one line."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return "(no log)"
    return " | ".join(line.strip() for line in lines[-count:] if line.strip()) or "(empty log)"


def start_server(
    name: str,
    command: Sequence[str],
    *,
    url: str,
    ready_path: str,
    log: Path,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 30.0,
) -> Server:
    """Runs a command and waits until `url + ready_path` answers 200.

    log takes what the process prints. environment: all of it; ours where none is given. Raises
    ServerError, with the end of the log, when the process ends first or nothing answers in time.
    """
    with log.open("ab") as out:
        # A process group of its own: Ctrl-C reaches us, and we stop the servers in our order.
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ if environment is None else environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    server = Server(name, url, process, log)
    deadline = time.monotonic() + timeout_s
    try:
        while not _answers(url + ready_path):
            if not server.running:
                raise ServerError(
                    f"{name} ended at once with status {process.returncode}; "
                    f"its log {log} ends: {last_lines(log)}"
                )
            if time.monotonic() > deadline:
                raise ServerError(
                    f"{name} did not answer at {url} within {timeout_s:.0f} s; "
                    f"its log {log} ends: {last_lines(log)}"
                )
            time.sleep(0.05)
    except BaseException:
        server.stop()
        raise
    return server


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own loopback
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def start_supysonic(
    folder: Path, libraries: Mapping[str, Path], accounts: Sequence[Account]
) -> Server:
    """A supysonic over these music folders (name -> path), scanned, with these accounts.

    Its configuration, database, caches and log lie in `folder`, which is created; a database that
    is already there is used again and scanned for changes. Returns when it answers a ping.
    """
    if importlib.util.find_spec("supysonic") is None:
        raise ServerError("supysonic is not installed: pip install 'segue[demo]'")
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    database, log = folder / "supysonic.db", folder / "supysonic.log"
    (folder / "supysonic.conf").write_text(
        "[base]\n"
        f"database_uri = sqlite:///{database}\n"
        "[webapp]\n"
        f"cache_dir = {folder / 'cache'}\n"
        "mount_webui = off\n"
        "[daemon]\n"
        f"socket = {folder / 'daemon.sock'}\n"
    )
    # It looks for supysonic.conf in the working directory last, and in the home folder before that.
    environment = {**os.environ, "HOME": str(folder)}
    fresh = not database.exists()

    def manage(*arguments: str) -> None:
        _supysonic_cli(arguments, folder, environment)

    if fresh:
        for account in accounts:
            manage("user", "add", account.username, "-p", account.password)
            if account.admin:
                manage("user", "setroles", "--admin", account.username)
        for name, path in libraries.items():
            manage("folder", "add", name, str(path))
        # Readers need not wait for the writer that notes each client it sees.
        with sqlite3.connect(database) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        connection.close()
    manage("folder", "scan", "--foreground")
    port = free_port()
    account = accounts[0]
    ping = urllib.parse.urlencode(
        {"u": account.username, "p": account.password, "v": "1.12.0", "c": "ready"}
    )
    return start_server(
        "supysonic",
        [*FLASK, "run", "--host", LOOPBACK, "--port", str(port), "--no-reload", "--no-debugger"],
        url=f"http://{LOOPBACK}:{port}",
        ready_path=f"/rest/ping.view?{ping}",
        log=log,
        folder=folder,
        environment=environment,
    )


def _supysonic_cli(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "supysonic.cli", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        talk = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise ServerError(
            f"supysonic-cli {' '.join(arguments[:2])} failed with status {done.returncode}: "
            f"{talk[-1] if talk else 'no message'}"
        )
