"""Learning-rate schedule."""

from __future__ import annotations

import math


def cosine_with_warmup(step: int, warmup: int, total: int) -> float:
    """Factor of the peak learning rate: linear from 0 over `warmup` steps, then a cosine to 0 at `total`.

    Parameters
    ----------
    step : int
        Steps done, from 0.
    warmup, total : int
        A warm-up longer than half the run is cut to a tenth of it: short runs must reach their peak.
    """
    if warmup > total // 2:
        warmup = total // 10
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))
