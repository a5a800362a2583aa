"""`segue serve` as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
from collections.abc import AsyncIterator
from pathlib import Path

SERVE = (sys.executable, "-c", "import sys; from cli.main import main; sys.exit(main())")


def no_room() -> None:
    """Every write to a file fails, as on a full disk; Python ignores the signal that comes too."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


async def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    return port


@contextlib.asynccontextmanager
async def served(
    folder: Path,
    upstream_url: str,
    *,
    full_disk: bool = False,
    drain_s: float = 2,
    port: int = 0,
    server: str = "",
    log: Path | None = None,
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """The process and its port, once it listens.

    Args:
        port: to listen on; 0 finds a free one.
        server: more lines of `[server]`.
        log: where its log goes; by default it can be read from the process.
    """
    port = port or await free_port()
    configuration = folder / "config.toml"
    configuration.write_text(
        f'[server]\nhost = "127.0.0.1"\nport = {port}\ndrain_s = {drain_s}\n{server}\n'
        f'[upstream]\nurl = "{upstream_url}"\n[library]\ndata = "{folder / "data"}"\n'
    )
    output = None if log is None else log.open("ab")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *SERVE, "--config", str(configuration), "serve", stderr=output or pipe,
        preexec_fn=no_room if full_disk else None,
    )  # fmt: skip
    try:
        for _ in range(400):
            assert process.returncode is None
            with contextlib.suppress(OSError):
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
                break
            await asyncio.sleep(0.025)
        yield process, port
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        if output is not None:
            output.close()
