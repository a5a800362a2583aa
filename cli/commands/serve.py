"""`segue serve`: runs the proxy."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from cli.console import say
from cli.flags import add_data, add_setting

if TYPE_CHECKING:
    from cli.configuration import Configuration
    from cli.main import Compose
    from proxy.application import Application

#: What it reads; not [embedding], whose room it never loads.
SECTIONS: Final = ("upstream", "server", "library", "steering", "ranking")

_EXIT_INTERRUPTED = 130


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags."""
    parser.description = (
        "Runs the proxy: passes every call on to the server and answers a few itself, so that"
        "\nradio, instant mix and AutoDJ play songs that sound alike. Links the server's songs to"
        "\ntracks at its start and after each scan, and takes new snapshots, without a restart."
        "\nWithout a snapshot it passes everything on. SIGTERM lets running answers end."
    )
    add_setting(parser, "--upstream", "upstream.url", metavar="URL", text="the server behind it")
    add_setting(parser, "--host", "server.host", metavar="H", text="address to listen on")
    add_setting(parser, "--port", "server.port", metavar="P", text="port to listen on")
    add_data(parser)


def run(arguments: argparse.Namespace, compose: Compose) -> int:
    """Serve until stopped."""
    from proxy.server import serve

    configuration = compose(*SECTIONS)
    try:
        serve(compose_application(configuration), configuration.server)
    except KeyboardInterrupt:
        say("segue: stopped")
        return _EXIT_INTERRUPTED
    return 0


def compose_application(configuration: Configuration) -> Application:
    """The proxy that a configuration describes; nothing is opened yet."""
    from proxy.assembly import assemble
    from proxy.settings import ProxySettings

    return assemble(
        ProxySettings(
            upstream_url=configuration.upstream.url,
            server=configuration.server,
            steering=configuration.steering,
        ),
        configuration.upstream,
        configuration.ranking,
        configuration.data,
    )
