"""Where a prediction is right and where it is not: figures by burial, B-factor, place and residue type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bindrae.chem import residues as aa
from bindrae.evaluation.aggregate import summarise
from bindrae.evaluation.compare import difference
from bindrae.evaluation.scoring import RESIDUE_RATIOS

BURIAL_CUTS = (15, 21)
"""Neighbours that part exposed, intermediate and buried residues: the tertiles of the 123,696 residues of CASF-2016."""
BFACTOR_CUTS = (20.0, 40.0)
"""B-factors (A^2) that part well ordered, ordered and loose residues."""
SCHEMES: dict[str, tuple[str, ...]] = {
    "burial": (
        f"exposed: fewer than {BURIAL_CUTS[0]} neighbours",
        f"intermediate: {BURIAL_CUTS[0]} to {BURIAL_CUTS[1] - 1}",
        f"buried: {BURIAL_CUTS[1]} or more",
    ),
    "bfactor": (
        f"below {BFACTOR_CUTS[0]:g} A^2",
        f"{BFACTOR_CUTS[0]:g} to {BFACTOR_CUTS[1]:g} A^2",
        f"{BFACTOR_CUTS[1]:g} A^2 and more",
        "not given (0 in the file)",
    ),
    "place": ("pocket", "elsewhere"),
    "type": aa.RESIDUE_NAMES,
}
"""Bands of each way to part the residues; neighbours are counted by `count_neighbours`."""
FIGURES = ("chi1_acc20", "chi1_acc40", "all_chi_acc20", "chi1_mae_deg", "sidechain_rmsd", "clash_atoms_pct")


def band_of(residues: pd.DataFrame) -> dict[str, np.ndarray]:
    """Number of each residue's band in each scheme of `SCHEMES`: [N] int64, -1 for none.

    Parameters
    ----------
    residues : pandas.DataFrame
        Columns ``neighbours``, ``bfactor``, ``contact`` and ``type`` of `score_complex`.
    """
    bfactor = residues["bfactor"].to_numpy(float)
    number = {name: i for i, name in enumerate(SCHEMES["type"])}
    return {
        "burial": np.digitize(residues["neighbours"].to_numpy(), BURIAL_CUTS),
        # Files without B-factors, and many models, write 0.
        "bfactor": np.where(bfactor > 0, np.digitize(bfactor, BFACTOR_CUTS), len(BFACTOR_CUTS) + 1),
        "place": np.where(residues["contact"].to_numpy(bool), 0, 1),
        "type": residues["type"].astype(str).map(number).fillna(-1).to_numpy(np.int64),
    }


def band_figures(tables: dict[str, pd.DataFrame], weights: np.ndarray | None) -> dict[str, dict[str, Any]]:
    """Figures of each band for several predictions of the same residues, and what the first has over the second.

    Parameters
    ----------
    tables : dict of str to pandas.DataFrame
        Name of a prediction to its residues, as `score_dataset` gives them; all in the same order.
    weights : numpy.ndarray or None
        From `bootstrap_weights`.

    Returns
    -------
    dict
        Scheme to band to ``n_residues``, ``n`` (with a chi1), the figures of each prediction and, for two of them,
        ``difference``; bands without residues are left out.
    """
    ratios = [ratio for ratio in RESIDUE_RATIOS if ratio.name in FIGURES]
    needed = ["cluster", *sorted({c for r in ratios for c in (r.numerator, r.denominator)})]
    first = next(iter(tables.values()))
    result: dict[str, dict[str, Any]] = {}
    for scheme, number in band_of(first).items():
        result[scheme] = {}
        for i, band in enumerate(SCHEMES[scheme]):
            rows = np.flatnonzero(number == i)
            if not len(rows):
                continue
            parts = {name: table[needed].iloc[rows] for name, table in tables.items()}
            entry: dict[str, Any] = {"n_residues": len(rows), "n": int(parts[next(iter(parts))]["chi1_n"].sum())}
            entry |= {name: summarise(part, ratios, weights) for name, part in parts.items()}
            if len(parts) == 2:
                one, other = parts.values()
                entry["difference"] = difference(one, other, ratios, weights)
            result[scheme][band] = entry
    return result
