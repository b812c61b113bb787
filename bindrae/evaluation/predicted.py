"""The structures that were predicted beside a run, compared with the side chains that their input files held."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from bindrae.data.layout import DataLayout, RunLayout
from bindrae.data.schema import iterate_rows
from bindrae.data.storage import read_json, read_table
from bindrae.evaluation.metrics import ACCURACY_DEG
from bindrae.structure.torsions import CHI1


def predicted_structures(layout: DataLayout, run: RunLayout) -> list[dict[str, Any]]:
    """One entry a predicted complex, in the order of the batches; none where nothing was predicted.

    Parameters
    ----------
    layout : DataLayout
        Its index says which batches there are; without the stages ``clean`` and ``torsions`` nothing is compared.
    run : RunLayout

    Returns
    -------
    list of dict
        ``id``, ``status``; of a failed one ``message``, of the others ``built`` and ``residues_total``,
        ``mean_confidence`` (0 to 100 or None), ``clashing_atoms_pct``, ``ligand_clashing_atoms``, and ``n_chi1`` with
        ``chi1_acc20``: how many built residues have a chi1 in the input, and the share (%) within 20 degrees of it.
    """
    found: list[dict[str, Any]] = []
    # Folders that an earlier number of batches left behind are none of this run's.
    numbers = layout.batch_numbers() if layout.batches.is_file() else []
    for number in numbers:
        summary = run.predicted(number) / "summary.json"
        if not summary.is_file():
            continue
        entries = read_json(summary)["complexes"]
        crystals = _chi1_of_inputs(layout, number, {entry["id"] for entry in entries})
        found += [_entry(entry, crystals.get(entry["id"], {})) for entry in entries]
    return found


def _entry(entry: dict[str, Any], crystal: dict[str, float]) -> dict[str, Any]:
    if entry["status"] != "done":
        return {"id": entry["id"], "status": entry["status"], "message": entry["message"]}
    sample = entry["samples"][0]
    chi1 = {residue["residue"]: residue["chi_deg"][0] for residue in sample["residues"] if residue["chi_deg"]}
    both = sorted(chi1.keys() & crystal.keys())
    away = np.array([abs((chi1[key] - crystal[key] + 180.0) % 360.0 - 180.0) for key in both])
    return {
        **{key: entry[key] for key in ("id", "status", "built", "residues_total")},
        **{key: sample[key] for key in ("mean_confidence", "clashing_atoms_pct", "ligand_clashing_atoms")},
        "n_chi1": len(both),
        "chi1_acc20": float(100.0 * (away < ACCURACY_DEG[0]).mean()) if len(both) else None,
    }


def _chi1_of_inputs(layout: DataLayout, number: int, ids: set[str]) -> dict[str, dict[str, float]]:
    """chi1 (degrees) of each complex's residues by their place in the file; places that occur twice are left out."""
    clean, torsions = layout.batch("clean", number), layout.batch("torsions", number)
    if not (clean.is_file() and torsions.is_file()):
        return {}
    angles = {row["id"]: row for row in iterate_rows(read_table(torsions))}
    found: dict[str, dict[str, float]] = {}
    for row in iterate_rows(read_table(clean), ["id", "chain", "number", "insertion"]):
        if row["id"] not in ids or row["id"] not in angles:
            continue
        # Later segments of a chain carry a number of ours behind its name, the files do not.
        chains = [chain.split(".")[0] for chain in row["chain"]]
        keys = zip(chains, row["number"].tolist(), row["insertion"], strict=True)
        places = [f"{chain.strip()}:{number}{insertion.strip()}" for chain, number, insertion in keys]
        once = Counter(places)
        chi1 = np.degrees(angles[row["id"]]["angles"][:, CHI1])
        defined = angles[row["id"]]["defined"][:, CHI1]
        found[row["id"]] = {
            key: float(value) for key, value, has in zip(places, chi1, defined, strict=True) if has and once[key] == 1
        }
    return found
