"""Two predictions of the same complexes: differences of all figures, with a paired bootstrap over clusters."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bindrae.evaluation.aggregate import Figures, Ratio
from bindrae.evaluation.scoring import COMPLEX_RATIOS, POCKET_RATIOS, RESIDUE_RATIOS

Tables = tuple[pd.DataFrame, pd.DataFrame]
"""Residues and complexes of one prediction, as `score_dataset` gives them."""


def difference(first: pd.DataFrame, second: pd.DataFrame, ratios: list[Ratio], weights: np.ndarray | None) -> Figures:
    """First minus second for each figure, with the 95 % interval of the paired bootstrap.

    Both are drawn with the same clusters in each sample, so what makes a cluster hard for both cancels. A row takes
    part in a figure only where both have a value: a distance that a failed prediction lacks is left out on both sides,
    while an accuracy always has one.

    Parameters
    ----------
    first, second : pandas.DataFrame
        The same rows in the same order, with a categorical column ``cluster`` of the same categories.
    ratios : list of Ratio
    weights : numpy.ndarray or None
        From `bootstrap_weights`; None gives no interval.

    Returns
    -------
    dict
        Name of each figure to ``value``, ``low``, ``high``; None where undefined.
    """
    cluster = first["cluster"].cat
    codes, n = cluster.codes.to_numpy(), len(cluster.categories)
    result: Figures = {}
    for ratio in ratios:
        below = [table[ratio.denominator].to_numpy(float) for table in (first, second)]
        shared = (below[0] > 0) & (below[1] > 0)
        sums = [
            [np.bincount(codes, weights=np.where(shared, column, 0.0), minlength=n) for column in (above, under)]
            for above, under in zip((t[ratio.numerator].to_numpy(float) for t in (first, second)), below, strict=True)
        ]
        result[ratio.name] = _difference(sums, ratio.scale, weights)
    return result


def _difference(sums: list[list[np.ndarray]], scale: float, weights: np.ndarray | None) -> dict[str, float | None]:
    nothing: dict[str, float | None] = {"value": None, "low": None, "high": None}
    if not all(under.sum() > 0 for _, under in sums):
        return nothing
    one, other = (scale * float(above.sum() / under.sum()) for above, under in sums)
    found = nothing | {"value": one - other}
    if weights is None or np.count_nonzero(sums[0][1]) < 2:  # one cluster says nothing about the spread between them
        return found
    drawn = [(weights @ above, weights @ under) for above, under in sums]
    whole = (drawn[0][1] > 0) & (drawn[1][1] > 0)
    samples = [scale * above[whole] / under[whole] for above, under in drawn]
    low, high = np.percentile(samples[0] - samples[1], [2.5, 97.5])
    return found | {"low": float(low), "high": float(high)}


def compare(first: Tables, second: Tables, weights: np.ndarray | None) -> dict[str, Figures]:
    """First minus second for all figures, over all residues and over the pocket.

    Parameters
    ----------
    first, second : (residues, complexes)
        Of the same complexes in the same order.
    weights : numpy.ndarray or None
        From `bootstrap_weights`.

    Raises
    ------
    ValueError
        When the tables hold different residues.
    """
    (residues, complexes), (others, other_complexes) = first, second
    for name in ("id", "row"):
        if not np.array_equal(residues[name].to_numpy(), others[name].to_numpy()):
            raise ValueError(f"the two tables of residues differ in the column {name}: only the same can be paired")
    pocket = residues["contact"].to_numpy()
    inside = residues[pocket], others[pocket]
    return {
        "overall": difference(residues, others, RESIDUE_RATIOS, weights)
        | difference(complexes, other_complexes, COMPLEX_RATIOS, weights),
        "pocket": difference(*inside, RESIDUE_RATIOS, weights)
        | difference(complexes, other_complexes, POCKET_RATIOS, weights),
    }
