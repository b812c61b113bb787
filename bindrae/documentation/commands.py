"""The command-line reference, read off the commands themselves."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import typer.main

import bindrae
from bindrae.cli import app

_PACKAGE = Path(bindrae.__file__).parent


def command_reference() -> str:
    """Every command of ``bindrae`` with arguments, options and defaults, as Markdown."""
    group: Any = typer.main.get_command(app)
    parts = []
    for name, command in group.commands.items():
        context = command.make_context(f"bindrae {name}", [], resilient_parsing=True)
        usage = " ".join(command.collect_usage_pieces(context))
        parts += [f"## bindrae {name}", "", command.help.strip(), "", f"    bindrae {name} {usage}", ""]
        rows = [row for parameter in command.params if (row := _row(parameter, context))]
        if rows:
            parts += ["| option | meaning | default |", "|---|---|---|", *rows, ""]
    return "\n".join(parts)


def _row(parameter: Any, context: Any) -> str | None:
    meaning = getattr(parameter, "help", None) or ""
    if parameter.param_type_name == "argument":
        return f"| `{' '.join(parameter.get_usage_pieces(context))}` | {_cell(meaning)} | |"
    if parameter.hidden:
        return None
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    # Options of a recipe state their default in the help, because None means "not named" there.
    shown = "" if parameter.default is None or parameter.default is False else f"`{parameter.default}`"
    if parameter.required:
        shown = "must be given"
    return f"| {names} | {_cell(meaning)} | {shown} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def module_programs() -> dict[str, str]:
    """First sentence of every module that runs by ``python -m``, by the module's name."""
    found = {}
    for path in sorted(_PACKAGE.rglob("*.py")):
        text = path.read_text()
        if '\nif __name__ == "__main__":' not in text or "workers" in path.parts:
            continue
        dotted = ".".join((_PACKAGE.name, *path.relative_to(_PACKAGE).with_suffix("").parts))
        name = dotted.removesuffix(".__main__")
        if name != _PACKAGE.name:
            found[name] = (ast.get_docstring(ast.parse(text)) or "").partition("\n\n")[0]
    return found


def module_reference() -> str:
    """A table of `module_programs`."""
    rows = [f"| `python -m {name}` | {_cell(summary)} |" for name, summary in module_programs().items()]
    return "\n".join(["| program | what it does |", "|---|---|", *rows, ""])
