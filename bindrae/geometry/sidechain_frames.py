"""Frames for the side chains of a backbone that is given: real angles at CA are not ideal."""

from __future__ import annotations

import torch
from torch import Tensor

from bindrae.chem import residues as aa
from bindrae.chem.ideal_geometry import ideal_geometry
from bindrae.geometry.rigid import Frames, axis_angle_to_matrix, build_frames_from_3_points, safe_norm


def sidechain_frames(N: Tensor, CA: Tensor, C: Tensor, aatype: Tensor) -> Frames:
    """Frames on which `torsions_to_atoms` builds side chains that suit a real backbone.

    The angle N-CA-C of crystals differs from the ideal one by some degrees. A residue frame has C on its x axis, so
    all of that falls to N: CB would stand too far from one and too near to the other, and chi1, which is measured from
    the N that is there, would not be what was asked for (docs/progress.md says by how much). Here CB stands as the two
    directions together tell, and the rest is turned about CA-CB until N, CA, CB and the next atom make chi1.

    Parameters
    ----------
    N, CA, C : Tensor
        [..., 3] backbone atoms (A).
    aatype : Tensor
        [...] types 0-20.

    Returns
    -------
    R, t : Tensor
        [..., 3, 3] and [..., 3]. Of an ideal backbone they are those of `build_frames_from_3_points`, and of glycine,
        where there is nothing to turn, they are symmetric in N and C alone.
    """
    ideal = torch.as_tensor(ideal_geometry().local, dtype=CA.dtype, device=CA.device)[aatype]
    n, c, cb = (_unit(ideal[..., slot, :]) for slot in (aa.SLOT_N, aa.SLOT_C, aa.SLOT_CB))
    true_n, true_c = _unit(N - CA), _unit(C - CA)
    R = _between(true_n, true_c) @ _between(n, c).mT
    axis, placed = (R @ cb.unsqueeze(-1)).squeeze(-1), (R @ n.unsqueeze(-1)).squeeze(-1)
    ahead = torch.linalg.cross(axis, placed)
    sine = (true_n * ahead).sum(-1)
    cosine = (true_n * torch.linalg.cross(ahead, axis)).sum(-1)
    turn = axis * torch.atan2(sine, cosine).unsqueeze(-1)
    return axis_angle_to_matrix(turn) @ R, CA


def _between(n: Tensor, c: Tensor) -> Tensor:
    """Axes of two directions: half-way between them, and in their plane."""
    return build_frames_from_3_points(n, torch.zeros_like(n), n + c)[0]


def _unit(v: Tensor) -> Tensor:
    return v / safe_norm(v).unsqueeze(-1)
