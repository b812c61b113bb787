"""The losses of Stage-1. All act on the atoms that forward kinematics built, so torsions and geometry are one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from bindrae.chem import residues as aa
from bindrae.chem.topology import CLASH_SEPARATION, CLASH_TOLERANCE, residue_separation, separation_through_bond
from bindrae.config import TrainingSettings
from bindrae.data.dataset import IPABatch
from bindrae.geometry.fape import fape_loss
from bindrae.geometry.kinematics import angles_to_circle
from bindrae.geometry.rigid import build_frames_from_3_points
from bindrae.model.heads import TorsionPrediction, bin_centres
from bindrae.model.neighbours import gather_rows, nearest
from bindrae.model.stage1 import Stage1Output
from bindrae.structure.torsions import CHI1

_PAIR_NEIGHBOURS = 16
_RESIDUE_CHUNK = 256
_SG = aa.ATOM14_NAMES[aa.TYPE_OF_NAME["CYS"]].index("SG")
T = TypeVar("T", float, Tensor)
LOSS_NAMES = ("torsion", "fape", "distance", "clash")


@cache
def _table(name: str, device: torch.device) -> Tensor:
    kinds = np.arange(aa.N_TYPES)
    cys = np.array(aa.TYPE_OF_NAME["CYS"])
    arrays = {
        "swap": aa.SWAP_SLOTS,
        "radius": aa.ATOM14_RADIUS,
        "pi_periodic": aa.CHI_PI_PERIODIC,
        "chi_atoms": aa.CHI_ATOMS,
        "free_inside": residue_separation() >= CLASH_SEPARATION,
        "free_across": separation_through_bond(kinds[:, None], aa.SLOT_C, kinds[None], aa.SLOT_N) >= CLASH_SEPARATION,
        "free_disulfide": separation_through_bond(cys, _SG, cys, _SG) >= CLASH_SEPARATION,
    }
    return torch.as_tensor(arrays[name], device=device)


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp_min(1e-6)


def rename_ambiguous(pred: Tensor, true: Tensor, mask: Tensor, aatype: Tensor) -> tuple[Tensor, Tensor]:
    """The truth with the names of symmetric atoms swapped wherever that is closer to the prediction.

    Parameters
    ----------
    pred, true : Tensor
        [..., 14, 3] atoms in one coordinate frame (A).
    mask : Tensor
        [..., 14] bool, atoms of the truth.
    aatype : Tensor
        [...] types.

    Returns
    -------
    true, mask : Tensor
        In the better naming.
    """
    swap = _table("swap", pred.device)[aatype]
    other = torch.gather(true, -2, swap.unsqueeze(-1).expand(*swap.shape, 3))
    other_mask = torch.gather(mask, -1, swap)
    with torch.no_grad():
        error = (((pred - true) ** 2).sum(-1) * mask).sum(-1)
        other_error = (((pred - other) ** 2).sum(-1) * other_mask).sum(-1)
        better = other_error < error
    return torch.where(better[..., None, None], other, true), torch.where(better[..., None], other_mask, mask)


def chi_trains(batch: IPABatch, max_bfactor: float | None) -> Tensor:
    """Chis that are defined and whose four atoms are well ordered: [B, N, 4] bool."""
    defined = batch.torsion_mask[..., CHI1:]
    if max_bfactor is None:
        return defined
    slots = _table("chi_atoms", batch.aatype.device)[batch.aatype]
    bfactor = torch.gather(batch.bfactor.unsqueeze(2).expand(-1, -1, 4, -1), -1, slots).amax(-1)
    return defined & (bfactor <= max_bfactor)


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


def neighbour_pairs(atoms: Tensor, mask: Tensor, k: int = _PAIR_NEIGHBOURS) -> tuple[Tensor, Tensor]:
    """Each residue's k nearest residues (itself among them) by CA.

    Parameters
    ----------
    atoms : Tensor
        [B, N, 14, 3] (A).
    mask : Tensor
        [B, N] bool.

    Returns
    -------
    index, valid : Tensor
        [B, N, K] and [B, N, K] bool.
    """
    ca = atoms[:, :, aa.SLOT_CA].detach()
    index, weight = nearest(ca, ca, mask, k)
    return index, (weight > 0) & mask.unsqueeze(-1)


def _chunks(index: Tensor) -> list[slice]:
    return [slice(start, start + _RESIDUE_CHUNK) for start in range(0, index.shape[1], _RESIDUE_CHUNK)]


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Distances between two sets of atoms: [..., P, 3] and [..., Q, 3] to [..., P, Q]; no gradient where they are 0."""
    shape = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (x.expand(*shape, *x.shape[-2:]).reshape(-1, *x.shape[-2:]) for x in (a, b))
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").unflatten(0, shape)


def distance_loss(
    pred: Tensor, true: Tensor, mask: Tensor, weight: Tensor, index: Tensor, valid: Tensor, clamp: float = 5.0
) -> Tensor:
    """Mean absolute error of the distances between heavy atoms of neighbouring residues (A).

    Parameters
    ----------
    pred, true : Tensor
        [B, N, 14, 3] (A).
    mask : Tensor
        [B, N, 14] bool, atoms of both.
    weight : Tensor
        [B, N] residue weights; a pair has the larger of its two.
    index, valid : Tensor
        [B, N, K] neighbours from `neighbour_pairs`.
    clamp : float
        Largest error of a pair (A).
    """

    def chunk(rows: slice, pred: Tensor) -> tuple[Tensor, Tensor]:
        near = index[:, rows]
        error = (
            _distances(pred[:, rows].unsqueeze(2), gather_rows(pred, near))
            - _distances(true[:, rows].unsqueeze(2), gather_rows(true, near))
        ).abs()
        pair_mask = mask[:, rows, None, :, None] & gather_rows(mask, near).unsqueeze(-2) & valid[:, rows, :, None, None]
        pair_weight = torch.maximum(weight[:, rows].unsqueeze(-1), gather_rows(weight, near))
        w = pair_mask * pair_weight[..., None, None]
        return (error.clamp(max=clamp) * w).sum(), w.sum()

    sums = [checkpoint(chunk, rows, pred, use_reentrant=False) for rows in _chunks(index)]
    return torch.stack([s for s, _ in sums]).sum() / torch.stack([w for _, w in sums]).sum().clamp_min(1e-6)


def clash_penalty(
    atoms: Tensor,
    mask: Tensor,
    aatype: Tensor,
    linked: Tensor,
    index: Tensor,
    valid: Tensor,
    ligand_xyz: Tensor,
    ligand_radius: Tensor,
    ligand_mask: Tensor,
    tolerance: float = CLASH_TOLERANCE,
) -> Tensor:
    """Squared overlap of atoms that come too close, summed over an atom's partners and averaged over atoms (A^2).

    Pairs within three bonds, inside one ring and of disulfides are left out; metals have radius 0.

    Parameters
    ----------
    atoms, mask : Tensor
        [B, N, 14, 3] (A) and [B, N, 14] bool.
    aatype, linked : Tensor
        [B, N] types and peptide bonds to the next row.
    index, valid : Tensor
        [B, N, K] neighbours from `neighbour_pairs`.
    ligand_xyz, ligand_radius, ligand_mask : Tensor
        [B, L, 3], [B, L] (A), [B, L] bool.
    tolerance : float
        Overlap that costs nothing (A).
    """
    radius = _table("radius", atoms.device)[aatype]
    number = torch.arange(atoms.shape[1], device=atoms.device)
    total = atoms.new_zeros(())
    for rows in _chunks(index):
        near = index[:, rows]
        # Few pairs overlap: find them without gradients, then differentiate those alone.
        with torch.no_grad():
            touching = radius[:, rows, None, :, None] + gather_rows(radius, near).unsqueeze(-2) - tolerance
            touching = _distances(atoms[:, rows].unsqueeze(2), gather_rows(atoms, near)) < touching
            touching &= mask[:, rows, None, :, None] & gather_rows(mask, near).unsqueeze(-2)
            touching &= valid[:, rows, :, None, None] & _may_clash(aatype, linked, number[rows], near, rows)
            batch, row, place, slot, other_slot = torch.nonzero(touching, as_tuple=True)
            other = near[batch, row, place]
            row = row + rows.start
        # Each pair is met from both sides.
        overlap = radius[batch, row, slot] + radius[batch, other, other_slot] - tolerance
        total = total + 0.5 * _squared_overlap(overlap, atoms[batch, row, slot], atoms[batch, other, other_slot])
        if ligand_xyz.shape[1]:
            with torch.no_grad():
                touching = radius[:, rows].unsqueeze(-1) + ligand_radius[:, None, None, :] - tolerance
                gap = _distances(atoms[:, rows].flatten(1, 2), ligand_xyz).unflatten(1, (-1, aa.N_SLOTS))
                touching = gap < touching
                touching &= mask[:, rows].unsqueeze(-1) & (ligand_mask & (ligand_radius > 0))[:, None, None, :]
                batch, row, slot, atom = torch.nonzero(touching, as_tuple=True)
                row = row + rows.start
            overlap = radius[batch, row, slot] + ligand_radius[batch, atom] - tolerance
            total = total + _squared_overlap(overlap, atoms[batch, row, slot], ligand_xyz[batch, atom])
    return total / mask.sum().clamp_min(1)


def _squared_overlap(reach: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Sum of (reach - distance)^2 over pairs: [P], [P, 3], [P, 3]."""
    distance = torch.sqrt(((a - b) ** 2).sum(-1) + 1e-6)
    return (torch.relu(reach - distance) ** 2).sum()


def _may_clash(aatype: Tensor, linked: Tensor, number: Tensor, near: Tensor, rows: slice) -> Tensor:
    """[B, n, K, 14, 14] whether enough bonds lie between the atoms of each residue and its neighbours."""
    device = aatype.device
    own, other = aatype[:, rows].unsqueeze(-1).expand_as(near), gather_rows(aatype, near)
    step = near - number.view(1, -1, 1)
    forward = (step == 1) & linked[:, rows].unsqueeze(-1)
    backward = (step == -1) & gather_rows(linked, near)
    cys = aa.TYPE_OF_NAME["CYS"]
    free = torch.ones(*near.shape, aa.N_SLOTS, aa.N_SLOTS, dtype=torch.bool, device=device)
    inside, across = _table("free_inside", device), _table("free_across", device)
    free[step == 0] = inside[own[step == 0]]
    free[forward] = across[own[forward], other[forward]]
    free[backward] = across[other[backward], own[backward]].transpose(-1, -2)
    free[(own == cys) & (other == cys) & (step != 0)] &= _table("free_disulfide", device)
    return free


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
            losses |= _structure_losses(output, batch, weight, hidden)
        return {"loss": weighted_total(losses, settings), **losses}


def _structure_losses(
    output: Stage1Output, batch: IPABatch, weight: Tensor, hidden: Tensor | None
) -> dict[str, Tensor]:
    own = output.atom14_mask
    if hidden is not None:
        beyond = torch.arange(aa.N_SLOTS, device=own.device) > aa.SLOT_CB
        own = own & ~(beyond & ~hidden.unsqueeze(-1))
    true, true_mask = rename_ambiguous(output.atom14, batch.atom14, batch.atom14_mask, batch.aatype)
    mask = true_mask & own
    true_frames = build_frames_from_3_points(true[:, :, 0], true[:, :, 1], true[:, :, 2])
    index, valid = neighbour_pairs(output.atom14, batch.node_mask)
    return {
        "fape": fape_loss(
            output.frames, true_frames, output.atom14.flatten(1, 2), true.flatten(1, 2), batch.node_mask,
            mask.flatten(1), weight.unsqueeze(-1).expand(-1, -1, aa.N_SLOTS).flatten(1),
        ),
        "distance": distance_loss(output.atom14, true, mask, weight, index, valid),
        "clash": clash_penalty(
            output.atom14, own, batch.aatype, batch.linked, index, valid, batch.ligand_xyz, batch.ligand_radius,
            batch.ligand_mask,
        ),
    }  # fmt: skip
