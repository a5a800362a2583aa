"""`/segue/health` and `/segue/metrics`."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from proxy.metrics import Metrics, group_of
from proxy.settings import ServerSettings
from tests.unit.proxy.wire import RawUpstream, proxied

pytestmark = pytest.mark.anyio


class Known:
    def facts(self) -> Mapping[str, object]:
        return {"snapshot": "abc", "tracks": 165, "linked": 160, "snapshot_age_s": 12.5}


async def test_health_tells_insiders_more() -> None:
    async with proxied(status=Known()) as proxy:
        near = await proxy.get(b"/segue/health", host=b"localhost:4040")
        assert near.status == 200
        shown = json.loads(near.body)
        assert shown["status"] == "ok"
        assert shown["version"]
        assert shown["upstream"] == {"url": proxy.upstream.url, "reachable": True}
        assert (shown["snapshot"], shown["tracks"], shown["linked"]) == ("abc", 165, 160)
        for far in (
            await proxy.get(
                b"/segue/health", [(b"X-Forwarded-For", b"6.6.6.6")], host=b"localhost"
            ),
            await proxy.get(b"/segue/health"),
        ):
            assert (far.status, json.loads(far.body)) == (200, {"status": "ok"})
        assert len(proxy.upstream.seen) == 1  # many may ask, the upstream is asked once
        assert proxy.upstream.seen[0].target == b"/"


async def test_health_without_a_snapshot_says_forwarding() -> None:
    async with proxied() as proxy:
        reply = await proxy.get(b"/segue/health")
        assert (reply.status, json.loads(reply.body)) == (200, {"status": "forwarding"})


async def test_health_without_an_upstream_is_503() -> None:
    async with proxied(url="http://127.0.0.1:1", status=Known()) as proxy:
        reply = await proxy.get(b"/segue/health")
        assert (reply.status, json.loads(reply.body)) == (503, {"status": "unavailable"})
    async with proxied(RawUpstream(answer=b"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n")) as proxy:
        assert (await proxy.get(b"/segue/health")).status == 200  # it is there


async def test_metrics_are_for_insiders() -> None:
    async with proxied(status=Known()) as proxy:
        await proxy.get(b"/rest/ping")
        proxy.application.metrics.observe_steering(12)
        proxy.application.metrics.fallbacks["deadline"] += 1
        near = await proxy.get(b"/segue/metrics", host=b"localhost")
        assert near.status == 200
        lines = near.body.decode().splitlines()
        assert 'segue_requests_total{kind="forward",outcome="ok",group="rest"} 1' in lines
        assert 'segue_steering_fallbacks_total{reason="deadline"} 1' in lines
        assert 'segue_steering_seconds_bucket{le="0.01"} 0' in lines
        assert 'segue_steering_seconds_bucket{le="0.02"} 1' in lines
        assert 'segue_steering_seconds_bucket{le="+Inf"} 1' in lines
        assert "segue_steering_seconds_sum 0.012000" in lines
        assert "segue_tracks 165" in lines
        assert any(line.startswith("segue_linked_share 0.") for line in lines)
        assert "segue_snapshot_age_seconds 12.5" in lines
        assert (await proxy.get(b"/segue/metrics")).status == 404


async def test_nothing_else_lives_there() -> None:
    async with proxied(server=ServerSettings()) as proxy:
        for target in (b"/segue/", b"/segue/x", b"/%73egue/x", b"/segue/../rest/ping"):
            assert (await proxy.get(target)).status == 404
        assert (await proxy.get(b"/segue/health", method=b"POST")).status == 405
        assert proxy.upstream.seen == []


def test_metrics_start_empty() -> None:
    text = Metrics().render({})
    assert text.endswith("segue_steering_seconds_count 0\n")
    for line in text.splitlines():
        assert line.startswith(("# HELP segue_", "# TYPE segue_", "segue_"))


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("/rest/stream.view", "audio"),
        ("/rest/getCoverArt", "images"),
        ("/rest/getRandomSongs.view", "steerable"),
        ("/rest/scrobble", "reports"),
        ("/rest/getAlbum.view", "rest"),
        ("/rest/", "rest"),
        ("/api/song/1", "native"),
        ("/api/events", "events"),
        ("/auth/login", "native"),
        ("/share/x", "shares"),
        ("/app/", "pages"),
        ("", "pages"),
        ('/"}\n', "pages"),
    ],
)
def test_groups_are_few_whatever_is_asked(path: str, group: str) -> None:
    assert group_of(path) == group
