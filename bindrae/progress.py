"""Progress that a person can follow: a bar on a terminal, a line every few seconds in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
_LINE_EVERY_SECONDS = 5.0


def format_seconds(seconds: float) -> str:
    """Seconds as ``42s``, ``3m05s`` or ``2h07m``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def track(items: Iterable[T], total: int, label: str, unit: str = "complexes") -> Iterator[T]:
    """Iterate while showing count, rate and remaining time on standard error.

    Parameters
    ----------
    items : iterable
    total : int
        Number of items.
    label, unit : str
        What is being done, and to what.
    """
    if sys.stderr.isatty():
        yield from _track_bar(items, total, label, unit)
    else:
        yield from _track_lines(items, total, label, unit)


def _track_bar(items: Iterable[T], total: int, label: str, unit: str) -> Iterator[T]:
    from rich.console import Console  # only here: one complex needs no bar, and rich takes a twentieth of a second
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    start = time.monotonic()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=total, rate="")
        for done, item in enumerate(items, start=1):
            yield item
            rate = done / max(time.monotonic() - start, 1e-9)
            progress.update(task, completed=done, rate=f"{rate:.1f} {unit}/s")


def _track_lines(items: Iterable[T], total: int, label: str, unit: str) -> Iterator[T]:
    start = last = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if now - last >= _LINE_EVERY_SECONDS and done < total:
            last = now
            rate = done / (now - start)
            left = format_seconds((total - done) / rate)
            print(f"{label}: {done}/{total} {unit}, {rate:.1f}/s, {left} left", file=sys.stderr, flush=True)
    taken = time.monotonic() - start
    print(f"{label}: {done}/{total} {unit} in {format_seconds(taken)}", file=sys.stderr, flush=True)
