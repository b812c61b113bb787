"""The torsion loss: likelihood of each chi's bins, 1 - cos of single directions."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from bindrae.chem import residues as aa
from bindrae.data.batch import IPABatch
from bindrae.geometry.kinematics import angles_to_circle
from bindrae.model.heads import TorsionPrediction, bin_centres
from bindrae.structure.torsions import CHI1


@cache
def _table(name: str, device: torch.device) -> Tensor:
    return torch.as_tensor({"pi_periodic": aa.CHI_PI_PERIODIC, "chi_atoms": aa.CHI_ATOMS}[name], device=device)


def chi_trains(batch: IPABatch, max_bfactor: float | None) -> Tensor:
    """Chis that are defined and whose four atoms are well ordered: [B, N, 4] bool."""
    defined = batch.torsion_mask[..., CHI1:]
    if max_bfactor is None:
        return defined
    slots = _table("chi_atoms", batch.aatype.device)[batch.aatype]
    bfactor = torch.gather(batch.bfactor.unsqueeze(2).expand(-1, -1, 4, -1), -1, slots).amax(-1)
    return defined & (bfactor <= max_bfactor)


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp_min(1e-6)


def torsion_loss(
    pred: TorsionPrediction,
    batch: IPABatch,
    weight: Tensor,
    max_bfactor: float | None = 40.0,
    smoothing_deg: float = 0.0,
    hidden: Tensor | None = None,
) -> Tensor:
    """Error of the torsions: 1 - cos for single directions, likelihood and offset for the multimodal head.

    A chi that is the same after half a turn is compared with the nearer of its two values.

    Parameters
    ----------
    pred : TorsionPrediction
    batch : IPABatch
    weight : Tensor
        [B, N] residue weights.
    max_bfactor : float or None
        See `chi_trains`.
    smoothing_deg : float
        Width of the target distribution of a chi (degrees); 0 is the true bin alone.
    hidden : Tensor, optional
        [B, N] bool, residues whose side chain the network was not shown; only their chis count. All by default.

    Returns
    -------
    Tensor
        Scalar.
    """
    true = angles_to_circle(batch.torsion_angles)
    cosine = (pred.circle * true).sum(-1)
    norm = (torch.sqrt((pred.raw**2).sum(-1) + 1e-8) - 1) ** 2
    backbone = batch.torsion_mask[..., :CHI1] * weight.unsqueeze(-1)
    trains = chi_trains(batch, max_bfactor)
    chi = (trains if hidden is None else trains & hidden.unsqueeze(-1)) * weight.unsqueeze(-1)
    periodic = _table("pi_periodic", weight.device)[batch.aatype]
    if pred.chi_logits is None or pred.chi_offsets is None:
        chi_cosine = torch.where(periodic, cosine[..., CHI1:].abs(), cosine[..., CHI1:])
        error = 1 - torch.cat([cosine[..., :CHI1], chi_cosine], dim=-1) + 0.02 * norm
        return _weighted_mean(error, torch.cat([backbone, chi], dim=-1))
    backbone_error = _weighted_mean(1 - cosine[..., :CHI1] + 0.02 * norm[..., :CHI1], backbone)
    return backbone_error + _weighted_mean(
        _mode_error(pred.chi_logits, pred.chi_offsets, batch, periodic, math.radians(smoothing_deg)), chi
    )


def _mode_error(logits: Tensor, offsets: Tensor, batch: IPABatch, periodic: Tensor, smoothing: float) -> Tensor:
    """[B, N, 4] cross-entropy with the target distribution plus the offset's error in the true bin."""
    bins = logits.shape[-1]
    width = 2 * math.pi / bins
    place = (batch.torsion_angles[..., CHI1:] + math.pi) / width
    true_bin = place.floor().long().clamp(0, bins - 1)
    remainder = (place - true_bin - 0.5) * width
    other_bin = (true_bin + bins // 2) % bins
    log_p = torch.log_softmax(logits, dim=-1)
    # Half a turn apart, the two bins of a pi-periodic chi are one outcome.
    log_p = torch.where(periodic.unsqueeze(-1), torch.logaddexp(log_p, log_p.roll(bins // 2, -1)), log_p)
    if smoothing:
        # A wrapped normal is, for widths far below half a turn, all but exp(cos(d) / width^2) (von Mises).
        centres = bin_centres(bins).to(logits)
        off = batch.torsion_angles[..., CHI1:].unsqueeze(-1) - centres
        target = torch.softmax((torch.cos(off) - 1) / smoothing**2, dim=-1)
        likelihood = (target * log_p).sum(-1)
    else:
        likelihood = torch.gather(log_p, -1, true_bin.unsqueeze(-1)).squeeze(-1)
    at_true = torch.gather(offsets, -1, true_bin.unsqueeze(-1)).squeeze(-1)
    at_other = torch.gather(offsets, -1, other_bin.unsqueeze(-1)).squeeze(-1)
    miss = (at_true - remainder).abs() / width
    miss_other = (at_other - remainder).abs() / width
    return -likelihood + torch.where(periodic, 0.5 * (miss + miss_other), miss)
