"""The page of an ablation: one table and one plot over all rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from bindrae.reporting import plots
from bindrae.reporting.html import DASH, duration, number, render

NAMES = {
    "chi1_acc20": "χ1 within 20° (%)",
    "all_chi_acc20": "All χ within 20° (%)",
    "sidechain_rmsd": "Side-chain RMSD (Å)",
    "clash_atoms_pct": "Clashing atoms (%)",
}
PARTS = {"overall": "All residues", "pocket": "Pocket residues"}
_MORE = ("χ1 difference", "95 %", "χ1, SD over seeds", "Parameters", "Training")
_FEW_SEEDS = 3


def ablation_page(result: dict[str, Any]) -> str:
    """Build ablation.html.

    Parameters
    ----------
    result : dict
        The contents of ablation.json.
    """
    labels, rows = result["labels"], result["rows"]
    others = [row for row in rows if row != result["reference"]]
    tables = {
        title: [_table_row(labels[row], rows[row][part], result["facts"][row]) for row in rows]
        for part, title in PARTS.items()
    }
    differences = {
        title: [rows[row][part]["difference"]["chi1_acc20"] for row in others] for part, title in PARTS.items()
    }
    figure = None
    if others:
        figure = plots.intervals(
            [labels[row] for row in others],
            differences,
            f"χ1 within 20°: difference from “{labels[result['reference']]}”",
            "percentage points",
            7.0,
        )
    return render(
        "ablation.html.j2",
        title="Ablation",
        contents=(),
        result=result,
        reference=labels[result["reference"]],
        heads=[("Row", 0), *((name, 1) for name in (*NAMES.values(), *_MORE))],
        tables=tables,
        figure=figure,
        few=len(result["seeds"]) < _FEW_SEEDS,
    )


def _table_row(label: str, row: dict[str, Any], facts: dict[str, Any]) -> list[str]:
    shown = [_with_interval(row["figures"][name]) for name in NAMES]
    change = row["difference"]["chi1_acc20"]
    seeds = [value for value in row["seeds"]["chi1_acc20"] if value is not None]
    spread = number(float(np.std(seeds, ddof=1)), 2) if len(seeds) > 1 else DASH
    return [
        label,
        *shown,
        number(change["value"], 2),
        _interval(change),
        spread,
        number(facts["parameters"]),
        duration(float(np.mean(facts["seconds"]))),
    ]


def _with_interval(figure: dict[str, Any]) -> str:
    interval = _interval(figure)
    return number(figure["value"], 2) + (f" {interval}" if interval != DASH else "")


def _interval(figure: dict[str, Any]) -> str:
    return DASH if figure["low"] is None else f"[{number(figure['low'], 2)}, {number(figure['high'], 2)}]"
