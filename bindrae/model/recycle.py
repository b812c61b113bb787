"""Recycling: what one pass says of the side chains becomes input of the next, as chi angles and as points in space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bindrae.chem import residues as aa
from bindrae.geometry.rigid import Frames, apply, invert_apply
from bindrae.model.features import Backbone
from bindrae.model.local import zero_linear
from bindrae.model.neighbours import RadialBasis, gather_rows, pair_distances

_N_POINTS = 2  # centre and tip


@dataclass
class Rebuilt:
    """The side chains of the pass before, without gradient."""

    chi: Tensor  # [B, N, 4, 2] (sin, cos), 0 where the type has none
    points: Tensor  # [B, N, 2, 3] centre and tip, carried along with the input frames (angstrom)


@torch.no_grad()
def summarise_sidechains(atoms: Tensor, frames: Frames, home: Frames, circle: Tensor, aatype: Tensor) -> Rebuilt:
    """Centre and tip of each predicted side chain; CB or CA where there is no more.

    Parameters
    ----------
    atoms : Tensor
        [B, N, 14, 3] predicted atoms (A).
    frames, home : frames
        The predicted frames, and the input frames into which the points are carried.
    circle : Tensor
        [B, N, 7, 2] predicted torsions.
    aatype : Tensor
        [B, N].
    """
    mask = torch.as_tensor(aa.ATOM14_MASK, device=aatype.device)[aatype]
    beyond = mask.clone()
    beyond[..., : aa.SLOT_CB] = False
    beyond[..., aa.SLOT_CA] |= ~beyond.any(-1)
    weight = beyond.unsqueeze(-1).to(atoms.dtype)
    centre = (atoms * weight).sum(2) / weight.sum(2)
    last = (beyond * torch.arange(1, aa.N_SLOTS + 1, device=aatype.device)).argmax(-1)
    tip = torch.gather(atoms, 2, last[..., None, None].expand(*last.shape, 1, 3)).squeeze(2)
    points = apply(home, invert_apply(frames, torch.stack([centre, tip], dim=2)))
    has_chi = torch.as_tensor(aa.CHI_MASK, device=aatype.device)[aatype]
    return Rebuilt(circle[..., 3:, :] * has_chi.unsqueeze(-1), points)


class Recycler(nn.Module):
    """Adds the rebuilt side chains to residues, residue edges and token edges; all begin at 0.

    Parameters
    ----------
    c_s, width, num_rbf : int
        Widths of residues and edges, radial basis functions a distance.
    """

    def __init__(self, c_s: int, width: int, num_rbf: int) -> None:
        super().__init__()
        self.rbf = RadialBasis(num_rbf)
        self.residue = zero_linear(4 * 2, c_s)
        self.residue_edge = zero_linear((5 + _N_POINTS) * _N_POINTS * num_rbf, width)
        self.token_edge = zero_linear(_N_POINTS * num_rbf, width)

    def residues(self, rebuilt: Rebuilt) -> Tensor:
        """[B, N, c_s]."""
        out: Tensor = self.residue(rebuilt.chi.flatten(-2))
        return out

    def residue_edges(self, rebuilt: Rebuilt, backbone: Backbone, index: Tensor) -> Tensor:
        """[B, N, K, width]: distances from a residue's backbone and side chain to its neighbours' side chains."""
        own = torch.cat([backbone.points, rebuilt.points], dim=2)
        with torch.autocast(own.device.type, enabled=False):
            distance = pair_distances(own.unsqueeze(2), gather_rows(rebuilt.points, index))
        out: Tensor = self.residue_edge(self.rbf(distance).flatten(-2))
        return out

    def token_edges(self, rebuilt: Rebuilt, tokens: Tensor, index: Tensor) -> Tensor:
        """[B, N, K, width]: distances from a residue's side chain to its nearest tokens."""
        with torch.autocast(tokens.device.type, enabled=False):
            distance = pair_distances(rebuilt.points.unsqueeze(2), gather_rows(tokens, index).unsqueeze(-2))
        out: Tensor = self.token_edge(self.rbf(distance).flatten(-2))
        return out
