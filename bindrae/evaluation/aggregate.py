"""From residues and complexes to figures with bootstrap intervals over sequence clusters.

Every figure is a ratio of sums (hits over residues, clashing atoms over atoms, sum over complexes by their number), so
a bootstrap sample needs only the clusters' sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

Figures = dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class Ratio:
    """A figure: 'scale' times the sum of one column over the sum of another."""

    name: str
    numerator: str
    denominator: str
    scale: float = 100.0


def bootstrap_weights(n_clusters: int, samples: int, seed: int) -> np.ndarray:
    """How often each cluster is drawn in each sample: [samples, n_clusters]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_clusters, np.full(n_clusters, 1.0 / n_clusters), size=samples).astype(np.float64)


def summarise(table: pd.DataFrame, ratios: list[Ratio], weights: np.ndarray | None) -> Figures:
    """Figures with their 95 % intervals.

    Parameters
    ----------
    table : pandas.DataFrame
        Column ``cluster`` and the columns that the ratios name.
    ratios : list of Ratio
    weights : numpy.ndarray or None
        From `bootstrap_weights`, in the order of the sorted cluster names of the whole evaluation; None gives no
        interval.

    Returns
    -------
    dict
        Name of each figure to ``value``, ``low``, ``high``; None where undefined.
    """
    columns = sorted({c for r in ratios for c in (r.numerator, r.denominator)})
    sums = table.groupby("cluster", sort=True, observed=False)[columns].sum()
    return {
        r.name: _figure(sums[r.numerator].to_numpy(float), sums[r.denominator].to_numpy(float), r.scale, weights)
        for r in ratios
    }


def values_by(table: pd.DataFrame, key: str, ratios: list[Ratio]) -> dict[str, dict[str, float | None]]:
    """The figures of each group of rows, without intervals.

    Parameters
    ----------
    table : pandas.DataFrame
        Column `key` and the columns that the ratios name.
    key : str
    ratios : list of Ratio

    Returns
    -------
    dict
        Group to the name of each figure to its value; None where undefined.
    """
    columns = sorted({c for r in ratios for c in (r.numerator, r.denominator)})
    sums = table.groupby(key, sort=True, observed=True)[columns].sum()
    found: dict[str, dict[str, float | None]] = {str(group): {} for group in sums.index}
    for r in ratios:
        for group, above, below in zip(sums.index, sums[r.numerator], sums[r.denominator], strict=True):
            found[str(group)][r.name] = r.scale * float(above) / float(below) if below > 0 else None
    return found


def _figure(
    numerator: np.ndarray, denominator: np.ndarray, scale: float, weights: np.ndarray | None
) -> dict[str, float | None]:
    total = denominator.sum()
    value = scale * float(numerator.sum() / total) if total > 0 else None
    low = high = None
    # One cluster says nothing about the spread between clusters.
    if weights is not None and value is not None and np.count_nonzero(denominator) > 1:
        below = weights @ denominator
        samples = scale * (weights @ numerator)[below > 0] / below[below > 0]
        low, high = (float(x) for x in np.percentile(samples, [2.5, 97.5]))
    return {"value": value, "low": low, "high": high}
