"""The models there are. A new one is its module and one entry here.

Entries are plain facts: nothing here imports torch, so that listing models, choosing one and
finding out that there is nothing to do all stay cheap.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final, Protocol

from catalog.tracks import Analysis, Model
from embedder.decoding import DECODING_VERSION
from embedder.errors import ModelError, WeightsError
from embedder.excerpts import Excerpts
from embedder.models.weights import Weights, state, verify
from embedder.settings import EmbeddingSettings


class Analyser(Protocol):
    """A loaded model. `analyse` may be called from several threads at once."""

    model: Model

    def analyse(self, excerpts: Excerpts) -> Analysis:
        """What this model says of a track that sounds like this."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One model: what it is, what it needs, how to load it.

    `revision` rises whenever our code would give other numbers for the same samples; together
    with the weights' hash and the decoding's version it makes `version`, so that results that
    cannot be compared never meet. `dim` 0: no vector, runs beside a model that gives one.
    `unscaled`: the numbers are of different kinds, and publishing z-scores each.
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
    modules: tuple[str, ...]
    revision: int
    unscaled: bool
    load: Callable[[Entry, Path, str], Analyser]

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
        """For example "mn04-899a8c62-w6x10-d2.1"."""
        short = self.name.rpartition("-")[2]
        weights = "".join(f"-{one.sha256[:8]}" for one in self.weights)
        windows = f"w{self.most_windows}x{self.window_s:g}"
        return f"{short}{weights}-{windows}-d{DECODING_VERSION}.{self.revision}"

    @property
    def model(self) -> Model:
        """The vector space's identity, as the library stores it."""
        return Model(self.name, self.version, self.dim, self.labels)

    def missing_modules(self) -> list[str]:
        """What would have to be installed."""
        return [name for name in self.modules if importlib.util.find_spec(name) is None]


@dataclass(frozen=True, slots=True)
class Choice:
    """The model that gives the vectors, those beside it, and why."""

    main: Entry
    beside: tuple[Entry, ...]
    reason: str

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of them, the one that gives vectors first."""
        return (self.main, *self.beside)


@cache
def read_labels(file: str) -> tuple[str, ...]:
    """The label list of a model out of the package; lines with # are its licence note."""
    text = resources.files("embedder.models").joinpath(file).read_text("utf-8")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))


def _load_efficientat(width: float) -> Callable[[Entry, Path, str], Analyser]:
    def load(entry: Entry, folder: Path, device: str) -> Analyser:
        from embedder.models.efficientat import EfficientAT

        file = folder / entry.weights[0].file
        return EfficientAT(entry.model, file, width=width, device=device)

    return load


def _load_jamendo(entry: Entry, folder: Path, device: str) -> Analyser:
    from embedder.models.jamendo import JamendoMoods

    return JamendoMoods(entry.model, folder / entry.weights[0].file, device=device)


def _load_timbre(entry: Entry, folder: Path, device: str) -> Analyser:
    from embedder.models.timbre import Timbre

    return Timbre(entry.model)


def _efficientat(name: str, width: float, weights: Weights) -> Entry:
    return Entry(
        name=f"efficientat-{name}",
        summary=f"MobileNetV3 (width {width:g}) trained on AudioSet: 512 numbers and 527 tags",
        licence="MIT",
        sample_rate_hz=32_000,
        window_s=10.0,
        most_windows=6,
        dim=512 if width < 1 else 1280,
        labels_file="audioset_labels.txt",
        tag_group="audioset",
        weights=(weights,),
        modules=("torch",),
        revision=1,
        unscaled=False,
        load=_load_efficientat(width),
    )


MN04: Final = _efficientat(
    "mn04",
    0.4,
    Weights(
        "mn04_as_mAP_432.pt",
        "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/mn04_as_mAP_432.pt",
        "899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c",
        4_066_513,
    ),
)
MOODS: Final = Entry(
    name="jamendo-moods",
    summary="56 moods and themes, beside a model that gives vectors",
    licence="Apache-2.0",
    sample_rate_hz=12_000,
    window_s=29.1,
    most_windows=1,
    dim=0,
    labels_file="jamendo_moods.txt",
    tag_group="moods",
    weights=(
        Weights(
            "jamendo_moodtheme_fcn.pth",
            "https://raw.githubusercontent.com/MTG/mtg-jamendo-dataset/"
            "1b4fa8c32e076c73b5175c1703ae805b4109309d/scripts/baseline/models/best_model.pth",
            "c1d6bee6bc25d78b28cea52bde68a353b3e674687171a78af020fa039d3cbdbe",
            1_803_131,
        ),
    ),
    modules=("torch",),
    revision=1,
    unscaled=False,
    load=_load_jamendo,
)
TIMBRE: Final = Entry(
    name="timbre",
    summary="Segue's own descriptor of sound, harmony and rhythm; needs no weights",
    licence="GPL-3.0-or-later",
    sample_rate_hz=22_050,
    window_s=10.0,
    most_windows=6,
    dim=153,
    labels_file="",
    tag_group="",
    weights=(),
    modules=(),
    revision=1,
    unscaled=True,
    load=_load_timbre,
)

#: Best first: "auto" takes the first that can run.
ENTRIES: Final = (MN04, TIMBRE, MOODS)


def entry(name: str) -> Entry:
    """The entry of this name.

    Raises:
        ModelError: when there is none; the message names the nearest.
    """
    names = [one.name for one in ENTRIES]
    for one in ENTRIES:
        if one.name == name:
            return one
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ModelError(f"no model is called {name!r}: {hint}there are {', '.join(names)}")


def models_dir(settings: EmbeddingSettings, data: Path) -> Path:
    """Where the weights lie: the set folder, or `models` in the data folder."""
    return Path(settings.models_dir) if settings.models_dir else data / "models"


def why_not(one: Entry, folder: Path) -> str:
    """Why a model cannot run here, in a few words; "" when it can."""
    missing = one.missing_modules()
    if missing:
        return f"{', '.join(missing)} is not installed (pip install -r requirements/torch.txt)"
    there = state(one.weights, folder)
    if there != "ready":
        words = {"wrong size": "of the wrong size", "partial": "only partly"}.get(there, "not")
        return f"its weights are {words} in {folder} (segue models pull {one.name})"
    return ""


def choose_models(settings: EmbeddingSettings, data: Path) -> Choice:
    """Which models to run, and one line that says why.

    "auto" takes the first of `ENTRIES` that gives vectors and can run here; whatever gives scores
    only and can run joins it, unless the vectors come from `timbre` by name or by need (then this
    machine is taken to want little work).

    Raises:
        ModelError, WeightsError: when a named model does not exist or cannot run.
    """
    folder = models_dir(settings, data)
    if settings.model != "auto":
        main = entry(settings.model)
        if main.beside:
            raise ModelError(
                f"{main.name} gives no vectors, it runs beside another model: set embedding.model"
                f" to {', '.join(one.name for one in ENTRIES if not one.beside)}, or auto"
            )
        reason = why_not(main, folder)
        if reason:
            kind = ModelError if main.missing_modules() else WeightsError
            raise kind(f"embedding.model is {main.name}, but {reason}")
        because = "it is set in embedding.model"
    else:
        refused = []
        for main in (one for one in ENTRIES if not one.beside):
            reason = why_not(main, folder)
            if not reason:
                break
            if state(main.weights, folder) == "wrong size":  # not for want of trying: say so
                raise WeightsError(f"{main.name} cannot run: {reason}")
            refused.append(f"{main.name} cannot run: {reason}")
        because = "; ".join(refused) or f"its weights are in {folder}"
    beside = tuple(
        one for one in ENTRIES if one.beside and main.weights and not why_not(one, folder)
    )
    names = " with ".join(one.name for one in (main, *beside))
    return Choice(main, beside, f"model {names}: {because}")


def load(one: Entry, folder: Path, device: str) -> Analyser:
    """Check an entry's weights against their sha256, and load it.

    Raises:
        ModelError, WeightsError: when it cannot run here.
    """
    reason = why_not(one, folder)
    if reason:
        raise (ModelError if one.missing_modules() else WeightsError)(f"{one.name}: {reason}")
    verify(one.weights, folder)
    return one.load(one, folder, device)
