"""The last tenths of an angstrom: gradient steps on the chis of residues that still touch something."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from bindrae.chem import residues as aa
from bindrae.chem.topology import CLASH_TOLERANCE
from bindrae.geometry.kinematics import angles_to_circle, torsions_to_atoms
from bindrae.geometry.rigid import Frames
from bindrae.prediction import overlap as ov
from bindrae.prediction.obstacles import Obstacles

_LOOK_AHEAD = 1.0  # pairs that may come to touch during the steps (A)
_FIXED_WEIGHT = 800.0
"""Nats for 1 A of overlap with what the input has beside the protein, and for disulfides and stated bonds."""
_CHI1_WIDTH = 0.5
"""Width that chi1 is given over that of its mode: it moves the whole side chain, and was turned already."""
_STEPS, _RATE, _DECAY = 30, math.radians(1.5), (0.8, 0.9)
_PRO = aa.TYPE_OF_NAME["PRO"]


def polish(
    frames: Frames, circle: Tensor, spread: Tensor, xyz: Tensor, mask: Tensor, aatype: Tensor, linked: Tensor,
    movable: Tensor, obstacles: Obstacles, weight: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Turn chis a little where atoms overlap.

    The energy is the squared overlap times a weight plus, for each chi, half the square of its turn in units of the
    mode's own width (of half of it for chi1): the model's distribution, taken as normal near its mode. Overlaps with
    the ligand and other molecules weigh more than those within the protein, of which crystals have some. A bond that
    the input states costs what it is too long or too short in the same way. Prolines stay: their ring would open.

    Parameters
    ----------
    frames : (R [N, 3, 3], t [N, 3])
        On which side chains are built (A).
    circle : Tensor
        [N, 7, 2] torsions.
    spread : Tensor
        [N, 4] width of the mode of each chi (radians).
    xyz, mask : Tensor
        [N, 14, 3] (A) and [N, 14] present atoms.
    aatype, linked : Tensor
        [N].
    movable : Tensor
        [N] bool.
    obstacles : Obstacles
    weight : float
        Nats for an overlap of 1 A within the protein.

    Returns
    -------
    circle, xyz : Tensor
        [N, 7, 2] and [N, 14, 3] after.
    """
    may_turn = movable & (aatype != _PRO) & torch.as_tensor(aa.CHI_MASK)[aatype].any(-1)
    # Proline's ring atoms stand still, others move when their residue does.
    kind = aatype.numpy()
    protein, ligand, touching = _pairs(xyz.numpy(), mask.numpy(), kind, linked.numpy(), may_turn.numpy(), obstacles)
    rows = torch.as_tensor(np.flatnonzero(touching & may_turn.numpy()))
    if not len(rows):
        return circle, xyz
    start = torch.atan2(*circle[rows, 3:].unbind(-1))
    turn = torch.zeros_like(start).requires_grad_()
    local_frames = frames[0][rows], frames[1][rows]
    fixed = xyz.clone()

    def build() -> tuple[Tensor, Tensor]:
        turned = torch.cat([circle[rows, :3], angles_to_circle(start + turn)], dim=1)
        built, _ = torsions_to_atoms(local_frames, turned, aatype[rows])
        atoms = torch.cat([fixed[rows, : aa.SLOT_CB + 1], built[:, aa.SLOT_CB + 1 :]], dim=1)
        return turned, fixed.index_copy(0, rows, atoms)

    (ri, si, rj, sj, reach, bridge), (rl, sl, al, ligand_reach, bond) = protein, ligand
    ligand_xyz = torch.as_tensor(obstacles.organic().xyz, dtype=xyz.dtype)
    width = spread[rows] * torch.tensor([_CHI1_WIDTH] + [1.0] * (aa.N_CHI - 1))
    weights = torch.where(bridge, _FIXED_WEIGHT, weight)
    # Adam (Kingma and Ba, 2015) by hand: torch.optim takes a second to import.
    mean, square = torch.zeros_like(start), torch.zeros_like(start)
    for step in range(1, _STEPS + 1):
        with torch.enable_grad():
            _, atoms = build()
            d = torch.sqrt(((atoms[ri, si] - atoms[rj, sj]) ** 2).sum(-1) + 1e-6)
            miss = torch.where(bridge, d - ov.DISULFIDE_ANGSTROM, torch.relu(reach - d))
            energy = (weights * miss**2).sum() + 0.5 * ((turn / width) ** 2).sum()
            if len(al):
                d = torch.sqrt(((atoms[rl, sl] - ligand_xyz[al]) ** 2).sum(-1) + 1e-6)
                miss = torch.where(bond, d - ligand_reach, torch.relu(ligand_reach - d))
                energy = energy + _FIXED_WEIGHT * (miss**2).sum()
            (slope,) = torch.autograd.grad(energy, turn)
        mean = _DECAY[0] * mean + (1 - _DECAY[0]) * slope
        square = _DECAY[1] * square + (1 - _DECAY[1]) * slope**2
        with torch.no_grad():
            scale = (square / (1 - _DECAY[1] ** step)).sqrt() + 1e-8
            turn -= _RATE * mean / (1 - _DECAY[0] ** step) / scale
    with torch.no_grad():
        turned, atoms = build()
        out = circle.clone()
        out[rows] = turned
        return out, atoms


def _pairs(
    xyz: np.ndarray, mask: np.ndarray, kind: np.ndarray, linked: np.ndarray, movable: np.ndarray, obstacles: Obstacles
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], np.ndarray]:
    """Pairs of a residue that may turn with protein and with obstacles, and which residues overlap or bind now."""
    row, slot = np.nonzero(mask)
    turns = movable[row] & (slot > aa.SLOT_CB)
    own = np.flatnonzero(turns)
    at = xyz[row, slot].astype(np.float64)
    i, j, d = ov.close_pairs(at[own], at, ov.REACH + _LOOK_AHEAD)
    i = own[i]
    once = ~turns[j] | (i < j)
    i, j, d = i[once], j[once], d[once]
    bridge = (kind[row[i]] == ov.CYS) & (kind[row[j]] == ov.CYS) & (slot[i] == ov.SG) & (slot[j] == ov.SG)
    bridge &= (d < ov.REACH) & (row[i] != row[j])
    free = ov.may_clash(row[i], slot[i], row[j], slot[j], kind, linked) & ~(
        (slot[i] == ov.SG) & (slot[j] == ov.SG) & (d < ov.REACH)
    )
    i, j, d, bridge = (x[free | bridge] for x in (i, j, d, bridge))
    radius = aa.ATOM14_RADIUS[kind[row], slot]
    near = (ov.overlap(d, radius[i], radius[j]) > 0) | bridge
    touching = np.zeros(len(kind), dtype=bool)
    touching[row[i[near]]] = touching[row[j[near]]] = True
    organic = obstacles.organic()
    li, lj, ld = ov.close_pairs(at[own], organic.xyz.astype(np.float64), ov.LIGAND_REACH + _LOOK_AHEAD)
    li = own[li]
    apart = organic.may_clash(row[li], slot[li], lj, kind)
    li, lj, ld = li[apart], lj[apart], ld[apart]
    touching[row[li[ov.overlap(ld, radius[li], organic.radius[lj]) > 0]]] = True
    reach = radius[i] + radius[j] - CLASH_TOLERANCE + ov.MARGIN
    ligand_reach = radius[li] + organic.radius[lj] - CLASH_TOLERANCE + ov.MARGIN
    lengths = [float(np.linalg.norm(xyz[b.row, b.slot] - organic.xyz[b.atom])) for b in organic.bonds]
    bonds = [
        bond
        for bond, length in zip(organic.bonds, lengths, strict=True)
        if movable[bond.row] and bond.slot > aa.SLOT_CB and abs(length - bond.length) < _LOOK_AHEAD
    ]
    bond_row, bond_slot, bond_atom = (
        np.array([getattr(b, name) for b in bonds], np.int64) for name in ("row", "slot", "atom")
    )
    touching[bond_row] = True
    protein = tuple(torch.as_tensor(x) for x in (row[i], slot[i], row[j], slot[j], reach.astype(np.float32), bridge))
    ends = (
        np.append(row[li], bond_row), np.append(slot[li], bond_slot), np.append(lj, bond_atom),
        np.append(ligand_reach, [b.length for b in bonds]).astype(np.float32),
        np.arange(len(li) + len(bonds)) >= len(li),
    )  # fmt: skip
    ligand = tuple(torch.as_tensor(x) for x in ends)
    return protein, ligand, touching
