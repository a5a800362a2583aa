"""What `segue doctor` looks at: each check says ok, warn or fail, and what to do."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

import httpx2

from catalog.errors import WHOSE_FOLDER, CatalogError, advice
from catalog.library import FILE_NAME, Library
from catalog.snapshot import Snapshot, open_snapshot
from catalog.snapshots import newer_snapshot
from cli.console import count_text, size_text
from cli.errors import not_installed
from cli.standing import Switching, merge_text, switching, unlisted
from subsonic.client import Client
from subsonic.errors import MISSING_PARAMETER, WRONG_LOGIN, FailedAnswer, SubsonicError

if TYPE_CHECKING:
    from catalog.settings import LibrarySettings
    from cli.configuration import Configuration
    from proxy.settings import ServerSettings
    from subsonic.settings import UpstreamSettings

Status = Literal["ok", "warn", "fail"]

#: Below this share of linked songs something is wrong with the folders, not with single files.
_LEAST_LINKED: Final = 0.9

#: A snapshot is written beside the old one: keep room for a large library.
_LEAST_FREE_BYTES: Final = 500_000_000

#: Of files that hold up a change of model.
_MOST_NAMED: Final = 5

_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `todo` says what to do about it, "" when nothing."""

    name: str
    status: Status
    text: str
    todo: str = ""


def check_paths(settings: LibrarySettings) -> Iterator[Check]:
    """The music folders and the data folder."""
    if not settings.music:
        yield Check(
            "music",
            "warn",
            "no music folder is set",
            "set library.music, unless `segue embed` runs on another machine",
        )
    for name in settings.music:
        folder = Path(name)
        try:
            empty = not any(folder.iterdir())
        except OSError as error:
            yield Check(
                "music",
                "fail",
                f"{folder}: {error.strerror}",
                "is it mounted, and may this user read it? else correct library.music",
            )
            continue
        if empty:
            todo = "is the mount there? `segue embed` will not forget tracks for it"
            yield Check("music", "fail", f"{folder} is empty", todo)
        else:
            yield Check("music", "ok", str(folder))
    yield _check_data(Path(settings.data))


def _check_data(data: Path) -> Check:
    """Whether the data folder can be written, or made."""
    whole = data.absolute()
    # Not Path.exists, which raises where a folder may not be searched.
    parent = next(p for p in (whole, *whole.parents) if os.path.lexists(p))
    if not parent.is_dir():
        todo = "set library.data to a folder"
        return Check("data", "fail", f"{data} cannot be made: {parent} is no folder", todo)
    if not os.access(parent, os.W_OK | os.X_OK):
        todo = f"chown it to the user that runs Segue (uid {os.getuid()}), or set library.data"
        return Check("data", "fail", f"{data} cannot be written", todo)
    usage = shutil.disk_usage(parent)
    if not usage.total and parent != whole:  # as /proc; a mount that does not tell may be there
        text = f"{data} cannot be made: {parent} is on no disk"
        return Check("data", "fail", text, "set library.data, or make the folder")
    if usage.total and usage.free < _LEAST_FREE_BYTES:
        return Check("data", "warn", f"{data}: only {size_text(usage.free)} free", "make room")
    room = f", {size_text(usage.free)} free" if usage.total else ""
    return Check("data", "ok", f"{data}{room}")


async def check_upstream(settings: UpstreamSettings) -> list[Check]:
    """Whether the server answers, what it is, and whether the account can log in."""
    try:
        async with Client(settings, timeout_s=_TIMEOUT_S) as client:
            facts = await client.ping()
            folders = await client.music_folders()
    except FailedAnswer as error:
        found = [Check("upstream", "ok", f"{settings.url} answers")]
        if not settings.username and error.code >= MISSING_PARAMETER:
            todo = "set upstream.username and password to an ordinary account of the server"
            found.append(
                Check("login", "warn", "no account is set, so nothing can be linked", todo)
            )
        else:
            todo = "correct upstream.username and password (an ordinary account of the server)"
            said = str(error)
            if error.code == WRONG_LOGIN:  # then comes what `todo` says
                said = said.partition(": ")[0]
            text = f"the account {settings.username!r} is refused: {said}"
            found.append(Check("login", "fail", text, todo))
        return found
    except SubsonicError as error:  # its message says what to do
        return [Check("upstream", "fail", str(error))]
    kind = " ".join(filter(None, (facts.type or "a Subsonic server", facts.server_version)))
    dialect = "OpenSubsonic" if facts.open_subsonic else "Subsonic"
    names = ", ".join(folders.values()) or "no music folder"
    return [
        Check("upstream", "ok", f"{kind} at {settings.url} ({dialect} {facts.version})"),
        Check("login", "ok", f"{settings.username} sees {names}"),
    ]


def check_models(configuration: Configuration) -> Iterator[Check]:
    """Which models `segue embed` would use here: whole by sha256, and loaded, as it would."""
    try:
        from embedder.errors import ModelError
        from embedder.models.registry import choose_models, load_chosen
    except ModuleNotFoundError as error:
        if not not_installed(error):
            raise
        text = "the embedding job is not installed here"
        todo = f"fine if it runs on another machine; else: {not_installed(error)}"
        yield Check("models", "ok", text, todo)
        return
    try:
        choice = choose_models(configuration.embedding, configuration.data)
        load_chosen(choice, configuration.embedding, configuration.data)
    except ModelError as error:
        yield Check("models", "fail", str(error), "segue models list")
        return
    yield Check("models", "ok", choice.reason)


def check_catalog(data: Path, settings: LibrarySettings) -> Iterator[Check]:
    """The library, its folders, the snapshot by sha256, what waits, the share of linked songs."""
    path = data / FILE_NAME
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        yield Check("library", "warn", f"nothing in {data} yet", "run `segue embed`")
        return
    except OSError as error:
        todo = advice(error, "is library.data right, and is the disk there?")
        yield Check("library", "fail", f"cannot open {path}: {error.strerror}", todo)
        return
    try:
        with Library.open(data, read_only=True) as library:
            tracks = library.count_tracks()
            songs, linked = library.count_songs()
            failures = len(library.failures())
            shard = library.shard()
            left, counts = unlisted(library, settings), library.count_by_root()
    except (CatalogError, sqlite3.Error) as error:
        yield Check("library", "fail", str(error))
        return
    if failures:
        text = (
            f"{count_text(tracks, 'track')}; {count_text(failures, 'file')} could not be analysed"
        )
        yield Check("library", "warn", text, "see `segue info --failures`")
    else:
        yield Check("library", "ok", count_text(tracks, "track"))
    for root, folder in left.items():
        text = (
            f"{folder} is not in library.music any more; {count_text(counts[root], 'track')} kept"
        )
        yield Check("music", "warn", text, "add it there, or `segue embed --prune` forgets it")
    try:
        snapshot = open_snapshot(data, verify=True)
    except CatalogError as error:
        # Its message says what to do, unless that is to publish anew.
        todo = "" if WHOSE_FOLDER in str(error) else "run `segue embed`"
        yield Check("snapshot", "fail", str(error), todo)
    else:
        if snapshot is None:
            todo = "run `segue embed`; until then everything is passed on as it is"
            if shard:
                todo = merge_text(shard, data)
            yield Check("snapshot", "warn", "nothing is published", todo)
        else:
            tracks_text = count_text(snapshot.n, "track")
            text = f"{snapshot.version}: {tracks_text} by {snapshot.model.name}, sha256 right"
            yield Check("snapshot", "ok", text)
            yield from _check_waiting(data, snapshot, left)
    if not songs:
        todo = "run `segue link`, or start `segue serve`, which links by itself"
        yield Check("links", "warn", "no song of the server is known", todo)
    elif linked < _LEAST_LINKED * songs:
        todo = "are library.music the folders that the server reads? `segue link` lists the rest"
        yield Check("links", "warn", f"{linked} of {songs} songs are linked", todo)
    else:
        yield Check("links", "ok", f"{linked} of {songs} songs are linked")


def _check_waiting(data: Path, snapshot: Snapshot, left: Collection[int]) -> Iterator[Check]:
    """What keeps the newest from being in force: `segue rollback`, or a change of model."""
    with Library.open(data, read_only=True) as library:
        newer = newer_snapshot(data, library.published())
        change = switching(library, snapshot, data, left)
    if newer:
        text = f"{snapshot.version} is in force since `segue rollback`, not {newer}, the newest"
        todo = f"when all is well again: segue rollback {newer}"
        yield Check("snapshot", "warn", text, todo)
    if change is not None:
        text = f"{change.before} stays until {change.after} has heard all"
        text += f" ({change.heard} of {change.of} tracks)"
        yield Check("model", "warn", text, _waiting_text(change))


def _waiting_text(change: Switching) -> str:
    if not change.lacking:
        return "let `segue embed` run to its end"
    told = ", ".join(f"{count} {why}" for why, count in change.lacking.items())
    if not change.held_up_by:
        return f"`segue embed` goes on ({told})"
    named = [path for path, _ in change.held_up_by]
    some = ", ".join(named[:_MOST_NAMED]) + (", …" if named[_MOST_NAMED:] else "")
    further = "bring them back, or: segue embed --publish-partial, or --prune for those gone"
    return f"held up by {some} ({told}): {further}"


def check_port(settings: ServerSettings) -> Iterator[Check]:
    """Whether Segue can listen, or does already."""
    if settings.uds:
        folder = Path(settings.uds).absolute().parent
        if os.access(folder, os.W_OK | os.X_OK):
            yield Check("port", "ok", f"Unix socket {settings.uds}")
        else:
            yield Check("port", "fail", f"{folder} cannot be written", "correct server.uds")
        return
    where = f"{settings.host}:{settings.port}"
    try:
        address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(address[0], address[1]) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address[4])
    except OSError as error:
        if _is_segue(f"http://{_local(settings.host)}:{settings.port}{settings.base_path}"):
            yield Check("port", "ok", f"Segue is running on {where}")
        else:
            todo = "end what listens there, or set server.host and server.port"
            yield Check("port", "fail", f"cannot listen on {where}: {error.strerror}", todo)
        return
    yield Check("port", "ok", f"{where} is free; Segue is not running there")


def check_front(settings: ServerSettings, nginx: Path = Path("/etc/nginx")) -> Iterator[Check]:
    """Whether an nginx on this machine sends to Segue, and tells it who is calling."""
    files = [
        file
        for pattern in ("nginx.conf", "conf.d/*", "sites-enabled/*", "http.d/*")
        for file in sorted(nginx.glob(pattern))
        if file.is_file()
    ]
    if not files:
        todo = "where one runs elsewhere, server.trusted_proxies must hold its address"
        yield Check("front", "ok", "no nginx on this machine", todo)
        return
    target = f"unix:{settings.uds}" if settings.uds else f":{settings.port}"
    texts = {}
    for file in files:
        try:
            lines = file.read_text("utf-8", "replace").splitlines()
        except OSError:
            continue
        texts[file] = "\n".join(line.partition("#")[0] for line in lines)
    ours = {file: text for file, text in texts.items() if target in text}
    if not ours:
        text = f"an nginx is here, and nothing in {nginx} sends to {target}"
        yield Check("front", "warn", text, "see nginx/segue.conf, unless Segue stands alone")
        return
    for file, text in ours.items():
        if "X-Forwarded-For" not in text:
            todo = "add the proxy_set_header lines of nginx/segue.conf"
            text = f"{file} does not pass on X-Forwarded-For: everyone seems to be this machine"
            yield Check("front", "fail", text, todo)
        elif not settings.trusted_proxies:
            todo = 'set server.trusted_proxies = ["127.0.0.1", "::1"]'
            yield Check("front", "fail", f"{file} sends here, and Segue trusts no proxy", todo)
        elif "proxy_buffering off" not in text:
            todo = "add `proxy_buffering off;`, as in nginx/segue.conf"
            yield Check("front", "warn", f"{file} holds back streams and events", todo)
        else:
            yield Check("front", "ok", f"{file} sends to {target}")


def check_public(url: str) -> Iterator[Check]:
    """Whether Segue answers at the address that players use, and does not take us for its owner."""
    shown = _health(url.rstrip("/"))
    if shown is None:
        todo = "does the reverse proxy send this address, /segue/ included, to Segue?"
        yield Check("public", "fail", f"Segue does not answer at {url}", todo)
    elif "version" in shown and not _is_this_machine(url):
        text = f"Segue's details are open to everyone at {url}: its proxy hides who is calling"
        todo = "let the proxy set X-Forwarded-For, as nginx/segue.conf does"
        yield Check("public", "warn", text, todo)
    else:
        yield Check("public", "ok", f"Segue answers at {url}")


def _is_segue(base: str) -> bool:
    return _health(base) is not None


def _health(base: str) -> dict[str, object] | None:
    """What `/segue/health` shows; None where no Segue answers."""
    try:
        answer = httpx2.get(f"{base}/segue/health", timeout=_TIMEOUT_S, trust_env=False).json()
        return answer if isinstance(answer["status"], str) else None
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, KeyError, TypeError):
        return None


def _is_this_machine(url: str) -> bool:
    """Whether an address names the machine itself, whose owner may see everything."""
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def _local(host: str) -> str:
    """The address at which a listening address is asked from this machine."""
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "[::1]"}.get(  # noqa: S104
        host, f"[{host}]" if ":" in host else host
    )
