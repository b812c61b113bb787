"""What a prediction says of itself: the entry of a complex in the JSON summary, and the lines that are printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from bindrae.chem import residues as aa
from bindrae.data.batch import atom_radii
from bindrae.evaluation.metrics import find_clashes
from bindrae.prediction.beside import REACH_ANGSTROM
from bindrae.prediction.keep import left_as_they_are
from bindrae.prediction.predict import Prediction, Sidechains


def summarise(prediction: Prediction, output: Path) -> dict[str, Any]:
    """What the JSON summary says of a complex: counts, notes, and every residue of every sample."""
    complex_ = prediction.complex
    n = len(complex_.table)
    return {
        "id": complex_.id,
        "status": "done",
        "protein": str(complex_.protein),
        "ligand": None if complex_.ligand is None else str(complex_.ligand.path),
        "output": str(output),
        "residues_total": n,
        "built": n - len(complex_.kept),
        "left_as_they_are": left_as_they_are(complex_),
        "notes": complex_.notes,
        "samples": [_sample_summary(prediction, sidechains) for sidechains in prediction.samples],
    }


def _sample_summary(prediction: Prediction, sidechains: Sidechains) -> dict[str, Any]:
    complex_ = prediction.complex
    table, sample = complex_.table, complex_.sample
    kind = table.aatype.astype(np.int64)
    clashes = find_clashes(
        sidechains.xyz, sidechains.mask, kind, table.linked, sample["ligand_xyz"].numpy(),
        atom_radii(sample["ligand_element"]).numpy(),
    )  # fmt: skip
    residues = []
    judged = []
    for row in range(len(table)):
        if row in complex_.kept:
            continue
        chis = aa.CHI_MASK[kind[row]]
        entry: dict[str, Any] = {"residue": complex_.place(row), "name": table.name[row]}
        entry["chi_deg"] = [round(float(x), 1) for x in np.degrees(sidechains.chi[row][chis])]
        if sidechains.confidence is not None and sidechains.mass is not None and chis[0]:
            entry["confidence"] = round(100.0 * float(sidechains.confidence[row]), 1)
            entry["model_probability"] = [round(float(x), 3) for x in sidechains.mass[row][chis]]
            judged.append(100.0 * float(sidechains.confidence[row]))
        residues.append(entry)
    return {
        "mean_confidence": round(float(np.mean(judged)), 1) if judged else None,
        "clashing_atoms_pct": round(100.0 * float(clashes["protein"].sum()) / float(sidechains.mask.sum()), 3),
        "ligand_clashing_atoms": int(clashes["ligand"].sum()),
        "other_molecules_clashing_atoms": _clashes_with_others(prediction, sidechains),
        "residues": residues,
    }


def _clashes_with_others(prediction: Prediction, sidechains: Sidechains) -> int:
    """Atoms of built residues that clash with cofactors and other molecules."""
    others, table = prediction.others, prediction.complex.table
    if not len(others.xyz):
        return 0
    ca = cKDTree(sidechains.xyz[:, aa.SLOT_CA]).query_ball_point(others.xyz, REACH_ANGSTROM)
    near = {row for rows in ca for row in rows}
    rows = np.array(sorted(near - set(prediction.complex.kept)), dtype=np.int64)
    found = find_clashes(
        sidechains.xyz[rows], sidechains.mask[rows], table.aatype[rows].astype(np.int64), table.linked[rows],
        others.xyz, others.radius,
    )  # fmt: skip
    return int(found["ligand"].sum())


def summary_line(result: dict[str, Any], counter: str) -> str:
    """What the command prints of a complex that `summarise` describes."""
    first = result["samples"][0]
    sure = "" if first["mean_confidence"] is None else f", mean confidence {first['mean_confidence']:.0f}"
    others = first["other_molecules_clashing_atoms"]
    lines = [
        f"{counter}{result['id']}: {result['built']} of {result['residues_total']} side chains built"
        f"{sure}, {first['clashing_atoms_pct']:.2f} % of atoms clash, "
        f"{first['ligand_clashing_atoms']} with the ligand{f', {others} with other molecules' if others else ''}; "
        f"{result['output']}"
    ]
    lines += [f"  note: {note}" for note in result["notes"]]
    if result["left_as_they_are"]:
        reasons: dict[str, int] = {}
        for item in result["left_as_they_are"]:
            reasons[item["why"]] = reasons.get(item["why"], 0) + 1
        lines.append("  left as in the input: " + ", ".join(f"{n} ({why})" for why, n in reasons.items()))
    return "\n".join(lines)
