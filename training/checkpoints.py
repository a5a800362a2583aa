"""What a run leaves behind: the weights, and the state to go on from."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from training.errors import CheckpointError
from training.geometry import Geometry, Space
from training.students import Student

CHECKPOINT: Final = "checkpoint.pt"
STATE: Final = "state.pt"


def load(path: Path, advice: str = "") -> dict[str, Any]:
    """What `write` kept; nothing in it can run. `advice` is told where it cannot be read.

    Raises:
        CheckpointError: when it cannot be read.
    """
    try:
        kept: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} cannot be read ({first_line(error)}){advice}") from error
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
    except (RuntimeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read ({first_line(error)})") from error


def average(paths: Sequence[Path], out: Path) -> None:
    """Write the mean of several checkpoints ("Model soups", Wortsman et al. 2022).

    They must have one start in common: runs that went their own ways have no mean. The state beside
    the first is kept, so that a further run may start from it in the same space.

    Raises:
        CheckpointError: when one cannot be read, or is of other sizes.
    """
    states = [load(path) for path in paths]
    mean = dict(states[0])
    try:
        for part in ("network", "moods"):
            if all(state[part] is not None for state in states):
                mean[part] = _mean([state[part] for state in states])
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"these are not of one kind ({first_line(error)})") from error
    mean["averaged"] = len(paths)
    out.mkdir(parents=True, exist_ok=True)
    write(out / CHECKPOINT, mean)
    beside = paths[0].with_name(STATE)
    if beside.exists():
        write(out / STATE, load(beside))


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
    kept = load(path)["geometry"]
    return geometry_of(kept) if kept else None


def first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


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
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)
