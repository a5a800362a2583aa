"""`segue link`: matches the server's songs to tracks."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING, Any, Final

from catalog.linking import LinkReport
from catalog.tracks import Song
from cli.console import say, show, show_json
from cli.errors import UsageError
from cli.flags import add_data, add_json, add_setting
from proxy.linking import link_server
from subsonic.client import Client

if TYPE_CHECKING:
    from pathlib import Path

    from cli.main import Compose
    from subsonic.settings import UpstreamSettings

#: Lists longer than this are cut, unless all was asked for.
_MOST_LISTED: Final = 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags."""
    parser.description = (
        "Asks the server for all its songs and matches each to a track: by its true path where"
        "\nthe server tells it, else by size, duration and tags. What fits several tracks is"
        "\ncounted as ambiguous, never guessed. `segue serve` does this by itself at its start and"
        "\nwhenever the server has scanned. Needs an account of the server in [upstream]."
    )
    add_setting(parser, "--upstream", "upstream.url", metavar="URL", text="the server")
    parser.add_argument(
        "--all", action="store_true", help="list every song that has no track, not the first 20"
    )
    add_data(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, compose: Compose) -> int:
    """Link, store the links, and say what has none."""
    configuration = compose("upstream", "library")
    if not configuration.upstream.username:
        raise UsageError(
            "upstream.username is not set: linking needs an ordinary account of the server"
        )
    report = asyncio.run(_link(configuration.upstream, configuration.data))
    if arguments.json:
        show_json(
            {
                "songs": report.songs,
                "linked": report.linked,
                "by_path": report.by_path,
                "by_facts": report.by_facts,
                "ambiguous": [_facts(song) for song in report.ambiguous],
                "unmatched": [_facts(song) for song in report.unmatched],
            }
        )
        return 0
    show(
        f"{report.linked} of {report.songs} songs are linked"
        f" ({report.by_path} by path, {report.by_facts} by size, duration and tags)"
    )
    for what, songs in (
        ("fits several tracks", report.ambiguous),
        ("has no track", report.unmatched),
    ):
        listed = songs if arguments.all else songs[:_MOST_LISTED]
        for song in listed:
            show(f"{what}: {song.path or song.title} ({song.song_id})")
        if len(songs) > len(listed):
            say(f"and {len(songs) - len(listed)} more: --all lists them")
    if report.songs and not report.linked:
        say("nothing fits: did `segue embed` hear the folders that the server reads?")
    return 0


async def _link(settings: UpstreamSettings, data: Path) -> LinkReport:
    async with Client(settings) as client:
        return await link_server(client, data)


def _facts(song: Song) -> dict[str, Any]:
    return {"id": song.song_id, "path": song.path, "title": song.title, "artist": song.artist}
