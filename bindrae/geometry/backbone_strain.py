"""Bond lengths, bond angles and planarity of a backbone, which a frame and three torsions leave out.

They are not the same for all side chains: a residue widens or narrows its angle N-CA-C, among others, with the rotamer
that it has (Karplus, Protein Sci. 5, 1406, 1996; Berkholz et al., Structure 17, 1316, 2009).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bindrae.geometry.dihedral import backbone_torsions, dihedral_circle
from bindrae.geometry.rigid import safe_norm

NAMES = ("N-CA-C", "C-N-CA", "CA-C-N", "CA-C-O", "O-C-N", "N-CA", "CA-C", "C-O", "C-N", "omega", "O out of plane")
"""What is measured of a residue. C-N-CA is the angle at its N; CA-C-N, O-C-N, C-N and omega lead to the next one."""
# Where each is 0, and what is a unit of it: angstrom and degrees. The values of Engh & Huber (International Tables for
# Crystallography F, 2001), and about what they spread by in crystals.
_USUAL = torch.tensor([111.0, 121.7, 117.2, 120.1, 122.7, 1.459, 1.525, 1.229, 1.336, 0.0, 0.0])
_UNIT = torch.tensor([2.5, 1.8, 1.8, 1.0, 1.0, 0.012, 0.012, 0.008, 0.010, 6.0, 1.5])
_MOST = 5.0  # units; what is farther off is no geometry


@dataclass
class BackboneStrain:
    """How far the backbone of N residues is from the usual."""

    values: Tensor  # [..., N, 11] in units of their spread, in [-5, 5]; 0 where unknown
    known: Tensor  # [..., N, 11] bool
    torsions: Tensor  # [..., N, 3, 2] (sin, cos) of phi, psi, omega; 0 where undefined


def backbone_strain(backbone: Tensor, there: Tensor, linked: Tensor) -> BackboneStrain:
    """Measure a backbone.

    Parameters
    ----------
    backbone : Tensor
        [..., N, 4, 3] N, CA, C, O (A).
    there : Tensor
        [..., N, 4] bool, atoms that are given; of a residue without N, CA and C nothing is known.
    linked : Tensor
        [..., N] bool, peptide bond to the next row.
    """
    n, ca, c, o = backbone.unbind(-2)
    always = there[..., :3].all(-1)
    has_o = always & there[..., 3]
    after = linked & always & torch.roll(always, -1, -1)
    after[..., -1:] = False
    before = torch.cat([torch.zeros_like(after[..., :1]), after[..., :-1]], -1)
    next_n, last_c = torch.roll(n, -1, -2), torch.roll(c, 1, -2)
    torsions, _ = backbone_torsions(n, ca, c, after)
    _, psi, omega = torsions.unbind(-2)
    off_plane = torch.remainder(_angle_of(omega) + torch.pi / 2, torch.pi) - torch.pi / 2  # of cis and trans alike
    o_off_plane = torch.remainder(_angle_of(dihedral_circle(n, ca, c, o)) - _angle_of(psi), 2 * torch.pi) - torch.pi
    measured = (
        (_angle(n, ca, c), always),
        (_angle(last_c, n, ca), before),
        (_angle(ca, c, next_n), after),
        (_angle(ca, c, o), has_o),
        (_angle(o, c, next_n), after & has_o),
        (safe_norm(n - ca), always),
        (safe_norm(ca - c), always),
        (safe_norm(c - o), has_o),
        (safe_norm(c - next_n), after),
        (torch.rad2deg(off_plane), after),
        (torch.rad2deg(o_off_plane), after & has_o),
    )
    known = torch.stack([mask for _, mask in measured], -1)
    usual, unit = _USUAL.to(n), _UNIT.to(n)
    units = (torch.stack([value for value, _ in measured], -1) - usual) / unit
    return BackboneStrain(torch.where(known, units, 0.0).clamp(-_MOST, _MOST), known, torsions)


def _angle(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Degrees at b."""
    u, v = a - b, c - b
    return torch.rad2deg(torch.atan2(safe_norm(torch.linalg.cross(u, v)), (u * v).sum(-1)))


def _angle_of(circle: Tensor) -> Tensor:
    """Radians of (sin, cos)."""
    return torch.atan2(*circle.unbind(-1))
