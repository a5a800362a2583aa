"""The sections `[server]` and `[steering]`."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from proxy.settings import ClientSettings, ServerSettings, SteeringSettings


@pytest.mark.parametrize("section", [ServerSettings, SteeringSettings, ClientSettings])
def test_every_setting_is_documented(section: type[Any]) -> None:
    for one in fields(section):
        assert one.metadata["doc"].endswith(".")


def test_nobody_is_trusted_by_default() -> None:
    assert ServerSettings().trusted_proxies == ()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"port": 70000}, "port must be 0…65535, got 70000"),
        ({"host": ""}, "host is empty"),
        ({"base_path": "music"}, "base_path must be"),
        ({"base_path": "/music/"}, "base_path must be"),
        ({"base_path": "/a b"}, "base_path must be"),
        ({"trusted_proxies": ("10.0.0.1/8",)}, "trusted_proxies takes .* got '10.0.0.1/8'"),
        ({"trusted_proxies": ("nginx",)}, "trusted_proxies takes"),
        ({"user_header": "Remote User"}, "user_header must be"),
        ({"drain_s": -1}, "drain_s must be"),
    ],
)
def test_wrong_server_settings(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ServerSettings(**wrong)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"random": "sometimes"}, "random must be one of autodj, always, never"),
        ({"history": "yes"}, "history must be one of"),
        ({"deadline_ms": 5}, "deadline_ms must be 10…60000, got 5"),
    ],
)
def test_wrong_steering_settings(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        SteeringSettings(**wrong)


def test_clients_override() -> None:
    settings = SteeringSettings(
        clients={"Feishin": ClientSettings(random="always"), "Tempo": ClientSettings(similar=False)}
    )
    assert settings.random_mode("Feishin") == "always"
    assert settings.random_mode("Tempo") == "autodj"
    assert settings.steers_similar("Feishin")
    assert not settings.steers_similar("Tempo")
    with pytest.raises(ValueError, match="random must be"):
        ClientSettings(random="often")  # type: ignore[arg-type]
