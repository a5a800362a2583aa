"""What a run leaves behind: the weights, and the state to go on from."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from training.errors import CheckpointError, first_line
from training.files import whole
from training.geometry import Geometry, Space
from training.students import Student

CHECKPOINT: Final = "checkpoint.pt"
STATE: Final = "state.pt"


#: What torch raises for a file that is cut short, or is something else.
_UNREADABLE: Final = (
    OSError,
    RuntimeError,
    EOFError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
)


def load(path: Path, advice: str = "") -> dict[str, Any]:
    """What `write` kept; nothing in it can run. `advice` is told where it cannot be read.

    Raises:
        CheckpointError: when it cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about foreign files, which fail right after
            kept = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise CheckpointError(f"{path} cannot be read ({first_line(error)}){advice}") from error
    if not isinstance(kept, dict):
        raise CheckpointError(f"{path} is no checkpoint{advice}")
    return kept


def fill(student: Student, path: Path) -> None:
    """Give a student a checkpoint's weights.

    Raises:
        CheckpointError: when it cannot be read.
    """
    state = load(path)
    try:
        student.load_network(state["network"])
        if state["moods"] is not None:
            student.moods.load_state_dict(state["moods"])
    except (RuntimeError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} does not fit ({first_line(error)})") from error


def average(paths: Sequence[Path], out: Path) -> None:
    """Write the mean of several checkpoints ("Model soups", Wortsman et al. 2022).

    They must have one start in common: runs that went their own ways have no mean. The space of the
    first is kept beside it, so that a further run may start from it in the same one. Moods have a
    mean where all have moods.

    Raises:
        CheckpointError: when one cannot be read, is of other sizes, or would be written over.
    """
    if (out / CHECKPOINT).resolve() in [path.resolve() for path in paths]:
        raise CheckpointError(f"the mean would take the place of {out / CHECKPOINT}: another --out")
    states = [load(path) for path in paths]
    mean = dict(states[0])
    try:
        for part in ("network", "moods"):
            parts = [state[part] for state in states]
            mean[part] = None if None in parts else _mean(parts)
    except (LookupError, RuntimeError, TypeError, AttributeError) as error:
        raise CheckpointError(f"these are not of one kind ({first_line(error)})") from error
    mean["averaged"] = len(paths)
    out.mkdir(parents=True, exist_ok=True)
    write(out / CHECKPOINT, mean)
    beside = paths[0].with_name(STATE)
    if beside.exists():
        write(out / STATE, {"geometry": load(beside).get("geometry")})


def _mean(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {
        name: torch.stack([state[name] for state in states]).mean(0)
        if value.dtype.is_floating_point
        else value
        for name, value in states[0].items()
    }


def geometry_beside(checkpoint: Path) -> Geometry | None:
    """The space of the run that left a checkpoint, where its state lies beside it."""
    path = checkpoint.with_name(STATE)
    if not path.exists():
        return None
    kept = load(path).get("geometry")
    return geometry_of(kept) if kept else None


def plain(geometry: Geometry) -> dict[str, Any]:
    return {
        "spaces": {name: (space.mean, space.matrix) for name, space in geometry.spaces.items()},
        "weights": dict(geometry.weights),
        "mean": geometry.mean,
        "axes": geometry.axes,
    }


def geometry_of(kept: Mapping[str, Any]) -> Geometry:
    spaces = {name: Space(mean, matrix) for name, (mean, matrix) in kept["spaces"].items()}
    return Geometry(spaces, kept["weights"], kept["mean"], kept["axes"])


def write(path: Path, state: dict[str, Any]) -> None:
    """Write a file whole or not at all: what was there before stays until the new one is.

    Raises:
        CheckpointError: when it cannot be written.
    """
    with whole(path, CheckpointError) as part:
        torch.save(state, part)
