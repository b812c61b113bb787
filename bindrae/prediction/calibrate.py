"""The calibration of a model's confidence on held-out complexes."""

from __future__ import annotations

import numpy as np

from bindrae.errors import BindraeError
from bindrae.evaluation.metrics import ACCURACY_DEG
from bindrae.prediction.confidence import (
    Calibration,
    Calibrations,
    calibration_error,
    fit_calibration,
    reliability,
    top_half_accuracy,
)
from bindrae.prediction.networks import RefinementNetworks
from bindrae.prediction.refine import refine_chis
from bindrae.prediction.tune import Trial

Judged = dict[str, tuple[np.ndarray, np.ndarray]]


def judge_trial(networks: RefinementNetworks | None, trial: Trial) -> Judged:
    """Probability and success of every defined chi1 of a complex, on its true backbone.

    Parameters
    ----------
    networks : RefinementNetworks or None
        Of the refinement.
    trial : Trial

    Returns
    -------
    dict of str to (mass, hit)
        ``refined`` and ``unrefined``: [K] probabilities before calibration and [K] bool.
    """
    defined = trial.sample["torsion_mask"][:, 3].numpy()
    judged: Judged = {}
    refined = refine_chis(trial.scene, trial.circle, trial.rotamers, networks=networks)
    for name, found in (("refined", refined), ("unrefined", trial.unrefined())):
        error = trial.chi_errors(found)[:, 0]
        sure = np.ones(len(error)) if found.chi1_probability is None else found.chi1_probability
        judged[name] = sure[defined], (error < ACCURACY_DEG[0])[defined]
    return judged


def _joined(judged: list[Judged], name: str) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([j[name][0] for j in judged]), np.concatenate([j[name][1] for j in judged])


def calibrate(judged: list[Judged]) -> Calibrations:
    """Calibrations from complexes that the model has not been trained on.

    Raises
    ------
    BindraeError
        When these have too few residues.
    """

    def one(name: str) -> Calibration:
        mass, hit = _joined(judged, name)
        try:
            return fit_calibration(mass, hit)
        except ValueError as error:
            raise BindraeError(
                f"the confidence cannot be calibrated: {error}", "hold out more complexes (split.fractions)"
            ) from None

    return Calibrations(one("refined"), one("unrefined"))


def quality(judged: list[Judged], calibrations: Calibrations) -> dict[str, dict[str, float]]:
    """How good calibrations are on complexes.

    Returns
    -------
    dict of str to dict
        Of ``refined`` and ``unrefined``: ``residues``; ``chi1`` and ``surer_half``, shares within 20 degrees (%);
        ``error`` and ``error_before``, mean distance of what was promised from what came (points).
    """
    found = {}
    for name in ("refined", "unrefined"):
        mass, hit = _joined(judged, name)
        after, before = (100 * calibration_error(x, hit) for x in (getattr(calibrations, name)(mass), mass))
        surer = 100 * top_half_accuracy(mass, hit)
        numbers = {"chi1": 100 * float(hit.mean()), "surer_half": surer, "error": after, "error_before": before}
        found[name] = {"residues": len(hit)} | {key: round(value, 2) for key, value in numbers.items()}
    return found


def report(judged: list[Judged], calibrations: Calibrations, title: str) -> str:
    """Reliability of both kinds of prediction, in Markdown."""
    lines = []
    for name, told in quality(judged, calibrations).items():
        mass, hit = _joined(judged, name)
        confidence = getattr(calibrations, name)(mass)
        lines += [
            f"{title}, {name}: {told['residues']} residues, chi1 within 20 degrees {told['chi1']:.1f} %, in the surer "
            f"half {told['surer_half']:.1f} %, calibration error {told['error']:.1f} points "
            f"({told['error_before']:.1f} before)",
            "",
            "| confidence | residues | promised, % | right, % |",
            "|---|---|---|---|",
            *(
                f"| {100 * row['low']:.0f}-{100 * row['high']:.0f} | {row['n']:.0f} | {100 * row['confidence']:.1f} | "
                f"{100 * row['right']:.1f} |"
                for row in reliability(confidence, hit)
            ),
            "",
        ]
    return "\n".join(lines)
