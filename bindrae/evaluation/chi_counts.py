"""Counts of true and predicted side-chain angles by residue type, from the table of scored residues."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bindrae.chem import residues as aa

BIN_DEG = 10.0
START_DEG = -120.0
"""Where the turn is cut: between the wells of chi1, so that the one about 180 degrees is in one piece."""
HALF_START_DEG = -60.0
"""The same for angles that repeat after half a turn, which gather about 0 and 90 degrees."""
SHOWN_CHIS = (1, 2)
COLUMNS = ["type", *(f"chi{k}_{side}" for k in SHOWN_CHIS for side in ("true", "pred"))]
"""Columns of residues.parquet that are read."""


def chi_counts(residues: pd.DataFrame) -> dict[str, Any]:
    """Histograms of the first two chis, true beside predicted.

    Only angles that both the crystal and the prediction have are counted, so that both histograms hold the same
    residues. Angles are counted in [-120, 240), those that repeat after half a turn in [-60, 120).

    Parameters
    ----------
    residues : pandas.DataFrame
        With the columns of `COLUMNS`; angles in degrees, NaN where undefined.

    Returns
    -------
    dict
        ``edges`` (degrees), and for ``chi1`` and ``chi2`` residue type to ``{"true": counts, "pred": counts}``.
    """
    edges = START_DEG + np.arange(0.0, 360.0 + BIN_DEG / 2, BIN_DEG)
    found: dict[str, Any] = {"edges": edges.tolist()}
    for k in SHOWN_CHIS:
        pair = residues[["type", f"chi{k}_true", f"chi{k}_pred"]].dropna()
        kinds = pair["type"].astype(str)
        found[f"chi{k}"] = {
            name: {side: _counts(rows[f"chi{k}_{side}"].to_numpy(), edges, name, k) for side in ("true", "pred")}
            for name, rows in pair.groupby(kinds, sort=True)
        }
    return found


def _counts(angle: np.ndarray, edges: np.ndarray, name: str, k: int) -> list[int]:
    start, turn = (HALF_START_DEG, 180.0) if aa.PI_PERIODIC.get(name) == k else (START_DEG, 360.0)
    # In double precision: a remainder may round up to the whole turn in single.
    wrapped = (angle.astype(np.float64) - start) % turn + start
    return [int(n) for n in np.histogram(wrapped, edges)[0]]
