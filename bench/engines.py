"""segue-1's engines beside each other, and three ways to make a spectrum inside an ONNX graph.

Core-milliseconds are the process's own CPU time over all of its threads, so a busy machine disturbs
little. Exactness is the largest difference to the same in double precision by numpy's FFT.

    python -m bench engines
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from catalog.tracks import Float32
from embedder.models.hearing import N_SAMPLES, SAMPLE_RATE_HZ, Engine
from embedder.models.registry import PACKAGED
from embedder.windows import WINDOW_S

WINDOWS = 12
CORES = 2


def run() -> list[dict[str, object]]:
    """Rows: each way to make the spectrum, then each engine, front end included."""
    rows = _front_ends()
    engines = {"onnxruntime": _onnx(PACKAGED), "torch": _torch(PACKAGED)}
    sounds, heard = _sounds(), {}
    for name, engine in engines.items():
        cost_ms = _cost_ms(lambda engine=engine: engine.infer(sounds)) / WINDOWS
        heard[name] = engine.infer(sounds).vectors
        rows.append(
            {
                "what": f"whole model, {name}",
                "core-ms a window": round(cost_ms, 1),
                f"x real time, {CORES} cores": round(CORES * 1000 * WINDOW_S / cost_ms),
                "resident MB": _resident_mb(PACKAGED, name),
            }
        )
    first, second = heard.values()
    cosine = (first * second).sum(1)
    cosine /= np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    rows.append({"what": "smallest cosine between the engines", "": f"{cosine.min():.7f}"})
    return rows


def _sounds() -> Float32:
    """Chords over noise, (WINDOWS, 320000) float32, from nearly silent to full scale."""
    random = np.random.default_rng(0)
    t = np.arange(N_SAMPLES) / SAMPLE_RATE_HZ
    sounds = 0.05 * random.standard_normal((WINDOWS, N_SAMPLES))
    for sound in sounds:
        for hz in 110.0 * 2.0 ** (random.integers(0, 48, 5) / 12):
            sound += 0.12 * np.sin(2 * np.pi * hz * t) * (np.mod(t, random.uniform(0.3, 1)) < 0.2)
        sound *= 10.0 ** random.uniform(-3, 0)
    return sounds.astype(np.float32)


def _cost_ms(call: Callable[[], object], times: int = 5) -> float:
    call()
    best = np.inf
    for _ in range(times):
        began = time.process_time()
        call()
        best = min(best, time.process_time() - began)
    return float(best) * 1000


def _onnx(folder: Path) -> Engine:
    from embedder.models.onnxing import OnnxEngine

    return OnnxEngine(folder / "segue-1.onnx")


def _torch(folder: Path) -> Engine:
    from embedder.models.segue1 import TorchEngine

    return TorchEngine(folder / "segue-1.safetensors", device="cpu")


def _resident_mb(folder: Path, engine: str) -> int:
    """The most a process held that did nothing but hear four windows."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.engines", str(folder), engine],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout)


def _front_ends() -> list[dict[str, object]]:
    from training.export import Graph

    sound = _sounds()[:1]
    exact = _exact(sound[0])
    rows: list[dict[str, object]] = []
    ways: dict[str, Callable[[Graph, str], str]] = {
        "split DFT, 32 x 32": Graph.front_end,
        "convolution with the DFT's basis": _by_convolution,
        "onnxruntime's STFT": _by_stft,
    }
    for name, way in ways.items():
        session = _session(way)
        (found,) = session.run(None, {"audio": sound})
        cost_ms = _cost_ms(lambda session=session: session.run(None, {"audio": sound}))
        rows.append(_row(name, cost_ms, found[0, 0], exact))
    import torch

    from embedder.models.efficientat import FrontEnd

    front_end = FrontEnd()
    torch.set_num_threads(1)
    with torch.inference_mode():
        audio = torch.from_numpy(sound)
        cost_ms = _cost_ms(lambda: front_end(audio))
        rows.append(_row("torch's FFT", cost_ms, front_end(audio)[0, 0].numpy(), exact))
    return rows


def _row(name: str, cost_ms: float, found: Float32, exact: Any) -> dict[str, object]:
    return {
        "what": f"front end, {name}",
        "core-ms a window": round(cost_ms, 1),
        "largest error, log-mel": f"{np.abs(found - exact).max():.0e}",
    }


def _exact(sound: Float32) -> Any:
    from embedder.models import efficientat as model

    wide = sound.astype(np.float64)
    emphasised = np.pad(wide[1:] - model.PRE_EMPHASIS * wide[:-1], model.N_FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(emphasised, model.N_FFT)
    power = np.abs(np.fft.rfft(frames[:: model.HOP_LENGTH] * _window())) ** 2
    mel = power @ model.kaldi_mel_banks().astype(np.float64).T
    return ((np.log(mel + 1e-5) + 4.5) / 5.0).T


def _window() -> Any:
    from embedder.models.efficientat import N_FFT, WIN_LENGTH

    return np.pad(np.hanning(WIN_LENGTH), (N_FFT - WIN_LENGTH) // 2)


def _session(way: Callable[[Any, str], str]) -> Any:
    import onnxruntime
    from onnx import TensorProto, helper

    from training.export import Graph

    graph = Graph("", {})
    mel = way(graph, "audio")
    model = helper.make_model(
        helper.make_graph(
            [*graph.nodes, helper.make_node("Identity", [mel], ["mel"])],
            "front end",
            [helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["n", N_SAMPLES])],
            [helper.make_tensor_value_info("mel", TensorProto.FLOAT, ["n", 1, 128, 1000])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _by_convolution(graph: Any, audio: str) -> str:
    from embedder.models import efficientat as model

    used = np.flatnonzero(model.kaldi_mel_banks().any(0))
    angles = -2 * np.pi * (used[:, np.newaxis] * np.arange(model.N_FFT) % model.N_FFT) / model.N_FFT
    basis = np.concatenate([np.cos(angles), np.sin(angles)]) * _window()
    begin = (model.N_FFT - model.WIN_LENGTH) // 2
    kernels = basis[:, np.newaxis, begin : begin + model.WIN_LENGTH]
    padded = graph.add(
        "Unsqueeze", graph.padded(graph.emphasised(audio)), graph.constant([1], np.int64)
    )
    spectrum = graph.add(
        "Conv",
        graph.slice(padded, 2, begin, N_SAMPLES - 1 + model.N_FFT - begin),
        graph.constant(kernels),
        strides=[model.HOP_LENGTH],
        kernel_shape=[model.WIN_LENGTH],
    )
    power = graph.power(spectrum, used.size)
    banks = graph.constant(model.kaldi_mel_banks()[:, used])
    return str(graph.log_mel(graph.add("MatMul", banks, power)))


def _by_stft(graph: Any, audio: str) -> str:
    from embedder.models import efficientat as model

    padded = graph.add(
        "Unsqueeze", graph.padded(graph.emphasised(audio)), graph.constant([2], np.int64)
    )
    numbers = [graph.constant(n, np.int64) for n in (model.HOP_LENGTH, model.N_FFT)]
    window = graph.constant(_window())
    spectrum = graph.add("STFT", padded, numbers[0], window, numbers[1], onesided=1)
    power = graph.add("ReduceSumSquare", spectrum, graph.constant([-1], np.int64), keepdims=0)
    mel = graph.add("MatMul", power, graph.constant(model.kaldi_mel_banks().T))
    return str(graph.log_mel(graph.add("Transpose", mel, perm=[0, 2, 1])))


def main() -> None:
    """Print how much memory an engine took to hear four windows: a process of its own."""
    folder, name = Path(sys.argv[1]), sys.argv[2]
    engine = (_onnx if name == "onnxruntime" else _torch)(folder)
    engine.infer(_sounds()[:4])
    # Not getrusage: its peak begins with that of the process that started this one.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text("utf-8"))
    print(int(peak[1]) // 1024 if peak else 0)


if __name__ == "__main__":
    main()
