"""What an evaluation says beyond its figures: differences, bands, kinds of errors, worst cases, reliability."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bindrae.evaluation.bands import band_figures
from bindrae.evaluation.compare import Tables, compare
from bindrae.evaluation.error_kinds import error_figures
from bindrae.evaluation.refinement import refinement_figures
from bindrae.evaluation.reliability import reliability_figures
from bindrae.evaluation.worst import worst_complexes, worst_residues

_SHOWN = ("model", "unrefined", "no_learning")


def analyse(
    tables: dict[str, Tables], labelled: pd.DataFrame, weights: np.ndarray | None, calibrated: bool
) -> dict[str, Any]:
    """Look into the rows ``model``, ``no_learning`` and, where side chains were refined, ``unrefined``.

    Parameters
    ----------
    tables : dict of str to (residues, complexes)
        Of each row of the evaluation, as `score_dataset` gives them.
    labelled : pandas.DataFrame
        The residues of the model with their labels, as far as these are known.
    weights : numpy.ndarray or None
        From `bootstrap_weights`.
    calibrated : bool
        Whether the model file holds a fitted calibration of the confidence.

    Returns
    -------
    dict
        ``comparison``, ``bands``, ``errors`` (with ``worst_residues`` and ``worst_complexes``), ``reliability`` (None
        without confidences) and ``refinement`` (None without refinement) of evaluation.json.
    """
    model, base, unrefined = tables["model"], tables["no_learning"], tables.get("unrefined")
    comparison = {"model_minus_no_learning": compare(model, base, weights)}
    if unrefined is not None:
        comparison["model_minus_unrefined"] = compare(model, unrefined, weights)
    shown = {name: residues for name, (residues, _) in tables.items() if name in _SHOWN}
    return {
        "comparison": comparison,
        "bands": band_figures({"model": model[0], "no_learning": base[0]}, weights),
        "errors": {
            **error_figures(shown),
            "worst_residues": worst_residues(labelled),
            "worst_complexes": worst_complexes(model[0], base[0]),
        },
        "reliability": reliability_figures(model[0], weights, calibrated),
        "refinement": None if unrefined is None else refinement_figures(model[0], unrefined[0]),
    }
