"""The comparison as a Markdown page and as lines for a terminal."""

from __future__ import annotations

import os
from typing import Any

from bindrae.benchmark.peers.compare import CRYSTAL
from bindrae.environment import processor
from bindrae.evaluation.aggregate import Figures

ROWS = (
    ("overall", "chi1_acc20", "chi1 within 20 degrees, %", 1),
    ("pocket", "chi1_acc20", "the same, pocket, %", 1),
    ("overall", "all_chi_acc20", "all chis within 20 degrees, %", 1),
    ("pocket", "all_chi_acc20", "the same, pocket, %", 1),
    ("overall", "sidechain_rmsd", "side-chain RMSD, A", 2),
    ("pocket", "sidechain_rmsd", "the same, pocket, A", 2),
    ("overall", "clash_atoms_pct", "clashing atoms, %", 2),
    ("complex", "no_ligand_clash_pct", "complexes without a ligand clash, %", 1),
    ("complex", "ligand_clashes", "atoms clashing with the ligand, a complex", 2),
    ("complex", "seconds", "seconds a complex", 2),
    ("complex", "cpu_seconds", "processor seconds a complex", 2),
)
"""Part, name, label and decimals of each figure."""
_NAMED = 5
_ELSEWHERE = ", see peers.json"


def hardware(threads: int) -> str:
    """Processor and threads, for the seconds."""
    return f"{processor()}, {os.cpu_count()} cores, {threads} thread{'s' if threads > 1 else ''} a program"


def markdown(record: dict[str, Any]) -> str:
    """The record of a comparison as a page: figures, differences, versions, failures. No dates, no paths."""
    columns = record["columns"]
    names = [*columns, CRYSTAL]
    drawn = record["bootstrap"]
    counts = next(iter(columns.values()))["counts"]
    lines = [
        "# Side-chain packers on the same files",
        "",
        f"{record['dataset']}: {counts['complexes']} complexes, {counts['residues']} residues, {counts['chi1']} with "
        f"a chi1, {counts['pocket_chi1']} of them in pockets. {_noise(record)}In brackets 95 % bootstrap intervals "
        f"over {drawn['n']} {drawn['over']}. A residue without a prediction is a miss.",
        "",
        *_grid(["", *names], [_row(row, [figures_of(record, name) for name in names]) for row in ROWS]),
    ]
    if record["differences"]:
        others = list(record["differences"])
        lines += [
            "",
            f"{record['reference']} minus the others (paired bootstrap; * where the interval excludes 0):",
            "",
            *_grid(
                ["", *others],
                [_row(row, [record["differences"][name] for name in others], "+") for row in ROWS],
            ),
        ]
    lines += ["", *_grid(["program", "version", "what it reads", "failed"], [_facts(n, columns[n]) for n in columns])]
    lines += ["", f"Hardware: {record['hardware']}.", *_remarks(record)]
    return "\n".join(lines) + "\n"


def _noise(record: dict[str, Any]) -> str:
    if not record["noise"]:
        return ""
    return f"Noise of {record['noise']:g} A on each coordinate of all backbones, the same for all programs. "


def figures_of(record: dict[str, Any], name: str) -> dict[str, Figures]:
    """Figures of a program, or of the crystal, in the record of a comparison."""
    found: dict[str, Figures] = record["crystal"] if name == CRYSTAL else record["columns"][name]["figures"]
    return found


def cell(figures: dict[str, Figures], row: tuple[str, str, str, int], sign: str = "") -> str | None:
    """A figure with its interval, None where there is none.

    Parameters
    ----------
    figures : dict
        By part and name.
    row : tuple
        One of `ROWS`.
    sign : {"", "+"}
        "+" for differences: they have their sign, and a star where the interval excludes 0.
    """
    part, key, _, decimals = row
    figure = figures[part].get(key)
    if figure is None or figure["value"] is None:
        return None
    low, high = figure["low"], figure["high"]
    text = f"{figure['value']:{sign}.{decimals}f}"
    if low is None or high is None:
        return text
    star = "*" if sign and (low > 0.0 or high < 0.0) else ""
    return f"{text} [{low:{sign}.{decimals}f}, {high:{sign}.{decimals}f}]{star}"


def _row(row: tuple[str, str, str, int], figures: list[dict[str, Figures]], sign: str = "") -> list[str]:
    return [row[2], *(cell(found, row, sign) or "-" for found in figures)]


def _facts(name: str, column: dict[str, Any]) -> list[str]:
    return [name, column["version"], column["given"], str(len(column["counts"]["failed"]))]


def _remarks(record: dict[str, Any]) -> list[str]:
    lines = []
    for name, why in record["absent"].items():
        lines += ["", f"{name} was not run: {' '.join(why.split())}"]
    for name, column in record["columns"].items():
        failed = column["counts"]["failed"]
        if failed:
            lines += ["", f"{name} failed on {named(failed, _ELSEWHERE)}"]
    if record["left_out"]:
        lines += ["", f"Left out for all programs: {named(record['left_out'], _ELSEWHERE)}"]
    return lines


def named(entries: list[dict[str, str]], where: str = "") -> str:
    """The first complexes of a list with the reason, and how many more there are; `where` says where those stand."""
    shown = "; ".join(f"{entry['id']} ({entry['message']})" for entry in entries[:_NAMED])
    return shown + (f"; and {len(entries) - _NAMED} more{where}" if len(entries) > _NAMED else "")


def _grid(head: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table whose columns line up, so that it reads on a terminal too."""
    table = [[cell.replace("|", "/") for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in table
    ]
    return [lines[0], rule, *lines[1:]]
