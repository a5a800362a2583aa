"""The light engine: onnxruntime, with front end and network in one graph."""

from __future__ import annotations

import platform
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np

from catalog.tracks import Float32
from embedder.errors import ModelError, WeightsError
from embedder.models.hearing import N_SAMPLES, Hearing
from embedder.processes import run

#: What onnxruntime is asked to say: errors, and nothing about the machine it meets.
_ERRORS_ONLY: Final = 3

#: A small board that is busy with other things loads it in minutes, not seconds; what does not suit
#: a processor dies at once.
_PROBE_S: Final = 600.0


class OnnxEngine:
    """A loaded graph. `infer` may be called from several threads at once.

    Raises:
        ModelError: onnxruntime does not load.
        WeightsError: the graph or its weights are damaged.
    """

    def __init__(self, graph: Path) -> None:
        runtime = _import_runtime()
        options = runtime.SessionOptions()
        # Tracks are heard side by side, a core each; threads that wait must not spin on it.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = _ERRORS_ONLY
        try:
            self._session = runtime.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions share no class of their own
            raise WeightsError(
                f"{graph} cannot be loaded ({str(error).splitlines()[0]}): reinstall Segue"
            ) from error

    def infer(self, windows: Float32) -> Hearing:
        """Windows (n, 320000) at 32 kHz → what the network says of each.

        One window a pass: what it works on stays in the processor's cache.
        """
        parts = [self._session.run(None, {"audio": window[np.newaxis]}) for window in windows]
        return Hearing(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def open_engine(graph: Path) -> OnnxEngine:
    """A loaded graph, tried out before where the processor gives reason to.

    Raises:
        ModelError: onnxruntime does not load, or dies on this machine.
        WeightsError: the graph or its weights are damaged.
    """
    if not _suits(Path("/proc/cpuinfo")):
        probe(graph)
    return OnnxEngine(graph)


def _suits(processor: Path) -> bool:
    """Whether this is a processor that every onnxruntime was built for: x86-64 with AVX."""
    if platform.machine() != "x86_64":  # under emulation the file may tell of the host's
        return False
    try:
        flags = re.search(r"^flags\s*:(.*)$", processor.read_text("utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return False
    return flags is not None and "avx" in flags.group(1).split()


def _import_runtime() -> Any:
    try:
        import onnxruntime

        _ = onnxruntime.InferenceSession, onnxruntime.SessionOptions
    except Exception as error:  # whatever a half-installed package stumbles over
        what = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"onnxruntime does not load ({what}): install it again"
            f" (pip install --force-reinstall onnxruntime), or {_instead()}"
        ) from error
    return onnxruntime


def probe(graph: Path) -> None:
    """Run a graph once in a process of its own: a processor that it does not suit kills only that.

    Raises:
        ModelError: the process died.
    """
    try:
        done = run("embedder.models.onnxing", str(graph), timeout_s=_PROBE_S)
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"onnxruntime did not answer for {_PROBE_S:g} s: {_instead()}") from error
    if done.returncode < 0:
        try:
            name = signal.Signals(-done.returncode).name
        except ValueError:
            name = f"signal {-done.returncode}"
        raise ModelError(
            f"onnxruntime dies of {name} on this machine"
            f" ({'it needs another processor' if name == 'SIGILL' else 'no more is known'}):"
            f" {_instead()}"
        )


def _instead() -> str:
    return 'set embedding.engine to "torch", or embedding.model to "timbre"'


def main() -> None:
    """Hear a window of silence: the probe."""
    OnnxEngine(Path(sys.argv[1])).infer(np.zeros((1, N_SAMPLES), np.float32))


if __name__ == "__main__":
    main()
