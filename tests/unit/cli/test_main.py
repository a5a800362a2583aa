"""The frame around every command: help, exit codes, errors as one line, lazy loading."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from cli.errors import CliError
from cli.main import COMMANDS, main
from embedder.errors import WeightsError
from tests.unit.cli.conftest import Segue

#: The root of the checkout, from which `python -m cli.main` finds the packages.
CHECKOUT = Path(__file__).resolve().parents[3]


def python(code: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, in the checkout."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=CHECKOUT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_a_description(segue: Segue, command: str) -> None:
    result = segue(command, "--help")
    assert result.code == 0, result.err
    assert result.out.startswith(f"usage: segue {command}")
    description = result.out.split("\n\n")[1]
    assert len(description.split()) >= 15
    assert result.err == ""


def test_the_help_lists_every_command(segue: Segue) -> None:
    result = segue("--help")
    assert result.code == 0
    for command, text in COMMANDS.items():
        assert f"  {command}" in result.out
        assert text in result.out


def test_every_command_file_is_listed() -> None:
    files = {path.stem for path in (CHECKOUT / "cli" / "commands").glob("[a-z]*.py")}
    assert files == set(COMMANDS)


def test_version(segue: Segue) -> None:
    result = segue("--version")
    assert result.code == 0
    assert result.out.startswith("segue ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "usage: segue"),
        (("simlar", "x"), "unknown command 'simlar'; did you mean 'similar'?"),
        (("similar",), "the following arguments are required: SEED"),
        (("similar", "x", "--nope"), "unrecognized arguments: --nope"),
        (("config", "shwo"), "invalid choice: 'shwo'"),
        (("--config", "nowhere.toml", "info"), "--config: there is no file nowhere.toml"),
        (("info", "--config", "nowhere.toml"), "--config: there is no file nowhere.toml"),
    ],
)
def test_bad_usage_is_exit_2_and_talk_on_stderr(
    segue: Segue, arguments: tuple[str, ...], said: str
) -> None:
    result = segue(*arguments)
    assert result.code == 2
    assert said in result.err
    assert result.out == ""


def test_a_config_typo_is_exit_2_in_every_command(segue: Segue, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[libary]\n")
    for command in ("info", "similar x", "vibe sad", "models list", "config check", "serve"):
        result = segue(*command.split())
        assert result.code == 2, command
        assert result.err == "segue: config.toml:1: unknown section [libary]; did you mean" \
            " 'library'?\n"  # fmt: skip


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(*_: object) -> int:
        raise error

    monkeypatch.setattr(import_module("cli.commands.info"), "run", run)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (CliError("it is broken: mend it"), 1, "segue: it is broken: mend it\n"),
        (WeightsError("weights x: delete them"), 1, "segue: weights x: delete them\n"),
        (OSError(28, "No space left on device", "/d"), 1,
         "segue: [Errno 28] No space left on device: '/d'\n"),
        (KeyboardInterrupt(), 130, "segue: interrupted; all finished work is kept\n"),
        (ZeroDivisionError("a\nb"), 1,
         "segue: unexpected error (ZeroDivisionError: a b); SEGUE_DEBUG=1 shows where."
         " Please report it.\n"),
    ],
)  # fmt: skip
def test_errors_are_one_line_and_an_exit_code(
    segue: Segue, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    failing(monkeypatch, error)
    result = segue("info")
    assert (result.code, result.err, result.out) == (code, said, "")


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ZeroDivisionError())
    monkeypatch.setenv("SEGUE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["info"])


def test_a_reader_that_leaves_early_is_no_error() -> None:
    shell = f"{sys.executable} -m cli.main config show | head -n 1; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(
        ["bash", "-c", shell],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stdout.splitlines()[-1] == "0"
    assert "Traceback" not in result.stderr
    assert "BrokenPipe" not in result.stderr


def test_names_that_are_no_text_do_not_end_a_command(data: Path) -> None:
    code = (
        "import sys; from cli.main import main;"
        "from cli.console import show, show_json;"
        "main(['--version']); show('caf\\udce9'); show_json({'path': 'caf\\udce9 ü'})"
    )
    result = python(code, PYTHONIOENCODING="utf-8")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[1] == "caf\\udce9"
    assert json.loads(lines[2]) == {"path": "caf\udce9 ü"}
    ascii_only = python(code, PYTHONIOENCODING="ascii")
    assert json.loads(ascii_only.stdout.splitlines()[2]) == {"path": "caf\udce9 ü"}


FORBIDDEN = ("embedder", "torch", "torchaudio", "onnxruntime", "av", "mutagen", "demo", "rich")


def test_serve_loads_nothing_that_hears_music(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[embedding]\nmodel = "timbre"\n')
    code = (
        "import sys; from cli.configuration import load; from cli.main import main;"
        "main(['serve', '--help']);"
        "from cli.commands.serve import SECTIONS, compose_application; import proxy.server;"
        "configuration = load(sys.argv[1], {}, {}); configuration.check((*SECTIONS, 'log'));"
        "compose_application(configuration);"
        "print([name for name in sys.modules if name.partition('.')[0] in "
        f"{FORBIDDEN!r}])"
    )
    result = python(code, str(tmp_path / "config.toml"))
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"


def test_help_needs_neither_torch_nor_av() -> None:
    code = (
        "import sys; from cli.main import COMMANDS, main;"
        "codes = [main([command, '--help']) for command in COMMANDS];"
        "print(any(codes), [name for name in ('torch', 'av', 'rich') if name in sys.modules])"
    )
    result = python(code)
    assert result.stdout.splitlines()[-1] == "False []", result.stderr


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (
            "models list",
            1,
            "segue: av is not installed here: pip install -r requirements/",
        ),
        ("embed --music x", 1, "segue: av is not installed here: pip install"),
        ("demo", 1, "segue: the demo needs av: pip install -r requirements/demo.txt"),
        ("models --help", 0, "usage: segue models"),
        ("embed --help", 0, "usage: segue embed"),
    ],
)
def test_without_an_extra_one_line_says_what_to_install(command: str, code: int, said: str) -> None:
    result = python(
        "import sys; sys.modules['av'] = None; from cli.main import main;"
        "sys.exit(main(sys.argv[1:]))",
        *command.split(),
    )
    assert result.returncode == code
    assert (result.stdout + result.stderr).startswith(said)
    assert "Traceback" not in result.stderr
