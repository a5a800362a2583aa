"""A real nginx with one of our configurations, on a free port of this machine."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "nginx"
CONFIGURATIONS = ("segue.conf", "segue-intercept.conf")
_PLACES = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin"


def nginx_program() -> str:
    """The path of an nginx; skips where there is none."""
    program = shutil.which("nginx", path=_PLACES)
    if program is None:
        pytest.skip("needs nginx (Debian: apt install nginx-light)")
    return program


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def write_configuration(
    folder: Path, name: str, segue: int, navidrome: int, replacements: dict[str, str]
) -> Path:
    """Our file as it is, with other ports, inside the least that nginx needs around it."""
    text = (FOLDER / name).read_text("utf-8")
    for old, new in {
        "127.0.0.1:4040": f"127.0.0.1:{segue}",
        "127.0.0.1:4533": f"127.0.0.1:{navidrome}",
        "    listen [::]:80;\n": "",
        "/var/log/nginx/segue.error.log": f"{folder}/segue.log",
        **replacements,
    }.items():
        assert old in text, old
        text = text.replace(old, new)
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    path = folder / "nginx.conf"
    path.write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\n{places}{text}}}\n"
    )
    return path


@contextmanager
def nginx_in_front(
    folder: Path, name: str, segue: int, navidrome: int, **replacements: str
) -> Iterator[str]:
    """Run it.

    Yields:
        Its address.
    """
    program, port = nginx_program(), free_port()
    replacements = {"    listen 80;\n": f"    listen 127.0.0.1:{port};\n", **replacements}
    path = write_configuration(folder, name, segue, navidrome, replacements)
    process = subprocess.Popen(
        [program, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(path)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()[0]
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=10)
