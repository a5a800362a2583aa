"""Named tensors in one plain file, in the safetensors format: nothing in it can run.

Eight bytes little-endian say how long the JSON header is; it gives each tensor's dtype, shape and
place in the bytes that follow (github.com/huggingface/safetensors, "Format"). An ONNX graph can
point at those places, so that one file of weights serves both engines. Half precision only, which
is what is shipped: half the bytes for vectors that agree to six digits.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

import numpy as np

from catalog.tracks import Float32
from embedder.errors import WeightsError

_KIND: Final = "F16"
_STORED: Final = np.dtype("<f2")
#: A longer header is no header; the package's weights need 20 kB.
_LONGEST_HEADER: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Span:
    """Where a tensor lies in its file, in bytes from the file's beginning, and its shape."""

    offset: int
    length: int
    shape: tuple[int, ...]


def write_tensors(path: Path, tensors: Mapping[str, Float32]) -> dict[str, Span]:
    """Write tensors in half precision, in the order of their names. Returns where each lies.

    The same tensors give the same bytes.

    Raises:
        ValueError: a number is not finite, or too large for half precision (65,504).
    """
    places: dict[str, Span] = {}
    chunks: list[bytes] = []
    end = 0
    for name in sorted(tensors):
        with np.errstate(over="ignore"):
            half = np.asarray(tensors[name], _STORED, order="C")
        if not np.isfinite(half).all():
            raise ValueError(f"tensor {name} holds numbers that half precision cannot")
        places[name] = Span(end, half.nbytes, half.shape)
        chunks.append(half.tobytes())
        end += half.nbytes
    entries = {
        name: {
            "dtype": _KIND,
            "shape": list(span.shape),
            "data_offsets": [span.offset, span.offset + span.length],
        }
        for name, span in places.items()
    }
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"".join(chunks))
    begin = 8 + len(header)
    return {
        name: Span(begin + span.offset, span.length, span.shape) for name, span in places.items()
    }


def read_tensors(path: Path) -> dict[str, Float32]:
    """Every tensor of a file, widened to float32.

    Raises:
        WeightsError: the file is not there, is cut short, or is of another format.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"weights {path} cannot be read ({error.strerror})") from error
    try:
        (length,) = struct.unpack_from("<Q", data)
        if length > _LONGEST_HEADER:
            raise ValueError("its header is too long")
        header = json.loads(data[8 : 8 + length])
        body = memoryview(data)[8 + length :]
        return {
            name: _tensor(entry, body) for name, entry in header.items() if name != "__metadata__"
        }
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"weights {path} are damaged ({error})") from error


def _tensor(entry: Mapping[str, object], body: memoryview) -> Float32:
    shape, offsets = entry["shape"], entry["data_offsets"]
    if entry["dtype"] != _KIND or not isinstance(shape, list) or not isinstance(offsets, list):
        raise ValueError(f"a tensor is not {_KIND}")
    begin, end = offsets
    if not 0 <= begin <= end <= len(body):
        raise ValueError(f"{len(body)} bytes of tensors, {end} expected")
    if end - begin != prod(shape) * _STORED.itemsize:
        raise ValueError("a tensor's shape and its bytes do not agree")
    values = np.frombuffer(body[begin:end], _STORED).reshape(shape)
    return values.astype(np.float32)
