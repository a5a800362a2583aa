"""The file of named tensors that both engines read."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from catalog.tracks import Float32
from embedder.errors import WeightsError
from embedder.models.tensors import read_tensors, write_tensors


def some_tensors() -> dict[str, Float32]:
    random = np.random.default_rng(0)
    return {
        "b.weight": random.standard_normal((3, 2, 1, 5)).astype(np.float32),
        "a.bias": random.standard_normal(7).astype(np.float32),
    }


def test_tensors_come_back_as_half_precision_has_them(tmp_path: Path) -> None:
    tensors = some_tensors()
    path = tmp_path / "weights.safetensors"
    spans = write_tensors(path, tensors)
    read = read_tensors(path)
    assert list(read) == ["a.bias", "b.weight"]
    for name, values in tensors.items():
        assert read[name].dtype == np.float32
        np.testing.assert_array_equal(read[name], values.astype(np.float16).astype(np.float32))
        # What an ONNX graph is told of the place of a tensor is true.
        span = spans[name]
        raw = path.read_bytes()[span.offset : span.offset + span.length]
        np.testing.assert_array_equal(np.frombuffer(raw, "<f2").reshape(span.shape), read[name])


def test_the_same_tensors_give_the_same_bytes(tmp_path: Path) -> None:
    write_tensors(tmp_path / "one", some_tensors())
    write_tensors(tmp_path / "two", dict(reversed(some_tensors().items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e6])
def test_what_half_precision_cannot_hold_is_not_written(number: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tensor a\.bias"):
        write_tensors(tmp_path / "weights", {"a.bias": np.array([number], np.float32)})


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    write_tensors(whole, some_tensors())
    data = whole.read_bytes()
    short = tmp_path / "short"
    for size in [*range(0, 200, 7), len(data) - 1]:
        short.write_bytes(data[:size])
        with pytest.raises(WeightsError, match="damaged"):
            read_tensors(short)


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"{",
        json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode(),
        json.dumps({"a": {"dtype": "F16", "shape": [9], "data_offsets": [0, 4]}}).encode(),
        json.dumps({"a": {"dtype": "F16", "shape": [2], "data_offsets": [-4, 0]}}).encode(),
        json.dumps({"a": {"dtype": "F16", "shape": 2, "data_offsets": [0, 4]}}).encode(),
        json.dumps({"a": 1}).encode(),
    ],
)
def test_another_format_is_refused(header: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(WeightsError, match="damaged"):
        read_tensors(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="nowhere"):
        read_tensors(tmp_path / "nowhere")
