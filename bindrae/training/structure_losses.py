"""The losses on atoms: FAPE, distances between neighbours, clashes; the names of symmetric atoms are free."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from bindrae.chem import residues as aa
from bindrae.chem.topology import CLASH_SEPARATION, CLASH_TOLERANCE, residue_separation, separation_through_bond
from bindrae.data.batch import IPABatch
from bindrae.geometry.fape import fape_loss
from bindrae.geometry.rigid import build_frames_from_3_points
from bindrae.model.neighbours import gather_rows, nearest
from bindrae.model.stage1 import Stage1Output

_PAIR_NEIGHBOURS = 16
_RESIDUE_CHUNK = 256
_SG = aa.ATOM14_NAMES[aa.TYPE_OF_NAME["CYS"]].index("SG")


@cache
def _table(name: str, device: torch.device) -> Tensor:
    kinds = np.arange(aa.N_TYPES)
    cys = np.array(aa.TYPE_OF_NAME["CYS"])
    arrays = {
        "swap": aa.SWAP_SLOTS,
        "radius": aa.ATOM14_RADIUS,
        "free_inside": residue_separation() >= CLASH_SEPARATION,
        "free_across": separation_through_bond(kinds[:, None], aa.SLOT_C, kinds[None], aa.SLOT_N) >= CLASH_SEPARATION,
        "free_disulfide": separation_through_bond(cys, _SG, cys, _SG) >= CLASH_SEPARATION,
    }
    return torch.as_tensor(arrays[name], device=device)


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


def structure_losses(output: Stage1Output, batch: IPABatch, weight: Tensor, hidden: Tensor | None) -> dict[str, Tensor]:
    """``fape``, ``distance`` and ``clash`` of a batch, float32 scalars.

    Parameters
    ----------
    output : Stage1Output
    batch : IPABatch
    weight : Tensor
        [B, N] residue weights.
    hidden : Tensor or None
        [B, N] bool, residues whose side chain the network was not shown; beyond CB those of the others do not count.
    """
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
