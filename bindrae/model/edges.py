"""The factorised edge embedding: two sets of factors a residue whose product stands for the N x N edges.

Edge (i, j) is ``sum_r z_f1[i, r] * z_f2[j, r]``: linear memory, and exactly what one fused attention call can take in.
The layout and the parameter names are flash_ipa's ``flash_1d_bias`` mode, whose weights load unchanged.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bindrae.model.neighbours import gather_rows, nearest, pool
from bindrae.model.radial import RadialBasis

_POSITION_PERIOD = 2056  # longest wavelength of the index embedding, flash_ipa's constant


def index_embedding(index: Tensor, width: int) -> Tensor:
    """Sines and cosines of an integer index.

    Parameters
    ----------
    index : Tensor
        [...] integers.
    width : int
        Even width.

    Returns
    -------
    Tensor
        [..., width].
    """
    k = torch.arange(width // 2, device=index.device)
    phase = index.unsqueeze(-1) * math.pi / _POSITION_PERIOD ** (2 * k / width)
    return torch.cat([torch.sin(phase), torch.cos(phase)], dim=-1)


class DistanceBins(nn.Module):
    """One-hot distance bins from 0 to 20 A, as flash_ipa has them; for reading its weights.

    Parameters
    ----------
    count : int
        Number of bins; the last one is open.
    """

    lower: Tensor
    upper: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        lower = torch.linspace(1e-3, 20.0, count)
        self.register_buffer("lower", lower, persistent=False)
        self.register_buffer("upper", torch.cat([lower[1:], lower.new_tensor([1e8])]), persistent=False)

    def forward(self, distance: Tensor) -> Tensor:
        """[...] distances (A) to [..., count]."""
        d = distance.unsqueeze(-1)
        return ((d > self.lower) & (d < self.upper)).to(distance.dtype)


class EdgeEmbedder(nn.Module):
    """Edge factors from the residue representation, its place in the chain and its nearest neighbours.

    Parameters
    ----------
    c_s, c_p : int
        Widths of residues and of the factors.
    z_rank : int
        Rank.
    num_rbf : int
        Functions (or bins) a distance.
    k : int
        Neighbours.
    feat_dim : int
        Width of the index embeddings.
    flash_ipa_features : bool
        Distance bins and absolute neighbour indices as in flash_ipa, instead of Gaussians and offsets along the chain,
        which do not change when a structure is cropped.
    """

    def __init__(
        self,
        c_s: int,
        c_p: int,
        z_rank: int,
        num_rbf: int,
        k: int = 10,
        feat_dim: int = 32,
        flash_ipa_features: bool = False,
    ) -> None:
        super().__init__()
        self.rank, self.k, self.feat_dim, self.flash_ipa_features = z_rank, k, feat_dim, flash_ipa_features
        self.basis = DistanceBins(num_rbf) if flash_ipa_features else RadialBasis(num_rbf)
        self.linear_s_p = nn.Linear(c_s, feat_dim * z_rank * 2)
        self.linear_relpos = nn.Linear(feat_dim, feat_dim * z_rank * 4)
        # flash_ipa concatenates the neighbours in order of distance, so two that trade places make the output jump; our
        # own features are pooled, which needs one neighbour's weights only.
        width = (k if flash_ipa_features else 1) * (num_rbf + feat_dim)
        self.linear_t_distogram = nn.Linear(width, num_rbf * z_rank * 2)
        self.linear_sc_distogram = nn.Linear(width, num_rbf * z_rank * 2)
        self.edge_embedder = nn.Sequential(
            nn.Linear(3 * feat_dim + 2 * num_rbf, c_p),
            nn.ReLU(),
            nn.Linear(c_p, c_p),
            nn.ReLU(),
            nn.Linear(c_p, c_p),
            nn.LayerNorm(c_p),
        )

    def forward(
        self, s: Tensor, ca: Tensor, cb: Tensor, node_mask: Tensor, residue_index: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Edge factors.

        Parameters
        ----------
        s : Tensor
            [B, N, c_s].
        ca, cb : Tensor
            [B, N, 3] CA and virtual CB (A); flash_ipa calls the second set the self-conditioning positions.
        node_mask : Tensor
            [B, N] bool.
        residue_index : Tensor
            [B, N] place in the residue table.

        Returns
        -------
        z_f1, z_f2 : Tensor
            [B, N, rank, c_p].
        edge_mask : Tensor
            [B, N, N] view of `node_mask`, never stored: one row broadcast over the queries.
        """
        position = self.linear_relpos(index_embedding(residue_index, self.feat_dim).to(s.dtype))
        parts = [
            self._factor(self.linear_s_p(s)),
            self._factor(position),
            self._factor(self.linear_t_distogram(self._neighbourhood(ca, node_mask, residue_index))),
            self._factor(self.linear_sc_distogram(self._neighbourhood(cb, node_mask, residue_index))),
        ]
        z_f1, z_f2 = self.edge_embedder(torch.cat(parts, dim=-1)).unbind(1)
        return z_f1, z_f2, node_mask.unsqueeze(1).expand(-1, node_mask.shape[1], -1)

    def _factor(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (2, self.rank, -1)).movedim(2, 1)  # [B, 2, N, rank, width]

    def _neighbourhood(self, xyz: Tensor, mask: Tensor, residue_index: Tensor) -> Tensor:
        """[B, N, num_rbf + feat_dim] of the neighbours together; k times as wide, in order, for flash_ipa's weights."""
        index, weight = nearest(xyz, xyz, mask, self.k, exclude_self=True)
        distance = torch.sqrt(((gather_rows(xyz, index) - xyz.unsqueeze(2)) ** 2).sum(-1) + 1e-12)
        place = index if self.flash_ipa_features else gather_rows(residue_index, index) - residue_index.unsqueeze(-1)
        features = torch.cat([self.basis(distance), index_embedding(place, self.feat_dim).to(xyz.dtype)], dim=-1)
        return features.flatten(-2) if self.flash_ipa_features else pool(features, weight)


def create_edge_embedder(c_s: int, c_p: int, z_rank: int = 2, num_rbf: int = 16, k: int = 10) -> EdgeEmbedder:
    """An `EdgeEmbedder` with the project's own features."""
    return EdgeEmbedder(c_s, c_p, z_rank, num_rbf, k)
