"""Words for people: sizes, durations, tables, progress in a log."""

from __future__ import annotations

import time

import pytest

from cli.console import duration_text, say, show, show_table, size_text
from cli.progress import ProgressBar


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_960, "1.0 MB"), (4.7e9, "4.7 GB"),
     (2e12, "2.0 TB")],
)  # fmt: skip
def test_sizes(size_bytes: float, text: str) -> None:
    assert size_text(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3725, "1 h 2 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_tables_align_all_but_the_last_column(capsys: pytest.CaptureFixture[str]) -> None:
    show_table([("a", "1", "x y"), ("long", "22", "")])
    assert capsys.readouterr().out == "a     1   x y\nlong  22\n"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("bad\x1b]0;PWNED\x07.mp3", r"bad\x1b]0;PWNED\x07.mp3"),
        ("\x9b31m\nline2\r", r"\x9b31m\nline2\r"),
        ("\u202eevil\u2066", r"\u202eevil\u2066"),
        ("Sigur Rós\u3000\u200dעברית ☂", "Sigur Rós\u3000\u200dעברית ☂"),
    ],
)
def test_what_steers_a_terminal_is_shown_and_not_obeyed(
    name: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show(name)
    say(name)
    show_table([(name, "1", name)])
    captured = capsys.readouterr()
    assert captured.out == f"{told}\n{told}  1  {told}\n"
    assert captured.err == f"{told}\n"


def test_progress_in_a_log_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    with ProgressBar("embedding") as bar:
        bar.update(1, 100, "a.flac")
        now_s += 20
        bar.update(20, 100, "b.flac")
        bar.update(21, 100, "c.flac")
    assert capsys.readouterr().err == "embedding: 20 of 100, 1 min 20 s left\n"


def test_progress_in_bytes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    with ProgressBar("weights", in_bytes=True) as bar:
        now_s += 11
        bar.update(1_000_000, None)
    assert capsys.readouterr().err == "weights: 1.0 MB\n"
