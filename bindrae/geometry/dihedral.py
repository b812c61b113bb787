"""Torsions of four atoms, with gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from bindrae.geometry.rigid import safe_norm


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
