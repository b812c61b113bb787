"""Command lines checked without being carried out: by the program's own parser, a dry run, or make -n."""

from __future__ import annotations

import argparse
import importlib.util
import os
import runpy
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import typer.main
from shell_blocks import REPOSITORY

from bindrae.cli import app


class _ParsedError(Exception):
    """Stops a program once it has parsed its arguments."""


def check_bindrae(arguments: list[str]) -> None:
    """Parse a command line of ``bindrae`` with its own parser."""
    group: Any = typer.main.get_command(app)
    name, *rest = arguments
    assert name in group.commands, f"bindrae has no command {name}"
    if "--help" not in rest:
        group.commands[name].make_context(name, rest)


def check_module(arguments: list[str]) -> None:
    """Parse a command line of ``python``: a module of the package, or a script of the repository."""
    if arguments[0] != "-m":
        arguments = ["-m", str(Path(arguments[0]).with_suffix("")).replace("/", "."), *arguments[1:]]
    module, *rest = arguments[1:]
    spec = importlib.util.find_spec(module)
    assert spec is not None, f"there is no module {module}"
    if spec.submodule_search_locations:
        spec = importlib.util.find_spec(f"{module}.__main__")
    assert spec is not None, f"{module} cannot be run"
    source = Path(spec.origin or "").read_text()
    assert '\nif __name__ == "__main__":' in source, f"{module} cannot be run"
    if "ArgumentParser(" in source:
        _parse_by_argparse(spec.name, rest)
    elif "typer.Typer(" in source:
        command: Any = typer.main.get_command(importlib.import_module(spec.name).app)
        command.make_context(module, rest)
    else:  # a program that looks at its arguments itself
        for word in rest:
            assert not word.startswith("-") or f'"{word}"' in source, f"{module} knows no {word}"


def _parse_by_argparse(module: str, arguments: list[str]) -> None:
    parse = argparse.ArgumentParser.parse_args

    def parse_only(parser: argparse.ArgumentParser, *given: Any, **more: Any) -> None:
        parse(parser, *given, **more)
        raise _ParsedError

    loaded = sys.modules.pop(module, None)
    try:
        with (
            mock.patch.object(argparse.ArgumentParser, "parse_args", parse_only),
            mock.patch.object(sys, "argv", [module, *arguments]),
        ):
            runpy.run_module(module, run_name="__main__")
    except _ParsedError:
        return
    except SystemExit as error:
        raise AssertionError(f"python -m {module} {' '.join(arguments)}: exit code {error.code}") from None
    finally:
        if loaded is not None:
            sys.modules[module] = loaded
    raise AssertionError(f"{module} did not parse its arguments")


@cache
def check_snakemake(arguments: tuple[str, ...], workspace: Path) -> None:
    """Dry-run a command line of Snakemake; its own report, which reads what a run has left, does without the page."""
    if "--report" in arguments:
        at = arguments.index("--report")
        arguments = arguments[:at] + arguments[at + 2 :]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("BINDRAE_", "SNAKEMAKE_"))}
    _succeeds([sys.executable, "-m", "snakemake", *arguments, "--dry-run"], workspace, environment)


def check_make(arguments: list[str], workspace: Path) -> None:
    """Let make say what it would do."""
    _succeeds(["make", "--dry-run", *arguments], workspace, dict(os.environ))


def _succeeds(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    environment = {**environment, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"
