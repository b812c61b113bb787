"""Which true side chains a training batch is shown: the network learns to fit a side chain to those around it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bindrae.chem import residues as aa
from bindrae.config import TrainingSettings
from bindrae.data.batch import IPABatch
from bindrae.geometry.kinematics import angles_to_circle
from bindrae.model.context import KnownSidechains
from bindrae.structure.torsions import CHI1


def show_sidechains(batch: IPABatch, settings: TrainingSettings, generator: torch.Generator) -> KnownSidechains:
    """Draw side chains to show; the others are to be predicted.

    At prediction the side chains that a pass is shown are its own earlier ones, and some of them are wrong. So some are
    wrong here: they get the chis of another residue of their type, and all chis some noise.

    Parameters
    ----------
    batch : IPABatch
        On the CPU.
    settings : TrainingSettings
    generator : torch.Generator
        All draws are made from it.

    Returns
    -------
    KnownSidechains
        Chis on the unit circle, and which are shown; residues whose side chain is not whole in the truth are not.
    """
    whole = (batch.torsion_mask[..., CHI1:] | ~torch.as_tensor(aa.CHI_MASK)[batch.aatype]).all(-1)
    candidates = whole & batch.torsion_mask[..., CHI1] & batch.node_mask
    count = len(batch.pdb_ids)
    most = torch.rand(count, 1, generator=generator) * settings.shown_most
    shown = candidates & (torch.rand(candidates.shape, generator=generator) < most)
    wrong_share = torch.rand(count, 1, generator=generator) * settings.shown_wrong
    wrong = shown & (torch.rand(candidates.shape, generator=generator) < wrong_share)
    chi = batch.torsion_angles[..., CHI1:]
    chi = torch.where(wrong.unsqueeze(-1), _of_another(chi, candidates, batch.aatype, generator), chi)
    noise = torch.randn(chi.shape, generator=generator) * math.radians(settings.shown_noise_deg)
    return KnownSidechains(angles_to_circle(chi + noise), shown)


def _of_another(chi: Tensor, candidates: Tensor, aatype: Tensor, generator: torch.Generator) -> Tensor:
    """[B, N, 4] the chis of a random candidate of the batch with the same type, for each candidate."""
    kind, values = aatype[candidates], chi[candidates]
    # Two random orders by type: the same place in both is the same type.
    to, taken = (
        torch.argsort(kind + torch.rand(len(kind), generator=generator, dtype=torch.float64)) for _ in range(2)
    )
    out = torch.empty_like(values)
    out[to] = values[taken]
    return chi.masked_scatter(candidates.unsqueeze(-1), out)
