"""Tables of residues as `score_dataset` gives them, made by hand from angles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bindrae.chem import residues as aa


@dataclass
class Residue:
    """One residue: true and predicted chis in degrees; no predicted ones for a failed prediction."""

    type: str
    true: tuple[float, ...]
    pred: tuple[float, ...] | None
    confidence: float = np.nan
    id: str = "1abc"
    cluster: str = "k1"
    contact: bool = False
    bfactor: float = 20.0
    neighbours: int = 18
    ligand_distance: float = 9.5
    rmsd: float = 0.5
    clashes: int = 0
    ligand_clashes: int = 0


def residue_table(residues: Sequence[Residue]) -> pd.DataFrame:
    """The rows of these residues, numbered within each complex in the order given."""
    table = pd.DataFrame([_row(r) for r in residues])
    table["row"] = table.groupby("id").cumcount()
    table["cluster"] = pd.Categorical(table["cluster"])
    table["type"] = pd.Categorical(table["type"], [*aa.RESIDUE_NAMES, "UNK"])
    return table


def _row(r: Residue) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": r.id, "cluster": r.cluster, "type": r.type, "confidence": r.confidence, "contact": r.contact,
        "bfactor": r.bfactor, "neighbours": r.neighbours, "ligand_distance": r.ligand_distance,
        "sidechain_rmsd": r.rmsd, "sidechain_rmsd_sum": r.rmsd, "sidechain_n": 1, "clash_atoms": r.clashes,
        "ligand_clash_atoms": r.ligand_clashes, "atoms": 0 if r.pred is None else 8, "chi1_error_sum": 0.0,
    }  # fmt: skip
    all_right = bool(r.true)
    for k in range(1, 5):
        defined = k <= len(r.true)
        true = r.true[k - 1] if defined else np.nan
        pred = r.pred[k - 1] if defined and r.pred is not None else np.nan
        turn = abs(pred - true) % 360.0
        error = 180.0 if r.pred is None else min(turn, 360.0 - turn)
        if aa.PI_PERIODIC.get(r.type) == k and r.pred is not None:
            error = min(error, 180.0 - error)
        row |= {f"chi{k}_true": true, f"chi{k}_pred": pred, f"chi{k}_error": error if defined else np.nan}
        row |= {f"chi{k}_n": int(defined), f"chi{k}_hit20": int(defined and error < 20.0)}
        row[f"chi{k}_hit40"] = int(defined and error < 40.0)
        all_right &= not defined or error < 20.0
    return row | {"all_chi_hit20": int(all_right)}
