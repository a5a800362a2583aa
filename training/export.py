"""From a checkpoint to what the wheel ships: weights in half precision, and a graph over them.

Written into one folder, the same bytes for the same checkpoint:

* `segue-1.safetensors`: the network, batch norms folded into the convolutions, in half precision.
* `segue-1.onnx`: front end and network, samples in; it holds no weights of the network, but points
  at their places in the file beside it and widens them (onnxruntime does that once, at loading).
* `moods.safetensors`: the mood head, where the checkpoint has one. It can be left out.
* `manifest.json`: the vectors' length, and sizes and sha256 of these.

The spectrum is made of 32 x 32 points (Cooley-Tukey), by one grouped convolution and one matrix
product. With n = 32 a + b and k = c + 32 d the sum over a is a convolution over the samples laid
out in rows of 32 (a hop is ten rows), whose kernels hold the window and the twiddle factors too;
the sum over b is a product with one matrix for all c. A fifth of the multiplications of a plain
DFT, and four times as quick as onnxruntime's own STFT (docs/benchmarks.md). Bin 1024 - k has the
power of bin k, so c = 0…16 covers all, and rows d that only reach above 15 kHz are not computed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from embedder.models.efficientat import (
    HOP_LENGTH,
    N_FFT,
    N_TAGS,
    PRE_EMPHASIS,
    WIN_LENGTH,
    ConvNormAct,
    InvertedResidual,
    kaldi_mel_banks,
)
from embedder.models.hearing import N_SAMPLES
from embedder.models.segue1 import N_MOODS, MoodHead, Segue1Network, mood_head_of, network_of
from embedder.models.tensors import Span, write_tensors
from embedder.models.torching import fold_batch_norms
from training.checkpoints import load
from training.errors import CheckpointError, first_line

WEIGHTS: Final = "segue-1.safetensors"
GRAPH: Final = "segue-1.onnx"
MOODS: Final = "moods.safetensors"
MANIFEST: Final = "manifest.json"

_OPSET: Final = 18
_IR_VERSION: Final = 9

#: N_FFT = _RADIX²
_RADIX: Final = 32


def export(checkpoint: Path, folder: Path) -> None:
    """Write the shipped files of a checkpoint ({"network": …, "moods": … or None}) into a folder.

    They are made and tried beside it first: where that fails, the folder is as it was. The manifest
    comes last, so that files which a kill left half exchanged are told by their sha256.

    Raises:
        CheckpointError: it cannot be read, is not segue-1's, or the files cannot be written.
    """
    network, moods = read_checkpoint(checkpoint)
    fold_batch_norms(network)
    folder = folder.resolve()
    made = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(made, ignore_errors=True)
    try:
        made.mkdir(parents=True)
        _write(made, network, moods, checkpoint)
        folder.mkdir(exist_ok=True)
        for name in (WEIGHTS, GRAPH, MOODS, MANIFEST):
            if (made / name).exists():
                (made / name).replace(folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written ({error})") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _write(folder: Path, network: Segue1Network, moods: MoodHead | None, checkpoint: Path) -> None:
    try:
        places = write_tensors(folder / WEIGHTS, _arrays(network))
        if moods is not None:
            write_tensors(folder / MOODS, _arrays(moods))
    except ValueError as error:
        raise CheckpointError(f"{checkpoint} cannot be exported: {error}") from error
    graph = Graph(WEIGHTS, places)
    (folder / GRAPH).write_bytes(graph.model(network).SerializeToString(deterministic=True))
    onnx.checker.check_model(folder / GRAPH, full_check=True)
    files = [name for name in (WEIGHTS, GRAPH, MOODS) if (folder / name).exists()]
    manifest = {
        "dim": network.head[2].out_features,
        "files": {name: _facts(folder / name) for name in files},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")


def read_checkpoint(path: Path) -> tuple[Segue1Network, MoodHead | None]:
    """The network and the mood head of a checkpoint, in evaluation mode, on the CPU.

    Raises:
        CheckpointError: it cannot be read, or is not segue-1's.
    """
    state = load(path)
    try:
        network = network_of(state["network"])
        moods = None if state.get("moods") is None else mood_head_of(state["moods"])
    except (RuntimeError, LookupError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is no checkpoint of segue-1 ({first_line(error)})"
        ) from error
    labels = (network.tags.out_features, N_MOODS if moods is None else moods[-1].out_features)
    if labels != (N_TAGS, N_MOODS):
        raise CheckpointError(f"{path} has {labels} tags and moods, not {(N_TAGS, N_MOODS)}")
    return network, moods


def _arrays(module: nn.Module) -> dict[str, Any]:
    return {name: value.numpy() for name, value in module.state_dict().items()}


def _facts(path: Path) -> dict[str, str | int]:
    data = path.read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}


class Graph:
    """An ONNX graph in the making. Values are named by what gave them, in order."""

    def __init__(self, weights: str, places: Mapping[str, Span]) -> None:
        self._weights = weights
        self._places = places
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def model(self, network: Segue1Network) -> Any:
        """The whole: audio (windows, 320000) → vectors, tags (logits), pooled."""
        mel = self.front_end("audio")
        head: Any = network.head
        pooled = self.add("Flatten", self.add("GlobalAveragePool", self._trunk(network, mel)))
        hidden = self.add("HardSwish", self._linear("head.0", pooled))
        outputs = {
            "vectors": (self._linear("head.2", hidden), head[2].out_features),
            "tags": (self._linear("tags", hidden), N_TAGS),
            "pooled": (pooled, head[0].in_features),
        }
        for name, (value, _) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [value], [name]))
        graph = helper.make_graph(
            self.nodes,
            "segue-1",
            [_tensor_info("audio", N_SAMPLES)],
            [_tensor_info(name, size) for name, (_, size) in outputs.items()],
            self.constants,
        )
        model: Any = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
            producer_name="segue",
        )
        return model

    def add(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """Add a node. Returns the name of its output."""
        name = f"{operation}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, inputs, [name], **attributes))
        return name

    def constant(self, values: Any, dtype: type = np.float32) -> str:
        """Add a constant that the graph holds itself. Returns its name."""
        name = f"constant_{len(self.constants)}"
        # np.ascontiguousarray would make a scalar a vector.
        array: Any = np.asarray(values, dtype, order="C")
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, name: str, shape: Sequence[int] | None = None) -> str:
        """Point at a tensor of the weights file, in another shape if need be, and widen it."""
        span = self._places[name]
        tensor = TensorProto(
            name=name,
            data_type=TensorProto.FLOAT16,
            dims=shape or span.shape,
            data_location=TensorProto.EXTERNAL,
        )
        for key, value in (
            ("location", self._weights),
            ("offset", span.offset),
            ("length", span.length),
        ):
            tensor.external_data.add(key=key, value=str(value))
        self.constants.append(tensor)
        return self.add("Cast", name, to=TensorProto.FLOAT)

    def slice(self, value: str, axis: int, begin: int, end: int) -> str:
        """A part of a value along one axis."""
        limits = [self.constant([number], np.int64) for number in (begin, end, axis)]
        return self.add("Slice", value, *limits)

    def front_end(self, audio: str) -> str:
        """Audio (n, 320000) → log-mel (n, 1, 128, 1000), as `efficientat.FrontEnd` makes it."""
        padded = self.padded(self.emphasised(audio))
        frames = 1 + (N_SAMPLES - 1) // HOP_LENGTH
        used = (frames - 1) * HOP_LENGTH + N_FFT
        rows = self.add(
            "Reshape", self.slice(padded, 1, 0, used), self.constant([0, -1, _RADIX], np.int64)
        )
        columns = self.add("Transpose", rows, perm=[0, 2, 1])  # (n, 32, rows)
        kernels, first = _first_stage()
        parts = self.add(
            "Conv",
            self.slice(columns, 2, first, used // _RADIX),
            self.constant(kernels),
            group=_RADIX,
            strides=[HOP_LENGTH // _RADIX],
            kernel_shape=[kernels.shape[2]],
        )  # (n, 32 b x 2 x 17 c, frames)
        second, banks = _second_stage()
        side_by_side = self.add("Reshape", parts, self.constant([0, 2 * _RADIX, -1], np.int64))
        spectrum = self.add("MatMul", self.constant(second), side_by_side)
        power = self.add(
            "Reshape",
            self.power(spectrum, len(second) // 2),
            self.constant([0, banks.shape[1], -1], np.int64),
        )
        return self.log_mel(self.add("MatMul", self.constant(banks), power))

    def emphasised(self, audio: str) -> str:
        """y[n] = x[n + 1] - 0.97 x[n]."""
        earlier = self.slice(audio, 1, 0, N_SAMPLES - 1)
        later = self.slice(audio, 1, 1, N_SAMPLES)
        return self.add("Add", later, self.add("Mul", earlier, self.constant(-PRE_EMPHASIS)))

    def padded(self, audio: str) -> str:
        """Half a frame mirrored at either end."""
        pads = self.constant([0, N_FFT // 2, 0, N_FFT // 2], np.int64)
        return self.add("Pad", audio, pads, mode="reflect")

    def power(self, spectrum: str, half: int) -> str:
        """Real rows, then as many imaginary ones → the sum of their squares."""
        squares = self.add("Mul", spectrum, spectrum)
        parts = (self.slice(squares, 1, first, first + half) for first in (0, half))
        return self.add("Add", *parts)

    def log_mel(self, mel: str) -> str:
        """Mel power (n, 128, frames) → what the network takes."""
        log = self.add("Log", self.add("Add", mel, self.constant(1e-5)))
        scaled = self.add("Mul", self.add("Add", log, self.constant(4.5)), self.constant(1 / 5))
        return self.add("Unsqueeze", scaled, self.constant([1], np.int64))

    def _trunk(self, network: Segue1Network, value: str) -> str:
        for name, module in network.features.named_children():
            path = f"features.{name}"
            if isinstance(module, ConvNormAct):
                value = self._convolution(path, module, value)
            elif isinstance(module, InvertedResidual):
                value = self._residual(f"{path}.block", module, value)
            else:
                raise CheckpointError(f"no graph is known for {path}, a {type(module).__name__}")
        return value

    def _residual(self, path: str, module: InvertedResidual, value: str) -> str:
        into = value
        for name, part in module.block.named_children():
            if isinstance(part, ConvNormAct):
                value = self._convolution(f"{path}.{name}", part, value)
            else:
                value = self._squeeze_excite(f"{path}.{name}.conc_se_layers.0", value)
        return self.add("Add", into, value) if module.residual else value

    def _convolution(self, path: str, module: ConvNormAct, value: str) -> str:
        convolution: Any = module[0]
        found = self.add(
            "Conv",
            value,
            self.weight(f"{path}.0.weight"),
            self.weight(f"{path}.0.bias"),
            kernel_shape=list(convolution.kernel_size),
            strides=list(convolution.stride),
            pads=list(convolution.padding) * 2,
            group=convolution.groups,
        )
        if len(module) < 3:
            return found
        return self.add("Relu" if isinstance(module[2], nn.ReLU) else "HardSwish", found)

    def _squeeze_excite(self, path: str, value: str) -> str:
        squeezed = self.add(
            "Relu", self._dense(f"{path}.fc1", self.add("GlobalAveragePool", value))
        )
        gate = self.add("Sigmoid", self._dense(f"{path}.fc2", squeezed))
        return self.add("Mul", value, gate)

    def _dense(self, path: str, value: str) -> str:
        """A linear layer over channels, as a convolution: (n, c, 1, 1) keeps its layout."""
        shape = (*self._places[f"{path}.weight"].shape, 1, 1)
        return self.add(
            "Conv", value, self.weight(f"{path}.weight", shape), self.weight(f"{path}.bias")
        )

    def _linear(self, path: str, value: str) -> str:
        return self.add(
            "Gemm", value, self.weight(f"{path}.weight"), self.weight(f"{path}.bias"), transB=1
        )


def _tensor_info(name: str, size: int) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["windows", size])


def _angles(*factors: Any) -> Any:
    """-2π times the product of integer arrays, modulo N_FFT first: exact for large ones."""
    product = factors[0] * factors[1] % N_FFT
    return -2.0 * np.pi * product / N_FFT


def _first_stage() -> tuple[Any, int]:
    """Kernels (32 b x 2 x 17 c, 1, rows a) of window and twiddles, and the first row they reach."""
    begin = (N_FFT - WIN_LENGTH) // 2
    window = np.zeros(N_FFT)
    window[begin : begin + WIN_LENGTH] = np.hanning(WIN_LENGTH)
    first, last = begin // _RADIX, -(-(begin + WIN_LENGTH) // _RADIX)
    n = _RADIX * np.arange(first, last) + np.arange(_RADIX)[:, np.newaxis]  # (b, a)
    angles = _angles(np.arange(_RADIX // 2 + 1)[:, np.newaxis], n[:, np.newaxis])  # (b, c, a)
    kernels = window[n][:, np.newaxis] * np.stack([np.cos(angles), np.sin(angles)])
    kernels = kernels.transpose(1, 0, 2, 3)  # (b, re im, c, a)
    return kernels.reshape(-1, 1, last - first), first


def _second_stage() -> tuple[Any, Any]:
    """The DFT over b for the rows d in use, (2 d, 32 b x 2), and mel banks in its order of bins."""
    banks = kaldi_mel_banks()
    c, d = np.arange(_RADIX // 2 + 1), np.arange(_RADIX)
    bins = _folded(c + _RADIX * d[:, np.newaxis])  # (d, c)
    heard: Any = banks.any(0)
    d = d[heard[bins].any(1)]
    angles = _angles(_RADIX * d[:, np.newaxis], np.arange(_RADIX))
    real, imaginary = np.cos(angles), np.sin(angles)
    matrix = np.stack(
        [np.stack([real, -imaginary], 2), np.stack([imaginary, real], 2)]
    )  # (re im, d, b, re im)
    columns = np.zeros((len(banks), d.size * c.size), np.float32)
    # Some bins come twice; the banks count them once.
    first = dict(reversed([(bin_, i) for i, bin_ in enumerate(bins[d].ravel().tolist())]))
    for bin_ in np.flatnonzero(heard).tolist():
        columns[:, first[bin_]] = banks[:, bin_]
    return matrix.reshape(2 * d.size, -1), columns


def _folded(bins: Any) -> Any:
    """Bins above the middle have the power of their mirror image."""
    return np.where(bins > N_FFT // 2, N_FFT - bins, bins)
