"""The loss of Stage-1. All terms act on the atoms that forward kinematics built, so torsions and geometry are one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor

from bindrae.config import TrainingSettings
from bindrae.data.batch import IPABatch
from bindrae.model.stage1 import Stage1Output
from bindrae.training.structure_losses import structure_losses
from bindrae.training.torsion_loss import torsion_loss

T = TypeVar("T", float, Tensor)
LOSS_NAMES = ("torsion", "fape", "distance", "clash")


def weighted_total(losses: Mapping[str, T], settings: TrainingSettings) -> T:
    """Sum of the terms that are there, each times its weight."""
    weights = (settings.weight_torsion, settings.weight_fape, settings.weight_distance, settings.weight_clash)
    terms = [weight * losses[name] for weight, name in zip(weights, LOSS_NAMES, strict=True) if name in losses]
    return sum(terms[1:], terms[0])


def stage1_loss(
    output: Stage1Output,
    batch: IPABatch,
    settings: TrainingSettings,
    step: int,
    hidden: Tensor | None = None,
    structure: bool = True,
) -> dict[str, Tensor]:
    """The losses of a batch.

    Parameters
    ----------
    output : Stage1Output
    batch : IPABatch
    settings : TrainingSettings
    step : int
        Steps done; the pocket weight rises over the first ``pocket_warmup_steps``.
    hidden : Tensor, optional
        [B, N] bool, residues whose side chain the network was not shown; those of the others do not count.
    structure : bool
        Compute the losses on atoms too.

    Returns
    -------
    dict of str to Tensor
        ``loss`` (the weighted total) and its terms, those that were computed; all float32 scalars.
    """
    with torch.autocast(batch.N.device.type, enabled=False):
        progress = 1.0 if settings.pocket_warmup_steps == 0 else min(1.0, step / settings.pocket_warmup_steps)
        weight = (1 + settings.pocket_kappa * progress * batch.w_res) * batch.node_mask
        losses = {
            "torsion": torsion_loss(
                output.torsions, batch, weight, settings.max_bfactor, settings.chi_smoothing_deg, hidden
            )
        }
        if structure:
            losses |= structure_losses(output, batch, weight, hidden)
        return {"loss": weighted_total(losses, settings), **losses}
