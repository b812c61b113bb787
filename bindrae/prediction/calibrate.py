"""Fit what a model needs besides its weights: ``python -m bindrae.prediction.calibrate DATA MODEL``.

On the validation side of a dataset's shards: the contact potential of refinement, then the confidence with and without
refinement. Prints what they are worth and writes both into the model file's metadata. Potentials are judged, and the
confidence is fitted, on complexes whose potential was fitted on the other half of the side; what is written is fitted
on all.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from bindrae.data.dataset import ShardDataset, even_part
from bindrae.data.layout import DataLayout
from bindrae.data.storage import atomic_path
from bindrae.evaluation.metrics import ACCURACY_DEG
from bindrae.model.heads import MultimodalHead
from bindrae.model.stage1 import load_model
from bindrae.prediction.confidence import (
    METADATA_KEY,
    Calibration,
    Calibrations,
    calibration_error,
    fit_calibration,
    reliability,
    top_half_accuracy,
)
from bindrae.prediction.contact_fit import fit_potential, gather_evidence
from bindrae.prediction.contacts import METADATA_KEY as CONTACTS_KEY
from bindrae.prediction.contacts import ContactPotential
from bindrae.prediction.refine import Refined, refine_chis
from bindrae.prediction.tune import Trial, figures_table, try_sample
from bindrae.progress import track

Judged = dict[str, tuple[np.ndarray, np.ndarray]]


def judge(trial: Trial, potential: ContactPotential | None) -> Judged:
    """Probability and success of every defined chi1 of a complex, on its true backbone.

    Returns
    -------
    dict of str to (mass, hit)
        ``refined`` and ``unrefined``: [K] probabilities before calibration and [K] bool.
    """
    defined = trial.sample["torsion_mask"][:, 3].numpy()
    judged: Judged = {}
    refined = refine_chis(trial.scene, trial.circle, trial.rotamers, potential=potential)
    for name, found in (("refined", refined), ("unrefined", trial.unrefined())):
        error = trial.chi_errors(found.circle)[:, 0]
        judged[name] = trial.chi1_probability(found.circle)[defined], (error < ACCURACY_DEG[0])[defined]
    return judged


def fit_halves(trials: list[Trial]) -> tuple[list[ContactPotential | None], ContactPotential | None]:
    """For each complex a potential fitted on the half that it is not in, and the one fitted on all.

    None where the head predicts no distribution, whose candidates are single.
    """
    if not trials or not isinstance(trials[0].inputs.head, MultimodalHead):
        return [None] * len(trials), None
    evidence = [gather_evidence(trial) for trial in track(trials, len(trials), "contacts")]
    whole = fit_potential(evidence)
    halves = [fit_potential(evidence[1::2]), fit_potential(evidence[::2])] if len(trials) > 1 else [whole]
    return [halves[i % len(halves)] for i in range(len(trials))], whole


def compare(trials: list[Trial], potentials: list[ContactPotential | None]) -> str:
    """Accuracy and clashes without and with the potentials, in Markdown."""
    own = dict(zip(map(id, trials), potentials, strict=True))
    rows: dict[str, Callable[[Trial], Refined]] = {
        "without contacts": lambda trial: refine_chis(trial.scene, trial.circle, trial.rotamers),
        "with contacts": lambda trial: refine_chis(trial.scene, trial.circle, trial.rotamers, potential=own[id(trial)]),
    }
    return figures_table(trials, rows)


def _joined(judged: list[Judged], name: str) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([j[name][0] for j in judged]), np.concatenate([j[name][1] for j in judged])


def fit(judged: list[Judged]) -> Calibrations:
    """Calibrations from complexes that the model has not been trained on."""

    def one(name: str) -> Calibration:
        mass, hit = _joined(judged, name)
        return fit_calibration(mass, hit)

    return Calibrations(one("refined"), one("unrefined"))


def store(path: Path, calibrations: Calibrations, output: Path, potential: ContactPotential | None = None) -> None:
    """Write a model file again with calibrations and a contact potential in its metadata."""
    with safe_open(path, "pt") as file:
        metadata = dict(file.metadata() or {})
    metadata[METADATA_KEY] = calibrations.to_json()
    metadata.pop(CONTACTS_KEY, None)
    if potential is not None:
        metadata[CONTACTS_KEY] = potential.to_json()
    weights = load_file(path)
    with atomic_path(output) as temporary:
        save_file(weights, temporary, metadata)


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
    parser = argparse.ArgumentParser(prog="python -m bindrae.prediction.calibrate", description=__doc__)
    parser.add_argument("data", type=Path, help="data folder of the dataset: results/<dataset>/data")
    parser.add_argument("model", type=Path, help="model file")
    parser.add_argument("--side", default="val", help="side of the split; never one that was trained on")
    parser.add_argument("--max-complexes", type=int, default=200, help="complexes at most, evenly over the side")
    parser.add_argument("--output", type=Path, help="model file to write; the same one by default")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = load_model(arguments.model)
    dataset = even_part(ShardDataset(DataLayout(arguments.data), arguments.side), arguments.max_complexes)
    trials = [try_sample(model, *dataset[i]) for i in track(range(len(dataset)), len(dataset), "predict")]
    potentials, whole = fit_halves(trials)
    if whole is not None and len(trials) > 1:
        print(f"{len(trials)} complexes, each with the potential fitted on the half that it is not in\n")
        print(compare(trials, potentials) + "\n", flush=True)
    pairs = zip(trials, potentials, strict=True)
    judged = [judge(trial, potential) for trial, potential in track(pairs, len(trials), "calibrate")]
    if len(trials) > 1:
        print(report(judged[1::2], fit(judged[::2]), "one half, calibrated on the other"))
    store(arguments.model, fit(judged), arguments.output or arguments.model, whole)


if __name__ == "__main__":
    main()
