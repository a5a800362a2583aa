"""Counters behind `/segue/metrics`; one process, one thread, no locks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

#: Upper bounds of the steering latency histogram, in milliseconds.
BUCKETS_MS: Final = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1280.0)


class Metrics:
    """What the proxy has done since it started. Labels are slugs of ours, no client's words."""

    def __init__(self) -> None:
        #: (kind, outcome) or (kind, outcome, group) -> calls; kind: forward, steer, own; outcome:
        #: ok, error, gone, tunnel, steered; group: see `group_of`.
        self.requests: Counter[tuple[str, ...]] = Counter()
        #: reason -> steered calls that got the upstream's own answer.
        self.fallbacks: Counter[str] = Counter()
        #: reason -> calls without a usable answer.
        self.upstream_errors: Counter[str] = Counter()
        self._steering: Counter[float] = Counter()
        self._steering_sum_ms = 0.0
        self._steering_count = 0

    def observe_steering(self, elapsed_ms: float) -> None:
        """One steered answer took this long."""
        self._steering_sum_ms += elapsed_ms
        self._steering_count += 1
        bound = next((b for b in BUCKETS_MS if elapsed_ms <= b), None)
        if bound is not None:
            self._steering[bound] += 1

    def render(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """Prometheus text format 0.0.4.

        Args:
            gauges: name -> (help, value), shown beside the counters.
        """
        lines = _family(
            "segue_requests_total",
            "counter",
            "Calls by kind, outcome and group of endpoints.",
            ((_labels(key), n) for key, n in self.requests.items()),
        )
        lines += _family(
            "segue_steering_fallbacks_total",
            "counter",
            "Steerable calls that got the upstream's own answer, by reason.",
            ((f'{{reason="{reason}"}}', n) for reason, n in self.fallbacks.items()),
        )
        lines += _family(
            "segue_upstream_errors_total",
            "counter",
            "Calls without a usable answer of the upstream, by reason.",
            ((f'{{reason="{reason}"}}', n) for reason, n in self.upstream_errors.items()),
        )
        lines += self._histogram()
        for name, (about, value) in gauges.items():
            lines += _family(name, "gauge", about, [("", value)])
        return "\n".join(lines) + "\n"

    def _histogram(self) -> list[str]:
        name = "segue_steering_seconds"
        lines = [
            f"# HELP {name} Time to a steered answer.",
            f"# TYPE {name} histogram",
        ]
        below = 0
        for bound in BUCKETS_MS:
            below += self._steering[bound]
            lines.append(f'{name}_bucket{{le="{bound / 1000:g}"}} {below}')
        lines.append(f'{name}_bucket{{le="+Inf"}} {self._steering_count}')
        lines.append(f"{name}_sum {self._steering_sum_ms / 1000:.6f}")
        lines.append(f"{name}_count {self._steering_count}")
        return lines


#: Of Subsonic calls; the others are "rest".
_REST_GROUPS: Final = {
    "stream": "audio", "download": "audio", "hls": "audio", "hls.m3u8": "audio",
    "getTranscodeStream": "audio",
    "getCoverArt": "images", "getAvatar": "images",
    "getSimilarSongs": "steerable", "getSimilarSongs2": "steerable", "getRandomSongs": "steerable",
    "scrobble": "reports", "reportPlayback": "reports", "star": "reports", "unstar": "reports",
    "setRating": "reports", "savePlayQueue": "reports", "savePlayQueueByIndex": "reports",
    "getTranscodeDecision": "reports",
}  # fmt: skip
#: A few short paths are most calls; long ones would only fill the memory of a cache.
_SHORT: Final = 100
_GROUPS: Final = {"api": "native", "auth": "native", "share": "shares"}


def group_of(path: str) -> str:
    """Which group of endpoints a decoded path belongs to: one of ten, whatever is asked.

    audio, images, steerable, reports or rest below `/rest/`; native, events or shares of
    Navidrome's own interface; else pages.
    """
    return _group_of(path) if len(path) <= _SHORT else _group_of.__wrapped__(path)


@lru_cache(maxsize=1024)
def _group_of(path: str) -> str:
    _, _, below = path.partition("/")
    first, _, rest = below.partition("/")
    if first == "rest":
        return _REST_GROUPS.get(rest.removesuffix(".view"), "rest")
    if rest == "events":
        return "events"
    return _GROUPS.get(first, "pages")


def _labels(key: tuple[str, ...]) -> str:
    kind, outcome = key[:2]
    group = key[2] if len(key) > 2 else {"steer": "steerable"}.get(kind, "own")
    return f'{{kind="{kind}",outcome="{outcome}",group="{group}"}}'


def _family(name: str, kind: str, about: str, samples: Iterable[tuple[str, float]]) -> list[str]:
    lines = [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{labels} {value:g}" for labels, value in sorted(samples)]
    return lines
