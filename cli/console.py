"""Printing: results on stdout, talk on stderr, JSON where it was asked for."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

#: What steers a terminal instead of being shown: control characters, C1 too, and what turns the
#: direction of the text around it. Marks and joiners within words stay.
_STEERING: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """A text in one line, as a terminal may have it: names of files and tags can hold anything.

    >>> printable("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def say(message: str) -> None:
    """Tell the person something that is not a result."""
    print(printable(message), file=sys.stderr, flush=True)


def show(line: str = "") -> None:
    """Print one line of the result."""
    print(printable(line))


def show_json(value: Any) -> None:
    """Print a result as JSON: indented for a terminal, in one line for a program."""
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    # A path that is not UTF-8 holds lone surrogates: stdout writes them as JSON's own \udcXX.
    print(
        json.dumps(
            value,
            ensure_ascii=encoding != "utf8",
            indent=2 if sys.stdout.isatty() else None,
        )
    )


def show_table(rows: Iterable[Sequence[str]], indent: str = "") -> None:
    """Print rows in columns, each as wide as its widest cell; the last is left as it is."""
    table = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths[:-1], strict=True)]
        print(indent + "  ".join([*cells, row[-1]]).rstrip())


def count_text(count: int, one: str, more: str = "") -> str:
    """A count for people; `more` is `one` with an s where it is not said.

    >>> count_text(1, "copy", "copies")
    '1 copy'
    """
    return f"{count} {one if count == 1 else more or one + 's'}"


def size_text(size_bytes: float) -> str:
    """A size for people, in powers of 1000.

    >>> size_text(4_066_513)
    '4.1 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 999.95:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


def duration_text(seconds: float) -> str:
    """A duration for people.

    >>> duration_text(75)
    '1 min 15 s'
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def moment_text(seconds: float) -> str:
    """A moment (seconds since 1970) for people, in this machine's time."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
