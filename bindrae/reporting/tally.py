"""Running distributions: what is kept does not grow with the number of complexes."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np

N_EXTREMES = 5
QUANTILES: dict[str, float] = {"q05": 0.05, "median": 0.5, "q95": 0.95}


class Tally:
    """Distribution of one whole number a complex, exact, with the ids of its extremes.

    Parameters
    ----------
    label, unit : str
        What is counted, and in what.
    width, upper : int
        Width of a bin, and where the last, open, bin begins.
    """

    def __init__(self, label: str, unit: str, width: int, upper: int) -> None:
        self.label, self.unit, self.width, self.upper = label, unit, width, upper
        self._counts = np.zeros(upper + 1, dtype=np.int64)
        self._smallest: list[tuple[int, str]] = []
        self._largest: list[tuple[int, str]] = []

    def add(self, ids: list[str], values: np.ndarray) -> None:
        """Count one batch.

        Parameters
        ----------
        ids : list of str
        values : numpy.ndarray
            [len(ids)] whole numbers from 0.
        """
        counts = np.bincount(values, minlength=len(self._counts))
        counts[: len(self._counts)] += self._counts
        self._counts = counts
        pairs = list(zip(values.tolist(), ids, strict=True))
        self._smallest = heapq.nsmallest(N_EXTREMES, self._smallest + pairs)
        self._largest = heapq.nsmallest(N_EXTREMES, self._largest + pairs, key=lambda p: (-p[0], p[1]))

    def summary(self) -> dict[str, Any]:
        """Count, mean, spread, quantiles and the histogram; ``None`` where nothing was counted.

        Quantiles are values that occur (numpy's ``inverted_cdf``). There is one edge more than counts; the
        last bin is open to the right.
        """
        values = np.arange(len(self._counts))
        n = int(self._counts.sum())
        edges = list(range(0, self.upper + self.width + 1, self.width))
        bins = np.minimum(values // self.width, len(edges) - 2)
        result: dict[str, Any] = {
            "label": self.label,
            "unit": self.unit,
            "n": n,
            "total": int(values @ self._counts),
        }
        if n:
            seen = np.flatnonzero(self._counts)
            mean = result["total"] / n
            cumulated = np.cumsum(self._counts)
            result |= {"mean": mean, "sd": float(np.sqrt(self._counts @ np.square(values - mean) / n))}
            result |= {name: int(np.searchsorted(cumulated, q * n)) for name, q in QUANTILES.items()}
            result |= {"min": int(seen[0]), "max": int(seen[-1])}
        else:
            result |= dict.fromkeys(("mean", "sd", *QUANTILES, "min", "max"))
        counts = np.bincount(bins, weights=self._counts, minlength=len(edges) - 1).astype(int)
        return {**result, "edges": edges, "counts": counts.tolist()}

    def extremes(self) -> dict[str, list[dict[str, Any]]]:
        """Ids and values of the smallest and the largest, each from the most extreme on."""
        return {
            name: [{"id": identifier, "value": value} for value, identifier in pairs]
            for name, pairs in (("smallest", self._smallest), ("largest", self._largest))
        }


class Histogram:
    """Distribution of a real number over many atoms or residues, in fixed bins.

    Parameters
    ----------
    label, unit : str
        What is measured, and in what.
    edges : numpy.ndarray
        [bins + 1] limits of the bins; values beyond them count in the first and the last bin.
    """

    def __init__(self, label: str, unit: str, edges: np.ndarray) -> None:
        self.label, self.unit, self.edges = label, unit, edges
        self._counts = np.zeros(len(edges) - 1, dtype=np.int64)
        self._sum = self._squares = 0.0
        self._min, self._max = np.inf, -np.inf

    def add(self, values: np.ndarray) -> None:
        """Count the finite ones of `values`."""
        values = values[np.isfinite(values)].astype(np.float64)
        if not len(values):
            return
        self._counts += np.histogram(np.clip(values, self.edges[0], self.edges[-1]), self.edges)[0]
        self._sum += float(values.sum())
        self._squares += float(np.square(values).sum())
        self._min, self._max = min(self._min, float(values.min())), max(self._max, float(values.max()))

    def summary(self) -> dict[str, Any]:
        """Count, mean, spread, range and the histogram; ``None`` where nothing was counted."""
        n = int(self._counts.sum())
        result: dict[str, Any] = {"label": self.label, "unit": self.unit, "n": n}
        if n:
            mean = self._sum / n
            spread = float(np.sqrt(max(self._squares / n - mean**2, 0.0)))
            result |= {"mean": mean, "sd": spread, "min": self._min, "max": self._max}
        else:
            result |= dict.fromkeys(("mean", "sd", "min", "max"))
        return {**result, "edges": self.edges.tolist(), "counts": self._counts.tolist()}
