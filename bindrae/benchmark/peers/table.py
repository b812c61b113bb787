"""The comparison as a Markdown page and as lines for a terminal."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from bindrae.benchmark.peers.compare import CRYSTAL
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


def hardware(threads: int) -> str:
    """Processor and threads, for the seconds."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = (line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line)
        model = next(names, model)
    return f"{model}, {os.cpu_count()} cores, {threads} thread{'s' if threads > 1 else ''} a program"


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
        f"a chi1, {counts['pocket_chi1']} of them in pockets. In brackets 95 % bootstrap intervals over {drawn['n']} "
        f"{drawn['over']}. A residue without a prediction is a miss.",
        "",
        *_grid(["", *names], [_figure_row(row, [_figures(record, name) for name in names]) for row in ROWS]),
    ]
    if record["differences"]:
        others = list(record["differences"])
        lines += [
            "",
            f"{record['reference']} minus the others (paired bootstrap; * where the interval excludes 0):",
            "",
            *_grid(
                ["", *others],
                [_difference_row(row, [record["differences"][name] for name in others]) for row in ROWS],
            ),
        ]
    lines += ["", *_grid(["program", "version", "what it reads", "failed"], [_facts(n, columns[n]) for n in columns])]
    lines += ["", f"Hardware: {record['hardware']}.", *_remarks(record)]
    return "\n".join(lines) + "\n"


def _figures(record: dict[str, Any], name: str) -> dict[str, Figures]:
    found: dict[str, Figures] = record["crystal"] if name == CRYSTAL else record["columns"][name]["figures"]
    return found


def _figure_row(row: tuple[str, str, str, int], figures: list[dict[str, Figures]]) -> list[str]:
    part, key, label, decimals = row
    return [label, *(_cell(found[part].get(key), decimals) for found in figures)]


def _cell(figure: dict[str, float | None] | None, decimals: int) -> str:
    if figure is None or figure["value"] is None:
        return "-"
    low, high = figure["low"], figure["high"]
    bounds = "" if low is None or high is None else f" [{low:.{decimals}f}, {high:.{decimals}f}]"
    return f"{figure['value']:.{decimals}f}{bounds}"


def _difference_row(row: tuple[str, str, str, int], differences: list[dict[str, Figures]]) -> list[str]:
    part, key, label, decimals = row
    cells = []
    for found in differences:
        figure = found[part].get(key)
        if figure is None or figure["value"] is None:
            cells.append("-")
            continue
        low, high = figure["low"], figure["high"]
        bounds = "" if low is None or high is None else f" [{low:+.{decimals}f}, {high:+.{decimals}f}]"
        apart = "*" if low is not None and high is not None and (low > 0.0 or high < 0.0) else ""
        cells.append(f"{figure['value']:+.{decimals}f}{bounds}{apart}")
    return [label, *cells]


def _facts(name: str, column: dict[str, Any]) -> list[str]:
    return [name, column["version"], column["given"], str(len(column["counts"]["failed"]))]


def _remarks(record: dict[str, Any]) -> list[str]:
    lines = []
    for name, why in record["absent"].items():
        lines += ["", f"{name} was not run: {' '.join(why.split())}"]
    for name, column in record["columns"].items():
        failed = column["counts"]["failed"]
        if failed:
            lines += ["", f"{name} failed on {_named(failed)}"]
    if record["left_out"]:
        lines += ["", f"Left out for all programs: {_named(record['left_out'])}"]
    return lines


def _named(entries: list[dict[str, str]]) -> str:
    shown = "; ".join(f"{entry['id']} ({entry['message']})" for entry in entries[:_NAMED])
    return shown + (f"; and {len(entries) - _NAMED} more, see peers.json" if len(entries) > _NAMED else "")


def _grid(head: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table whose columns line up, so that it reads on a terminal too."""
    table = [[cell.replace("|", "/") for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in table
    ]
    return [lines[0], rule, *lines[1:]]
