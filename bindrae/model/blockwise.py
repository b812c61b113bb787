"""Exact attention on one thread of a CPU, a block of weights at a time, that keeps nothing but its inputs.

Torch's fused attention takes queries, keys and values of one width. Here a key is less than half as wide as a value,
and the padding would be a third of all multiplications; on some processors it also multiplies well below the rate they
have. Both are put right by plain products of matrices. The weights of a block (256 queries of a head, or several short
heads) stay in the cache from the first product to the last, and the backward pass makes them again, so that nothing of
size N x N is ever held.

Everything is in the precision of the inputs, which `bindrae.model.attention` hands over in float32 also under autocast:
logits rounded to bf16 would be off by up to 0.4 % of the largest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_QUERIES = 256  # of a block: products of fewer are slow, of more no faster
_SHORT = 192  # residues below which several heads go through one batched product: oneDNN's calls would not pay
_SHORT_WEIGHTS = 1 << 17  # of several short heads at once: 0.5 MB, half of a second-level cache
_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax over the keys of query times key, times value.

    Parameters
    ----------
    query, key : Tensor
        [B, H, N, C] on the CPU; products are fastest with C a multiple of 8. Any scale is in them already.
    value : Tensor
        [B, H, N, V].

    Returns
    -------
    Tensor
        [B, H, N, V]. Bit for bit the same each time on one thread.
    """
    out: Tensor = _InBlocks.apply(*(x.flatten(0, 1) for x in (query, key, value)))
    return out.unflatten(0, query.shape[:2])


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b.mT``, of two float32 matrices by oneDNN: torch's own choice is slower on some processors.

    Parameters
    ----------
    a, b : Tensor
        [..., M, K] and [..., N, K].

    Returns
    -------
    Tensor
        [..., M, N].
    """
    if _ONEDNN and a.ndim == 2 and a.dtype == torch.float32:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")
        return out
    return a @ b.mT


class _InBlocks(torch.autograd.Function):
    """Attention of R heads, [R, N, width]."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(query, key, value)
        out = value.new_empty(value.shape)
        for heads in _heads(query):
            q, k, v = query[heads], key[heads], value[heads]
            for at in _blocks(q):
                out[heads][at] = product(_weights(q[at], k), v.mT)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = ctx.saved_tensors
        to_query, to_key, to_value = (x.new_empty(x.shape) for x in (query, key, value))
        for heads in _heads(query):
            q, k, v, to_out = query[heads], key[heads], value[heads], gradients[0][heads].contiguous()
            # Products with the transposed weights on the right are faster than with them on the left.
            sum_k, sum_v = (x.new_zeros(x.mT.shape) for x in (k, v))
            for at in _blocks(q):
                weights = _weights(q[at], k)
                sum_v += product(to_out[at].mT, weights.mT)
                slope = torch._softmax_backward_data(product(to_out[at], v), weights, -1, weights.dtype)
                to_query[heads][at] = product(slope, k.mT)
                sum_k += product(q[at].mT, slope.mT)
            to_key[heads], to_value[heads] = sum_k.mT, sum_v.mT
        return to_query, to_key, to_value


def _heads(query: Tensor) -> Iterator[int | slice]:
    """Indices of what is worked on together: a head, or several short ones."""
    count, n, _ = query.shape
    if n >= _SHORT:
        yield from range(count)
        return
    step = max(1, _SHORT_WEIGHTS // max(1, n * n))
    for start in range(0, count, step):
        yield slice(start, start + step)


def _blocks(query: Tensor) -> Iterator[tuple[Any, ...]]:
    """Indices of blocks of queries [..., N, width], none of them much smaller than the others."""
    n = query.shape[-2]
    step = -(-n // max(1, -(-n // _QUERIES)))
    for start in range(0, n, step):
        yield ..., slice(start, start + step), slice(None)


def _weights(query: Tensor, key: Tensor) -> Tensor:
    """[..., queries, keys], each row of sum 1."""
    return torch.softmax(product(query, key), dim=-1)
