"""The application that commands register themselves with."""

from __future__ import annotations

from typing import Annotated

import typer

from bindrae import __version__

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Rebuild holo side chains from a backbone, its sequence and a bound ligand.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        print(f"bindrae {__version__}")
        raise typer.Exit
