"""What there is to know of a model before it is loaded: plain facts, nothing that costs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

from catalog.tracks import Model
from embedder.decoding import DECODING_VERSION
from embedder.derivation import WHITENING
from embedder.errors import WeightsError
from embedder.models.analysers import Analyser
from embedder.models.weights import Weights
from embedder.windows import PLAN

#: What runs networks, and what each must have installed.
ENGINES: Final = {"onnx": "onnxruntime", "torch": "torch"}


@dataclass(frozen=True, slots=True)
class Setup:
    """What a model is loaded with: where its weights lie, what runs it, what rides on it."""

    folder: Path
    device: str = "auto"
    engine: str = "auto"
    riders: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One model: what it is, what it needs, how to load it.

    `revision` rises whenever our code would give other numbers for the same samples; together
    with the weights' hash and the decoding's version it makes `version`, so that results that
    cannot be compared never meet. Engines and devices whose vectors agree to a cosine of .999, as
    half precision's and CUDA's do, are one version. `dim` 0: no vector, runs beside a model that
    gives one. `engines`: any of these can run it; none is needed where there are none. `packaged`:
    where its weights lie, when they are part of Segue. `within`: the model whose pass over the
    windows gives this one's scores too. `unscaled`: the numbers are of different kinds, and
    publishing z-scores each. `whitening`: how far publishing evens out what its vectors differ in,
    0…1, by measurement (`embedder.derivation`). `on_request`: taken and pulled only by name.
    """

    name: str
    summary: str
    licence: str
    sample_rate_hz: int
    window_s: float
    most_windows: int
    dim: int
    labels_file: str
    tag_group: str
    weights: tuple[Weights, ...]
    engines: tuple[str, ...]
    revision: int
    load: Callable[[Entry, Setup], Analyser]
    packaged: Path | None = None
    within: str = ""
    unscaled: bool = False
    whitening: float = WHITENING
    on_request: bool = False

    @property
    def beside(self) -> bool:
        """Gives scores only, so it runs beside a model that gives a vector."""
        return self.dim == 0

    @property
    def labels(self) -> tuple[str, ...]:
        """What the scores are of, in their order; empty when the model gives none."""
        return read_labels(self.labels_file) if self.labels_file else ()

    @property
    def version(self) -> str:
        """For example "mn04-899a8c62-w6x10-d3.1"; graphs hold no weights and do not count."""
        short = self.name if self.packaged else self.name.rpartition("-")[2]
        counted = (one for one in self.weights if not one.file.endswith(".onnx"))
        weights = "".join(f"-{one.sha256[:8]}" for one in counted)
        windows = f"w{self.most_windows}x{self.window_s:g}"
        if windows != PLAN:  # cut from what was heard
            windows += f"of{PLAN}"
        return f"{short}{weights}-{windows}-d{DECODING_VERSION}.{self.revision}"

    @property
    def model(self) -> Model:
        """The vector space's identity, as the library stores it."""
        return Model(self.name, self.version, self.dim, self.labels)

    def folder(self, models_dir: Path) -> Path:
        """Where its weights lie."""
        return self.packaged or models_dir

    def missing_modules(self, engine: str = "auto") -> list[str]:
        """What would have to be installed (any of these), with a set engine where it can choose."""
        engines = (engine,) if engine in self.engines else self.engines
        modules = [ENGINES[one] for one in engines]
        there = any(importlib.util.find_spec(module) is not None for module in modules)
        return [] if there else modules


@cache
def read_labels(file: str) -> tuple[str, ...]:
    """The label list of a model out of the package; lines with # are its licence note.

    Raises:
        WeightsError: it is not there, or no text.
    """
    path = resources.files("embedder.models").joinpath(file)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or "it is no text"
        raise WeightsError(f"labels {path} cannot be read ({what}): reinstall Segue") from error
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))
