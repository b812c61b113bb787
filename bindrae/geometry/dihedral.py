"""Torsions of four atoms and of a backbone, with gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from bindrae.geometry.rigid import safe_norm

_ALL_BUT_LAST, _LATER = slice(None, -1), slice(1, None)


def dihedral_circle(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """(sin, cos) of the torsion about b-c; (0, 0) where the atoms are collinear, with finite gradients.

    Parameters
    ----------
    a, b, c, d : Tensor
        [..., 3].
    """
    axis = c - b
    axis = axis / safe_norm(axis).unsqueeze(-1)
    v, w = a - b, d - c
    v = v - (v * axis).sum(-1, keepdim=True) * axis
    w = w - (w * axis).sum(-1, keepdim=True) * axis
    scale = (safe_norm(v, 1e-4) * safe_norm(w, 1e-4)).unsqueeze(-1)
    return torch.stack([(torch.linalg.cross(axis, v) * w).sum(-1), (v * w).sum(-1)], dim=-1) / scale


def backbone_torsions(N: Tensor, CA: Tensor, C: Tensor, linked: Tensor) -> tuple[Tensor, Tensor]:
    """phi, psi and omega of a backbone.

    Parameters
    ----------
    N, CA, C : Tensor
        [..., N, 3] (A).
    linked : Tensor
        [..., N] bool, peptide bond to the next row.

    Returns
    -------
    circle : Tensor
        [..., N, 3, 2] (sin, cos); 0 where undefined.
    defined : Tensor
        [..., N, 3] bool.
    """
    joined = linked[..., :-1]
    (n, ca, c), (next_n, next_ca, next_c) = ([x[..., part, :] for x in (N, CA, C)] for part in (_ALL_BUT_LAST, _LATER))
    phi = dihedral_circle(c, next_n, next_ca, next_c)
    psi = dihedral_circle(n, ca, c, next_n)
    omega = dihedral_circle(ca, c, next_n, next_ca)
    none = joined.new_zeros(*joined.shape[:-1], 1)
    defined = torch.stack([torch.cat([none, joined], -1), *[torch.cat([joined, none], -1)] * 2], dim=-1)
    pad = phi.new_zeros(*phi.shape[:-2], 1, 2)
    columns = [torch.cat([pad, phi], -2), torch.cat([psi, pad], -2), torch.cat([omega, pad], -2)]
    return torch.stack(columns, dim=-2) * defined.unsqueeze(-1), defined
