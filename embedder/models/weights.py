"""Weights on disk: fetched with resume, checked by sha256, put in place whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import httpx2

from embedder.errors import WeightsError

#: Says what the files of a model that is part of Segue must be.
MANIFEST: Final = "manifest.json"

_TIMEOUT_S: Final = 30.0
#: A connection that breaks is taken up again this often, as long as bytes keep coming.
_ATTEMPTS: Final = 5

#: Of a vector, where no manifest tells.
_DIM: Final = 512

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Weights:
    """One file of weights: its name on disk, where it is published, and what it must be.

    Without a `url` it is part of Segue, and nobody can fetch it.
    """

    file: str
    url: str
    sha256: str
    size_bytes: int

    @property
    def remedy(self) -> str:
        """What to do when it is missing or damaged."""
        return "run `segue models pull`" if self.url else "reinstall Segue"


def read_manifest(folder: Path) -> tuple[dict[str, Weights], int]:
    """The files of a model that is part of Segue, by their names, and how many numbers its vectors
    have; no files where the manifest is missing or damaged."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        files = {
            name: Weights(name, "", str(one["sha256"]), int(one["size_bytes"]))
            for name, one in manifest["files"].items()
        }
        return files, int(manifest["dim"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}, _DIM


State = Literal["ready", "partial", "missing", "wrong size"]


def state(weights: Sequence[Weights], folder: Path) -> State:
    """What is on disk, judged by size alone; `verify` reads the bytes. No file needed is ready."""
    states = [_state(one, folder) for one in weights]
    order: tuple[State, ...] = ("wrong size", "missing", "partial", "ready")
    return min(states, key=order.index, default="ready")


def _state(one: Weights, folder: Path) -> State:
    path = folder / one.file
    if path.is_file():
        return "ready" if path.stat().st_size == one.size_bytes else "wrong size"
    return "partial" if _part(path).is_file() else "missing"


def verify(weights: Sequence[Weights], folder: Path) -> None:
    """Read every file and compare its sha256.

    Raises:
        WeightsError: for the first that is missing or differs.
    """
    for one in weights:
        path = folder / one.file
        if not one.sha256:
            raise WeightsError(f"{folder / MANIFEST} is missing or damaged: {one.remedy}")
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise WeightsError(
                f"weights {path} cannot be read ({error.strerror}): {one.remedy}"
            ) from error
        if found != one.sha256:
            raise WeightsError(
                f"weights {path} have sha256 {found[:12]}…, expected {one.sha256[:12]}…: delete the"
                f" file and {one.remedy}"
            )


def pull(weights: Sequence[Weights], folder: Path, progress: Progress | None = None) -> list[Path]:
    """Fetch what is not there yet. Returns the files that were fetched.

    A file grows as `<name>.part`; a broken connection and a later run go on where it stopped. It
    gets its name only when its sha256 is right. `progress` hears (file, bytes so far, in all).

    Raises:
        WeightsError: when the address does not answer, or answers with other bytes.
    """
    fetched = []
    for one in weights:
        if not one.url or _state(one, folder) == "ready":
            verify([one], folder)
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
            fetched.append(_pull(one, folder, progress or (lambda *_: None)))
        except OSError as error:
            raise WeightsError(f"cannot write {folder / one.file}: {error.strerror}") from error
    return fetched


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _pull(one: Weights, folder: Path, progress: Progress) -> Path:
    path = folder / one.file
    part = _part(path)
    with httpx2.Client(follow_redirects=True, timeout=_TIMEOUT_S) as client:
        attempt = 0
        while _size(part) < one.size_bytes:
            before = _size(part)
            try:
                _fetch(client, one, part, progress)
            except httpx2.TransportError as error:
                # Progress earns new attempts: a poor line gets there in the end.
                attempt = 0 if _size(part) > before else attempt + 1
                if attempt >= _ATTEMPTS:
                    raise WeightsError(
                        f"cannot fetch {one.url} ({error or type(error).__name__}): what came is"
                        " kept; run `segue models pull` again to go on"
                    ) from error
            else:
                break
    try:
        verify([Weights(part.name, one.url, one.sha256, one.size_bytes)], folder)
    except WeightsError as error:
        size = _size(part)
        part.unlink(missing_ok=True)
        raise WeightsError(
            f"{one.url} gave {size} bytes with the wrong sha256 (expected {one.size_bytes} bytes,"
            f" {one.sha256[:12]}…): deleted; try again, or fetch {one.file} by hand into {folder}"
        ) from error
    part.replace(path)
    return path


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _fetch(client: httpx2.Client, one: Weights, part: Path, progress: Progress) -> None:
    """One request, from where the part ends. A server without ranges starts anew."""
    have = _size(part)
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with client.stream("GET", one.url, headers=headers) as answer:
        if answer.status_code == 206:
            start = re.match(r"bytes (\d+)-", answer.headers.get("content-range", ""))
            mode = "ab" if start and int(start.group(1)) == have else "wb"
            if mode == "wb":
                raise WeightsError(f"{one.url} answered another range than was asked for")
        elif answer.status_code == 200:
            mode, have = "wb", 0
        else:
            raise WeightsError(
                f"{one.url} answered HTTP {answer.status_code}: check the network, or fetch"
                f" {one.file} by hand into {part.parent}"
            )
        with part.open(mode) as file:
            for chunk in answer.iter_bytes():
                file.write(chunk)
                have += len(chunk)
                progress(one.file, have, one.size_bytes)
                if have > one.size_bytes:
                    return  # another file altogether; the hash will say so
