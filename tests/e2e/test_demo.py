"""The demo as a visitor runs it: one command, real servers, Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from demo.player import Player
from demo.segue import SEGUE
from demo.servers import Account

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("SEGUE_")},
    "NO_COLOR": "1",
}


def wait_for(path: Path, words: str, process: subprocess.Popen[bytes], timeout_s: float) -> str:
    deadline = time.monotonic() + timeout_s
    while words not in (text := path.read_text()):
        assert process.poll() is None, text
        assert time.monotonic() < deadline, text
        time.sleep(0.1)
    return text


def children_of(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found.append(int(status.parent.name))
    return found


def test_the_show_and_its_end(composed_music: Path, tmp_path: Path) -> None:
    kept = tmp_path / ".demo"
    kept.mkdir()
    # Composed once for all tests.
    (kept / composed_music.name).symlink_to(composed_music, target_is_directory=True)
    output = tmp_path / "output.txt"
    with output.open("wb") as out:
        process = subprocess.Popen(
            [*SEGUE, "demo"], cwd=tmp_path, env=ENVIRONMENT, stdout=out, stderr=out
        )
    try:
        text = wait_for(output, "Ctrl-C ends it.", process, timeout_s=150)
        servers = children_of(process.pid)
        assert len(servers) == 2

        # What it says about connecting a player of one's own is true.
        url = re.findall(r"server +(http://\S+)", text)[-1]
        guest = Player(url, Account("demo", "demo"), legacy_login=True, client="guest")
        assert len(guest.library()) == 54

        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert not any(Path(f"/proc/{pid}").exists() for pid in servers)
    text = output.read_text()
    assert text.rstrip().endswith("Stopped.")
    assert re.search(r"What it made \(\d+ MB\) stays in \.demo", text)
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text
    assert "54 of 54 songs linked" in text
    assert "HTTP 404: Unknown method" in text
    totals = re.search(r"AutoDJ (\d+) of (\d+), plain random (\d+) of (\d+)", text)
    assert totals is not None
    steered, of_steered, plain, of_plain = map(int, totals.groups())
    assert of_steered == of_plain == 20
    assert steered / of_steered >= 0.8
    assert plain < steered
    # A reason stands beside every song.
    assert len(re.findall(r" \d\.\d\d \w[\w ]+alike", text)) == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--music", "nowhere"], "there is no such folder"),
        (["--music", "empty"], "supysonic found no songs"),
    ],
)
def test_a_folder_without_music_is_told_in_one_line(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    done = subprocess.run(
        [*SEGUE, "demo", "--once", *arguments],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("segue: ")
    assert message in line


def test_a_folder_of_ones_own(composed_music: Path, tmp_path: Path) -> None:
    """Some of it does not decode: that is listed by embed, and the show goes on."""
    music = tmp_path / "mine"
    music.mkdir()
    for source in sorted(composed_music.rglob("*.opus"))[:8]:
        (music / source.name).write_bytes(source.read_bytes())
    (music / "broken.flac").write_bytes(b"fLaC" + bytes(1000))
    done = subprocess.run(
        [*SEGUE, "demo", "--once", "--music", "mine"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "8 tracks, 1 skipped" in done.stdout
    assert "AutoDJ adds" in done.stdout
    assert "Traceback" not in done.stderr
