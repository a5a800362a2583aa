"""`segue config show` and `check`, and the documentation of every key."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from cli.configuration import Configuration
from cli.sections import OWNERS, keys, settings_class
from cli.sources import read_file
from tests.unit.cli.conftest import Segue

CHECKOUT = Path(__file__).resolve().parents[3]


def test_show_is_toml_with_origins_and_masked_secrets(
    segue: Segue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text(
        '[upstream]\npassword = "hunter2"\n\n[steering.clients."My App"]\nrandom = "always"\n'
    )
    monkeypatch.setenv("SEGUE_SERVER__PORT", "4041")
    result = segue("config", "show")
    assert result.code == 0, result.err
    assert "hunter2" not in result.out + result.err
    tree = tomllib.loads(result.out)
    assert set(tree) == set(OWNERS)
    assert tree["server"]["port"] == 4041
    assert tree["upstream"]["password"] == "********"
    assert tree["steering"]["clients"]["My App"] == {"random": "always"}
    assert re.search(r"^port = 4041 +# SEGUE_SERVER__PORT$", result.out, re.MULTILINE)
    assert re.search(r"^password = .* # config\.toml:2$", result.out, re.MULTILINE)
    assert re.search(r"^level = \"info\" +# default$", result.out, re.MULTILINE)
    assert "config.toml" in result.err


def test_show_as_json(segue: Segue, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[upstream]\npassword = "hunter2"\n')
    result = segue("config", "show", "--json")
    facts = json.loads(result.out)
    assert facts["file"] == "config.toml"
    assert facts["values"]["upstream.password"] == {"value": "********", "from": "config.toml:2"}
    assert facts["values"]["server.port"] == {"value": 4040, "from": "default"}


def test_what_show_prints_is_a_configuration(segue: Segue, tmp_path: Path) -> None:
    shown = segue("config", "show").out
    (tmp_path / "config.toml").write_text(shown)
    assert segue("config", "check").code == 0


def test_check_says_ok_or_every_problem(segue: Segue, tmp_path: Path) -> None:
    assert segue("config", "check").out.startswith("ok: no file")
    (tmp_path / "config.toml").write_text('[server]\nport = "x"\n[log]\nlevle = ""\n')
    result = segue("config", "check")
    assert (result.code, result.out) == (2, "")
    assert len(result.err.splitlines()) == 2


def documented() -> dict[str, tuple[str, str]]:
    """Key -> (default, words) of the tables in docs/configuration.md."""
    found: dict[str, tuple[str, str]] = {}
    section = ""
    for line in (CHECKOUT / "docs" / "configuration.md").read_text("utf-8").splitlines():
        if heading := re.match(r"## `\[(.+)\]`", line):
            section = heading[1]
        elif row := re.match(r"\| `([a-z_]+)` \| `(.*?)` \| (.+) \|$", line):
            found[f"{section}.{row[1]}"] = (row[2], row[3])
        elif row := re.match(r"\| `([a-z_]+)` \| not set \| (.+) \|$", line):
            found[f"{section}.{row[1]}"] = ("", row[2])
    return found


def declared() -> dict[str, tuple[Any, str]]:
    """Key -> (default, words) of the settings classes."""
    found: dict[str, tuple[Any, str]] = {}
    for section in OWNERS:
        for key in keys(settings_class(section)).values():
            if key.item is None:
                found[f"{section}.{key.name}"] = (key.default, key.doc)
            else:
                for inner in keys(key.item).values():
                    name = f"{section}.{key.name}.NAME.{inner.name}"
                    found[name] = (inner.default, inner.doc)
    return found


def test_documentation_and_classes_agree() -> None:
    in_docs, in_classes = documented(), declared()
    assert list(in_docs) == list(in_classes)
    for name, (default, words) in in_classes.items():
        shown = "" if default is None else in_docs[name][0]
        value = None if default is None else tomllib.loads(f"x = {shown}")["x"]
        assert value == (list(default) if isinstance(default, tuple) else default), name
        assert in_docs[name][1] == words, name
        assert words.endswith("."), name


def test_the_example_names_every_key_with_its_default() -> None:
    path = CHECKOUT / "config.example.toml"
    text = path.read_text("utf-8")
    Configuration(read_file(path)).check()
    # Every key stands there commented out, with its default and the words above it.
    active = "\n".join(re.sub(r"^# ?(?=\[|[a-z_]+ = )", "", line) for line in text.splitlines())
    tree = tomllib.loads(active)
    for name, (default, words) in declared().items():
        *tables, key = name.replace(".NAME.", ".Feishin.").split(".")
        at = tree
        for table in tables:
            at = at[table]
        if default is not None:
            assert at[key] == (list(default) if isinstance(default, tuple) else default), name
        assert key in at, name
        if "Feishin" not in tables:
            assert " ".join(words.split()) in " ".join(text.replace("\n#", " ").split()), name
    known = {name.replace(".NAME.", ".Feishin.") for name in declared()}
    assert set(_names((), tree)) == known


def _names(at: tuple[str, ...], tree: dict[str, Any]) -> list[str]:
    names = []
    for key, value in tree.items():
        if isinstance(value, dict):
            names += _names((*at, key), value)
        else:
            names.append(".".join((*at, key)))
    return names


def test_check_finds_what_only_shows_in_use(segue: Segue, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        """
        [upstream]
        password_file = "x"
        [library]
        source = "server"
        [embedding]
        model = "timbr"
        """
    )
    result = segue("config", "check")
    assert result.code == 2
    for words in ("belong together", "upstream.username is not set", "did you mean timbre?"):
        assert words in result.err
    (tmp_path / "config.toml").write_text(
        '[upstream]\nusername = "linker"\npassword_file = "/nowhere/at-all"\n'
    )
    assert "cannot read upstream.password_file /nowhere/at-all" in segue("config", "check").err


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may look into, which pytest's own are not."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        if not all(parent.stat().st_mode & 0o001 for parent in folder.resolve().parents):
            pytest.skip(f"{folder.parent} is closed to others")
        yield folder


def test_a_password_that_everybody_may_read_is_told(segue: Segue, open_folder: Path) -> None:
    file = open_folder / "config.toml"
    file.write_text('[upstream]\nusername = "linker"\npassword = "x"\n')

    def said() -> str:
        result = segue("--config", str(file), "config", "check")
        assert result.code == 0
        return result.err

    file.chmod(0o644)
    assert f"everybody on this machine may read the password in {file}: chmod 600" in said()
    shown = segue("--config", str(file), "config", "check", "--json").out
    assert json.loads(shown)["password_is_exposed"] is True
    doctor = segue("--config", str(file), "doctor").out
    assert f"warn  config    {file} holds a password" in doctor
    file.chmod(0o640)  # root's, for the group that runs Segue
    assert said() == ""
    file.chmod(0o644)
    open_folder.chmod(0o700)
    assert said() == ""


def test_a_password_that_is_elsewhere_is_not_in_the_file(
    segue: Segue, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = open_folder / "config.toml"
    file.write_text('[upstream]\nusername = "linker"\n')
    monkeypatch.setenv("SEGUE_UPSTREAM__PASSWORD", "x")
    assert segue("--config", str(file), "config", "check").err == ""


def test_an_unknown_section_hides_no_other_problem(segue: Segue, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        """
        [libary]
        [upstream]
        ulr = "x"
        [server]
        port = "4040x"
        """
    )
    result = segue("config", "check")
    assert result.code == 2
    for words in ("libary", "ulr", "port"):
        assert words in result.err
