"""Running the application: uvicorn with uvloop, httptools and the proxy's own protocol."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import math
import signal
import socket
import stat
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Final

import uvicorn

from proxy.application import Application
from proxy.errors import ServeError
from proxy.listener import Listener
from proxy.records import name_requests
from proxy.settings import ServerSettings

_log = logging.getLogger(__name__)

#: Longer than nginx keeps its own connections to us, so that it is never we who hang up on it.
_KEEP_ALIVE_S: Final = 75
_BACKLOG: Final = 2048
#: Each call takes a connection on both sides, and event streams stay for hours.
_WANTED_FILES: Final = 65536


class _Server(uvicorn.Server):
    """uvicorn's server; who started it hears when it listens, and by what it was stopped."""

    def __init__(self, config: uvicorn.Config, *, takes_signals: bool) -> None:
        super().__init__(config)
        self._takes_signals = takes_signals
        self.ready = asyncio.Event()
        self.interrupted = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        if not self._takes_signals:
            yield
            return
        with super().capture_signals():
            yield
            # uvicorn would raise again what it caught, into the middle of our own ending.
            self.interrupted = signal.SIGINT in self._captured_signals
            self._captured_signals.clear()


def serve(application: Application, settings: ServerSettings) -> None:
    """Serve until SIGTERM or SIGINT, then let running answers end for `drain_s`.

    Raises:
        ServeError: the address cannot be listened on.
        KeyboardInterrupt: stopped by SIGINT, after the drain.
    """
    _raise_file_limit()
    name_requests()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        interrupted = runner.run(_serve(application, settings))
    if interrupted:
        raise KeyboardInterrupt


@contextlib.asynccontextmanager
async def serve_in_background(
    application: Application, settings: ServerSettings | None = None
) -> AsyncIterator[str]:
    """Serve within the running loop, for tests and embedding.

    Args:
        settings: by default a free port of 127.0.0.1.

    Yields:
        The URL to reach it by, with the base path.

    Raises:
        ServeError: the address cannot be listened on.
    """
    settings = settings or ServerSettings(host="127.0.0.1", port=0, drain_s=1.0)
    listening = _listen(settings)
    server = _make_server(application, settings, takes_signals=False)
    async with application.live():
        task = asyncio.create_task(_run(server, settings, listening))
        try:
            ready = asyncio.create_task(server.ready.wait())
            await asyncio.wait((ready, task), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                ready.cancel()
                await task
            yield _url(settings, listening)
        finally:
            server.should_exit = True
            await task


async def _serve(application: Application, settings: ServerSettings) -> bool:
    listening = _listen(settings)
    server = _make_server(application, settings, takes_signals=True)
    async with application.live():
        _log.info("listening on %s", _url(settings, listening))
        await _run(server, settings, listening)
    return server.interrupted


async def _run(server: _Server, settings: ServerSettings, listening: list[socket.socket]) -> None:
    try:
        await server.serve(sockets=listening or None)
    finally:
        for one in listening:
            one.close()
        if settings.uds:
            _remove(Path(settings.uds))


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _make_server(
    application: Application, settings: ServerSettings, *, takes_signals: bool
) -> _Server:
    config = uvicorn.Config(
        application,
        uds=settings.uds or None,
        http=Listener,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(settings.drain_s),
    )
    return _Server(config, takes_signals=takes_signals)


def _listen(settings: ServerSettings) -> list[socket.socket]:
    """The listening sockets; none for a Unix socket, which uvicorn makes."""
    if settings.uds:
        _clear_socket_path(Path(settings.uds))
        return []
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ServeError(
            f"host {settings.host!r} is no address of this machine ({error.strerror})"
        ) from error
    family, kind, protocol, _, address = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            only_v6 = settings.host != "::"  # "::" is every address, of both kinds
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only_v6))
        listening.bind(address)
        listening.listen(_BACKLOG)  # now, so that a second Segue finds the port taken
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise ServeError(_explain(error, settings)) from error
    return [listening]


def _explain(error: OSError, settings: ServerSettings) -> str:
    where = f"{settings.host}:{settings.port}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {settings.port} of {settings.host} is in use by another program; stop that, "
            "or choose another with --port or server.port"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"no right to listen on {where}; ports below 1024 need a privilege, choose another"
    return f"cannot listen on {where}: {error.strerror}"


def _clear_socket_path(path: Path) -> None:
    """Remove what a Segue that was killed left behind, and nothing else."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise ServeError(f"uds {path}: the folder {path.parent} does not exist") from None
        return
    except OSError as error:
        raise ServeError(f"uds {path}: {error.strerror}") from error
    if not stat.S_ISSOCK(mode):
        raise ServeError(f"uds {path} exists and is not a socket; choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except OSError as error:
            raise ServeError(f"uds {path}: {error.strerror}") from error
        else:
            raise ServeError(f"uds {path} is in use by another program; stop that first")


def _url(settings: ServerSettings, listening: list[socket.socket]) -> str:
    if not listening:
        return f"http+unix://{settings.uds.replace('/', '%2F')}{settings.base_path}"
    host, port = listening[0].getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{settings.base_path}"


def _raise_file_limit() -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, _WANTED_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return None
    return uvloop.Loop
