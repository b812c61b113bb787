"""Numbers as a reader wants them: three significant digits, thousands set apart, never in powers of ten."""

from __future__ import annotations

from typing import Any

from bindrae.benchmark.suite.timing import Timing

_DECIMALS = ((100.0, 0), (10.0, 1), (1.0, 2), (0.1, 3), (0.01, 4))


def number(value: Any, sign: str = "") -> str:
    """A figure in words.

    Parameters
    ----------
    value : float, int, str, None or dict
        A dict with ``value``, ``low`` and ``high`` is a difference with its interval; any other holds figures by size.
    sign : str
        "+" for figures whose sign matters.
    """
    if value is None:
        return "-"
    if isinstance(value, dict):
        if set(value) == {"value", "low", "high"}:
            low, middle, high = (number(value[key], "+") for key in ("low", "value", "high"))
            return middle if value["low"] is None else f"{middle} [{low}, {high}]"
        return ", ".join(f"{size}: {number(item)}" for size, item in sorted(value.items(), key=_by_size))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if not isinstance(value, float):
        return str(value)
    decimals = next((places for least, places in _DECIMALS if abs(value) >= least), 4 if value else 0)
    return f"{value:{sign},.{decimals}f}"


def spread(timing: Timing, scale: float = 1.0) -> str:
    """Median and quartiles of a timing times `scale`."""
    low, middle, high = (number(scale * x) for x in (timing.low, timing.median, timing.high))
    return f"{middle} [{low}, {high}]"


def _by_size(item: tuple[str, Any]) -> tuple[float, str]:
    size = item[0]
    return (float(size), "") if size.isdigit() else (float("inf"), size)
