"""What kind of error a wrong side chain is: another rotamer well, a half turn of the last chi, or a shift."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bindrae.chem import residues as aa
from bindrae.evaluation.metrics import ACCURACY_DEG

WELLS = ("60", "180", "-60")
"""Wells of a chi1 between tetrahedral atoms (degrees), each 120 degrees wide."""
PUCKERS = ("30", "-30")
"""The two puckers of proline's ring, by the sign of chi1."""
FLIPPED = {"ASN": 2, "GLN": 3, "HIS": 2}
"""Types whose last chi, given here, is easily half a turn off: oxygen and nitrogen, or the two sides of the ring."""
KINDS: dict[str, str] = {
    "right": "every χ within 20°",
    "flipped": "last χ of ASN, GLN or HIS half a turn off, the others right",
    "later_chi": "χ1 right, another χ off",
    "chi1_shifted": "χ1 off by 20° or more, in the right well or by less than 40°",
    "other_well": "χ1 in another well",
    "other_pucker": "proline in the other pucker",
    "no_angle": "no prediction",
}
"""Kinds of a residue with a chi1, each residue of exactly one, and what the report calls them."""
ERROR_EDGES = tuple(range(0, 190, 10))
"""Bins of the chi1 error (degrees)."""
_HIT, _FAR = ACCURACY_DEG


def wells(chi1: np.ndarray) -> np.ndarray:
    """Place in `WELLS` of each chi1: [N] int64, -1 where it is not defined.

    Parameters
    ----------
    chi1 : numpy.ndarray
        [N] degrees, NaN for none.
    """
    # A tiny negative angle rounds to 360 itself.
    turned = np.minimum(np.nan_to_num(np.mod(chi1.astype(np.float64), 360.0)) // 120.0, 2.0)
    return np.where(np.isfinite(chi1), turned, -1).astype(np.int64)


def puckers(chi1: np.ndarray) -> np.ndarray:
    """Place in `PUCKERS` of each chi1 of proline: [N] int64, -1 where it is not defined."""
    return np.where(np.isfinite(chi1), np.where(chi1 < 0, 1, 0), -1).astype(np.int64)


def kinds_of(residues: pd.DataFrame) -> np.ndarray:
    """Kind of each residue, [N] places in `KINDS`; -1 without a chi1.

    Parameters
    ----------
    residues : pandas.DataFrame
        As `score_complex` gives them.
    """
    kind = residues["type"].astype(str).to_numpy()
    chi1_right = residues["chi1_hit20"].to_numpy(bool)
    true, pred = (residues[f"chi1_{side}"].to_numpy(float) for side in ("true", "pred"))
    proline = kind == "PRO"
    far = residues["chi1_error"].to_numpy(float) >= _FAR
    tests = {
        "no_angle": ~np.isfinite(pred),
        "right": residues["all_chi_hit20"].to_numpy(bool),
        "flipped": _flipped(residues, kind),
        "later_chi": chi1_right,
        "other_pucker": proline & (puckers(true) != puckers(pred)),
        "other_well": ~proline & far & (wells(true) != wells(pred)),
    }
    names = list(KINDS)
    found = np.select(list(tests.values()), [names.index(name) for name in tests], names.index("chi1_shifted"))
    return np.where(residues["chi1_n"].to_numpy() > 0, found, -1)


def _flipped(residues: pd.DataFrame, kind: np.ndarray) -> np.ndarray:
    """Where only a half turn of the last chi is wrong."""
    found = np.zeros(len(residues), dtype=bool)
    for name, k in FLIPPED.items():
        found |= (kind == name) & _right_before(residues, k) & _half_turn(_raw_error(residues, k))
    return found


def _raw_error(residues: pd.DataFrame, k: int) -> np.ndarray:
    """Absolute difference of a chi [N] in degrees without regard to symmetry; NaN where either lacks it."""
    pred, true = (residues[f"chi{k}_{side}"].to_numpy(float) for side in ("pred", "true"))
    return np.asarray(np.abs((pred - true + 180.0) % 360.0 - 180.0))


def _half_turn(error: np.ndarray) -> np.ndarray:
    """Which raw errors would be hits after half a turn."""
    return np.asarray(error > 180.0 - _HIT)


def _right_before(residues: pd.DataFrame, k: int) -> np.ndarray:
    """Whether every chi before the k-th is a hit."""
    return np.asarray(residues[[f"chi{j}_hit20" for j in range(1, k)]].to_numpy(bool).all(1))


def count_kinds(residues: pd.DataFrame) -> dict[str, int]:
    """How many residues with a chi1 are of each kind."""
    found = kinds_of(residues)
    return {name: int((found == i).sum()) for i, name in enumerate(KINDS)}


def count_wells(residues: pd.DataFrame) -> dict[str, dict[str, dict[str, int]]]:
    """True against predicted well of chi1.

    Parameters
    ----------
    residues : pandas.DataFrame
        As `score_complex` gives them.

    Returns
    -------
    dict
        ``tetrahedral`` (all types but proline) and ``proline``: true well to predicted well, or ``none`` where there
        is no prediction, to residues.
    """
    rows = residues[residues["chi1_n"] > 0]
    proline = rows["type"].astype(str).to_numpy() == "PRO"
    parts = (("tetrahedral", ~proline, wells, WELLS), ("proline", proline, puckers, PUCKERS))
    result = {}
    for name, chosen, place, labels in parts:
        true, pred = (place(rows.loc[chosen, f"chi1_{side}"].to_numpy(float)) for side in ("true", "pred"))
        result[name] = {
            label: {other: int(((true == i) & (pred == j)).sum()) for j, other in [*enumerate(labels), (-1, "none")]}
            for i, label in enumerate(labels)
        }
    return result


def count_half_turns(residues: pd.DataFrame, last_chi: dict[str, int]) -> dict[str, dict[str, int]]:
    """How often the last chi of some types is half a turn off, where the chis before it are right.

    Parameters
    ----------
    residues : pandas.DataFrame
        As `score_complex` gives them.
    last_chi : dict of str to int
        Residue type to the number of its chi: `FLIPPED`, or the symmetric ones of `aa.PI_PERIODIC`, where half a turn
        only exchanges names and is no error.

    Returns
    -------
    dict
        Type to ``chi``, ``n`` and how many are ``right`` as named, a ``half_turn`` off (both within 20 degrees), or
        ``other``; types without such residues are left out.
    """
    kind = residues["type"].astype(str).to_numpy()
    result = {}
    for name, k in last_chi.items():
        error = _raw_error(residues, k)
        seen = (kind == name) & (residues[f"chi{k}_n"].to_numpy() > 0) & np.isfinite(error) & _right_before(residues, k)
        n, right, half = (int((seen & part).sum()) for part in (seen, error < _HIT, _half_turn(error)))
        if n:
            result[name] = {"chi": k, "n": n, "right": right, "half_turn": half, "other": n - right - half}
    return result


def error_figures(tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Kinds of errors of several predictions of the same residues, and the details of the first.

    Parameters
    ----------
    tables : dict of str to pandas.DataFrame
        Name of a prediction to its residues, as `score_complex` gives them.

    Returns
    -------
    dict
        ``kinds`` of each prediction; of the first also ``pocket_kinds``, ``wells``, ``flips``, ``symmetric`` and
        ``histogram`` of the chi1 errors (``edges`` in degrees, ``counts``).
    """
    first = next(iter(tables.values()))
    error = first.loc[np.isfinite(first["chi1_pred"]), "chi1_error"].dropna()
    counts, _ = np.histogram(error, ERROR_EDGES)
    return {
        "kinds": {name: count_kinds(table) for name, table in tables.items()},
        "pocket_kinds": count_kinds(first[first["contact"]]),
        "wells": count_wells(first),
        "flips": count_half_turns(first, FLIPPED),
        "symmetric": count_half_turns(first, aa.PI_PERIODIC),
        "histogram": {"edges": list(ERROR_EDGES), "counts": counts.tolist()},
    }
