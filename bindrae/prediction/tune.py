"""What refinement does on held-out complexes: ``python -m bindrae.prediction.tune DATA MODEL --weights 10,20``.

Prints accuracy and clashes of the model alone, of refinement with each pair of costs, and of the crystal. For choosing
`refine.WEIGHT` and `refine.POLISH_WEIGHT` on a validation side; a test set must not be used for that.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bindrae.data.batch import Sample, collate_ipa_batch
from bindrae.data.dataset import ShardDataset, even_part
from bindrae.data.layout import DataLayout
from bindrae.errors import exit_on_error
from bindrae.evaluation.metrics import ACCURACY_DEG, chi_errors, find_clashes, measured_chi_errors
from bindrae.model.ensemble import Decoder
from bindrae.model.model_file import load_model
from bindrae.prediction.networks import read_networks
from bindrae.prediction.refine import POLISH_WEIGHT, WEIGHT, Refined, Scene, refine_chis, unrefined
from bindrae.prediction.rotamers import (
    HeadInputs,
    Rotamers,
    propose_rotamers,
    run_model,
    turn_between,
)
from bindrae.progress import track
from bindrae.structure.torsions import residue_torsions


@dataclass
class Trial:
    """The model's answer for one complex of known structure, ready for refinement on the true backbone."""

    sample: Sample
    scene: Scene
    circle: Tensor  # [N, 7, 2]
    rotamers: Rotamers
    inputs: HeadInputs

    def answer(self) -> dict[str, Tensor]:
        """What the model said: with the sample all that `recall_trial` needs."""
        rotamers = self.rotamers
        said = {"circle": self.circle, "s": self.inputs.s, "aatype": self.inputs.aatype}
        return said | {"chi": rotamers.chi, "log_p": rotamers.log_p, "spread": rotamers.spread}

    def unrefined(self) -> Refined:
        """The model's own choice for each residue."""
        return unrefined(self.scene, self.circle, self.inputs)

    def chi_errors(self, found: Refined) -> np.ndarray:
        """[N, 4] degrees, measured on the atoms as `bindrae score` does; 180 where the prediction lacks a chi."""
        kind, linked = self.scene.aatype.numpy(), self.scene.linked.numpy()
        measured = residue_torsions(found.xyz.numpy(), found.mask.numpy(), kind, linked)
        return measured_chi_errors(*measured, self.sample["torsion_angles"][:, 3:].numpy(), kind)

    def turns_to_truth(self, circle: Tensor, row: np.ndarray) -> np.ndarray:
        """[R, 4] turns (radians) from the chis of `circle` [R, 7, 2] to the truth, NaN where there is none."""
        true, defined = (self.sample[name][row, 3:] for name in ("torsion_angles", "torsion_mask"))
        turns = turn_between(torch.atan2(*circle[:, 3:].unbind(-1)), true, self.scene.aatype[row])
        return torch.where(defined, turns, torch.nan).numpy()

    def candidate_errors(self, circle: Tensor, row: np.ndarray) -> np.ndarray:
        """[V, 4] degrees, of V candidates for the residues `row`."""
        chi = torch.atan2(*circle[:, 3:].unbind(-1)).numpy()
        return chi_errors(chi, self.sample["torsion_angles"][row, 3:].numpy(), self.scene.aatype.numpy()[row])


def try_sample(model: Decoder, identifier: str, sample: Sample, geometry: bool = True) -> Trial:
    """Run the model on a complex of a shard; without `geometry` bonds and angles of its backbone are not read."""
    batch = collate_ipa_batch([(identifier, sample)])
    output, inputs = run_model(model, batch, geometry=geometry)
    circle = output.torsions.circle[0]
    scene = Scene.of_sample(sample, batch, circle)
    return Trial(sample, scene, circle, propose_rotamers(output, inputs, scene.movable), inputs)


def recall_trial(model: Decoder, identifier: str, sample: Sample, answer: Mapping[str, Tensor]) -> Trial:
    """What `try_sample` gave, from its `Trial.answer`, without running the model."""
    inputs = HeadInputs(model.head, answer["s"], answer["aatype"])
    rotamers = Rotamers(answer["chi"], answer["log_p"], answer["spread"], inputs if inputs.tells else None)
    scene = Scene.of_sample(sample, collate_ipa_batch([(identifier, sample)]), answer["circle"])
    return Trial(sample, scene, answer["circle"], rotamers, inputs)


def figures(trials: list[Trial], predict: Callable[[Trial], Refined]) -> dict[str, float]:
    """Accuracy (%) and clashes of one way to predict, pooled over residues and atoms.

    Returns
    -------
    dict of str to float
        ``chi1``, ``pocket_chi1``, ``all_chi`` and ``pocket_all_chi``: within 20 degrees, %. ``clash_pct``: clashing
        atoms, %.
        ``free_of_ligand_pct``: complexes without an atom that clashes with the ligand, %. ``seconds`` a complex.
    """
    hits: dict[str, list[np.ndarray]] = {"chi1": [], "pocket_chi1": [], "all_chi": [], "pocket_all_chi": []}
    clashing = atoms = free = 0
    seconds = 0.0
    for trial in trials:
        start = time.monotonic()
        found = predict(trial)
        seconds += time.monotonic() - start
        error, defined = trial.chi_errors(found), trial.sample["torsion_mask"][:, 3:].numpy()
        right = error < ACCURACY_DEG[0]
        with_chi = defined[:, 0]
        hits["chi1"].append(right[with_chi, 0])
        hits["pocket_chi1"].append(right[with_chi & trial.sample["contact"].numpy(), 0])
        whole = (right | ~defined).all(1)
        hits["all_chi"].append(whole[with_chi])
        hits["pocket_all_chi"].append(whole[with_chi & trial.sample["contact"].numpy()])
        scene = trial.scene
        clashes = find_clashes(
            found.xyz.numpy(), found.mask.numpy(), scene.aatype.numpy(), scene.linked.numpy(),
            scene.ligand_xyz.numpy(), scene.ligand_radius.numpy(),
        )  # fmt: skip
        clashing += int(clashes["protein"].sum())
        atoms += int(found.mask.sum())
        free += int(clashes["ligand"].sum() == 0)
    shares = {name: 100.0 * float(np.concatenate(parts).mean()) for name, parts in hits.items()}
    return shares | {
        "clash_pct": 100.0 * clashing / atoms,
        "free_of_ligand_pct": 100.0 * free / len(trials),
        "seconds": seconds / len(trials),
    }


def figures_table(trials: list[Trial], rows: Mapping[str, Callable[[Trial], Refined]]) -> str:
    """`figures` of several ways to predict, in Markdown."""
    lines = [
        "| | chi1, % | pocket, % | all chis, % | the same, pocket, % | clashing atoms, % | no ligand clash, % | s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, predict in rows.items():
        values = figures(trials, predict)
        lines.append(f"| {name} | " + " | ".join(f"{value:.2f}" for value in values.values()) + " |")
    return "\n".join(lines)


def crystal(trial: Trial) -> Refined:
    """The truth itself: what the figures say of a perfect prediction."""
    true = trial.sample["torsion_angles"]
    circle = torch.stack([torch.sin(true), torch.cos(true)], dim=-1)
    return Refined(circle, trial.sample["atom14"], trial.sample["atom14_mask"])


def _refined(trial: Trial, **how: Any) -> Refined:
    return refine_chis(trial.scene, trial.circle, trial.rotamers, **how)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bindrae.prediction.tune", description=__doc__)
    parser.add_argument("data", type=Path, help="data folder of the dataset: results/<dataset>/data")
    parser.add_argument("model", type=Path, help="model file")
    parser.add_argument("--side", default="val", help="side of the split; never the one that is tested on")
    parser.add_argument("--max-complexes", type=int, default=24, help="complexes at most, evenly over the side")
    parser.add_argument("--weights", default=f"{WEIGHT:g}", help="costs in the search (nats), separated by commas")
    parser.add_argument("--polish", default=f"{POLISH_WEIGHT:g}", help="costs in the gradient steps; 0 leaves them out")
    parser.add_argument("--no-geometry", action="store_true", help="read no bonds and angles of the backbones")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = load_model(given.model)
    dataset = even_part(ShardDataset(DataLayout(given.data), given.side), given.max_complexes)
    numbers = track(range(len(dataset)), len(dataset), "predict")
    trials = [try_sample(model, *dataset[i], geometry=not given.no_geometry) for i in numbers]
    networks = read_networks(given.model)
    rows: dict[str, Callable[[Trial], Refined]] = {"crystal": crystal, "model alone": Trial.unrefined}
    if networks is not None:
        rows["refined without networks"] = _refined
        if networks.turns is not None:
            rows["refined without turns"] = partial(_refined, networks=replace(networks, turns=None))
    for weight in map(float, given.weights.split(",")):
        for polish in map(float, given.polish.split(",")):
            rows[f"refined, {weight:g} and {polish:g}"] = partial(
                _refined, weight=weight, polish_weight=polish, networks=networks
            )
    print(f"{len(trials)} complexes, side {given.side}\n")
    print(figures_table(trials, rows))


if __name__ == "__main__":
    with exit_on_error():
        main()
