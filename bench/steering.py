"""What a steered call costs beside the upstream's own getSong, in one run, and serve's memory.

Real servers, real sockets, keep-alive: `segue serve` in front of Navidrome where one is on PATH,
else of supysonic. Calls alternate, so that a busy machine disturbs both alike.

    python -m bench.steering [--music DIR] [--models DIR] [--rounds N]
    python -m bench.steering --songs 10000 [--rounds N]

With `--songs` a library of so many made-up songs, and every steered call beside the server's own
answer to the same call (needs Navidrome). Its own answer to getSimilarSongs is empty without an
agent from outside; for a listener who has starred songs of the artist it has songs, and this is
what steered answers are compared with (the empty one's time is told as well). Before each cold call
the listener hears a song, which drops all songs kept of them; "salted anew": with a login that was
never seen, as of clients that salt each call. Warm: the same call was answered a moment ago. The
floor of a cold call is what the server alone takes for getSong of the same songs, by a client that
does nothing else, at that number of calls at once which is quickest.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import itertools
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from bench.bare import Bare, connected
from bench.thousands import fill
from demo.library import compose_library
from demo.segue import Segue, wait_until_linked
from demo.servers import Account, start_supysonic
from tests.e2e.navidrome import ADMIN, navidrome

#: A steered getSimilarSongs of five against one getSong, at the median.
GOAL_RATIO = 12.0
GOAL_RESIDENT_MB = 120

_LISTENER = Account("bench", "bench", admin=True)


class _Caller:
    """One kept-alive connection to a server, as one user."""

    def __init__(self, url: str, account: Account) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        self._account = account

    def call(
        self, endpoint: str, *, salt: str = "", **parameters: str | int
    ) -> tuple[float, Mapping[str, str], bytes]:
        """(milliseconds, headers, body) of one call; the login with a salt, or in clear."""
        target = self.target(endpoint, salt=salt, **parameters)
        started = time.perf_counter()
        self._connection.request("GET", target)
        response = self._connection.getresponse()
        body = response.read()
        return (time.perf_counter() - started) * 1000, dict(response.getheaders()), body

    def target(self, endpoint: str, *, salt: str = "", **parameters: str | int) -> str:
        """Path and query of a call."""
        login = {"u": self._account.username, "v": "1.16.1", "c": "bench", "f": "json"}
        if salt:
            token = hashlib.md5((self._account.password + salt).encode())
            login |= {"t": token.hexdigest(), "s": salt}
        else:
            login["p"] = self._account.password
        return f"/rest/{endpoint}.view?{urlencode({**login, **parameters})}"


@contextlib.contextmanager
def _upstream(folder: Path, music: Path) -> Iterator[tuple[str, str, Account, list[Path]]]:
    if shutil.which("navidrome"):
        second = folder / "second"
        second.mkdir()
        with navidrome(folder / "navidrome", music, second) as running:
            yield "navidrome", running.url, ADMIN, [music]
        return
    with start_supysonic(folder / "supysonic", {"Music": music}, [_LISTENER]) as server:
        yield "supysonic", server.url, _LISTENER, [music]


def run(
    music: Path | None = None, rounds: int = 200, models: Path | None = None
) -> list[dict[str, object]]:
    """Rows: medians of both calls and their ratio; resident memory of `serve` after it all.

    With the weights in `models` (and torch) songs have tags, which ranking also looks at.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        music = music or compose_library(Path(".demo").resolve())
        with _upstream(folder, music) as (kind, url, account, folders):
            upstream = {"url": url, "username": account.username, "password": account.password}
            segue = Segue(
                folder / "segue",
                {
                    "library": {
                        "music": [str(path) for path in folders],
                        "data": str(folder / "data"),
                    },
                    "embedding": {"models_dir": str(models)} if models else {"model": "timbre"},
                    "upstream": upstream,
                },
            )
            segue.run("embed", accepted=(0, 3))
            with segue.serve() as server:
                linked = wait_until_linked(server, 10**9)
                rows = _measure(_Caller(url, account), _Caller(server.url, account), rounds)
                for row in rows:
                    row["upstream"] = kind
                    row["linked"] = linked
                rows.append(
                    {
                        "call": "segue serve, resident MB",
                        "p50": _resident_mb(server.pid),
                        "goal": f"< {GOAL_RESIDENT_MB}",
                    }
                )
                return rows


def _measure(direct: _Caller, steered: _Caller, rounds: int) -> list[dict[str, object]]:
    listed = json.loads(direct.call("search3", query="", songCount=500, albumCount=0,
                                    artistCount=0)[2])  # fmt: skip
    ids = [song["id"] for song in listed["subsonic-response"]["searchResult3"]["song"]]
    timings: dict[str, list[float]] = {}
    for turn in range(rounds + 10):
        song_id = ids[turn % len(ids)]
        own_ms, _, _ = direct.call("getSong", id=song_id)
        passed_ms, _, _ = steered.call("getSong", id=song_id)
        five_ms, headers, _ = steered.call("getSimilarSongs", id=song_id, count=5)
        if headers.get("X-Segue") != "steered":
            raise RuntimeError(f"not steered: {headers.get('X-Segue')}")
        fifty_ms, _, _ = steered.call("getSimilarSongs", id=song_id, count=50)
        if turn >= 10:  # connections and caches are warm by then
            for label, value in (
                ("getSong, direct", own_ms),
                ("getSong, through Segue", passed_ms),
                ("getSimilarSongs count=5, steered", five_ms),
                ("getSimilarSongs count=50, steered", fifty_ms),
            ):
                timings.setdefault(label, []).append(value)
    base = statistics.median(timings["getSong, direct"])
    return [
        {
            "call": label,
            "p50": f"{statistics.median(values):.2f} ms",
            "p95": f"{statistics.quantiles(values, n=20)[-1]:.2f} ms",
            "x getSong": f"{statistics.median(values) / base:.1f}",
            "goal": f"<= {GOAL_RATIO:.0f}" if "count=5," in label else "",
        }
        for label, values in timings.items()
    ]


#: Call, parameters, and what is asked of it cold and warm, as a multiple of the server's own.
_LARGE: Final = (
    ("getSimilarSongs", {"count": 5}, 1.0, None),
    ("getSimilarSongs", {"count": 50}, 2.0, 1.0),
    ("getRandomSongs", {"size": 10}, 3.0, None),
    ("getRandomSongs", {"size": 50}, 6.0, 1.2),
)
#: So often a call is made before it counts as warm: pools differ from call to call, and up to the
#: eleventh held songs that were not kept yet.
_WARMING: Final = 16

#: So many calls at once are tried for the floor.
_AT_ONCE: Final = (2, 4, 12, 24)

#: The server goes on for a while after it has answered a report.
_CALM_S: Final = 0.03

#: Songs that are played in turn, and starred: ten artists whole.
_PLAYED: Final = 480


def run_large(songs: int = 10_000, rounds: int = 40) -> list[dict[str, object]]:
    """Steered calls, cold and warm, beside Navidrome's own answers to them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        music, second, data = folder / "music", folder / "second", folder / "data"
        second.mkdir()
        fill(music, data, songs)
        with navidrome(folder / "navidrome", music, second, timeout_s=600) as running:
            upstream = {"url": running.url, "username": ADMIN.username, "password": ADMIN.password}
            segue = Segue(
                folder / "segue",
                {
                    "library": {"music": [str(music)], "data": str(data)},
                    "upstream": upstream,
                    "steering": {"random": "always"},
                },
            )
            with segue.serve() as server:
                linked = wait_until_linked(server, songs)
                direct, steered = _Caller(running.url, ADMIN), _Caller(server.url, ADMIN)
                pids = (running.server.pid, server.pid)
                with connected(running.url, max(_AT_ONCE)) as bare:
                    rows = [
                        {"songs": songs, "linked": linked, **row}
                        for row in _compare(direct, steered, bare, rounds, pids)
                    ]
                return [
                    *rows,
                    {"call": "segue serve, resident MB", "p50": _resident_mb(server.pid)},
                ]


def _compare(
    direct: _Caller, steered: _Caller, bare: Bare, rounds: int, pids: Sequence[int]
) -> Iterator[dict[str, object]]:
    """Times by the clock, and what the processors of both servers did for a call."""
    listed = json.loads(direct.call("search3", query="", songCount=_PLAYED, albumCount=0,
                                    artistCount=0)[2])  # fmt: skip
    ids = [song["id"] for song in listed["subsonic-response"]["searchResult3"]["song"]]
    played = [ids[number * 7 % len(ids)] for number in range(rounds + 3)]
    empty = [direct.call("getSimilarSongs", id=song_id, count=5)[0] for song_id in played]
    for song_id in ids:
        direct.call("star", id=song_id)
    yield {"call": "getSimilarSongs count=5, own, empty", "p50 ms": _median(empty)}
    salts = (f"salt{number}" for number in itertools.count())
    for endpoint, parameters, cold_goal, warm_goal in _LARGE:
        costs: dict[str, list[_Cost]] = {}
        for turn, song_id in enumerate(played):
            asked = {**parameters, "id": song_id} if "Similar" in endpoint else parameters
            calls = [("own", ""), ("cold", "kept"), ("cold, salted anew", next(salts))]
            for label, salt in calls:
                for submission in ("false", "true"):
                    steered.call("scrobble", salt="kept", id=song_id, submission=submission)
                time.sleep(_CALM_S)
                with _costing(pids) as cost:
                    if label == "own":
                        answer = direct.call(endpoint, **asked)[2]
                    else:
                        body = _steered(steered, endpoint, asked, salt)
                if turn >= 3:
                    costs.setdefault(label, []).append(cost)
            shown = [direct.target("getSong", id=song_id) for song_id in _ids(body)]
            for at_once in _AT_ONCE:
                with _costing(pids) as cost:
                    bare.fetch(shown, at_once)
                if turn >= 3:
                    costs.setdefault(f"floor: the same songs, {at_once} at once", []).append(cost)
            if warm_goal is not None:
                for _ in range(_WARMING):
                    _steered(steered, endpoint, asked, "kept")
                with _costing(pids) as cost:
                    _steered(steered, endpoint, asked, "kept")
                if turn >= 3:
                    costs.setdefault("warm", []).append(cost)
        floors = sorted((_p50(costs[label]), label) for label in costs if "floor" in label)
        for _, label in floors[1:]:
            del costs[label]
        named = " ".join(f"{name}={value}" for name, value in parameters.items())
        own = costs.pop("own")
        base = _p50(own)
        for label, values in costs.items():
            times = [cost.ms for cost in values]
            yield {
                "call": f"{endpoint} {named}, {label}",
                "songs in own answer": answer.count(b'"isDir"'),
                "own p50 ms": round(base, 1),
                "p50 ms": _median(times),
                "p95 ms": round(statistics.quantiles(times, n=20)[-1], 1),
                "x own": round(statistics.median(times) / base, 2),
                "goal": f"<= {warm_goal if label == 'warm' else cold_goal}"
                * (label in ("cold", "warm")),
                "CPU ms, own": round(statistics.fmean(cost.cpu_ms for cost in own), 1),
                "CPU ms": round(statistics.fmean(cost.cpu_ms for cost in values), 1),
            }


def _p50(costs: Sequence[_Cost]) -> float:
    return statistics.median(cost.ms for cost in costs)


def _median(times: Sequence[float]) -> float:
    return round(statistics.median(times), 1)


@dataclass(slots=True)
class _Cost:
    ms: float = 0.0
    cpu_ms: float = 0.0


@contextlib.contextmanager
def _costing(pids: Sequence[int]) -> Iterator[_Cost]:
    """What happens inside, by the clock and by the processors of these processes."""
    cost = _Cost()
    busy = sum(map(_busy_ms, pids))
    started = time.perf_counter()
    yield cost
    cost.ms = (time.perf_counter() - started) * 1000
    cost.cpu_ms = sum(map(_busy_ms, pids)) - busy


def _busy_ms(pid: int) -> float:
    """What a process has taken of the processors, in steps of some ten milliseconds."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def _steered(caller: _Caller, endpoint: str, parameters: Mapping[str, Any], salt: str) -> bytes:
    _, headers, body = caller.call(endpoint, salt=salt, **parameters)
    if headers.get("X-Segue") != "steered":
        raise RuntimeError(f"{endpoint} was not steered: {headers.get('X-Segue')}")
    return body


def _ids(body: bytes) -> list[str]:
    """The songs of an answer."""
    envelope = json.loads(body)["subsonic-response"]
    (listing,) = (value for value in envelope.values() if isinstance(value, dict))
    return [song["id"] for song in listing["song"]]


def _resident_mb(pid: int) -> str:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return "unknown here"
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return f"{int(line.split()[1]) / 1024:.0f}"


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--music", type=Path, default=None, help="a folder of music")
    parser.add_argument("--models", type=Path, default=None, help="a folder of weights")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--songs", type=int, default=0, help="a made-up library of so many")
    given = parser.parse_args()
    rows = (
        run_large(given.songs, given.rounds)
        if given.songs
        else run(given.music, given.rounds, given.models)
    )
    for row in rows:
        print("  ".join(f"{key}: {value}" for key, value in row.items() if value != ""))


if __name__ == "__main__":
    main()
