"""Side chains that a pass is shown: those of other residues, which a residue's own must fit."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bindrae.chem import residues as aa
from bindrae.geometry.kinematics import torsions_to_atoms
from bindrae.model.features import Backbone
from bindrae.model.messages import zero_linear
from bindrae.model.neighbours import gather_rows, pair_distances
from bindrae.model.radial import RadialLinear
from bindrae.structure.torsions import CHI1

GROUPS = 3
"""Groups of residues that take turns in a sweep: every third along the table. Five are no better (docs/progress.md)."""
_FACING = [aa.SLOT_CA, aa.SLOT_O, aa.SLOT_CB]
_N_OWN, _N_SHOWN = len(_FACING) + 3, 3


class KnownSidechains(NamedTuple):
    """Side chains of N residues, some of which are shown to the others."""

    chi: Tensor  # [B, N, 4, 2] (sin, cos)
    shown: Tensor  # [B, N] bool


@cache
def _table(name: str, device: torch.device) -> Tensor:
    arrays = {"has_chi": aa.CHI_MASK, "periodic": aa.CHI_PI_PERIODIC, "ends": _ends()}
    return torch.as_tensor(arrays[name], device=device)


def _ends() -> np.ndarray:
    """[types, 2] slots of the atom that chi1 places and of the last atom; CB or CA where there is no more."""
    last = aa.ATOM14_MASK.shape[1] - 1 - aa.ATOM14_MASK[:, ::-1].argmax(1)
    gamma = np.where(aa.CHI_MASK[:, 0], aa.CHI_ATOMS[:, 0, 3], np.minimum(last, aa.SLOT_CB))
    glycine = aa.TYPE_OF_NAME["GLY"]
    gamma[glycine] = last[glycine] = aa.SLOT_CA
    return np.stack([gamma, last], axis=1)


def sidechain_points(chi: Tensor, backbone: Backbone, aatype: Tensor) -> Tensor:
    """Second atom, last atom and centre of side chains with given chis on the input backbone.

    Parameters
    ----------
    chi : Tensor
        [B, N, 4, 2] (sin, cos).
    backbone : Backbone
    aatype : Tensor
        [B, N].

    Returns
    -------
    Tensor
        [B, N, 3, 3] (A); CB where there is nothing beyond it, CA of glycine.
    """
    torsions = torch.cat([torch.zeros_like(chi[..., :CHI1, :]), chi], dim=-2)
    atoms, mask = torsions_to_atoms(backbone.frames, torsions, aatype)
    beyond = mask.clone()
    beyond[..., : aa.SLOT_CB] = False
    beyond[..., aa.SLOT_CA] |= ~beyond.any(-1)
    weight = beyond.unsqueeze(-1).to(atoms.dtype)
    centre = (atoms * weight).sum(2, keepdim=True) / weight.sum(2, keepdim=True)
    ends = _table("ends", aatype.device)[aatype].unsqueeze(-1).expand(-1, -1, -1, 3)
    return torch.cat([torch.gather(atoms, 2, ends), centre], dim=2)


def can_be_shown(aatype: Tensor) -> Tensor:
    """[B, N] bool, residues with a chi: of the others the backbone tells all."""
    return _table("has_chi", aatype.device)[aatype][..., 0]


def _one_half_turn(chi: Tensor, aatype: Tensor) -> Tensor:
    """Chis that are the same after half a turn within 90 degrees of 0, as files name their atoms."""
    turned = _table("periodic", aatype.device)[aatype] & (chi[..., 1] < 0)
    return torch.where(turned.unsqueeze(-1), -chi, chi)


class SidechainContext(nn.Module):
    """Tells residues of the side chains that are shown; begins at 0.

    A residue knows of its own only as a sender to others: what is predicted for one that is shown means nothing.

    Parameters
    ----------
    c_s, width, num_rbf : int
        Widths of residues and edges, radial basis functions a distance.
    """

    def __init__(self, c_s: int, width: int, num_rbf: int) -> None:
        super().__init__()
        self.residue = zero_linear(aa.N_CHI * 2 + 1, c_s)
        self.edge = RadialLinear(_N_OWN * _N_SHOWN, num_rbf, width, zero=True)

    def residues(self, known: KnownSidechains, aatype: Tensor) -> Tensor:
        """[B, N, c_s], what a shown residue says of itself."""
        chi = (_one_half_turn(known.chi, aatype) * _table("has_chi", aatype.device)[aatype].unsqueeze(-1)).flatten(-2)
        shown = known.shown.unsqueeze(-1).to(chi.dtype)
        out: Tensor = self.residue(torch.cat([chi * shown, shown], dim=-1))
        return out

    def edges(self, known: KnownSidechains, backbone: Backbone, aatype: Tensor, index: Tensor) -> Tensor:
        """[B, N, K, width]: distances to the neighbours' shown side chains.

        They are taken from the residue's CA, O, CB and the three staggered places of its own side chain.
        """
        with torch.autocast(index.device.type, enabled=False):
            points = sidechain_points(_one_half_turn(known.chi, aatype), backbone, aatype)
            own = torch.cat([backbone.points[:, :, _FACING], backbone.gammas], dim=2)
            distance = pair_distances(own.unsqueeze(2), gather_rows(points, index))
        edge: Tensor = self.edge(distance)
        return edge * gather_rows(known.shown, index).unsqueeze(-1)
