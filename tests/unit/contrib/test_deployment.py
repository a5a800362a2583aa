"""What stands in contrib/, Dockerfile and compose.yaml agrees with the code, and is well-formed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from datetime import datetime
from pathlib import Path

import pytest

from proxy.metrics import Metrics
from proxy.pages import _GAUGES

ROOT = Path(__file__).resolve().parents[3]


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    dashboard = json.loads((ROOT / "contrib/grafana/segue.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"segue_\w+", target["expr"])
    }
    shown = Metrics().render({name: (about, 1.0) for name, about in _GAUGES.values()})
    known = set(re.findall(r"# TYPE (segue_\w+)", shown)) | {"segue_steering_seconds_bucket"}
    assert asked <= known
    assert {"segue_requests_total", "segue_linked_share", "segue_snapshot_age_seconds"} <= asked
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


@pytest.mark.parametrize("unit", ["segue.service", "segue-embed.service"])
def test_units_are_hardened(unit: str) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze")
    path = ROOT / "contrib/systemd" / unit
    done = subprocess.run(
        [program, "security", "--offline=true", "--threshold=25", str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-300:] + done.stderr
    known = subprocess.run(
        [program, "verify", str(path)], capture_output=True, text=True, check=False
    )
    assert "Unknown" not in known.stderr


def test_the_embed_loop_sleeps_until_four() -> None:
    text = (ROOT / "compose.yaml").read_text()
    found = re.search(r"sleep \$\$\(\( (.*) \)\)", text)
    assert found is not None
    shell = f"echo $(( {found.group(1).replace('$$', '$')} ))"
    now = time.time()
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True)
    wakes = datetime.fromtimestamp(now + int(done.stdout)).astimezone()
    assert 1 <= int(done.stdout) <= 86400
    assert (wakes.hour, wakes.minute) in ((4, 0), (3, 59))


def test_images_run_without_rights() -> None:
    text = (ROOT / "Dockerfile").read_text()
    stages = text.split("\nFROM ")
    assert "USER segue" in next(stage for stage in stages if "AS runtime" in stage)
    serving = stages[-1]
    assert serving.startswith("runtime AS serve")
    assert "HEALTHCHECK" in serving
    assert "USER root" not in text
    compose = (ROOT / "compose.yaml").read_text()
    assert compose.count("<<: *confined") == 2
    assert "read_only: true" in compose
