"""efficientat-mn04 by onnxruntime: its published weights, laid out as segue-1's graph reads them.

segue-1's network is mn04's with one layer more, so its graph runs mn04 too, once that layer changes
nothing: two thirds of the time of torch, and no torch in the job's memory. Vectors agree with
torch's to a cosine of .9998, centred ones to .9996 (half precision). Only torch can read the
published file; it does so in a process of its own, which ends before the first track is heard.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from catalog.tracks import Float32
from embedder.errors import ModelError, WeightsError
from embedder.models.onnxing import OnnxEngine, open_engine
from embedder.models.tensors import read_tensors, write_tensors
from embedder.processes import run

#: Loading torch takes seconds; on a small machine, many.
_CONVERT_S: Final = 300.0
_WRONG_WEIGHTS: Final = 3


def open_converted(weights: Path, network: Path, graph: Path) -> OnnxEngine:
    """The graph of a network, with mn04's weights in the place of its own.

    Args:
        weights: the published state dict.
        network: segue-1's weights, whose names and shapes the graph goes by.
        graph: segue-1's graph, which looks for them beside itself.

    Raises:
        ModelError: torch does not load, or onnxruntime does not.
        WeightsError: a file is damaged or holds something else.
    """
    with TemporaryDirectory(prefix="segue-") as folder:
        try:
            done = run(
                "embedder.models.converting",
                *map(str, (weights, network, folder)),
                timeout_s=_CONVERT_S,
            )
        except subprocess.TimeoutExpired as error:
            raise ModelError(f"torch did not read {weights} in {_CONVERT_S:g} s") from error
        if done.returncode:
            told = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
            kind = WeightsError if done.returncode == _WRONG_WEIGHTS else ModelError
            raise kind(told if kind is WeightsError else f"torch does not read {weights}: {told}")
        shutil.copyfile(graph, Path(folder) / graph.name)
        return open_engine(Path(folder) / graph.name)  # which reads all of it


def convert(weights: Path, network: Path, target: Path) -> None:
    """Write mn04's weights as the file that the graph of `network` reads.

    Raises:
        WeightsError: a file is damaged, or the two networks have not the same shapes.
    """
    tensors = _folded(weights)
    ours, theirs = _shapes(read_tensors(network)), _shapes(tensors)
    if ours != theirs:
        odd = min(ours.items() ^ theirs.items())[0]
        raise WeightsError(f"{weights} does not fit {network.name} ({odd})")
    write_tensors(target, tensors)


def _shapes(tensors: Mapping[str, Float32]) -> dict[str, tuple[int, ...]]:
    return {name: one.shape for name, one in tensors.items()}


def _folded(weights: Path) -> dict[str, Float32]:
    import torch

    from embedder.models.efficientat import MobileNetV3
    from embedder.models.segue1 import DIM, Segue1Network
    from embedder.models.torching import fold_batch_norms, load_state

    known = MobileNetV3(0.4)
    load_state(known, weights)
    whole = Segue1Network()
    whole.features = known.features
    whole.head[0].load_state_dict(known.classifier[2].state_dict())
    whole.tags.load_state_dict(known.classifier[5].state_dict())
    nothing_more = {"weight": torch.eye(DIM), "bias": torch.zeros(DIM)}
    whole.head[2].load_state_dict(nothing_more)
    fold_batch_norms(whole.eval())
    return {name: one.numpy() for name, one in whole.state_dict().items()}


def main() -> int:
    """Convert: the published weights, the network whose shapes to take, the folder to write to."""
    weights, network, folder = map(Path, sys.argv[1:])
    try:
        convert(weights, network, folder / network.name)
    except WeightsError as error:
        sys.stderr.write(f"{error}\n")
        return _WRONG_WEIGHTS
    return 0


if __name__ == "__main__":
    sys.exit(main())
