"""Files that are there with all of their content, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.errors import TrainingError, first_line


@contextmanager
def whole(path: Path, error: type[TrainingError]) -> Iterator[Path]:
    """Where to write what then takes the place of `path`; what was there before stays until then.

    Raises:
        TrainingError: of the type that is given, when it cannot be written.
    """
    part = path.with_suffix(".part")
    try:
        yield part
        part.replace(path)
    except (OSError, RuntimeError) as fault:  # a full disk is a RuntimeError of torch's own
        part.unlink(missing_ok=True)
        raise error(
            f"{path} cannot be written ({first_line(fault)}): is there room on the disk?"
        ) from fault
