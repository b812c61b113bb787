"""The local branch: messages from the nearest residues and tokens, with their full relative geometry.

A rank-2 factorised edge cannot say where exactly a neighbour stands; these edges can, for the few that matter.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from bindrae.model.features import Backbone
from bindrae.model.neighbours import RadialBasis, gather_rows, nearest, pair_distances, pool

_MAX_OFFSET = 32
_N_POINTS = 5  # N, CA, C, O, CB
_CHAIN_OFFSET = 2 * _MAX_OFFSET + 1  # another chain
_NM = 0.1


def zero_linear(width_in: int, width_out: int) -> nn.Linear:
    """A linear layer that starts at 0, so that its branch begins as the identity."""
    linear = nn.Linear(width_in, width_out)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


class ResidueEdges(nn.Module):
    """Edges to the k nearest residues: 5x5 atom distances, relative frame, place along the chain.

    Parameters
    ----------
    k : int
        Neighbours.
    width : int
        Width of an edge.
    num_rbf : int
        Radial basis functions a distance.
    """

    def __init__(self, k: int, width: int, num_rbf: int) -> None:
        super().__init__()
        self.k = k
        self.rbf = RadialBasis(num_rbf)
        self.offset = nn.Embedding(_CHAIN_OFFSET + 1, width)
        self.project = nn.Linear(_N_POINTS**2 * num_rbf + 12, width)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, backbone: Backbone, residue_index: Tensor, chain_index: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Edges of every residue.

        Parameters
        ----------
        backbone : Backbone
        residue_index, chain_index : Tensor
            [B, N].
        mask : Tensor
            [B, N] bool.

        Returns
        -------
        edge : Tensor
            [B, N, K, width].
        index : Tensor
            [B, N, K].
        weight : Tensor
            [B, N, K], see `nearest`.
        """
        R, t = backbone.frames
        # By CB, not CA: the neighbours of a side chain are those it points at.
        cb = backbone.points[:, :, -1]
        index, weight = nearest(cb, cb, mask, self.k, exclude_self=True)
        with torch.autocast(t.device.type, enabled=False):
            other_R, other_t = gather_rows(R, index), gather_rows(t, index)
            local = (R.transpose(-1, -2).unsqueeze(2) @ (other_t - t.unsqueeze(2)).unsqueeze(-1)).squeeze(-1)
            turn = R.transpose(-1, -2).unsqueeze(2) @ other_R
            distance = pair_distances(backbone.points.unsqueeze(2), gather_rows(backbone.points, index))
            radial = self.rbf(distance).flatten(-2)
            relative = torch.cat([local * _NM, turn.flatten(-2)], dim=-1)
        step = (gather_rows(residue_index, index) - residue_index.unsqueeze(-1)).clamp(-_MAX_OFFSET, _MAX_OFFSET)
        same = gather_rows(chain_index, index) == chain_index.unsqueeze(-1)
        offset = torch.where(same, step + _MAX_OFFSET, _CHAIN_OFFSET)
        # One linear layer in two parts: joining its long input first would copy it.
        of_radial, of_relative = self.project.weight.split([radial.shape[-1], relative.shape[-1]], dim=1)
        edge = linear(radial, of_radial) + linear(relative, of_relative, self.project.bias) + self.offset(offset)
        return self.norm(edge), index, weight


class TokenEdges(nn.Module):
    """Edges to the k nearest ligand tokens: place in the residue's frame, distances to its five points, type.

    Parameters
    ----------
    k, width, num_rbf : int
        As for `ResidueEdges`.
    n_types : int
        Width of a token's type.
    """

    def __init__(self, k: int, width: int, num_rbf: int, n_types: int) -> None:
        super().__init__()
        self.k = k
        self.rbf = RadialBasis(num_rbf)
        self.project = nn.Linear(_N_POINTS * num_rbf + 3 + n_types, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, backbone: Backbone, points: Tensor, types: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Edges of every residue.

        Parameters
        ----------
        backbone : Backbone
        points, types, mask : Tensor
            [B, M, 3] (A), [B, M, n_types], [B, M] bool.

        Returns
        -------
        edge : Tensor
            [B, N, K, width], K at most M.
        index : Tensor
            [B, N, K].
        weight : Tensor
            [B, N, K], see `nearest`.
        """
        R, t = backbone.frames
        index, weight = nearest(backbone.points[:, :, -1], points, mask, self.k)
        with torch.autocast(t.device.type, enabled=False):
            near = gather_rows(points, index)
            local = (R.transpose(-1, -2).unsqueeze(2) @ (near - t.unsqueeze(2)).unsqueeze(-1)).squeeze(-1)
            distance = pair_distances(backbone.points.unsqueeze(2), near.unsqueeze(-2))
            # Beyond the basis' reach a token says nothing; the clamp keeps a far ligand from shouting.
            features = torch.cat(
                [self.rbf(distance).flatten(-2), (local * _NM).clamp(-3, 3), gather_rows(types, index)], dim=-1
            )
        return self.norm(self.project(features)), index, weight


class Messages(nn.Module):
    """One round of messages along edges, averaged at the receiver (residual, normalised at the input).

    Parameters
    ----------
    c_s : int
        Width of the residue representation.
    width : int
        Width of edges and messages.
    from_residues : bool
        Whether senders are residues, whose representation joins the message.
    dropout : float
    """

    def __init__(self, c_s: int, width: int, from_residues: bool, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(c_s)
        self.receiver = nn.Linear(c_s, width)
        self.sender = nn.Linear(c_s, width, bias=False) if from_residues else None
        self.edge = nn.Linear(width, width, bias=False)
        self.hidden = nn.Linear(width, width)
        self.out = zero_linear(width, c_s)
        self.dropout = nn.Dropout(dropout)

    def forward(self, s: Tensor, edge: Tensor, weight: Tensor, index: Tensor | None = None) -> Tensor:
        """New [B, N, c_s] from [B, N, c_s], [B, N, K, width], [B, N, K] and, for residues, [B, N, K]."""
        normed = self.norm(s)
        message = self.receiver(normed).unsqueeze(2) + self.edge(edge)
        if self.sender is not None:
            assert index is not None
            message = message + gather_rows(self.sender(normed), index)
        message = silu(self.hidden(silu(message)))
        return s + self.dropout(self.out(pool(message, weight)))
