"""The models there are. A new one is its module and one entry here.

Entries are plain facts: nothing here imports torch or onnxruntime, so that listing models, choosing
one and finding out that there is nothing to do all stay cheap.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from embedder.errors import ModelError, WeightsError
from embedder.models.analysers import Analyser
from embedder.models.devices import cuda_there
from embedder.models.entry import ENGINES, Entry, Setup
from embedder.models.weights import MANIFEST, Weights, read_manifest, state, verify
from embedder.settings import EmbeddingSettings
from embedder.windows import MOST_WINDOWS, WINDOW_S


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


def _by_onnxruntime(setup: Setup) -> bool:
    """Whether onnxruntime shall run what it and torch can; CUDA is torch's."""
    if setup.engine == "torch" or importlib.util.find_spec(ENGINES["onnx"]) is None:
        return False
    asked = setup.engine == "onnx"
    return setup.device == "cpu" or (setup.device == "auto" and (asked or not cuda_there()))


def _load_segue1(entry: Entry, setup: Setup) -> Analyser:
    from embedder.models.hearing import Engine, MoodHead, NetworkModel

    engine: Engine
    if _by_onnxruntime(setup):
        from embedder.models.onnxing import open_engine

        engine = open_engine(setup.folder / _GRAPH)
    else:
        from embedder.models.segue1 import TorchEngine

        engine = TorchEngine(setup.folder / _NETWORK, device=setup.device)
    moods = [(one.model, MoodHead(setup.folder / _MOODS)) for one in setup.riders]
    return NetworkModel(entry.model, engine, *moods)


def _load_efficientat(width: float) -> Callable[[Entry, Setup], Analyser]:
    def load(entry: Entry, setup: Setup) -> Analyser:
        file = setup.folder / entry.weights[0].file
        if width == _GRAPH_WIDTH and _by_onnxruntime(setup):
            from embedder.models.converting import open_converted
            from embedder.models.hearing import NetworkModel

            engine = open_converted(file, PACKAGED / _NETWORK, PACKAGED / _GRAPH)
            return NetworkModel(entry.model, engine)
        from embedder.models.efficientat import EfficientAT

        return EfficientAT(entry.model, file, width=width, device=setup.device)

    return load


def _load_jamendo(entry: Entry, setup: Setup) -> Analyser:
    from embedder.models.jamendo import JamendoMoods

    file = setup.folder / entry.weights[0].file
    return JamendoMoods(entry.model, file, device=setup.device)


def _load_timbre(entry: Entry, setup: Setup) -> Analyser:
    from embedder.models.timbre import Timbre

    return Timbre(entry.model)


#: Where segue-1 lies in the package.
PACKAGED: Final = Path(__file__).parent / "segue_1"

_NETWORK: Final = "segue-1.safetensors"
_GRAPH: Final = "segue-1.onnx"
#: Of the MobileNetV3 that the graph runs.
_GRAPH_WIDTH: Final = 0.4
_MOODS: Final = "moods.safetensors"


def segue1_entries(folder: Path) -> tuple[Entry, ...]:
    """segue-1 and, if it was trained, its moods, as `training export` wrote them into a folder.

    Files that are not there are only found missing when a model is chosen.
    """
    files, dim = read_manifest(folder)

    def weights(file: str) -> Weights:
        return files.get(file, Weights(file, "", "", 0))

    network = Entry(
        name="segue-1",
        summary=f"Segue's own network: {dim} numbers and 527 tags; part of Segue",
        licence="GPL-3.0-or-later",
        sample_rate_hz=32_000,
        window_s=WINDOW_S,
        most_windows=MOST_WINDOWS,
        dim=dim,
        labels_file="audioset_labels.txt",
        tag_group="audioset",
        weights=(weights(_NETWORK), weights(_GRAPH)),
        engines=("onnx", "torch"),
        revision=1,
        load=_load_segue1,
        packaged=folder,
        # It learnt to match half-whitened vectors: doing it again takes from P@5.
        whitening=0.0,
    )
    moods = replace(
        network,
        name="segue-1-moods",
        summary="56 moods and themes in the same pass as segue-1",
        dim=0,
        labels_file="jamendo_moods.txt",
        tag_group="moods",
        weights=(weights(_NETWORK), weights(_MOODS)),
        within=network.name,
    )
    return (network, moods) if _MOODS in files else (network,)


def _efficientat(name: str, width: float, weights: Weights, *, on_request: bool = False) -> Entry:
    dim = 512 if width < 1 else 1280
    return Entry(
        name=f"efficientat-{name}",
        summary=f"MobileNetV3 (width {width:g}) trained on AudioSet: {dim} numbers and 527 tags",
        licence="MIT",
        sample_rate_hz=32_000,
        window_s=WINDOW_S,
        most_windows=MOST_WINDOWS,
        dim=dim,
        labels_file="audioset_labels.txt",
        tag_group="audioset",
        weights=(weights,),
        engines=("torch",),
        revision=1,
        load=_load_efficientat(width),
        on_request=on_request,
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
#: Five times the work; not measured by us. Size and sha256 as several public projects pin them.
MN10: Final = _efficientat(
    "mn10",
    1.0,
    Weights(
        "mn10_as_mAP_471.pt",
        "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/mn10_as_mAP_471.pt",
        "0bd7dc2443af498c289a2e739f02ebb515d6aa3fd3ab9db539c86123ae368a4e",
        19_708_753,
    ),
    on_request=True,
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
    engines=("torch",),
    revision=1,
    load=_load_jamendo,
)
TIMBRE: Final = Entry(
    name="timbre",
    summary="Segue's own descriptor of sound, harmony and rhythm; needs no weights",
    licence="GPL-3.0-or-later",
    sample_rate_hz=22_050,
    window_s=WINDOW_S,
    most_windows=MOST_WINDOWS,
    dim=153,
    labels_file="",
    tag_group="",
    weights=(),
    engines=(),
    revision=1,
    load=_load_timbre,
    unscaled=True,
)

#: segue-1, and what rides on it.
SEGUE1: Final = segue1_entries(PACKAGED)

#: Best first: "auto" takes the first that can run.
ENTRIES: Final = (SEGUE1[0], MN04, MN10, TIMBRE, *SEGUE1[1:], MOODS)


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


def why_not(one: Entry, models_dir: Path, engine: str = "auto") -> str:
    """Why a model cannot run here, in a few words; "" when it can."""
    missing = one.missing_modules(engine)
    if missing:
        extra = "embed" if "onnxruntime" in missing else "torch"
        return f"{' or '.join(missing)} is not installed (pip install -r requirements/{extra}.txt)"
    folder = one.folder(models_dir)
    there = state(one.weights, folder)
    if there == "ready":
        return ""
    if there == "wrong size" and not all(weights.sha256 for weights in one.weights):
        return f"{folder / MANIFEST} is missing or damaged (reinstall Segue)"
    words = {"wrong size": "of the wrong size", "partial": "only partly"}.get(there, "not")
    todo = "reinstall Segue" if one.packaged else f"segue models pull {one.name}"
    return f"its weights are {words} in {folder} ({todo})"


def choose_models(settings: EmbeddingSettings, data: Path) -> Choice:
    """Which models to run, and one line that says why.

    "auto" takes the first of `ENTRIES` that gives vectors and can run here: segue-1, unless it has
    no engine. Of what gives scores only, the first of each kind that can run joins it, unless the
    vectors come from `timbre` by name or by need (then this machine is taken to want little work).

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
        reason = why_not(main, folder, settings.engine)
        if reason:
            kind = ModelError if main.missing_modules(settings.engine) else WeightsError
            raise kind(f"embedding.model is {main.name}, but {reason}")
        because = "it is set in embedding.model"
    else:
        refused = []
        for main in (one for one in ENTRIES if not one.beside and not one.on_request):
            reason = why_not(main, folder, settings.engine)
            if not reason:
                break
            refused.append(f"{main.name} cannot run: {reason}")
            if main.missing_modules(settings.engine):
                if settings.engine in main.engines:  # it was asked for
                    raise ModelError(f"embedding.engine is {settings.engine}, but {refused[-1]}")
            elif main.packaged or state(main.weights, folder) == "wrong size":
                raise WeightsError(refused[-1])  # damaged, which is no reason to change the model
        because = "; ".join(refused) or _where(main, folder)
    _check_device(main, settings)
    beside = _beside(main, folder)
    names = " with ".join(one.name for one in (main, *beside))
    for one in ENTRIES:
        if one.within == main.name and one not in beside:
            because += f"; without {one.name}, whose weights are not there"
    return Choice(main, beside, f"model {names}: {because}")


def _check_device(main: Entry, settings: EmbeddingSettings) -> None:
    """CUDA is torch's: say so before the music is looked at.

    Raises:
        ModelError: it is asked for, and cannot be had.
    """
    if settings.device != "cuda" or "torch" not in main.engines:
        return
    if settings.engine == "onnx" and "onnx" in main.engines:
        why = 'but embedding.engine is "onnx", which runs on processors only: set either to "auto"'
        raise ModelError(f'embedding.device is "cuda", {why}')
    if importlib.util.find_spec(ENGINES["torch"]) is None:
        raise ModelError(
            'embedding.device is "cuda", which needs torch, and torch is not installed (pip install'
            ' -r requirements/torch.txt): install it, or set embedding.device to "auto"'
        )


def _where(main: Entry, folder: Path) -> str:
    return "it is part of Segue" if main.packaged else f"its weights are in {folder}"


def _beside(main: Entry, folder: Path) -> tuple[Entry, ...]:
    """What joins a model: of each kind of tags, what rides on it rather than what runs alone.

    Raises:
        WeightsError: one that is there is damaged.
    """
    joining: dict[str, Entry] = {}
    for one in sorted((one for one in ENTRIES if one.beside), key=lambda one: not one.within):
        fits = one.within in {"", main.name} and one.tag_group not in joining
        if not (main.weights and fits):
            continue
        reason = why_not(one, folder)
        if not reason:
            joining[one.tag_group] = one
        elif not one.missing_modules() and state(one.weights, one.folder(folder)) == "wrong size":
            # Damaged, which is no reason to go on without what it says.
            raise WeightsError(f"{one.name} cannot run: {reason}")
    return tuple(joining.values())


def load(
    one: Entry,
    models_dir: Path,
    device: str,
    engine: str = "auto",
    riders: tuple[Entry, ...] = (),
) -> Analyser:
    """Check an entry's weights against their sha256, and load it.

    `riders` are the entries `within` this one that it shall give scores for too.

    Raises:
        ModelError, WeightsError: when it cannot run here.
    """
    if one.within:
        raise ModelError(f"{one.name} comes with {one.within}: load that, with it as a rider")
    folder = one.folder(models_dir)
    for each in (one, *riders):
        reason = why_not(each, models_dir, engine)
        if reason:
            kind = ModelError if each.missing_modules(engine) else WeightsError
            raise kind(f"{each.name}: {reason}")
        verify(each.weights, folder)
    return one.load(one, Setup(folder, device, engine, riders))


def load_chosen(choice: Choice, settings: EmbeddingSettings, data: Path) -> list[Analyser]:
    """Load all that was chosen; what rides on another is loaded with it.

    Raises:
        ModelError, WeightsError: when one cannot run here.
    """
    folder = models_dir(settings, data)
    return [
        load(
            one,
            folder,
            settings.device,
            settings.engine,
            tuple(rider for rider in choice.beside if rider.within == one.name),
        )
        for one in choice.entries
        if not one.within
    ]
