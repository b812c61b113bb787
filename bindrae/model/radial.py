"""Radial basis functions of distances, and their linear map without ever holding them all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_CHUNK_VALUES = {"cpu": 1 << 18, "cuda": 1 << 27}  # functions at once: on a CPU what stays in a core's cache


class RadialBasis(nn.Module):
    """Bumps at even distances, as wide as their spacing: ``(1 - x^2 / 4)^4``, which is ``exp(-x^2)`` made to end at 2.

    There are some 10,000 of these a residue; an exponential for each would take a tenth of a training step.

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
        half = 0.5 / self.width
        x = (distance * half).unsqueeze(-1) - self.centres * half
        if x.requires_grad:
            return (1 - x * x).clamp_min(0.0).square().square()
        return x.square_().neg_().add_(1.0).clamp_(min=0.0).square_().square_()


class RadialLinear(nn.Module):
    """A linear map of the radial basis functions of P distances.

    The functions are many times larger than the distances they come from and the width they go to. They are made in
    chunks, multiplied while they are in the cache, and made again for the gradient.

    Parameters
    ----------
    distances : int
        P.
    num_rbf : int
        Functions a distance.
    width : int
        Width of the result.
    zero : bool
        Begin at 0.
    """

    def __init__(self, distances: int, num_rbf: int, width: int, zero: bool = False) -> None:
        super().__init__()
        self.rbf = RadialBasis(num_rbf)
        self.weight = nn.Parameter(torch.zeros(width, distances * num_rbf))
        if not zero:
            nn.init.kaiming_uniform_(self.weight, a=5**0.5)  # as nn.Linear

    def forward(self, distance: Tensor) -> Tensor:
        """[..., P] distances (A) to [..., width]."""
        kind = distance.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self.weight.dtype
        if distance.requires_grad:
            return nn.functional.linear(self.rbf(distance).flatten(-2), self.weight)
        out: Tensor = _Projected.apply(distance.flatten(0, -2), self.weight.to(dtype), self.rbf)
        return out.unflatten(0, distance.shape[:-1])


class _Projected(torch.autograd.Function):
    """Functions of [R, P] distances times [width, P * count]; distances get no gradient."""

    @staticmethod
    def forward(ctx: Any, distance: Tensor, weight: Tensor, rbf: RadialBasis) -> Tensor:
        ctx.save_for_backward(distance, weight)
        ctx.rbf = rbf
        out = weight.new_empty(len(distance), len(weight))
        for rows in _chunks(distance, weight):
            torch.mm(rbf(distance[rows]).flatten(1).to(weight.dtype), weight.T, out=out[rows])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None]:
        distance, weight = ctx.saved_tensors
        total = torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
        for rows in _chunks(distance, weight):
            total += gradients[0][rows].T @ ctx.rbf(distance[rows]).flatten(1).to(weight.dtype)
        return None, total.to(weight.dtype), None


def _chunks(distance: Tensor, weight: Tensor) -> list[slice]:
    step = max(1, _CHUNK_VALUES.get(distance.device.type, 1 << 18) // max(1, weight.shape[1]))
    return [slice(start, start + step) for start in range(0, len(distance), step)]
