"""Nearest neighbours, distances and relative geometry, in memory that grows linearly with the residues."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_QUERY_CHUNK = 256


@torch.no_grad()
def nearest(query: Tensor, points: Tensor, mask: Tensor, k: int, exclude_self: bool = False) -> tuple[Tensor, Tensor]:
    """The k nearest points of each query, searched in chunks of queries: never [N, N] at once.

    Parameters
    ----------
    query : Tensor
        [B, Q, 3].
    points : Tensor
        [B, P, 3].
    mask : Tensor
        [B, P] bool; masked points are never chosen.
    k : int
        Neighbours; fewer come back when P is smaller.
    exclude_self : bool
        Leave out the point of the query's own index.

    Returns
    -------
    index : Tensor
        [B, Q, min(k, P)] int64, nearest first; 0 where not valid.
    valid : Tensor
        [B, Q, min(k, P)] bool.
    """
    k = min(k, points.shape[1])
    found_index, found_valid = [], []
    for start in range(0, query.shape[1], _QUERY_CHUNK):
        block = query[:, start : start + _QUERY_CHUNK]
        distance = torch.cdist(block, points, compute_mode="donot_use_mm_for_euclid_dist")
        distance = distance.masked_fill(~mask.unsqueeze(1), torch.inf)
        if exclude_self:
            rows = torch.arange(block.shape[1], device=query.device)
            distance[:, rows, rows + start] = torch.inf
        value, index = torch.topk(distance, k, dim=-1, largest=False)
        valid = torch.isfinite(value)
        found_index.append(torch.where(valid, index, 0))
        found_valid.append(valid)
    return torch.cat(found_index, 1), torch.cat(found_valid, 1)


def gather_rows(x: Tensor, index: Tensor) -> Tensor:
    """Rows of `x` at neighbour indices.

    Parameters
    ----------
    x : Tensor
        [B, N, ...].
    index : Tensor
        [B, Q, K].

    Returns
    -------
    Tensor
        [B, Q, K, ...].
    """
    batch = torch.arange(x.shape[0], device=x.device).view(-1, 1, 1)
    return x[batch, index]


class RadialBasis(nn.Module):
    """Gaussians at even distances, as wide as their spacing.

    Parameters
    ----------
    count : int
        Number of functions.
    largest : float
        Centre of the last one (A); the first is at 0.
    """

    centres: Tensor

    def __init__(self, count: int, largest: float = 20.0) -> None:
        super().__init__()
        self.register_buffer("centres", torch.linspace(0.0, largest, count), persistent=False)
        self.width = largest / max(count - 1, 1)

    def forward(self, distance: Tensor) -> Tensor:
        """[...] distances (A) to [..., count]."""
        return torch.exp(-(((distance.unsqueeze(-1) - self.centres) / self.width) ** 2))


def pair_distances(a: Tensor, b: Tensor) -> Tensor:
    """All distances between two small sets of atoms of each pair.

    Parameters
    ----------
    a : Tensor
        [..., P, 3].
    b : Tensor
        [..., Q, 3].

    Returns
    -------
    Tensor
        [..., P * Q] with a finite gradient at 0.
    """
    difference = a.unsqueeze(-2) - b.unsqueeze(-3)
    return torch.sqrt((difference**2).sum(-1) + 1e-8).flatten(-2)
