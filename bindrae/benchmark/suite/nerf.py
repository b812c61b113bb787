"""A chain by sequential NeRF, the usual way: one atom after the other, each from three that stand already.

Parsons et al., J. Comput. Chem. 26, 1063, 2005. The peer of `bindrae.geometry.chain`; it places the same atoms with the
same bond lengths and angles, so both must give the same coordinates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import sqrt
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from bindrae.chem import residues as aa
from bindrae.chem.ideal_geometry import ideal_geometry
from bindrae.geometry.chain import OMEGA, PHI, PSI
from bindrae.geometry.kinematics import angles_to_circle, torsions_to_atoms

Numbers = tuple[float, float, float]
P = TypeVar("P")  # a point, or a bond
_CHI1 = 3  # among the seven torsions
_N, _CA, _C, _O = range(4)


@dataclass(frozen=True)
class ZMatrix:
    """One type's atoms beyond N, CA and C, in the order in which they are placed.

    Attributes
    ----------
    slots : list of (slot, torsion atom, angle atom, bonded atom)
    torsion : numpy.ndarray
        [A] which of the seven torsions turns the atom, -1 for none.
    bond, angle, offset : numpy.ndarray
        [A] bond (A), angle, and torsion when all torsions are 0 (radians).
    """

    slots: list[tuple[int, int, int, int]]
    torsion: np.ndarray
    bond: np.ndarray
    angle: np.ndarray
    offset: np.ndarray


@cache
def z_matrix(kind: int) -> ZMatrix:
    """Internal coordinates of a type, measured on the residue with all torsions 0."""
    steps = aa.BUILD_STEPS[aa.RESIDUE_NAMES[kind] if kind != aa.UNKNOWN else "ALA"]
    names = aa.ATOM14_NAMES[kind]
    slots, torsion = [(_O, _N, _CA, _C)], [PSI]
    for step in steps:
        atom, first, second, third = (names.index(name) for name in (step.atom, step.torsion, step.angle, step.bonded))
        slots.append((atom, first, second, third))
        torsion.append(_CHI1 + int(step.source[3]) - 1 if step.source.startswith("chi") else -1)
    eye = torch.eye(3, dtype=torch.float64).unsqueeze(0), torch.zeros(1, 3, dtype=torch.float64)
    flat = angles_to_circle(torch.zeros(1, 7, dtype=torch.float64))
    x = torsions_to_atoms(eye, flat, torch.tensor([kind]))[0][0].numpy()
    d, c, b, a = (x[list(column)] for column in zip(*slots, strict=True))
    return ZMatrix(slots, np.array(torsion), np.linalg.norm(d - a, axis=-1), _angle(b, a, d), _torsion(c, b, a, d))


def _angle(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    u, v = x - y, z - y
    return np.arctan2(np.linalg.norm(np.cross(u, v), axis=-1), (u * v).sum(-1))


def _torsion(w: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    u, v = np.cross(x - w, y - x), np.cross(y - x, z - y)
    sine = (np.cross(u, v) * (y - x)).sum(-1) / np.linalg.norm(y - x, axis=-1)
    return np.arctan2(sine, (u * v).sum(-1))


def place(c: Tensor, b: Tensor, a: Tensor, local: Tensor) -> Tensor:
    """An atom bonded to `a`.

    Parameters
    ----------
    c, b, a : Tensor
        [3] torsion, angle and bonded atom (A).
    local : Tensor
        [3] the bond in the frame of the three: along b-a, in their plane, and normal to it (A).
    """
    x = torch.nn.functional.normalize(a - b, dim=0)
    z = torch.nn.functional.normalize(torch.linalg.cross(b - c, x), dim=0)
    return a + torch.stack([x, torch.linalg.cross(z, x), z], dim=-1) @ local


def place_numbers(c: Numbers, b: Numbers, a: Numbers, local: Numbers) -> Numbers:
    """As `place`, with Python's own numbers: without gradients, yet without what a call of torch costs either."""
    x0, x1, x2 = a[0] - b[0], a[1] - b[1], a[2] - b[2]
    scale = 1.0 / sqrt(x0 * x0 + x1 * x1 + x2 * x2)
    x0, x1, x2 = x0 * scale, x1 * scale, x2 * scale
    w0, w1, w2 = b[0] - c[0], b[1] - c[1], b[2] - c[2]
    z0, z1, z2 = w1 * x2 - w2 * x1, w2 * x0 - w0 * x2, w0 * x1 - w1 * x0
    scale = 1.0 / sqrt(z0 * z0 + z1 * z1 + z2 * z2)
    z0, z1, z2 = z0 * scale, z1 * scale, z2 * scale
    u, v, w = local
    return (
        a[0] + u * x0 + v * (z1 * x2 - z2 * x1) + w * z0,
        a[1] + u * x1 + v * (z2 * x0 - z0 * x2) + w * z1,
        a[2] + u * x2 + v * (z0 * x1 - z1 * x0) + w * z2,
    )


def nerf(angles: Tensor, aatype: Tensor, first: Tensor) -> Tensor:
    """A whole chain from its torsions, differentiably.

    Parameters
    ----------
    angles : Tensor
        [N, 7] phi, psi, omega, chi1-4 (radians).
    aatype : Tensor
        [N] types.
    first : Tensor
        [3, 3] N, CA and C of the first residue (A).

    Returns
    -------
    Tensor
        [N, 14, 3] (A); slots that a type lacks hold CA.
    """
    kinds = aatype.tolist()
    backbone, rest = _backbone_bonds(angles, aatype), _other_bonds(angles, kinds)
    bonds = [list(x.unbind(0)) for x in backbone.unbind(0)], [list(x.unbind(0)) for x in rest]
    atoms = _place_all(kinds, *bonds, list(first.unbind(0)), place)
    return torch.stack(atoms).unflatten(0, (-1, aa.N_SLOTS))


def nerf_numbers(angles: Tensor, aatype: Tensor, first: Tensor) -> Tensor:
    """As `nerf`, placed with Python's own numbers."""
    kinds = aatype.tolist()
    backbone, rest = _backbone_bonds(angles, aatype), _other_bonds(angles, kinds)
    atoms = _place_all(kinds, backbone.tolist(), [x.tolist() for x in rest], first.tolist(), place_numbers)
    return torch.tensor(atoms, dtype=angles.dtype).unflatten(0, (-1, aa.N_SLOTS))


def _place_all(
    kinds: list[int], backbone: list[list[P]], rest: list[list[P]], first: list[P], put: Callable[[P, P, P, P], P]
) -> list[P]:
    """All slots of all residues, the backbone of each before its other atoms."""
    n, ca, c = first
    out: list[P] = []
    for i, kind in enumerate(kinds):
        if i:
            to_n, to_ca, to_c = backbone[i - 1]
            before_n, before_ca = n, ca
            n = put(before_n, before_ca, c, to_n)
            ca = put(before_ca, c, n, to_ca)
            c = put(c, n, ca, to_c)
        atoms = [n, ca, c, *[ca] * (aa.N_SLOTS - 3)]
        for (slot, far, middle, near), bond in zip(z_matrix(kind).slots, rest[i], strict=True):
            atoms[slot] = put(atoms[far], atoms[middle], atoms[near], bond)
        out += atoms
    return out


def _bond(length: Tensor, angle: Tensor, torsion: Tensor) -> Tensor:
    """[..., 3] bonds as `place` takes them; done for all atoms at once, since nothing in it is sequential."""
    sine = torch.sin(angle)
    return length.unsqueeze(-1) * torch.stack(
        [-torch.cos(angle).expand_as(torsion), sine * torch.cos(torsion), sine * torch.sin(torsion)], dim=-1
    )


def _backbone_bonds(angles: Tensor, aatype: Tensor) -> Tensor:
    """[N-1, 3, 3] to N, CA and C of each residue but the first, from the atoms before."""
    ideal = ideal_geometry()
    local = torch.as_tensor(ideal.local, dtype=angles.dtype)[aatype[1:]]
    link = {name: torch.tensor(value, dtype=angles.dtype) for name, value in ideal.peptide.items()}
    bend = torch.atan2(local[:, _N, 1], local[:, _N, 0])
    n_ca, ca_c = local[:, _N].norm(dim=-1), local[:, _C].norm(dim=-1)
    to_n = _bond(link["bond"].expand_as(n_ca), link["angle_ca_c_n"], angles[:-1, PSI])
    to_ca = _bond(n_ca, link["angle_c_n_ca"], angles[:-1, OMEGA])
    to_c = _bond(ca_c, bend, angles[1:, PHI])
    return torch.stack([to_n, to_ca, to_c], dim=1)


def _other_bonds(angles: Tensor, kinds: list[int]) -> tuple[Tensor, ...]:
    """[A, 3] a residue: to the atoms of its Z-matrix, in its order."""
    rows = [z_matrix(kind) for kind in kinds]
    counts = [len(row.slots) for row in rows]
    residue = torch.repeat_interleave(torch.arange(len(kinds)), torch.tensor(counts))
    which = torch.as_tensor(np.concatenate([row.torsion for row in rows]))
    length, angle, offset = (
        torch.as_tensor(np.concatenate([getattr(row, name) for row in rows]), dtype=angles.dtype)
        for name in ("bond", "angle", "offset")
    )
    turned = torch.where(which >= 0, angles[residue, which.clamp(min=0)], 0.0)
    return _bond(length, angle, offset + turned).split(counts)
