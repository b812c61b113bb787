"""Validation: losses and figures over whole complexes, without crop, noise or dropout."""

from __future__ import annotations

from collections import defaultdict

import pandas as pd
import torch

from bindrae.config import TrainingSettings
from bindrae.data.batch import Sample, collate_ipa_batch
from bindrae.data.dataset import ShardDataset
from bindrae.evaluation.evaluate import score_dataset
from bindrae.evaluation.predictors import Atoms
from bindrae.evaluation.scoring import figures
from bindrae.model.stage1 import Stage1
from bindrae.training.losses import LOSS_NAMES, stage1_loss
from bindrae.training.parallel import World

FIGURES = {
    "chi1_acc20": ("overall", "chi1_acc20"),
    "all_chi_acc20": ("overall", "all_chi_acc20"),
    "sidechain_rmsd": ("overall", "sidechain_rmsd"),
    "fape_metric": ("overall", "fape"),
    "clash_atoms_pct": ("overall", "clash_atoms_pct"),
    "pocket_chi1_acc20": ("pocket", "chi1_acc20"),
    "pocket_irmsd": ("pocket", "irmsd"),
}
"""Figures of a validation: name in the record -> part and name in `scoring.figures`. The metric FAPE has no
weights, unlike the loss of that name."""
_NOTHING = dict.fromkeys(("loss", *LOSS_NAMES), 0.0)
HIGHER_IS_BETTER = frozenset({"chi1_acc20", "pocket_chi1_acc20"})


@torch.no_grad()
def validate(model: Stage1, dataset: ShardDataset, settings: TrainingSettings, world: World) -> dict[str, float]:
    """Mean losses and pooled figures of a side; chis are decoded from the model's own, as in prediction.

    Each process takes every ``world.size``-th complex; all return the figures of the whole side.

    Parameters
    ----------
    model : Stage1
        Left in training mode.
    dataset : ShardDataset
    settings : TrainingSettings
    world : World

    Returns
    -------
    dict of str to float
        ``loss`` and its terms, then those of ``FIGURES`` that are defined.
    """
    model.eval()
    sums: dict[str, float] = defaultdict(float)

    def predict(identifier: str, sample: Sample) -> Atoms:
        """Atoms for the figures; the losses of the same pass are added up on the way."""
        batch = collate_ipa_batch([(identifier, sample)]).to(world.device)
        output = model(batch)
        for name, value in stage1_loss(output, batch, settings, int(model.step)).items():
            sums[name] += value.item()
        return output.atom14[0].float().cpu().numpy(), output.atom14_mask[0].cpu().numpy()

    own = dataset.take(range(world.rank, len(dataset), world.size))
    tables = score_dataset(own, predict, "validate") if len(own) else None
    model.train()
    losses = {name: total / len(dataset) for name, total in world.sum(dict(sums) or _NOTHING).items()}
    scored = [part for part in world.gather(tables) if part is not None]
    residues, complexes = (
        pd.concat([table[kind].astype({"cluster": str}) for table in scored], ignore_index=True) for kind in (0, 1)
    )
    found = figures(residues, complexes, None)
    wanted = {name: found[part][figure]["value"] for name, (part, figure) in FIGURES.items()}
    return losses | {name: value for name, value in wanted.items() if value is not None}
