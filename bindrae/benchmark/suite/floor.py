"""The least time that the operations of a program need on a machine, one operation after the other.

An operation takes at least its multiplications over the rate of matrix products, and at least the bytes that it reads
and writes over the rate of a large copy; the larger of the two counts. What stays in a processor's cache from one
operation to the next is counted as if it came from memory, so a program that works in chunks may come close to this
floor or below it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

_FREE = {
    "_local_scalar_dense", "empty", "empty_like", "empty_strided", "is_same_size", "lift_fresh", "new_empty",
    "new_empty_strided", "resize_",
}  # fmt: skip
_OVERWRITE = {"bernoulli_", "copy_", "fill_", "normal_", "random_", "uniform_", "zero_"}  # do not read what they write
_PICK = {"embedding", "gather", "index", "index_select"}  # read no more of the first tensor than they write
_PLACE = {"_index_put_impl_", "index_add_", "index_put_", "scatter_", "scatter_add_"}  # touch what the last one fills


@dataclass
class Cost:
    """What some operations need at least.

    Attributes
    ----------
    seconds : float
        The floor.
    arithmetic : float
        Seconds of it that multiplications decide.
    flops, bytes : float
    operations : int
        Those that touch memory.
    """

    seconds: float = 0.0
    arithmetic: float = 0.0
    flops: float = 0.0
    bytes: float = 0.0
    operations: int = 0


class Floor(TorchDispatchMode):
    """Adds up the floor of all operations inside its ``with`` block, forward and backward.

    Parameters
    ----------
    rate : callable
        FLOP/s of matrix products of a dtype.
    bandwidth : float
        Bytes/s, read and written.
    part : callable, optional
        Name of the part that the running operation belongs to.
    """

    def __init__(
        self, rate: Callable[[torch.dtype], float], bandwidth: float, part: Callable[[], str] = lambda: ""
    ) -> None:
        super().__init__()
        self.rate, self.bandwidth, self.part = rate, bandwidth, part
        self.parts: dict[str, Cost] = defaultdict(Cost)

    @property
    def seconds(self) -> float:
        """Seconds of all operations."""
        return sum(cost.seconds for cost in self.parts.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        read, written = _operands(func, args, kwargs, out)
        if not written:
            return out
        moved = _bytes(func, read, written)
        product = flops(func, args, kwargs, out)
        low = any(x.dtype == torch.bfloat16 for x in read)
        arithmetic = product / self.rate(torch.bfloat16 if low else torch.float32) if product else 0.0
        cost = self.parts[self.part()]
        cost.seconds += max(arithmetic, moved / self.bandwidth)
        cost.arithmetic += arithmetic if arithmetic > moved / self.bandwidth else 0.0
        cost.flops += product
        cost.bytes += moved
        cost.operations += 1
        return out


def _operands(func: Any, args: Any, kwargs: Any, out: Any) -> tuple[list[Tensor], list[Tensor]]:
    """The tensors that an operation reads, and those that it writes; none for views and allocations."""
    name = func.overloadpacket.__name__
    if name in _FREE:
        return [], []
    read: list[Tensor] = []
    written: list[Tensor] = []
    for argument, value in _arguments(func, args, kwargs):
        found = [x for x in tree_leaves(value) if isinstance(x, Tensor)]
        writes = argument.alias_info is not None and argument.alias_info.is_write
        if writes:
            written += found
        if not (writes and (argument.is_out or name in _OVERWRITE)):
            read += found
    old = {x.untyped_storage().data_ptr() for x in read + written}
    written += [x for x in tree_leaves(out) if isinstance(x, Tensor) and x.untyped_storage().data_ptr() not in old]
    return read, written


def _arguments(func: Any, args: Any, kwargs: Any) -> Iterator[tuple[Any, Any]]:
    for place, argument in enumerate(func._schema.arguments):
        if place < len(args):
            yield argument, args[place]
        elif argument.name in kwargs:
            yield argument, kwargs[argument.name]


def _bytes(func: Any, read: list[Tensor], written: list[Tensor]) -> float:
    name = func.overloadpacket.__name__
    if name in _PICK:
        return min(_size(read[:1]), _size(written)) + _size(read[1:]) + _size(written)
    if name in _PLACE:
        return 2 * min(_size(written), _size(read[-1:])) + _size(read[1:])
    return _size(read) + _size(written)


def _size(tensors: list[Tensor]) -> float:
    """Bytes of the elements that are seen, each once."""
    different = {(x.untyped_storage().data_ptr(), x.storage_offset(), x.shape, x.stride()): x for x in tensors}
    total = 0.0
    for x in different.values():
        count = 1
        for size, stride in zip(x.shape, x.stride(), strict=True):
            count *= size if stride or not size else 1
        total += count * x.element_size()
    return total


def flops(func: Any, args: Any, kwargs: Any, out: Any) -> float:
    """Floating-point operations of matrix products and attention; 0 for all else."""
    aten = torch.ops.aten
    packet = func.overloadpacket
    if packet == aten._scaled_dot_product_flash_attention_for_cpu:
        return float(sdpa_flop_count(*(x.shape for x in args[:3])))
    if packet == aten._scaled_dot_product_flash_attention_for_cpu_backward:
        return float(sdpa_backward_flop_count(*(x.shape for x in args[:4])))
    if packet == getattr(torch.ops.mkldnn, "_linear_pointwise", None):  # ``x @ weight.T``, see bindrae.model.blockwise
        return 2.0 * args[0].numel() * len(args[1])
    count = flop_registry.get(getattr(aten, packet.__name__.removesuffix("_"), packet))
    return float(count(*args, **kwargs, out_val=out)) if count else 0.0
