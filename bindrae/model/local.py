"""Edges of the local branch: the nearest residues and tokens of each residue, with their full relative geometry.

A rank-2 factorised edge cannot say where exactly a neighbour stands; these edges can, for the few that matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bindrae.model.features import Backbone
from bindrae.model.neighbours import gather_rows, nearest, pair_distances
from bindrae.model.radial import RadialLinear

_MAX_OFFSET = 32
_N_POINTS = 5  # N, CA, C, O, CB
_N_GAMMAS = 3
_FACED = slice(3, 5)  # O and CB: of a neighbour's points those that a side chain meets
_CHAIN_OFFSET = 2 * _MAX_OFFSET + 1  # another chain
_NM = 0.1


@dataclass(frozen=True)
class Neighbours:
    """What edges are made of; it depends on coordinates and types alone, so that several networks can share it."""

    index: Tensor  # [B, N, K]
    weight: Tensor  # [B, N, K], see `nearest`
    distance: Tensor  # [B, N, K, P] between points of the residue and of the neighbour (angstrom)
    place: Tensor  # [B, N, K, C] where the neighbour is in the residue's frame, and what it is
    offset: Tensor | None = None  # [B, N, K] int64, place along the chain; None of tokens


def residue_neighbours(
    backbone: Backbone, residue_index: Tensor, chain_index: Tensor, mask: Tensor, k: int
) -> Neighbours:
    """The k nearest residues of each: 5x5 atom distances, relative frame, place along the chain.

    To these come the distances of the three staggered places of the residue's own side chain to the neighbour's O, CB
    and staggered places: what a rotamer would meet there.

    Parameters
    ----------
    backbone : Backbone
    residue_index, chain_index : Tensor
        [B, N].
    mask : Tensor
        [B, N] bool.
    k : int
    """
    R, t = backbone.frames
    # By CB, not CA: the neighbours of a side chain are those it points at.
    cb = backbone.points[:, :, -1]
    index, weight = nearest(cb, cb, mask, k, exclude_self=True)
    with torch.autocast(t.device.type, enabled=False):
        other_R, other_t = gather_rows(R, index), gather_rows(t, index)
        local = (R.transpose(-1, -2).unsqueeze(2) @ (other_t - t.unsqueeze(2)).unsqueeze(-1)).squeeze(-1)
        turn = R.transpose(-1, -2).unsqueeze(2) @ other_R
        points, gammas = gather_rows(backbone.points, index), gather_rows(backbone.gammas, index)
        met = torch.cat([points[..., _FACED, :], gammas], dim=-2)
        distance = torch.cat(
            [
                pair_distances(backbone.points.unsqueeze(2), points),
                pair_distances(backbone.gammas.unsqueeze(2), met),
            ],
            dim=-1,
        )
        relative = torch.cat([local * _NM, turn.flatten(-2)], dim=-1)
    step = (gather_rows(residue_index, index) - residue_index.unsqueeze(-1)).clamp(-_MAX_OFFSET, _MAX_OFFSET)
    same = gather_rows(chain_index, index) == chain_index.unsqueeze(-1)
    return Neighbours(index, weight, distance, relative, torch.where(same, step + _MAX_OFFSET, _CHAIN_OFFSET))


def token_neighbours(backbone: Backbone, points: Tensor, types: Tensor, mask: Tensor, k: int) -> Neighbours:
    """The k nearest ligand tokens of each residue: place in the residue's frame, distances, type.

    Distances are those to the residue's five backbone points and to the three staggered places of its side chain.

    Parameters
    ----------
    backbone : Backbone
    points, types, mask : Tensor
        [B, M, 3] (A), [B, M, n_types], [B, M] bool.
    k : int
        At most M are found.
    """
    R, t = backbone.frames
    index, weight = nearest(backbone.points[:, :, -1], points, mask, k)
    with torch.autocast(t.device.type, enabled=False):
        near = gather_rows(points, index)
        local = (R.transpose(-1, -2).unsqueeze(2) @ (near - t.unsqueeze(2)).unsqueeze(-1)).squeeze(-1)
        own = torch.cat([backbone.points, backbone.gammas], dim=2)
        distance = pair_distances(own.unsqueeze(2), near.unsqueeze(-2))
        # Beyond the basis' reach a token says nothing; the clamp keeps a far ligand from shouting.
        place = torch.cat([(local * _NM).clamp(-3, 3), gather_rows(types, index)], dim=-1)
    return Neighbours(index, weight, distance, place)


class ResidueEdges(nn.Module):
    """Edges to the nearest residues, from what `residue_neighbours` measures.

    Parameters
    ----------
    width : int
        Width of an edge.
    num_rbf : int
        Radial basis functions a distance.
    """

    def __init__(self, width: int, num_rbf: int) -> None:
        super().__init__()
        self.offset = nn.Embedding(_CHAIN_OFFSET + 1, width)
        self.radial = RadialLinear(_N_POINTS**2 + _N_GAMMAS * (2 + _N_GAMMAS), num_rbf, width)
        self.relative = nn.Linear(12, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, near: Neighbours) -> tuple[Tensor, Tensor, Tensor]:
        """Edges of every residue.

        Parameters
        ----------
        near : Neighbours

        Returns
        -------
        edge : Tensor
            [B, N, K, width].
        index, weight : Tensor
            [B, N, K].
        """
        assert near.offset is not None
        edge = self.radial(near.distance) + self.relative(near.place)
        edge = edge + nn.functional.embedding(near.offset, self.offset.weight.to(edge.dtype))
        # In the precision of the products: edges are the largest tensors, and each layer reads them.
        return self.norm(edge).to(edge.dtype), near.index, near.weight


class TokenEdges(nn.Module):
    """Edges to the nearest ligand tokens, from what `token_neighbours` measures.

    Parameters
    ----------
    width, num_rbf : int
        As for `ResidueEdges`.
    n_types : int
        Width of a token's type.
    """

    def __init__(self, width: int, num_rbf: int, n_types: int) -> None:
        super().__init__()
        self.radial = RadialLinear(_N_POINTS + _N_GAMMAS, num_rbf, width)
        self.place = nn.Linear(3 + n_types, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, near: Neighbours) -> tuple[Tensor, Tensor, Tensor]:
        """Edges of every residue, as `ResidueEdges.forward` gives them."""
        edge = self.radial(near.distance) + self.place(near.place)
        return self.norm(edge).to(edge.dtype), near.index, near.weight
