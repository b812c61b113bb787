"""What a part of the benchmark returns, and how it is kept."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bindrae.data.storage import read_json, write_text
from bindrae.environment import hardware, versions

_DIGITS = 5
_PACKAGES = ("torch", "numpy", "rdkit", "gemmi", "bindrae")


@dataclass
class Table:
    """A table; numbers as numbers, so that the page chooses how to write them."""

    title: str
    columns: list[str]
    rows: list[list[str | float | int | None]]
    note: str = ""


@dataclass
class Plot:
    """Curves of one figure: ``series`` holds (x, y) by name; ``log`` is for both axes."""

    name: str
    title: str
    x: str
    y: str
    series: dict[str, list[tuple[float, float]]]
    log: bool = True


@dataclass
class Part:
    """A part's results.

    Attributes
    ----------
    name, about : str
        Name of the part, and what it measures in a sentence or two.
    settings : dict
        What it was run with.
    ratios : dict
        The figures that requirements are stated in: floats, or dicts of floats by size.
    tables : list of Table
    plots : list of Plot
    remarks : list of str
        What a reader has to know to read the figures aright.
    words : dict of str to str
        The ratios' names in words, for the pages; a name without an entry stands for itself.
    """

    name: str
    about: str
    settings: dict[str, Any] = field(default_factory=dict)
    ratios: dict[str, Any] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    words: dict[str, str] = field(default_factory=dict)


def write_part(part: Part, folder: Path) -> Path:
    """Write ``<folder>/<name>.json``: the part, hardware and versions; numbers to five significant digits.

    Returns
    -------
    Path
    """
    path = folder / f"{part.name}.json"
    record = _plain({**asdict(part), "hardware": hardware(), "versions": versions(_PACKAGES)})
    write_text(json.dumps(record, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n", path)
    return path


def read_part(path: Path) -> dict[str, Any]:
    """What `write_part` wrote.

    Raises
    ------
    BindraeError
        When the file is missing or is not JSON.
    """
    found: dict[str, Any] = read_json(path)
    return found


def _plain(value: Any) -> Any:
    """What JSON can hold: no arrays, no paths, no NaN, no more digits than mean something."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return str(value)
