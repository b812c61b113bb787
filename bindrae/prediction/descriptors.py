"""What the networks of refinement read of a neighbourhood: shares of vectors learnt by kind, distance and angles."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from bindrae.prediction.neighbourhood import CHANNELS, NEAREST, REACH, Near

STEPS = (NEAREST, 2.8, 3.0, 3.25, 3.5, 3.75, 4.0, 4.35, 4.8, REACH)
"""Distances (A) at which vectors are learnt; linear in between."""
N_ANGLES = 4
"""1, the cosine at either atom, and their product: what each vector is weighted by."""
N_VECTORS = len(CHANNELS) * len(STEPS) * N_ANGLES
"""Vectors that a network learns."""


def descriptors(near: Near) -> csr_matrix:
    """How much of each learnt vector each atom's neighbours make up.

    Parameters
    ----------
    near : Near
        With A atoms.

    Returns
    -------
    scipy.sparse.csr_matrix
        [A, channels * steps * angles] float32.
    """
    low, part, beyond = _steps()
    width = len(STEPS) * N_ANGLES
    columns = near.channel.astype(np.int32) * width + (low * N_ANGLES)[near.distance]
    places = columns[:, None] + np.arange(2 * N_ANGLES, dtype=np.int32)
    weight = near.weight * np.float32(1 / 255)
    own, other = (cosine * np.float32(1 / 127) for cosine in (near.own_cosine, near.other_cosine))
    values = np.empty((len(weight), 2 * N_ANGLES), np.float32)
    for place, share in ((0, (1 - part)[near.distance]), (N_ANGLES, beyond[near.distance])):
        share = share * weight
        values[:, place], values[:, place + 1], values[:, place + 2] = share, share * own, share * other
        values[:, place + 3] = values[:, place + 1] * other
    return csr_matrix((values.ravel(), places.ravel(), 2 * N_ANGLES * near.first), (len(near.atom), N_VECTORS))


def approach_descriptors(table: csr_matrix, approach: np.ndarray, rows: np.ndarray, chis: np.ndarray) -> csr_matrix:
    """The same for pairs of an atom and a chi that moves it, each neighbour times how fast it falls behind.

    Parameters
    ----------
    table : scipy.sparse.csr_matrix
        `descriptors` of atoms with P neighbours.
    approach : numpy.ndarray
        [P, 4] growth of each distance with each chi (A / radian).
    rows, chis : numpy.ndarray
        [M] atoms, and the chi asked about.

    Returns
    -------
    scipy.sparse.csr_matrix
        [M, channels * steps * angles] float32.
    """
    places, values = (x.reshape(-1, 2 * N_ANGLES) for x in (table.indices, table.data))
    start = table.indptr // (2 * N_ANGLES)
    counts = np.diff(start)[rows]
    first = np.concatenate([[0], np.cumsum(counts)])
    # Neighbours of the first atom, of the second, and so on, one after the other.
    pairs = np.arange(first[-1]) + np.repeat(start[rows] - first[:-1], counts)
    weighed = values[pairs] * approach[pairs, np.repeat(chis, counts)].astype(np.float32)[:, None]
    return csr_matrix((weighed.ravel(), places[pairs].ravel(), 2 * N_ANGLES * first), (len(rows), N_VECTORS))


@cache
def _steps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of the 256 distances: the step before, how far it is beyond, and the weight of the step behind."""
    distance = NEAREST + np.arange(256) * (REACH - NEAREST) / 255
    low = np.clip(np.searchsorted(STEPS, distance, side="right") - 1, 0, len(STEPS) - 2)
    part = (distance - np.array(STEPS)[low]) / np.diff(STEPS)[low]
    # What is at REACH has no weight, so that nothing jumps there.
    beyond = np.where(low == len(STEPS) - 2, 0.0, part)
    return low.astype(np.int32), part.astype(np.float32), beyond.astype(np.float32)


def read_by_kind(summed: Tensor, kind: Tensor, read: Tensor) -> Tensor:
    """Products with a matrix for each kind, one product of matrices a kind.

    Parameters
    ----------
    summed : Tensor
        [A, width].
    kind : Tensor
        [A] of each row, non-decreasing.
    read : Tensor
        [kinds, width, width].
    """
    parts = summed.split(torch.bincount(kind, minlength=len(read)).tolist())
    return torch.cat([part @ own for part, own in zip(parts, read, strict=True)])


class SparseProduct(torch.autograd.Function):
    """A fixed sparse matrix times weights: much faster than to look up each neighbour's vectors, and back."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, weights: Tensor, table: csr_matrix) -> Tensor:
        ctx.table = table  # type: ignore[attr-defined]
        return torch.as_tensor(table @ weights.detach().numpy())

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, slope: Tensor) -> tuple[Tensor, None]:
        return torch.as_tensor(ctx.table.T @ slope.contiguous().numpy()), None  # type: ignore[attr-defined]
