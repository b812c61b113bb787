"""Fit the confidence of a model on held-out complexes: ``python -m bindrae.prediction.calibrate DATA MODEL``.

Predicts the validation side of a dataset's shards with and without refinement, prints what confidence promises and what
comes of it, and writes the calibration into the model file's metadata. Fit on one half of the complexes and judged on
the other, then fit on all.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bindrae.data.batch import Sample
from bindrae.data.dataset import ShardDataset, even_part
from bindrae.data.layout import DataLayout
from bindrae.errors import exit_on_error
from bindrae.evaluation.metrics import ACCURACY_DEG
from bindrae.model.ensemble import Decoder
from bindrae.model.export import rewrite_metadata
from bindrae.model.model_file import load_model
from bindrae.prediction.confidence import (
    METADATA_KEY,
    Calibration,
    Calibrations,
    calibration_error,
    fit_calibration,
    reliability,
    top_half_accuracy,
)
from bindrae.prediction.networks import RefinementNetworks, read_networks
from bindrae.prediction.refine import refine_chis
from bindrae.prediction.side_parser import side_parser
from bindrae.prediction.tune import try_sample
from bindrae.progress import track

Judged = dict[str, tuple[np.ndarray, np.ndarray]]


def judge_sample(model: Decoder, identifier: str, sample: Sample, networks: RefinementNetworks | None = None) -> Judged:
    """Probability and success of every defined chi1 of a complex, on its true backbone.

    Parameters
    ----------
    model : Stage1 or Ensemble
    identifier : str
    sample : dict of str to Tensor
        As `ShardDataset` gives it.
    networks : RefinementNetworks, optional
        Of the refinement.

    Returns
    -------
    dict of str to (mass, hit)
        ``refined`` and ``unrefined``: [K] probabilities before calibration and [K] bool.
    """
    trial = try_sample(model, identifier, sample)
    defined = sample["torsion_mask"][:, 3].numpy()
    judged: Judged = {}
    refined = refine_chis(trial.scene, trial.circle, trial.rotamers, networks=networks)
    for name, found in (("refined", refined), ("unrefined", trial.unrefined())):
        error = trial.chi_errors(found.circle)[:, 0]
        sure = np.ones(len(error)) if found.chi1_probability is None else found.chi1_probability
        judged[name] = sure[defined], (error < ACCURACY_DEG[0])[defined]
    return judged


def _joined(judged: list[Judged], name: str) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([j[name][0] for j in judged]), np.concatenate([j[name][1] for j in judged])


def fit(judged: list[Judged]) -> Calibrations:
    """Calibrations from complexes that the model has not been trained on."""

    def one(name: str) -> Calibration:
        mass, hit = _joined(judged, name)
        return fit_calibration(mass, hit)

    return Calibrations(one("refined"), one("unrefined"))


def store(path: Path, calibrations: Calibrations, output: Path) -> None:
    """Write a model file again with calibrations in its metadata."""
    rewrite_metadata(path, {METADATA_KEY: calibrations.to_json()}, output)


def report(judged: list[Judged], calibrations: Calibrations, title: str) -> str:
    """Reliability of both kinds of prediction, in Markdown."""
    lines = []
    for name in ("refined", "unrefined"):
        mass, hit = _joined(judged, name)
        confidence = getattr(calibrations, name)(mass)
        after, before = (100 * calibration_error(x, hit) for x in (confidence, mass))
        lines += [
            f"{title}, {name}: {len(hit)} residues, chi1 within 20 degrees {100 * hit.mean():.1f} %, in the surer half "
            f"{100 * top_half_accuracy(mass, hit):.1f} %, calibration error {after:.1f} points ({before:.1f} before)",
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


def main() -> None:
    """Fit, print and write."""
    parser = side_parser(
        "bindrae.prediction.calibrate", __doc__, "val", "; never one that was trained on", 200, writes=True
    )
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = load_model(arguments.model)
    dataset = even_part(ShardDataset(DataLayout(arguments.data), arguments.side), arguments.max_complexes)
    networks = read_networks(arguments.model)
    judged = [judge_sample(model, *dataset[i], networks) for i in track(range(len(dataset)), len(dataset), "calibrate")]
    if len(dataset) > 1:
        print(report(judged[1::2], fit(judged[::2]), "one half, calibrated on the other"))
    store(arguments.model, fit(judged), arguments.output or arguments.model)


if __name__ == "__main__":
    with exit_on_error():
        main()
