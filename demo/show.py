"""The show: our own music, a real server, Segue in front, a player that follows AutoDJ."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from demo.errors import DemoError, PlayerError
from demo.library import compose_library
from demo.player import Player, Refill, Song
from demo.repertoire import pieces
from demo.segue import EXIT_SKIPPED, Segue, health, wait_until_linked
from demo.servers import Account, start_supysonic

#: Of the demo's own loopback-only server; nothing to keep secret.
LISTENER = Account("demo", "demo", admin=True)
#: Where the listener begins, and how often AutoDJ is let to go on from there.
OPENINGS = (("Harbour Lights", 1), ("Night Shift", 1), ("Barley Moon", 1), ("Final Boss", 1))
#: A song lasts half a minute; the show does not.
LISTEN_S = 0.15
WIDTH = 100


@dataclass(slots=True)
class Tally:
    """How many songs were of their seed's genre, chosen by AutoDJ and by plain random."""

    steered: int = 0
    steered_alike: int = 0
    random: int = 0
    random_alike: int = 0
    times_s: list[float] = field(default_factory=list)

    def count(self, seed: Song, steered: Sequence[Song], plain: Sequence[Song]) -> None:
        """Adds one refill; seeds without a genre say nothing and count nothing."""
        if not seed.genre:
            return
        self.steered += len(steered)
        self.random += len(plain)
        self.steered_alike += sum(song.genre == seed.genre for song in steered)
        self.random_alike += sum(song.genre == seed.genre for song in plain)


def run_demo(
    music: Path | None = None,
    *,
    once: bool = False,
    folder: Path = Path(".demo"),
    console: Console | None = None,
) -> int:
    """Shows AutoDJ choosing by ear, then keeps the servers for the user's own player.

    music: a folder of the user's own instead of the composed library. once: return after the show
    instead of waiting for Ctrl-C. folder: where everything is kept, so that a second run is quick.
    Returns 0. Raises DemoError where something cannot be started; KeyboardInterrupt when it is
    stopped before its end. Every process it started is ended in any case.
    """
    if music is not None and not music.is_dir():
        raise DemoError(f"--music {music}: there is no such folder")
    out = console or Console(highlight=False)
    if not out.is_terminal or out.width > WIDTH:
        out.width = WIDTH
    with ExitStack() as stack, _terminated_as_interrupted():
        _Show(out, stack).run(music, folder, once=once)
    return 0


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does: its servers with it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Show:
    def __init__(self, out: Console, stack: ExitStack) -> None:
        self._out = out
        self._stack = stack
        self._tally = Tally()

    def run(self, music: Path | None, folder: Path, *, once: bool) -> None:
        own = music is None
        self._out.print("[bold]Segue[/] makes AutoDJ play what sounds alike. A demonstration:\n")
        library = self._compose(folder) if music is None else music.resolve()
        home = _home(folder, library, own=own)
        supysonic_url = self._start_supysonic(home, library)
        upstream = Player(supysonic_url, LISTENER, legacy_login=True)
        songs = upstream.library()
        if not songs:
            raise DemoError(f"supysonic found no songs in {library}: choose another --music")
        segue = Segue(
            home,
            {
                "library": {"music": [str(library)], "data": str(home / "data")},
                "upstream": {
                    "url": supysonic_url,
                    "username": LISTENER.username,
                    "password": LISTENER.password,
                },
                # The tally at the end is by genre: it would count for nothing had they been asked.
                "ranking": {"genres": 0.0},
                "log": {"level": "warning"},
            },
        )
        self._embed(segue, own=own)
        segue_url = self._start_segue(segue, len(songs))
        player = Player(segue_url, LISTENER, legacy_login=True)
        self._play(player, upstream, segue, _openings(songs, own=own))
        self._sum_up(player, upstream)
        self._invite(segue_url, once=once)
        self._out.print(
            f"\nWhat it made ({_bytes_in(folder) / 1e6:.0f} MB) stays in {escape(str(folder))}, so"
            " that the next time is quick; remove that folder\nwhen you have seen enough."
        )
        if not once:
            self._wait()

    # Setting up

    def _compose(self, folder: Path) -> Path:
        began = time.monotonic()
        with self._out.status("composing a small library") as status:
            library = compose_library(
                folder,
                progress=lambda done, total: status.update(f"composing piece {done} of {total}"),
            )
        repertoire = list(pieces())
        manners = len({piece.genre for piece in repertoire})
        self._done(
            "composed", f"{len(repertoire)} pieces in {manners} manners, by our own code", began
        )
        return library.resolve()

    def _embed(self, segue: Segue, *, own: bool) -> None:
        began = time.monotonic()
        with self._out.status("listening to every track") as status:
            if own:
                told = segue.run_json("embed", accepted=(0, EXIT_SKIPPED))
            else:
                # It may take long: its own progress bar tells.
                status.stop()
                told = json.loads(
                    segue.run("embed", "--json", accepted=(0, EXIT_SKIPPED), show_talk=True)
                )
        known = segue.run_json("info")
        skipped = f", {told['skipped']} skipped" if told["skipped"] else ""
        fresh = f" ({told['embedded']} new)" if told["embedded"] != known["tracks"] else ""
        self._done(
            "embedded", f"{known['tracks']} tracks{fresh}{skipped}, model {told['model']}", began
        )

    def _start_supysonic(self, home: Path, library: Path) -> str:
        began = time.monotonic()
        place = home / "supysonic"
        # Anew each time: its song ids are random, and paths may have moved.
        shutil.rmtree(place, ignore_errors=True)
        with self._out.status("starting supysonic"):
            server = start_supysonic(place, {"Demo": library}, [LISTENER])
        self._stack.enter_context(server)
        self._done("started", f"supysonic, a real Subsonic server, at {server.url}", began)
        return server.url

    def _start_segue(self, segue: Segue, songs: int) -> str:
        began = time.monotonic()
        with self._out.status("starting Segue in front of it"):
            # `serve` links by itself, too, but this server's song ids are new: now is better.
            segue.run("link")
            server = self._stack.enter_context(segue.serve())
            linked = wait_until_linked(server, songs)
        version = health(server).get("version", "")
        self._done(
            "started",
            f"Segue {version} in front of it, at {server.url}: {linked} of {songs} songs linked",
            began,
        )
        return server.url

    def _done(self, verb: str, what: str, began: float) -> None:
        self._line(
            ("  " + verb, 11, "green"),
            (what, self._out.width - 20, ""),
            (f"{time.monotonic() - began:6.1f} s", 9, "dim"),
        )

    def _line(self, *cells: tuple[str, int, str]) -> None:
        """Prints cells of (text, width, style), each cut or filled to its width."""
        line = Text(no_wrap=True, overflow="ignore")
        for text, width, style in cells:
            # One cell always stays empty, so that columns never touch.
            shown = text if cell_len(text) < width else set_cell_size(text, width - 2) + "…"
            line.append(set_cell_size(shown, width), style)
        line.rstrip()
        self._out.print(line)

    # Playing

    def _play(
        self,
        player: Player,
        upstream: Player,
        segue: Segue,
        openings: Sequence[tuple[Song, int]],
    ) -> None:
        self._out.print(
            "\nA player that asks as Feishin does now follows AutoDJ. Segue answers it; beside "
            "each song,\nwhat plain random would have played.\n"
        )
        for opening, refills in openings:
            self._out.print(
                f"[bold]▶ {escape(_title(opening))}[/]  [cyan]{escape(opening.genre)}[/]"
            )
            refill = player.play([opening])
            for number in range(refills):
                if refill is None:
                    break
                if number:
                    self._out.print(f"  {escape(_title(refill.seed))} starts, the last of them:")
                plain = upstream.songs("getRandomSongs", {"size": player.item_count})
                self._tell(refill, plain, _reasons(segue, refill.seed))
                refill = self._listen(player, to_the_end=number < refills - 1)
            self._out.print()

    def _listen(self, player: Player, *, to_the_end: bool) -> Refill | None:
        """Plays what is queued; AutoDJ goes on when the last song starts, if it is let to."""
        last = len(player.queue) - 1 if to_the_end else len(player.queue) - 2
        refill = None
        while refill is None and player.position < last:
            refill = player.next(listen_s=LISTEN_S)
        return refill

    def _tell(self, refill: Refill, plain: Sequence[Song], reasons: dict[str, str]) -> None:
        self._tally.count(refill.seed, refill.songs, plain)
        self._tally.times_s.append(refill.took_s)
        # Shares of the width, which is 100 where there is room.
        first, second, third = (round(self._out.width * part) for part in (0.35, 0.14, 0.28))
        last = self._out.width - first - second - third
        self._line(
            ("  AutoDJ adds", first + second, "dim"),
            ("because it", third, "dim"),
            ("plain random gives", last, "dim"),
        )
        for index, (song, source) in enumerate(refill.added):
            why = reasons.get(song.song_id, "") if source == "similar" else f"({source} song)"
            other = plain[index] if index < len(plain) else None
            self._line(
                (f"  {_title(song)}", first, ""),
                (song.genre, second, _colour(song, refill.seed)),
                (why, third, ""),
                (
                    " · ".join(filter(None, (other.genre, other.title))) if other else "",
                    last,
                    _colour(other, refill.seed) if other else "",
                ),
            )

    # Ending

    def _sum_up(self, player: Player, upstream: Player) -> None:
        tally = self._tally
        if tally.steered:
            self._out.print(
                f"Of the same genre as the song before: [bold]AutoDJ {tally.steered_alike} of "
                f"{tally.steered}[/], plain random {tally.random_alike} of {tally.random}.\n"
                "(Segue goes by the sound alone; the genres are there for you to judge.)"
            )
        typical_ms = 1000 * sorted(tally.times_s)[len(tally.times_s) // 2]
        self._out.print(
            f"An answer took {typical_ms:.0f} ms; {player.bytes_streamed / 1e6:.0f} MB of music "
            "went through Segue untouched."
        )
        try:
            upstream.call("getSimilarSongs", {"id": player.queue[0].song_id, "count": 5})
            said = "an answer of its own"
        except PlayerError as error:
            said = str(error).partition(": ")[2]
        self._out.print(f"supysonic itself, asked for similar songs, says: {escape(said)}.")

    def _invite(self, url: str, *, once: bool) -> None:
        if once:
            self._out.print(
                "\n[bold]With your own server:[/] run `segue serve` beside it, and change one thing"
                " in your player\n(Feishin, Symfonium, …): the server's address, to"
                " http://HOST:4040. User and password stay.\nWithout --once this demo goes on, for"
                " a player of yours to connect to."
            )
            return
        self._out.print("\n[bold]Listen with a player of your own[/] (Feishin, Symfonium, …):")
        for name, value in (
            ("server", f"{url}   (type: Subsonic; supysonic needs the legacy login)"),
            ("user", LISTENER.username),
            ("password", LISTENER.password),
        ):
            self._out.print(f"  {name:9} {escape(value)}")

    def _wait(self) -> None:
        self._out.print("\nCtrl-C ends it.")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            self._out.print("Stopped.")


def _home(folder: Path, library: Path, *, own: bool) -> Path:
    """Where this library's vectors and servers live; those of earlier compositions are removed."""
    if not own:
        return folder / f"run-{hashlib.sha256(str(library).encode()).hexdigest()[:12]}"
    home = folder / f"run-{library.name}"
    for earlier in folder.glob("run-music-*"):
        if earlier != home:
            shutil.rmtree(earlier, ignore_errors=True)
    return home


def _bytes_in(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _openings(songs: Sequence[Song], *, own: bool) -> list[tuple[Song, int]]:
    """The songs to begin with, and how often AutoDJ is followed from each."""
    if own:
        by_title = {song.title: song for song in songs}
        return [(by_title[title], refills) for title, refills in OPENINGS]
    # Of a stranger's library: three songs of different genres, the same ones each time.
    chance = random.Random(0)  # noqa: S311 - no secret
    shuffled = sorted(songs, key=lambda song: song.path)
    chance.shuffle(shuffled)
    distinct = {song.genre: song for song in reversed(shuffled)}
    chosen = list(dict.fromkeys([*distinct.values(), *shuffled]))
    return [(song, refills) for song, (_, refills) in zip(chosen, OPENINGS, strict=False)]


def _reasons(segue: Segue, seed: Song) -> dict[str, str]:
    """Song id -> why Segue holds it near the seed, in its own words."""
    picks = segue.run_json("similar", seed.song_id, "--count", "500")
    reasons = {}
    for pick in picks:
        if pick["id"] is not None:
            best = max(pick["why"], key=lambda reason: reason["value"], default=None)
            if best is not None:
                reasons[pick["id"]] = f"{best['value']:.2f} {best['text']}"
    return reasons


def _title(song: Song) -> str:
    return f"{song.title} · {song.artist}" if song.artist else song.title


def _colour(song: Song, seed: Song) -> str:
    return "green" if song.genre == seed.genre else "yellow"
