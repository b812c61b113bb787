"""Commands about the installation and the configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bindrae import config
from bindrae.cli.app import app


@app.command("env")
def show_environment() -> None:
    """Print versions, hardware and optional parts, to put into a report of a fault."""
    from bindrae.environment import describe

    print(describe())


@app.command("schema")
def write_schema(
    output: Annotated[Path | None, typer.Option("--output", help="File to write; standard output by default.")] = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="A table of all keys in Markdown instead of the JSON schema.")
    ] = False,
) -> None:
    """Print the JSON schema of the configuration, or its reference."""
    text = config.reference() if reference else json.dumps(config.json_schema(), indent=2) + "\n"
    if output is None:
        print(text, end="")
    else:
        output.write_text(text)
