"""How sure the model is of a side chain, and whether it is right to be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bindrae.errors import BindraeError

METADATA_KEY = "calibration"
"""Key of the model file's metadata that holds the knots as JSON."""


@dataclass(frozen=True)
class Calibration:
    """A non-decreasing map from probability mass to the share of hits, linear between knots."""

    mass: tuple[float, ...]
    share: tuple[float, ...]

    def __call__(self, mass: np.ndarray) -> np.ndarray:
        """[N] shares of hits to expect, for [N] masses."""
        return np.interp(mass, self.mass, self.share)


IDENTITY = Calibration((0.0, 1.0), (0.0, 1.0))
"""The probability itself."""


@dataclass(frozen=True)
class Calibrations:
    """Of refined and of unrefined predictions: the same probabilities, of different choices."""

    refined: Calibration = IDENTITY
    unrefined: Calibration = IDENTITY
    fitted: bool = True

    def to_json(self) -> str:
        """For the metadata of a model file."""
        return json.dumps(
            {
                name: {"mass": [round(x, 5) for x in part.mass], "share": [round(x, 5) for x in part.share]}
                for name, part in (("refined", self.refined), ("unrefined", self.unrefined))
            }
        )


def read_calibrations(path: Path) -> Calibrations:
    """The calibrations in a model file's metadata; the identity where there are none.

    Raises
    ------
    BindraeError
        When they are damaged.
    """
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get(METADATA_KEY)
    if text is None:
        return Calibrations(fitted=False)
    try:
        knots = json.loads(text)
        return Calibrations(_sound(knots["refined"]), _sound(knots["unrefined"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BindraeError(
            f"{path}: the calibration in its metadata is damaged ({error!r})",
            "fit it anew: bindrae fit",
        ) from None


def _sound(knots: dict[str, list[float]]) -> Calibration:
    mass, share = (np.array(knots[name], dtype=float) for name in ("mass", "share"))
    if not (len(mass) == len(share) >= 2 and (np.diff(mass) > 0).all() and (np.diff(share) >= 0).all()):
        raise ValueError("knots do not rise")
    if share.min() < 0 or share.max() > 1:
        raise ValueError("shares outside 0 to 1")
    return Calibration(tuple(mass.tolist()), tuple(share.tolist()))


def fit_calibration(mass: np.ndarray, hit: np.ndarray, knots: int = 20) -> Calibration:
    """Fit a calibration on residues that the model has not been trained on.

    Residues are sorted by mass and cut into equal groups; groups that fall are pooled with their neighbours (isotonic
    regression by pool-adjacent-violators: Ayer et al., Ann. Math. Stat. 26, 641, 1955).

    Parameters
    ----------
    mass : numpy.ndarray
        [N] in [0, 1].
    hit : numpy.ndarray
        [N] bool, the chi was within 20 degrees of the truth.
    knots : int
        Groups, at most.

    Raises
    ------
    ValueError
        With fewer than two residues a group.
    """
    if len(mass) < 2 * knots:
        raise ValueError(f"{len(mass)} residues are too few for {knots} knots")
    order = np.argsort(mass, kind="stable")
    groups = [(float(mass[g].mean()), float(hit[g].mean()), len(g)) for g in np.array_split(order, knots)]
    pooled: list[tuple[float, float, int]] = []
    for group in groups:
        pooled.append(group)
        # Equal masses would make two knots at one place.
        while len(pooled) > 1 and (pooled[-2][1] >= pooled[-1][1] or pooled[-1][0] - pooled[-2][0] < 1e-4):
            (xa, ya, na), (xb, yb, nb) = pooled[-2:]
            pooled[-2:] = [((xa * na + xb * nb) / (na + nb), (ya * na + yb * nb) / (na + nb), na + nb)]
    mass_knots = [0.0, *(x for x, _, _ in pooled if 1e-4 < x < 1 - 1e-4), 1.0]
    share = np.interp(mass_knots, [x for x, _, _ in pooled], [y for _, y, _ in pooled])
    return Calibration(tuple(mass_knots), tuple(share.tolist()))


def reliability(confidence: np.ndarray, hit: np.ndarray, bins: int = 10) -> list[dict[str, float]]:
    """What was promised and what came, by confidence.

    Parameters
    ----------
    confidence : numpy.ndarray
        [N] in [0, 1].
    hit : numpy.ndarray
        [N] bool.
    bins : int
        Bins of equal width.

    Returns
    -------
    list of dict
        ``low``, ``high``, ``n``, mean ``confidence`` and share of hits ``right`` of each bin that holds a residue.
    """
    which = np.clip((confidence * bins).astype(int), 0, bins - 1)
    rows = []
    for b in range(bins):
        own = which == b
        if own.any():
            row = {"low": b / bins, "high": (b + 1) / bins, "n": float(own.sum())}
            rows.append(row | {"confidence": float(confidence[own].mean()), "right": float(hit[own].mean())})
    return rows


def calibration_error(confidence: np.ndarray, hit: np.ndarray, bins: int = 10) -> float:
    """Mean distance of promised and found share over the bins of `reliability`, weighted by residues."""
    rows = reliability(confidence, hit, bins)
    return sum(row["n"] * abs(row["confidence"] - row["right"]) for row in rows) / max(len(hit), 1)


def top_half_accuracy(confidence: np.ndarray, hit: np.ndarray) -> float:
    """Share of hits among the half of the residues with the higher confidence."""
    order = np.argsort(-confidence, kind="stable")[: max(len(hit) // 2, 1)]
    return float(hit[order].mean())
