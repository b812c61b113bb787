"""Tables of what can go wrong, read off the code that says so."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import bindrae
from bindrae.errors import REJECTION_CODES
from bindrae.training.interrupt import REQUEUE_EXIT_CODE

EXIT_CODES: dict[int, str] = {
    0: "done",
    1: "a bug, with its traceback; or `bindrae predict`: of many complexes, more failed than `--max-failed-fraction`",
    2: "something in the input, the settings or the command line has to be mended; the message says what",
    REQUEUE_EXIT_CODE: "a signal asked the training to save: it is unfinished, give the same command again",
}
"""What an exit code of a command means."""
_MESSAGES = {"BindraeError": 0, "RejectedComplex": 1}  # position of the message among the arguments


def rejection_table() -> str:
    """Codes of rejected complexes with what to do."""
    rows = [f"| `{code}` | {_cell(hint)} |" for code, hint in REJECTION_CODES.items()]
    return "\n".join(["| code | what to do |", "|---|---|", *rows, ""])


def exit_code_table() -> str:
    """Exit codes with their meaning."""
    rows = [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    return "\n".join(["| exit code | meaning |", "|---|---|", *rows, ""])


def messages() -> Iterator[tuple[str, str, str]]:
    """Every message that the package can end with.

    Yields
    ------
    where : str
        The module.
    message, hint : str
        ``...`` stands for what is known only at run time; the hint may be empty.
    """
    package = Path(bindrae.__file__).parent
    for path in sorted(package.rglob("*.py")):
        where = ".".join((package.name, *path.relative_to(package).with_suffix("").parts))
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _MESSAGES):
                continue
            first = _MESSAGES[node.func.id]
            texts = [_text(argument) for argument in node.args[first : first + 2]]
            if texts and texts[0].strip(". "):
                yield where, texts[0], texts[1] if len(texts) > 1 else ""


def message_table() -> str:
    """A table of `messages`, sorted by message."""
    rows = sorted(
        {f"| {_cell(message)} | {_cell(hint)} | `{where}` |" for where, message, hint in messages()}, key=str.casefold
    )
    return "\n".join(["| message | what to do | said by |", "|---|---|---|", *rows, ""])


def _text(node: ast.expr) -> str:
    """A string as far as it is written down."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return "..."


def _cell(text: str) -> str:
    text = " ".join(text.split()).replace("......", "...")
    for character in "\\`*_[]|<":
        text = text.replace(character, f"\\{character}" if character != "<" else "&lt;")
    return text
