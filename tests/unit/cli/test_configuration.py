"""Precedence, types, typos: what the configuration takes and what it says when it does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.configuration import Configuration, load
from cli.errors import ConfigurationError
from tests.unit.cli.conftest import Segue


def compose(
    text: str = "",
    env: dict[str, str] | None = None,
    flags: dict[tuple[str, ...], tuple[str, Any]] | None = None,
) -> Configuration:
    """What a config.toml with this text, this environment and these flags make together."""
    Path("config.toml").write_text(text, encoding="utf-8")
    return load(None, flags or {}, env or {})


def problems(
    text: str = "",
    env: dict[str, str] | None = None,
    flags: dict[tuple[str, ...], tuple[str, Any]] | None = None,
) -> tuple[str, ...]:
    """The lines it is refused with."""
    with pytest.raises(ConfigurationError) as caught:
        compose(text, env, flags).check()
    return caught.value.problems


def test_defaults_when_nothing_is_given() -> None:
    configuration = load(None, {}, {})
    configuration.check()
    assert configuration.file is None
    assert configuration.library.data == "./data"
    assert configuration.server.port == 4040
    assert configuration.server.host == "0.0.0.0"


def test_flag_beats_environment_beats_file_beats_default() -> None:
    text = '[upstream]\nurl = "http://file:1"\n'
    env = {"SEGUE_UPSTREAM__URL": "http://env:1"}
    flags = {("upstream", "url"): ("--upstream", "http://flag:1")}
    assert compose(text).upstream.url == "http://file:1"
    assert compose(text, env).upstream.url == "http://env:1"
    assert compose(text, env, flags).upstream.url == "http://flag:1"


def test_origins_name_line_variable_and_flag() -> None:
    configuration = compose(
        '# mine\n[upstream]\nurl = "http://file:1"\n\n[ log ]\nlevel="debug"\nlog = 1\n'.replace(
            "log = 1\n", ""
        ),
        {"SEGUE_SERVER__HOST": "::1"},
        {("server", "port"): ("--port", "4041")},
    )
    origins = {
        ".".join(value.path): str(value.origin)
        for section in ("upstream", "server", "log")
        for value in configuration.values(section)
    }
    assert origins["upstream.url"] == "config.toml:3"
    assert origins["log.level"] == "config.toml:6"
    assert origins["server.host"] == "SEGUE_SERVER__HOST"
    assert origins["server.port"] == "--port"
    assert origins["log.format"] == "default"


def test_file_is_found_by_flag_then_environment_then_here(tmp_path: Path) -> None:
    for name in ("flag", "env", "config"):
        (tmp_path / f"{name}.toml").write_text(f'[library]\ndata = "{name}"\n')
    env = {"SEGUE_CONFIG": "env.toml"}
    assert load("flag.toml", {}, env).library.data == "flag"
    assert load(None, {}, env).library.data == "env"
    assert load(None, {}, {}).library.data == "config"


@pytest.mark.parametrize(
    ("flag", "env", "named"),
    [("nowhere.toml", {}, "--config"), (None, {"SEGUE_CONFIG": "nowhere.toml"}, "$SEGUE_CONFIG")],
)
def test_a_named_file_that_is_missing_is_an_error(
    flag: str | None, env: dict[str, str], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no file nowhere\.toml") as caught:
        load(flag, {}, env)
    assert str(caught.value).startswith(named)


def test_a_working_directory_that_may_not_be_searched_has_no_file(
    closed: Callable[[Path], Segue], tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text('[log]\nlevel = "debug"\n')
    run = closed(tmp_path)
    shown = run("config", "show")
    assert shown.code == 0, shown.err
    assert 'level = "info"' in shown.out
    refused = run("--config", "config.toml", "config", "show")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == "segue: --config: cannot read config.toml: Permission denied\n"


def test_a_file_of_another_user_says_as_whom_to_run(
    closed: Callable[[Path], Segue], tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    file.touch()
    owned = closed(file)("config", "show")
    assert (owned.code, owned.out) == (2, "")
    assert owned.err.startswith(
        "segue: cannot read config.toml: Permission denied; run segue as the user that it"
        f" belongs to: sudo -u {file.owner()} segue"
    )


@pytest.mark.parametrize(
    "content", [b"[server\nport = 1", b"[server]\nport = \n", b"# \xff\n[log]\n", b"a = 1\na = 2\n"]
)
def test_a_file_that_is_no_toml_is_one_line(content: bytes) -> None:
    Path("config.toml").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"config\.toml is not") as caught:
        load(None, {}, {})
    assert len(caught.value.problems) == 1
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[uptsream]\n", "config.toml:1: unknown section [uptsream]; did you mean 'upstream'?"),
        ("[server]\nprot = 1\n", "config.toml:2: unknown key server.prot; did you mean 'port'?"),
        ("[log]\nlevle = 1\n", "config.toml:2: unknown key log.levle; did you mean 'level'?"),
        ("server = 3\n", "config.toml:1: [server] is a section, not a value"),
        (
            '[log]\nzzzz = ""\n',
            "config.toml:2: unknown key log.zzzz; known are level, format",
        ),
        (
            "[steering.clients.Feishin]\nrandm = true\n",
            "config.toml:2: unknown key steering.clients.Feishin.randm; did you mean 'random'?",
        ),
        (
            "[steering]\nclients = 3\n",
            "config.toml:2: steering.clients holds tables: [steering.clients.NAME]",
        ),
        (
            "[server.port]\nx = 1\n",
            "config.toml:2: server.port is a value, not a table",
        ),
    ],
)
def test_typos_name_the_nearest(text: str, said: str) -> None:
    assert problems(text) == (said,)


def test_typos_in_the_environment_name_the_nearest() -> None:
    assert problems(env={"SEGUE_SERVER__PROT": "1"}) == (
        "SEGUE_SERVER__PROT: unknown key server.prot; did you mean 'port'?",
    )
    assert problems(env={"SEGUE_SEVER__PORT": "1"}) == (
        "SEGUE_SEVER__PORT: unknown section; did you mean 'SEGUE_SERVER__…'?",
    )


def test_variables_of_others_are_left_alone() -> None:
    env = {"SEGUE_PORT": "tcp://10.0.0.1:80", "SEGUE_SERVICE_HOST": "10.0.0.1", "SEGUE_DEBUG": "1"}
    compose(env=env).check()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[server]\nport = "abc"\n', 'config.toml:2: port must be a whole number, got "abc"'),
        ("[server]\nport = true\n", "config.toml:2: port must be a whole number, got true"),
        ("[server]\nport = 40.5\n", "config.toml:2: port must be a whole number, got 40.5"),
        ("[library]\ndata = 5\n", "config.toml:2: data must be text, got 5"),
        (
            '[library]\nmusic = "/mnt"\n',
            'config.toml:2: music must be a list such as ["a", "b"], got "/mnt"',
        ),
        ("[steering]\nsimilar = 1\n", "config.toml:2: similar must be true or false, got 1"),
        (
            '[log]\nformat = "yaml"\n',
            "config.toml:2: format must be 'text' or 'json', got \"yaml\"",
        ),
    ],
)
def test_wrong_types_are_one_clear_line(text: str, said: str) -> None:
    assert problems(text) == (said,)


def test_flags_and_environment_are_text_and_are_read_as_what_is_wanted() -> None:
    configuration = compose(
        env={"SEGUE_SERVER__PORT": "4041", "SEGUE_STEERING__SIMILAR": "false"},
        flags={("embedding", "workers"): ("--workers", "3")},
    )
    assert configuration.server.port == 4041
    assert configuration.steering.similar is False
    assert configuration.embedding.workers == 3
    assert problems(flags={("server", "port"): ("--port", "abc")}) == (
        '--port: port must be a whole number, got "abc"',
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a,/b", ("/a", "/b")),
        (" /a , ", ("/a",)),
        ("", ()),
        ('["/with, comma", "/b"]', ("/with, comma", "/b")),
    ],
)
def test_lists_in_the_environment(text: str, expected: tuple[str, ...]) -> None:
    assert compose(env={"SEGUE_LIBRARY__MUSIC": text}).library.music == expected


def test_a_broken_list_in_the_environment_is_one_line() -> None:
    (said,) = problems(env={"SEGUE_LIBRARY__MUSIC": '["/a'})
    assert said.startswith("SEGUE_LIBRARY__MUSIC: music must be a list")


def test_tables_of_clients_from_file_and_environment() -> None:
    configuration = compose(
        '[steering.clients.Feishin]\nrandom = "never"\n\n[steering.clients."My App"]\n'
        'random = "always"\n',
        {"SEGUE_STEERING__CLIENTS__Feishin__RANDOM": "always"},
    )
    clients = configuration.steering.clients
    assert set(clients) == {"Feishin", "My App"}
    assert clients["Feishin"].random == "always"
    values = {".".join(v.path): str(v.origin) for v in configuration.values("steering")}
    assert values["steering.clients.Feishin.random"] == "SEGUE_STEERING__CLIENTS__Feishin__RANDOM"
    assert values["steering.clients.My App.random"] == "config.toml:5"


def test_a_rooms_own_check_names_the_place() -> None:
    (said,) = problems('[upstream]\nusername = "me"\nurl = "music.example.org"\n')
    assert said.startswith("config.toml:3: url must look like http://host:port")
    (said,) = problems("[embedding]\nworkers = -1\n")
    assert said.startswith("config.toml:2: ")
    (said,) = problems(env={"SEGUE_EMBEDDING__WORKERS": "-1"})
    assert said.startswith("SEGUE_EMBEDDING__WORKERS: ")


def test_all_problems_are_told_at_once() -> None:
    found = problems('[server]\nport = "x"\nprot = 1\n[log]\nformat = "yaml"\n')
    assert len(found) == 3


def test_secrets_are_in_no_message_and_no_listing() -> None:
    (said,) = problems("[upstream]\npassword = 12345\n")
    assert "12345" not in said
    configuration = compose('[upstream]\npassword = "hunter2"\n')
    shown = {".".join(v.path): v.shown for v in configuration.values("upstream")}
    assert shown["upstream.password"] == "********"
    assert "hunter2" not in repr(configuration.upstream)


def test_a_password_file_is_not_read_for_the_configuration(tmp_path: Path) -> None:
    configuration = compose('[upstream]\npassword_file = "/nowhere/secret"\n')
    configuration.check()
    assert configuration.upstream.password_file == "/nowhere/secret"
