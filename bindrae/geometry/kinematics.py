"""Forward kinematics: from residue frames and torsions to every heavy atom, differentiably."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from bindrae.chem import residues as aa
from bindrae.chem.ideal_geometry import GROUP_CHI1, GROUP_PSI, N_GROUPS, ideal_geometry
from bindrae.geometry.rigid import Frames, safe_norm


@cache
def _constants(device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    ideal = ideal_geometry()
    arrays = {
        "group": ideal.group,
        "local": ideal.local,
        "rotation": ideal.rotation,
        "translation": ideal.translation,
        "mask": aa.ATOM14_MASK,
    }
    tensors = {name: torch.as_tensor(array, device=device) for name, array in arrays.items()}
    return {name: x.to(dtype) if x.is_floating_point() else x for name, x in tensors.items()}


def unit_circle(x: Tensor) -> Tensor:
    """Pairs scaled to length 1; (0, 0) becomes (0, 1), the angle 0, with a finite gradient.

    Parameters
    ----------
    x : Tensor
        [..., 2] (sin, cos).
    """
    length = safe_norm(x, 1e-6).unsqueeze(-1)
    zero = torch.tensor([0.0, 1.0], dtype=x.dtype, device=x.device)
    return torch.where(length > 1e-5, x / length, zero)


def torsions_to_atoms(frames: Frames, torsions: Tensor, aatype: Tensor) -> tuple[Tensor, Tensor]:
    """Every heavy atom from residue frames and torsions (the `frames` mode of FK).

    Bond lengths and angles are ideal (`ideal_geometry`), so any torsions give a sound residue. Written so that each
    residue costs four 3x3 products and fourteen placements, all residues at once.

    Parameters
    ----------
    frames : (R [..., N, 3, 3], t [..., N, 3])
        Backbone frames (A).
    torsions : Tensor
        [..., N, 7, 2] (sin, cos) of phi, psi, omega, chi1-4, on the unit circle. Only psi (it carries O) and the chis
        are used; torsions that a residue lacks have no effect.
    aatype : Tensor
        [..., N] types 0-20.

    Returns
    -------
    xyz : Tensor
        [..., N, 14, 3] (A); slots that a type lacks stand on CA, so that they are finite and harmless.
    mask : Tensor
        [..., N, 14] bool, slots that the type has.
    """
    R, t = frames
    const = _constants(R.device, R.dtype)
    local_R, local_t = const["rotation"][aatype], const["translation"][aatype]
    group_R, group_t = [R], [t]
    for group in range(GROUP_PSI, N_GROUPS):
        torsion = 1 if group == GROUP_PSI else group - GROUP_CHI1 + 3
        parent = 0 if group in (GROUP_PSI, GROUP_CHI1) else group - 1
        parent_R, parent_t = group_R[parent], group_t[parent]
        base = parent_R @ local_R[..., group, :, :]
        sine, cosine = torsions[..., torsion, 0, None], torsions[..., torsion, 1, None]
        # Turning about x leaves the first column and mixes the other two.
        x, y, z = base.unbind(-1)
        group_R.append(torch.stack([x, cosine * y + sine * z, cosine * z - sine * y], dim=-1))
        group_t.append(parent_t + (parent_R @ local_t[..., group, :, None]).squeeze(-1))
    all_R, all_t = torch.stack(group_R, dim=-3), torch.stack(group_t, dim=-2)
    index = const["group"][aatype]
    atom_R = torch.gather(all_R, -3, index[..., None, None].expand(*index.shape, 3, 3))
    atom_t = torch.gather(all_t, -2, index[..., None].expand(*index.shape, 3))
    xyz = (atom_R @ const["local"][aatype].unsqueeze(-1)).squeeze(-1) + atom_t
    mask = const["mask"][aatype]
    return torch.where(mask.unsqueeze(-1), xyz, t.unsqueeze(-2)), mask


def angles_to_circle(angles: Tensor) -> Tensor:
    """(sin, cos) of angles.

    Parameters
    ----------
    angles : Tensor
        [...] radians.

    Returns
    -------
    Tensor
        [..., 2].
    """
    return torch.stack([torch.sin(angles), torch.cos(angles)], dim=-1)
