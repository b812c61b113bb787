"""What the machine is, and how fast it multiplies and copies: floors that no program on it can go below."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import torch

from bindrae.benchmark.suite.timing import one_thread
from bindrae.model.blockwise import product

_PACKAGES = ("torch", "numpy", "rdkit", "gemmi", "bindrae")
_SIZES = (256, 512, 1024, 2048)  # squares; a few of them fit the caches of any processor
_COPY_BYTES = 512_000_000


def hardware() -> dict[str, str | int]:
    """Processor, cores, memory (GB) and whether the processor multiplies bf16 by itself."""
    flags = _cpuinfo("flags").split()
    bf16 = [flag for flag in ("amx_bf16", "avx512_bf16") if flag in flags]
    return {
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "bf16": ", ".join(bf16) or "no",
    }


def processor() -> str:
    """Name of the processor."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(name: str) -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition("\t")[0] == name), "")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the figures depend on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


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
