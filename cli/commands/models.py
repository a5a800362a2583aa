"""`segue models`: the weights that the models need."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cli.console import say, show, show_json, show_table, size_text
from cli.flags import add_data, add_json, add_setting
from cli.progress import ProgressBar

if TYPE_CHECKING:
    from cli.configuration import Configuration
    from cli.main import Compose
    from embedder.models.entry import Entry


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags."""
    parser.description = (
        "list prints every model, whether it can run here, and which `segue embed` would use.\n"
        "pull fetches weights (of one model, or of all that `auto` may take), going on where an\n"
        "earlier pull stopped;\n"
        "a file is put in place only when its sha256 is right.\n"
        "verify reads the weights (of one model, or all that are here) and compares their sha256;\n"
        "exit code 1 when any is missing or wrong. What rides on segue-1 may be left out."
    )
    parser.add_argument("action", choices=("list", "pull", "verify"))
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="one model (default: all that `auto` may take)"
    )
    add_setting(
        parser, "--models-dir", "embedding.models_dir", metavar="DIR", text="where weights lie"
    )
    add_data(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, compose: Compose) -> int:
    """List, pull or verify."""
    from embedder.models.registry import ENTRIES, entry, models_dir

    configuration = compose("library", "embedding")
    folder = models_dir(configuration.embedding, configuration.data)
    listing = arguments.action == "list"
    entries = tuple(one for one in ENTRIES if listing or not one.on_request)
    if arguments.name:
        entries = (entry(arguments.name),)
    match arguments.action:
        case "list":
            return _list(configuration, entries, folder, as_json=arguments.json)
        case "pull":
            return _pull(entries, folder, as_json=arguments.json)
        case _:
            if not arguments.name:
                entries = tuple(one for one in entries if _is_here(one, folder))
            return _verify(entries, folder, as_json=arguments.json)


def _list(
    configuration: Configuration, entries: tuple[Entry, ...], folder: Path, *, as_json: bool
) -> int:
    from embedder.errors import ModelError
    from embedder.models.registry import choose_models, why_not
    from embedder.models.weights import state

    try:
        choice = choose_models(configuration.embedding, configuration.data)
        used, why = {one.name for one in choice.entries}, choice.reason
    except ModelError as error:  # what is configured cannot run: the list is where that is seen
        used, why = set(), str(error)
    facts = [
        {
            "name": one.name,
            "used": one.name in used,
            "ready": not why_not(one, folder),
            "why_not": why_not(one, folder),
            "weights": state(one.weights, one.folder(folder)) if one.weights else "none needed",
            "bytes": _size(one),
            "dim": one.dim,
            "licence": one.licence,
            "summary": one.summary,
        }
        for one in entries
    ]
    if as_json:
        show_json({"models_dir": str(folder), "choice": why, "models": facts})
        return 0
    show_table(
        (
            "* " + str(fact["name"]) if fact["used"] else "  " + str(fact["name"]),
            "ready" if fact["ready"] else "not ready",
            size_text(_size(one)) if one.weights else "-",
            one.licence,
            one.summary,
        )
        for fact, one in zip(facts, entries, strict=True)
    )
    for fact in facts:
        if fact["why_not"]:
            say(f"{fact['name']}: {fact['why_not']}")
    say(f"* is used: {why}" if used else why)
    return 0


def _pull(entries: tuple[Entry, ...], folder: Path, *, as_json: bool) -> int:
    from embedder.models.weights import pull

    fetched: list[str] = []
    for one in entries:
        if not one.weights:
            say(f"{one.name} needs no weights")
            continue
        if one.packaged:
            say(f"{one.name} is part of Segue: nothing to fetch")
            continue
        with ProgressBar(one.name, in_bytes=True) as bar:
            files = pull(one.weights, folder, lambda file, done, total: bar.update(done, total))
        fetched += map(str, files)
        say(f"{one.name}: {size_text(_size(one))}, sha256 right" + ("" if files else ", was here"))
    if as_json:
        show_json({"models_dir": str(folder), "fetched": fetched})
    else:
        for path in fetched:
            show(path)
    return 0


def _verify(entries: tuple[Entry, ...], folder: Path, *, as_json: bool) -> int:
    results = {one.name: _fault(one, folder) for one in entries if one.weights}
    if as_json:
        show_json({name: {"ok": not fault, "fault": fault} for name, fault in results.items()})
    else:
        for name, fault in results.items():
            show(f"{name}: {fault or 'ok'}")
        for one in entries:
            if not one.weights:
                show(f"{one.name}: ok, needs no weights")
    return 1 if any(results.values()) else 0


def _is_here(one: Entry, folder: Path) -> bool:
    """Whether its weights were pulled, or came with Segue; what rides on another may be deleted."""
    from embedder.models.weights import state

    there = state(one.weights, one.folder(folder)) != "missing"
    return there or (one.packaged is not None and not one.within)


def _fault(one: Entry, folder: Path) -> str:
    from embedder.errors import WeightsError
    from embedder.models.weights import verify

    try:
        verify(one.weights, one.folder(folder))
    except WeightsError as error:
        return str(error)
    return ""


def _size(one: Entry) -> int:
    """What it takes on disk; files that another model has are counted there."""
    from embedder.models.registry import entry

    shared = entry(one.within).weights if one.within else ()
    return sum(weights.size_bytes for weights in one.weights if weights not in shared)
