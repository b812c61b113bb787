"""The residues and complexes on which a prediction is worst, by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bindrae.evaluation.aggregate import values_by
from bindrae.evaluation.metrics import ACCURACY_DEG
from bindrae.evaluation.residue_names import COLUMNS
from bindrae.evaluation.scoring import RESIDUE_RATIOS

MAX_RESIDUES = 50
MAX_COMPLEXES = 25
FEWEST = 20
"""Residues with a chi1 that a complex must have: the accuracy of fewer says little."""
SURE = 0.9
"""Confidence from which a prediction counts as sure."""
_WRONG_DEG = ACCURACY_DEG[1]
_WHAT = (
    "type", "chi1_pred", "chi1_true", "chi1_error", "sidechain_rmsd", "confidence", "neighbours", "bfactor",
    "ligand_distance",
)  # fmt: skip
_OF_COMPLEX = ("chi1_acc20", "all_chi_acc20", "sidechain_rmsd")


def worst_residues(residues: pd.DataFrame, limit: int = MAX_RESIDUES) -> dict[str, Any]:
    """The predicted residues with a chi1 off by more than 40 degrees that the prediction was surest of.

    Without confidences the largest side-chain RMSD comes first.

    Parameters
    ----------
    residues : pandas.DataFrame
        As `score_dataset` gives them; with the labels of `residue_names` where these are known.
    limit : int
        Residues at most.

    Returns
    -------
    dict
        ``order``, the column they are sorted by; ``n``, how many are off by more than 40 degrees; ``n_sure`` and
        ``n_sure_wrong``, residues with a confidence of at least `SURE` and those of them that are off (None without
        confidences); and ``residues``, each a dict of its values, None where undefined.
    """
    seen = residues[(residues["chi1_n"] > 0) & np.isfinite(residues["chi1_pred"])]
    wrong = seen[seen["chi1_error"] > _WRONG_DEG]
    known = bool(np.isfinite(seen["confidence"]).any())
    order = "confidence" if known else "sidechain_rmsd"
    ranked = wrong.sort_values(
        [order, "chi1_error", "id", "row"], ascending=[False, False, True, True], na_position="last"
    )
    columns = ["id", "row", *(name for name in COLUMNS if name in residues.columns), *_WHAT]
    return {
        "order": order,
        "n": len(wrong),
        "n_sure": int((seen["confidence"] >= SURE).sum()) if known else None,
        "n_sure_wrong": int((wrong["confidence"] >= SURE).sum()) if known else None,
        "residues": [
            {name: _plain(value) for name, value in zip(columns, row, strict=True)}
            for row in ranked[columns].head(limit).itertuples(index=False)
        ],
    }


def _plain(value: Any) -> Any:
    """A value of a table as JSON has it."""
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return round(float(value), 4) if np.isfinite(value) else None
    return str(value)


def worst_complexes(
    residues: pd.DataFrame, base: pd.DataFrame, limit: int = MAX_COMPLEXES, fewest: int = FEWEST
) -> list[dict[str, Any]]:
    """The predicted complexes with the smallest share of right chi1, beside another prediction of them.

    Parameters
    ----------
    residues, base : pandas.DataFrame
        The same residues as `score_dataset` gives them: the prediction, and what it is compared with.
    limit, fewest : int
        Complexes at most, and residues with a chi1 that each must have.

    Returns
    -------
    list of dict
        ``id``, ``n`` (residues with a chi1), ``chi1_acc20``, ``all_chi_acc20``, ``sidechain_rmsd``, the first of these
        for the other prediction as ``base_chi1_acc20``, and ``median_bfactor`` (A^2, None without B-factors).
    """
    ratios = [ratio for ratio in RESIDUE_RATIOS if ratio.name in _OF_COMPLEX]
    angles = residues[residues["chi1_n"] > 0]
    # A failed prediction is told elsewhere, and has nothing to be learnt from.
    predicted = set(angles.loc[np.isfinite(angles["chi1_pred"]), "id"])
    count = angles["id"].value_counts()
    chosen = {name for name in predicted if count[name] >= fewest}
    own, other = (values_by(table[table["id"].isin(chosen)], "id", ratios) for table in (residues, base))
    bfactor = residues[residues["bfactor"] > 0].groupby("id")["bfactor"].median()
    ranked = sorted(chosen, key=lambda name: (own[name]["chi1_acc20"], name))
    return [
        {
            "id": str(name),
            "n": int(count[name]),
            **own[name],
            "base_chi1_acc20": other[name]["chi1_acc20"],
            "median_bfactor": float(bfactor[name]) if name in bfactor.index else None,
        }
        for name in ranked[:limit]
    ]
