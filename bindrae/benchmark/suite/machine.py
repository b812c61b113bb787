"""How fast the machine multiplies and copies: floors that no program on it can go below."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial

import torch

from bindrae.benchmark.suite.timing import one_thread
from bindrae.model.blockwise import product

_SIZES = (256, 512, 1024, 2048)  # squares; a few of them fit the caches of any processor
_COPY_BYTES = 512_000_000


@cache
def matmul_rate(dtype: torch.dtype, seconds: float = 1.0) -> float:
    """Highest rate of matrix products on one thread (FLOP/s), over several square sizes.

    Products are those of a network's linear layer and those of its attention, which may go through another library.

    Parameters
    ----------
    dtype : torch.dtype
        float32 or bfloat16.
    seconds : float
        For all products together.
    """
    rates = []
    for size in _SIZES:
        x, weight = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
        for multiply in (torch.nn.functional.linear, product):
            fastest = _fastest(partial(multiply, x, weight), seconds / (2 * len(_SIZES)))
            rates.append(2.0 * size**3 / fastest)
    return max(rates)


@cache
def copy_bandwidth(seconds: float = 1.0) -> float:
    """Bytes/s that one thread reads and writes (both counted) in copying what is much larger than the caches."""
    source = torch.zeros(_COPY_BYTES // 4)
    target = torch.empty_like(source)
    return 2.0 * _COPY_BYTES / _fastest(partial(target.copy_, source), seconds)


def _fastest(task: Callable[[], object], seconds: float) -> float:
    """Processor seconds of the fastest run of a task on one thread; a floor, so the best run counts."""
    with one_thread(), torch.inference_mode():
        task()
        best, end = float("inf"), time.perf_counter() + seconds
        while best == float("inf") or time.perf_counter() < end:
            start = time.process_time()
            task()
            best = min(best, time.process_time() - start)
    return best
