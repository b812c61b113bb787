"""Whether the confidence of a prediction keeps what it promises, and what can be had by leaving out the unsure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bindrae.evaluation.aggregate import summarise
from bindrae.evaluation.scoring import RESIDUE_RATIOS
from bindrae.prediction.confidence import calibration_error, reliability

_CHI1 = [ratio for ratio in RESIDUE_RATIOS if ratio.name == "chi1_acc20"]
COVERAGE = tuple(range(5, 105, 5))
"""Shares of the residues (percent), the surest first, whose accuracy is reported."""


def reliability_figures(residues: pd.DataFrame, weights: np.ndarray | None, calibrated: bool) -> dict[str, Any] | None:
    """Confidence against what came of it, for the chi1 of all residues and of the pocket's.

    Parameters
    ----------
    residues : pandas.DataFrame
        As `score_dataset` gives them; ``confidence`` [0, 1] is NaN where there is none.
    weights : numpy.ndarray or None
        From `bootstrap_weights`.
    calibrated : bool
        Whether the confidence went through a fitted calibration; recorded as it is.

    Returns
    -------
    dict or None
        ``calibrated``, ``without`` (residues with a chi1 and no confidence), and ``overall`` and ``pocket``, see
        `_figures` (None where no residue has both). None when no residue has a confidence.
    """
    angles = residues[residues["chi1_n"] > 0]
    known = angles[np.isfinite(angles["confidence"])]
    if known.empty:
        return None
    inside = known[known["contact"]]
    return {
        "calibrated": calibrated,
        "without": len(angles) - len(known),
        "overall": _figures(known, weights),
        "pocket": None if inside.empty else _figures(inside, weights),
    }


def _figures(rows: pd.DataFrame, weights: np.ndarray | None) -> dict[str, Any]:
    """All in percent: ``chi1_acc20`` and that of the ``surer_half`` with their intervals, mean ``confidence``,
    expected ``calibration_error`` (points), ten ``bins``, and ``coverage``: the surest residues, how sure the last of
    them is, and their accuracy.
    """
    # Residues that are equally sure keep their order, so that the figures are the same in every run.
    ranked = rows.sort_values("confidence", ascending=False, kind="stable")
    confidence, hit = ranked["confidence"].to_numpy(float), ranked["chi1_hit20"].to_numpy(bool)
    n = len(hit)
    right = np.cumsum(hit)
    kept = [max(1, round(n * share / 100)) for share in COVERAGE]
    return {
        "n": n,
        "confidence": 100.0 * float(confidence.mean()),
        "chi1_acc20": summarise(rows, _CHI1, weights)["chi1_acc20"],
        "surer_half": summarise(ranked.head(max(n // 2, 1)), _CHI1, weights)["chi1_acc20"],
        "calibration_error": 100.0 * calibration_error(confidence, hit),
        "bins": [
            {name: int(value) if name == "n" else 100.0 * value for name, value in row.items()}
            for row in reliability(confidence, hit)
        ],
        "coverage": [
            {
                "share": share,
                "confidence": 100.0 * float(confidence[k - 1]),
                "chi1_acc20": 100.0 * float(right[k - 1]) / k,
            }
            for share, k in zip(COVERAGE, kept, strict=True)
        ],
    }
