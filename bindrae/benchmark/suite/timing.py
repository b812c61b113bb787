"""Times of several tasks taken in turn, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Timing:
    """Seconds of one task over several runs.

    Attributes
    ----------
    median, low, high : float
        Median and quartiles (s).
    runs : int
        Runs that counted; those of the warm-up are not in it.
    """

    median: float
    low: float
    high: float
    runs: int


def alternate(
    tasks: Mapping[str, Callable[[], object]],
    runs: int = 5,
    warmup: int = 1,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, Timing]:
    """Time tasks in turn: all of them once, then all of them again.

    Parameters
    ----------
    tasks : mapping of str to callable
        What to time, by name.
    runs : int
        Rounds that count.
    warmup : int
        Rounds before, which pay for caches and compilation.
    clock : callable
        Seconds so far. By default those of this process's processor time, which other work on the machine hardly
        lengthens; with one thread and nothing else running they are the seconds on the wall.

    Returns
    -------
    dict of str to Timing
        In the order of the tasks.
    """
    if runs < 1:
        raise ValueError("a timing needs at least one run")
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for round_ in range(warmup + runs):
        for name, task in tasks.items():
            start = clock()
            task()
            spent = clock() - start
            if round_ >= warmup:
                seconds[name].append(spent)
    return {name: summarise(values) for name, values in seconds.items()}


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch, whose processor seconds are then those on the wall."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def summarise(seconds: list[float]) -> Timing:
    """Median and quartiles of the seconds of several runs."""
    low, median, high = np.quantile(seconds, (0.25, 0.5, 0.75)).tolist()
    return Timing(median, low, high, len(seconds))


def ratio(a: Timing, b: Timing) -> float:
    """Seconds of `a` over seconds of `b`, by their medians."""
    return a.median / b.median
