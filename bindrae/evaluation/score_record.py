"""How the figures of `score` are written: numbers for programs, a table for people."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bindrae.evaluation.aggregate import Figures
from bindrae.evaluation.scoring import figures

_NEEDS_LIGAND = ("ligand_clash_atoms_pct", "fape_pocket_weighted")
_PRINTED = {
    "overall": (
        "chi1_acc20", "chi1_acc40", "all_chi_acc20", "chi1_mae_deg", "sidechain_rmsd", "clash_atoms_pct",
        "ligand_clash_atoms_pct", "fape",
    ),
    "pocket": ("chi1_acc20", "chi1_acc40", "all_chi_acc20", "chi1_mae_deg", "sidechain_rmsd", "irmsd"),
}  # fmt: skip
_UNITS = {
    "chi1_acc20": "chi1 within 20 degrees, %",
    "chi1_acc40": "chi1 within 40 degrees, %",
    "all_chi_acc20": "all chis within 20 degrees, %",
    "chi1_mae_deg": "mean error of chi1, degrees",
    "sidechain_rmsd": "side-chain RMSD, A",
    "clash_atoms_pct": "clashing atoms, %",
    "ligand_clash_atoms_pct": "atoms clashing with the ligand, %",
    "fape": "FAPE, A",
    "irmsd": "pocket iRMSD, A",
}
_NAMED = 10


def score_block(
    residues: pd.DataFrame,
    complexes: pd.DataFrame,
    weights: np.ndarray | None,
    with_ligand: bool,
    plain: bool = False,
) -> dict[str, Any]:
    """Figures of one prediction as plain numbers.

    Parameters
    ----------
    residues, complexes : pandas.DataFrame
        As `score_dataset` gives them.
    weights : numpy.ndarray or None
        From `bootstrap_weights`.
    with_ligand : bool
        Without any ligand, ``pocket`` and what needs one are None.
    plain : bool
        Leave out intervals and counts.

    Returns
    -------
    dict
        Name of each figure to its value (percentages 0-100, A, degrees), ``pocket`` with the same, ``intervals`` with
        [low, high] under the same names, and ``counts``.
    """
    found = figures(residues, complexes, weights)
    block = _values(found, "value", with_ligand)
    if plain:
        return block
    bounds = {
        scope: {key: None if f["low"] is None else [f["low"], f["high"]] for key, f in part.items()}
        for scope, part in found.items()
    }
    inside = residues[residues["contact"]]
    gone = residues["atoms"] == 0
    return block | {
        "intervals": {**bounds["overall"], "pocket": bounds["pocket"] if with_ligand else None},
        "counts": {
            "complexes": len(complexes),
            "failed": int((complexes["failed"] != "").sum()),
            "residues": len(residues),
            "chi1": int(residues["chi1_n"].sum()),
            "residues_missing": int(gone.sum()),
            "atoms_missing": int(residues["atoms_missing"].sum()),
            "pocket_residues": len(inside),
            "pocket_chi1": int(inside["chi1_n"].sum()),
            "pocket_complexes": int(complexes["irmsd_n"].sum()),
        },
    }


def difference_block(found: dict[str, Figures], with_ligand: bool) -> dict[str, Any]:
    """Differences with ``value``, ``low`` and ``high`` under the names of `score_block`."""
    overall = {key: f for key, f in found["overall"].items() if with_ligand or key not in _NEEDS_LIGAND}
    return {**overall, "pocket": found["pocket"] if with_ligand else None}


def _values(found: dict[str, Figures], part: str, with_ligand: bool) -> dict[str, Any]:
    overall = {
        key: None if key in _NEEDS_LIGAND and not with_ligand else f[part] for key, f in found["overall"].items()
    }
    return {**overall, "pocket": {key: f[part] for key, f in found["pocket"].items()} if with_ligand else None}


def print_scores(record: dict[str, Any]) -> None:
    """Print the record of `run_score` as a table, the differences to other predictions, and what is missing."""
    counts, drawn = record["counts"], record["bootstrap"]
    over = {"complexes": "complexes, for want of --clusters", "clusters": "clusters"}[drawn["over"]]
    n = counts["complexes"]
    what = f"{n} complex{'es' if n > 1 else ''}, {counts['residues']} residues, {counts['chi1']} with a chi1"
    drawn_over = f"95 % intervals over {drawn['n']} {over}" if drawn["n"] > 1 else "one complex: no interval"
    print(f"{record['prediction']}: {what}; {drawn_over}")
    print(f"{'':44}{'prediction':>10}  {'95 %':<18}{'crystal':>8}")
    for scope, keys in _PRINTED.items():
        values, floor, bounds = (
            record if scope == "overall" else record["pocket"],
            record["crystal"] if scope == "overall" else record["crystal"]["pocket"],
            record["intervals"] if scope == "overall" else record["intervals"]["pocket"],
        )
        if values is None:
            print("no ligand, so no pocket; give one with --ligand")
            continue
        for key in keys:
            interval = bounds[key]
            shown = "" if interval is None else f"[{interval[0]:.2f}, {interval[1]:.2f}]"
            label = ("pocket: " if scope == "pocket" else "") + _UNITS[key].removeprefix("pocket ")
            print(f"{label:<44}{_number(values[key]):>10}  {shown:<18}{_number(floor[key]):>8}")
    for name, other in record["against"].items():
        _print_difference(name, other["difference"])
    if counts["residues_missing"]:
        print(f"{counts['residues_missing']} residues are missing in the prediction: misses")
    _print_list("no score, all residues misses", record["failed"])
    _print_list("true complexes that cannot be read, left out", record["rejected"])
    if record["unmatched"]:
        names = ", ".join(record["unmatched"][:_NAMED]) + (", ..." if len(record["unmatched"]) > _NAMED else "")
        print(f"{len(record['unmatched'])} predictions belong to no true complex, not scored: {names}")
    noted = record["notes"]
    for identifier in list(noted)[:_NAMED]:
        print(f"note: {identifier}: " + "; ".join(noted[identifier]))
    if len(noted) > _NAMED:
        print(f"note: {len(noted) - _NAMED} more complexes have notes; --json writes them all")


def _print_difference(name: str, difference: dict[str, Any]) -> None:
    print(f"difference to {name} (paired bootstrap):")
    for scope, keys in _PRINTED.items():
        part = difference if scope == "overall" else difference["pocket"] or {}
        for key in keys:
            entry = part.get(key)
            if not entry or entry["value"] is None:
                continue
            interval = "" if entry["low"] is None else f"[{entry['low']:+.2f}, {entry['high']:+.2f}]"
            label = ("pocket: " if scope == "pocket" else "") + _UNITS[key].removeprefix("pocket ")
            print(f"  {label:<42}{entry['value']:>+10.2f}  {interval}")


def _print_list(title: str, entries: list[dict[str, str]]) -> None:
    if entries:
        print(f"{len(entries)} {title}:")
        for entry in entries[:_NAMED]:
            print(f"  {entry['id']}: {entry['message']}")
        if len(entries) > _NAMED:
            print(f"  and {len(entries) - _NAMED} more; --json writes them all")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
