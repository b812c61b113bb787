"""Candidates of residues that the input says are bonded: side chains turned until they reach their partner."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from bindrae.chem import residues as aa
from bindrae.geometry.kinematics import angles_to_circle
from bindrae.prediction.rotamers import Rotamers
from bindrae.prediction.scene import Scene

_STAGGERED = tuple(math.radians(degrees) for degrees in (-60.0, 60.0, 180.0))
_STEPS, _RATE = 30, math.radians(5.0)
_PULL = 500.0  # nats for 1 A that a bond is too long or too short
_STRETCH_ANGSTROM = 0.3  # a bond that is off by less counts as reached
_LEAST_LOG_P = -9.0  # of a turned candidate: less likely than all that the model proposes


def reach_partners(scene: Scene, circle: Tensor, rotamers: Rotamers) -> Rotamers:
    """Add candidates whose bonded atom stands where its bond wants it.

    The model's candidates, and its first with chi1 in each staggered place, are turned by gradient steps toward the
    partner. Those that reach it are added; the farther one was turned, the less likely it is held to be.

    Parameters
    ----------
    scene : Scene
    circle : Tensor
        [N, 7, 2] torsions of the model.
    rotamers : Rotamers

    Returns
    -------
    Rotamers
        The same object where no residue that moves has a bond.
    """
    obstacles = scene.obstacles.organic()
    bonds = {bond.row: bond for bond in obstacles.bonds if bond.slot > aa.SLOT_CB and bool(scene.movable[bond.row])}
    if not bonds:
        return rotamers
    parts = [_starts(rotamers, row) for row in bonds]
    counts = [len(chi) for chi, _, _ in parts]
    chi, log_p, spread = (torch.cat(column) for column in zip(*parts, strict=True))
    repeats = torch.tensor(counts)
    partner = torch.as_tensor(np.stack([obstacles.xyz[bond.atom] for bond in bonds.values()]), dtype=chi.dtype)
    length = torch.tensor([bond.length for bond in bonds.values()])
    rows, slots = torch.tensor(list(bonds)), torch.tensor([bond.slot for bond in bonds.values()])
    ends = (each.repeat_interleave(repeats, 0) for each in (rows, slots, partner, length))
    turn, miss = _turn_toward(scene, circle, chi, spread, *ends)
    reached = torch.split(miss < _STRETCH_ANGSTROM, counts)
    log_p = (log_p - 0.5 * ((turn / spread) ** 2).sum(-1)).clamp_min(_LEAST_LOG_P)
    n, most = len(rotamers.chi), max(counts)
    more = Rotamers(torch.zeros(n, most, aa.N_CHI), torch.full((n, most), -torch.inf), torch.ones(n, most, aa.N_CHI))
    split = (torch.split(each, counts) for each in (chi + turn, log_p, spread))
    for row, there, own_chi, own_log_p, own_spread in zip(bonds, reached, *split, strict=True):
        k = int(there.sum())
        more.chi[row, :k], more.log_p[row, :k], more.spread[row, :k] = (
            own_chi[there], own_log_p[there], own_spread[there],
        )  # fmt: skip
    chi, log_p, spread = (
        torch.cat([getattr(rotamers, name), getattr(more, name)], dim=1) for name in ("chi", "log_p", "spread")
    )
    return Rotamers(chi, log_p, spread, rotamers.inputs)


def _starts(rotamers: Rotamers, row: int) -> tuple[Tensor, Tensor, Tensor]:
    """What is turned: chi [K, 4], log probability [K] and spread [K, 4] of a residue."""
    own = torch.isfinite(rotamers.log_p[row])
    chi, log_p, spread = rotamers.chi[row, own], rotamers.log_p[row, own], rotamers.spread[row, own]
    turned = chi[:1].repeat(len(_STAGGERED), 1)
    turned[:, 0] = torch.tensor(_STAGGERED)
    return (
        torch.cat([chi, turned]),
        torch.cat([log_p, torch.full((len(turned),), _LEAST_LOG_P)]),
        torch.cat([spread, spread[:1].repeat(len(turned), 1)]),
    )


def _turn_toward(
    scene: Scene, circle: Tensor, chi: Tensor, spread: Tensor, rows: Tensor, slots: Tensor, partner: Tensor,
    length: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Turns [K, 4] of K candidates (radians), and by how much the bond of each is then off [K] (A)."""
    backbone, each = circle[rows, :3], torch.arange(len(rows))

    def miss(turn: Tensor) -> Tensor:
        xyz, _ = scene.build(torch.cat([backbone, angles_to_circle(chi + turn)], dim=1), rows)
        return torch.sqrt(((xyz[each, slots] - partner) ** 2).sum(-1) + 1e-6) - length

    turn = torch.zeros_like(chi)
    for step in range(_STEPS):
        with torch.enable_grad():
            turn.requires_grad_()
            energy = (_PULL * miss(turn) ** 2 + 0.5 * ((turn / spread) ** 2).sum(-1)).sum()
            (slope,) = torch.autograd.grad(energy, turn)
        with torch.no_grad():
            # Steps of a length of their own, which shrinks: each candidate turns along its slope, however steep.
            size = slope.norm(dim=-1, keepdim=True).clamp_min(1e-6)
            turn = turn - _RATE * (1 - step / _STEPS) * slope / size
    return turn, miss(turn).abs()
