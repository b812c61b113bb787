"""What the network is given of a complex: backbone geometry and residue types, never a side-chain atom."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from bindrae.chem import residues as aa
from bindrae.data.batch import IPABatch
from bindrae.geometry.dihedral import backbone_torsions
from bindrae.geometry.kinematics import angles_to_circle, torsions_to_atoms
from bindrae.geometry.rigid import Frames, build_frames_from_3_points
from bindrae.structure.torsions import CHI1

# psi that places O where the next residue is missing: that of an extended chain.
_DEFAULT_PSI = 2.3


@dataclass
class Backbone:
    """Frames of N residues and what follows from them alone."""

    frames: Frames  # R [B, N, 3, 3], t [B, N, 3] angstrom
    points: Tensor  # [B, N, 5, 3] N, CA, C, O, virtual CB (angstrom)
    gammas: Tensor  # [B, N, 3, 3] where the fourth atom of chi1 stands at -60, 60 and 180 degrees (angstrom)
    torsions: Tensor  # [B, N, 3, 2] (sin, cos) of phi, psi, omega; 0 where undefined
    defined: Tensor  # [B, N, 3] bool


@cache
def _gamma_places(device: torch.device) -> Tensor:
    """[3, 3] places of a side chain's second atom in the residue's frame, in the three staggered positions of chi1."""
    with torch.inference_mode(False):  # what is kept must also serve where a gradient is wanted
        return _make_gamma_places(device)


def _make_gamma_places(device: torch.device) -> Tensor:
    torsions = torch.zeros(3, 7, 2, device=device)
    torsions[:, CHI1] = angles_to_circle(torch.tensor([-1.0, 1.0, 3.0], device=device) * (torch.pi / 3))
    still = torch.eye(3, device=device).expand(3, 3, 3), torch.zeros(3, 3, device=device)
    leucine = torch.full((3,), aa.TYPE_OF_NAME["LEU"], device=device)
    return torsions_to_atoms(still, torsions, leucine)[0][:, aa.SLOT_CB + 1]


def backbone_features(N: Tensor, CA: Tensor, C: Tensor, linked: Tensor, aatype: Tensor) -> Backbone:
    """Frames, the five backbone points, the three staggered places of a side chain and the backbone torsions.

    O and CB are placed by ideal geometry, not read: files lack or misplace O more often than they do N, CA, C.
    """
    frames = build_frames_from_3_points(N, CA, C)
    torsions, defined = backbone_torsions(N, CA, C, linked)
    default = angles_to_circle(torch.full_like(torsions[:, :, 1, 0], _DEFAULT_PSI))
    psi = torch.where(defined[:, :, 1, None], torsions[:, :, 1], default)
    all_torsions = torsions.new_zeros(*aatype.shape, 7, 2)
    all_torsions[..., 1] = 1.0
    all_torsions[:, :, 1] = psi
    # Glycine has no CB: build every residue as alanine (type 0).
    atoms, _ = torsions_to_atoms(frames, all_torsions, torch.zeros_like(aatype))
    points = torch.stack([N, CA, C, atoms[:, :, 3], atoms[:, :, 4]], dim=2)
    R, t = frames
    gammas = _gamma_places(t.device).to(t.dtype) @ R.transpose(-1, -2) + t.unsqueeze(-2)
    return Backbone(frames, points, gammas, torsions, defined)


def centre_batch(batch: IPABatch) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Backbone and tokens moved so that the mean CA of each complex is the origin.

    Far from the origin half precision, and even float32, loses the digits that geometry lives in.

    Returns
    -------
    N, CA, C : Tensor
        [B, N, 3] (A).
    lig_points : Tensor
        [B, M, 3] (A).
    origin : Tensor
        [B, 1, 3], what was subtracted.

    Raises
    ------
    ValueError
        When an input coordinate is not a number, with the complexes' ids.
    """
    mask = batch.node_mask.unsqueeze(-1)
    for name in ("N", "Ca", "C", "oxygen", "lig_points", "esm"):
        finite = torch.isfinite(getattr(batch, name)).flatten(1).all(1)
        if not finite.all():
            bad = [i for i, ok in zip(batch.pdb_ids, finite.tolist(), strict=True) if not ok]
            raise ValueError(f"{name} of {', '.join(bad)} holds values that are not finite")
    count = mask.sum(1, keepdim=True).clamp_min(1)
    origin = torch.where(mask, batch.Ca, 0.0).sum(1, keepdim=True) / count
    padding = ~mask

    def moved(x: Tensor) -> Tensor:
        return torch.where(padding, x, x - origin)

    return moved(batch.N), moved(batch.Ca), moved(batch.C), batch.lig_points - origin, origin
