"""Nearest neighbours, distances and relative geometry, in memory that grows linearly with the residues."""

from __future__ import annotations

import torch
from torch import Tensor

_QUERY_CHUNK = 256
_FADE_ANGSTROM = 1.0


@torch.no_grad()
def nearest(query: Tensor, points: Tensor, mask: Tensor, k: int, exclude_self: bool = False) -> tuple[Tensor, Tensor]:
    """The k nearest points of each query, searched in chunks of queries: never [N, N] at once.

    A neighbourhood that ends sharply at its k-th member jumps when two members trade places there. This one fades out:
    the weight falls from 1 to 0 over the last angstrom before the distance of the first point that is left out, so
    that whatever is pooled with it changes smoothly with the coordinates.

    Parameters
    ----------
    query : Tensor
        [B, Q, 3] (A).
    points : Tensor
        [B, P, 3] (A).
    mask : Tensor
        [B, P] bool; masked points are never chosen.
    k : int
        Neighbours; fewer come back when P is smaller.
    exclude_self : bool
        Leave out the point of the query's own index.

    Returns
    -------
    index : Tensor
        [B, Q, min(k, P)] int64, nearest first; 0 where there is no neighbour.
    weight : Tensor
        [B, Q, min(k, P)] in [0, 1]; 0 where there is no neighbour.
    """
    found_index, found_weight = [], []
    count = min(k + 1, points.shape[1])
    for start in range(0, query.shape[1], _QUERY_CHUNK):
        block = query[:, start : start + _QUERY_CHUNK]
        distance = torch.cdist(block, points, compute_mode="donot_use_mm_for_euclid_dist")
        distance = distance.masked_fill(~mask.unsqueeze(1), torch.inf)
        if exclude_self:
            rows = torch.arange(block.shape[1], device=query.device)
            distance[:, rows, rows + start] = torch.inf
        value, index = torch.topk(distance, count, dim=-1, largest=False)
        # Without a point left out there is no edge to fade towards.
        edge = value[..., k:] if count > k else torch.full_like(value[..., :1], torch.inf)
        value, index = value[..., :k], index[..., :k]
        inside = ((edge - value) / _FADE_ANGSTROM).nan_to_num(nan=0.0).clamp(0.0, 1.0)
        weight = torch.where(torch.isfinite(value), inside * inside * (3 - 2 * inside), 0.0)
        found_index.append(torch.where(torch.isfinite(value), index, 0))
        found_weight.append(weight)
    return torch.cat(found_index, 1), torch.cat(found_weight, 1)


def pool(messages: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over neighbours; 0 where there are none.

    Parameters
    ----------
    messages : Tensor
        [B, Q, K, C].
    weight : Tensor
        [B, Q, K] from `nearest`.
    """
    return (pool_weights(weight).to(messages.dtype).unsqueeze(-2) @ messages).squeeze(-2)


def pool_weights(weight: Tensor) -> Tensor:
    """[B, Q, K] weights of `nearest` scaled to sum to 1; 0 where there are no neighbours."""
    return weight / weight.sum(-1, keepdim=True).clamp_min(1e-3)


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
    # The gradient of `index_select` is several times as fast as that of indexing.
    return x.flatten(0, 1).index_select(0, batch_rows(index, x.shape[1]).flatten()).unflatten(0, index.shape)


def batch_rows(index: Tensor, length: int) -> Tensor:
    """[B, Q, K] indices into complexes of `length` rows as indices into the rows of the whole batch."""
    return index + torch.arange(0, len(index) * length, length, device=index.device).view(-1, 1, 1)


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
