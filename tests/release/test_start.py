"""How the command starts: version, help without heavy imports, completion, the environment for reports."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer.main

from bindrae import __version__
from bindrae.cli import app
from bindrae.environment import describe, requirements, version_of

ROOT = Path(__file__).parents[2]
COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
HEAVY = (
    "biotite", "gemmi", "jinja2", "matplotlib", "numpy", "pandas", "pyarrow", "rdkit", "requests", "scipy", "snakemake",
    "torch",
)  # fmt: skip


def run(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "bindrae", *arguments],
        env={**os.environ, "COLUMNS": "200", **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def test_version() -> None:
    assert run("--version").strip() == f"bindrae {__version__}"


def test_help_imports_nothing_heavy() -> None:
    """Each of them takes longer than everything else that `--help` does."""
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom bindrae.cli import app\n"
        f"for command in {COMMANDS}:\n"
        "    done = CliRunner().invoke(app, [command, '--help'])\n"
        "    assert done.exit_code == 0 and 'Usage' in done.output, command\n"
        f"print(*(name for name in {HEAVY} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_help_names_every_command() -> None:
    text = run("--help")
    assert len(COMMANDS) > 15
    for command in COMMANDS:
        assert f" {command} " in text


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ("bash", "complete -o default -F _bindrae_completion bindrae"),
        ("zsh", "compdef _bindrae_completion bindrae"),
        ("fish", "complete --command bindrae"),
    ],
)
def test_the_script_of_each_shell_is_printed(shell: str, words: str) -> None:
    code = "from bindrae.cli import app; app(prog_name='bindrae')"
    environment = {**os.environ, "_BINDRAE_COMPLETE": f"source_{shell}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert words in done.stdout
    assert f"_BINDRAE_COMPLETE=complete_{shell}" in done.stdout
    assert f"_BINDRAE_COMPLETE=source_{shell}" in (ROOT / "README.md").read_text(), "it is described there"


def test_commands_and_options_are_completed() -> None:
    code = "from bindrae.cli import app; app(prog_name='bindrae')"
    for typed, place, wanted in (("bindrae pre", "1", "predict"), ("bindrae predict --only", "2", "--only-pocket")):
        environment = {
            **os.environ, "_BINDRAE_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": place
        }  # fmt: skip
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [wanted]


def test_the_environment_names_versions_hardware_and_extras() -> None:
    text = run("env")
    assert text.startswith(f"bindrae {__version__}, Python {platform.python_version()}")
    for words in ("processor: ", " cores, ", "GPU: ", "weights of the package: present", "extra esm: fair-esm "):
        assert words in text
    assert f"torch {version_of('torch')}" in text


def test_the_environment_tells_nothing_of_the_user() -> None:
    """It is pasted into public reports."""
    text = describe()
    for private in (str(Path.home()), os.getcwd(), str(ROOT), platform.node()):
        assert private not in text


def test_what_is_not_installed_is_said_so() -> None:
    assert version_of("no-such-package-anywhere") == "not installed"


def test_requirements_are_sorted_by_extra() -> None:
    found = requirements()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"torch", "rdkit", "gemmi"} <= set(found[""])
    assert found["esm"] == ["fair-esm"]
    assert set(found) - {""} <= set(project["optional-dependencies"])
