"""Scoring one predicted complex against the truth: a row for each residue and one for the complex."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from bindrae.chem import residues as aa
from bindrae.evaluation.aggregate import Figures, Ratio, summarise
from bindrae.evaluation.burial import count_neighbours
from bindrae.evaluation.metrics import (
    ACCURACY_DEG,
    compute_pocket_irmsd,
    find_clashes,
    frame_errors,
    mean_fape,
    measured_chi_errors,
    sidechain_rmsd,
)
from bindrae.structure.torsions import residue_torsions

RESIDUE_RATIOS = [
    *(Ratio(f"chi1_acc{deg:.0f}", f"chi1_hit{deg:.0f}", "chi1_n") for deg in ACCURACY_DEG),
    *(Ratio(f"chi{k}_acc20", f"chi{k}_hit20", f"chi{k}_n") for k in (2, 3, 4)),
    Ratio("all_chi_acc20", "all_chi_hit20", "chi1_n"),
    Ratio("chi1_mae_deg", "chi1_error_sum", "chi1_n", 1.0),
    Ratio("sidechain_rmsd", "sidechain_rmsd_sum", "sidechain_n", 1.0),
    Ratio("clash_atoms_pct", "clash_atoms", "atoms"),
    Ratio("ligand_clash_atoms_pct", "ligand_clash_atoms", "atoms"),
]
COMPLEX_RATIOS = [
    Ratio("clash_pairs_pct", "clash_pairs", "near_pairs"),
    Ratio("fape", "fape", "fape_n", 1.0),
    Ratio("fape_pocket_weighted", "fape_pocket_weighted", "fape_pocket_weighted_n", 1.0),
]
POCKET_RATIOS = [
    Ratio("fape", "fape_pocket", "fape_pocket_n", 1.0),
    *(Ratio(name, name, f"{name}_n", 1.0) for name in ("irmsd", "irmsd_ca", "irmsd_sidechain")),
]
_TYPE_NAMES = [*aa.RESIDUE_NAMES, "UNK"]


def score_complex(
    sample: dict[str, np.ndarray], pred: np.ndarray, pred_mask: np.ndarray, ligand_radius: np.ndarray
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Score one complex.

    An angle that the prediction lacks is a miss with an error of 180 degrees. Distances (side-chain RMSD, iRMSD, FAPE)
    are taken over the atoms that both have; ``atoms_missing`` counts the others.

    Parameters
    ----------
    sample : dict of str to numpy.ndarray
        The truth, as a shard holds it.
    pred, pred_mask : numpy.ndarray
        [N, 14, 3] predicted atoms (A) and [N, 14]; missing atoms and residues count as misses.
    ligand_radius : numpy.ndarray
        [L] (A), 0 for metals.

    Returns
    -------
    residues : pandas.DataFrame
        A row for each residue: ``row`` in the residue table, ``type``, the pocket's ``contact``, true ``bfactor``
        (A^2), ``neighbours`` and ``ligand_distance`` (A), the errors, and the sums that ``RESIDUE_RATIOS`` name.
    summary : dict
        Sums for ``COMPLEX_RATIOS`` and ``POCKET_RATIOS``.
    """
    kind = sample["aatype"].astype(np.int64)
    true, true_mask, linked = sample["atom14"], sample["atom14_mask"], sample["linked"]
    true_chi, defined = sample["torsion_angles"][:, 3:], sample["torsion_mask"][:, 3:]
    angles, found = residue_torsions(pred, pred_mask, kind, linked)
    error = measured_chi_errors(angles, found, true_chi, kind)
    both = true_mask & pred_mask
    rmsd = sidechain_rmsd(pred, true, both, kind)
    clashes = find_clashes(pred, pred_mask, kind, linked, sample["ligand_xyz"], ligand_radius)
    seen = frame_errors(pred, true, both, kind)
    has_chi1 = defined[:, 0]
    columns: dict[str, Any] = {
        "row": np.arange(len(kind)),
        "type": pd.Categorical.from_codes(kind.tolist(), pd.Index(_TYPE_NAMES)),
        "contact": sample["contact"],
        "bfactor": _mean_of(sample["bfactor"].astype(np.float64), true_mask),
        "neighbours": count_neighbours(true),
        "ligand_distance": _nearest(true, true_mask, sample["ligand_xyz"]),
    }
    for k in range(4):
        name = f"chi{k + 1}"
        columns[f"{name}_true"] = np.where(defined[:, k], np.degrees(true_chi[:, k]), np.nan).astype(np.float32)
        columns[f"{name}_pred"] = np.where(found[:, 3 + k], np.degrees(angles[:, 3 + k]), np.nan).astype(np.float32)
        columns[f"{name}_error"] = np.where(defined[:, k], error[:, k], np.nan)
        columns[f"{name}_n"] = defined[:, k].astype(np.int64)
        for deg in ACCURACY_DEG:
            columns[f"{name}_hit{deg:.0f}"] = (defined[:, k] & (error[:, k] < deg)).astype(np.int64)
    columns |= {
        "all_chi_hit20": (has_chi1 & ((error < ACCURACY_DEG[0]) | ~defined).all(1)).astype(np.int64),
        "chi1_error_sum": np.where(has_chi1, error[:, 0], 0.0),
        "sidechain_rmsd": rmsd,
        "sidechain_rmsd_sum": np.nan_to_num(rmsd),
        "sidechain_n": np.isfinite(rmsd).astype(np.int64),
        "fape": _mean_of(seen, np.isfinite(seen)),
        "clash_atoms": clashes["protein"],
        "ligand_clash_atoms": clashes["ligand"],
        "atoms": pred_mask.sum(1),
        "atoms_missing": (true_mask & ~pred_mask).sum(1),
    }
    measured = {
        "fape": mean_fape(seen),
        "fape_pocket_weighted": mean_fape(seen, 1.0 + sample["w_res"]),
        "fape_pocket": mean_fape(seen, sample["contact"]),
        **compute_pocket_irmsd(pred, true, both, kind, sample["contact"]),
    }
    summary: dict[str, Any] = {"clash_pairs": int(clashes["pairs"]), "near_pairs": int(clashes["near_pairs"])}
    for name, value in measured.items():
        summary |= {name: float(np.nan_to_num(value)), f"{name}_n": int(np.isfinite(value))}
    return pd.DataFrame(columns), summary


def _mean_of(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean of each row [N] over the masked entries; NaN without any."""
    count = mask.sum(1)
    return np.asarray(np.where(mask, values, 0.0).sum(1) / np.where(count > 0, count, np.nan))


def _nearest(xyz: np.ndarray, mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Distance [N] (A) of each residue's nearest atom to the nearest of the points; NaN without atoms or points."""
    found = np.full(mask.shape, np.inf)
    if len(points):
        found[mask] = cKDTree(points).query(xyz[mask])[0]
    nearest = found.min(1)
    return np.where(np.isfinite(nearest), nearest, np.nan)


def figures(residues: pd.DataFrame, summaries: pd.DataFrame, weights: np.ndarray | None) -> dict[str, Figures]:
    """Figures over all residues and over the pocket, with intervals where there are weights."""
    pocket = residues[residues["contact"]]
    return {
        "overall": summarise(residues, RESIDUE_RATIOS, weights) | summarise(summaries, COMPLEX_RATIOS, weights),
        "pocket": summarise(pocket, RESIDUE_RATIOS, weights) | summarise(summaries, POCKET_RATIOS, weights),
    }
